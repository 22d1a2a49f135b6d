"""Completions and the manual page: made from the parsers, so they know every command."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from rlmd.cli import exits
from rlmd.cli.completion import arguments
from rlmd.cli.main import main
from rlmd.cli.manual import EXIT_STATUS, page
from rlmd.cli.parsers import build_parser

CONTRACT = {
    *("serve", "connect", "ask", "exec", "memory", "jobs", "status", "top", "doctor", "config", "install"),
    *("auth", "logs", "stop", "version", "completion"),
}
"""Commands that the outside is promised; those of other chapters are added as they come."""


def commands() -> set[str]:
    (group,) = [each for each in build_parser()._actions if each.dest == "command"]
    assert group.choices is not None
    return set(group.choices)


def test_the_commands_that_were_promised_are_there():
    assert commands() >= CONTRACT


def test_every_argument_says_what_it_is():
    silent = [
        each.dest
        for each in arguments(build_parser())
        if not each.help and each.dest not in {"command", "verb"}
    ]

    assert silent == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_know_every_command_and_the_shell_takes_them(
    shell: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["completion", shell]) == 0

    printed = capsys.readouterr().out
    assert all(name in printed for name in commands())
    if (program := shutil.which(shell)) is not None:
        done = subprocess.run([program, "-n"], input=printed, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_bash_completes_a_command_its_options_and_files(capsys: pytest.CaptureFixture[str], tmp_path):
    main(["completion", "bash"])
    script = tmp_path / "rlmd.bash"
    script.write_text(capsys.readouterr().out)
    (tmp_path / "notes.txt").touch()

    def complete(*words: str) -> list[str]:
        asked = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}"
        program = f'source {script}; {asked}; _shtab_rlmd; printf "%s\\n" "${{COMPREPLY[@]}}"'
        bash = shutil.which("bash") or "bash"
        done = subprocess.run([bash, "-c", program], text=True, capture_output=True, check=True, cwd=tmp_path)
        return done.stdout.split()

    assert complete("rlmd", "sta") == ["status"]
    assert "--origin" in complete("rlmd", "config", "show", "--o")
    assert "codex" in complete("rlmd", "install", "co")


def test_the_page_has_each_command_each_option_and_each_exit_code():
    text = page().replace("\\-", "-")

    assert all(f'.SS "rlmd {name}' in text for name in commands())
    for each in arguments(build_parser()):
        assert all(option in text for option in each.option_strings if option not in {"-h", "--help"})
    codes = {exits.of_error(code) for code in exits._OF_ERRORS} | {exits.INTERRUPTED, exits.FOUND_NOTHING}
    assert {str(code) for code in codes} <= set(EXIT_STATUS)


def test_the_page_is_set_without_a_complaint():
    if (groff := shutil.which("groff")) is None:
        pytest.skip("no groff here")

    done = subprocess.run(
        [groff, "-man", "-Tascii", "-P-c", "-P-bou", "-ww"],
        input=page(),
        text=True,
        capture_output=True,
        check=True,
    )

    assert done.stderr == ""
    assert "rlmd ask" in done.stdout
