"""`rlmd service` as far as it goes without a systemd; the rest is seen under a real one."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any

import pytest

from rlmd.cli import service, units
from rlmd.cli.service import Manager, Refused

CALLS = """#!/bin/sh
echo "$@" >> "$0.calls"
printf 'ActiveState=active\\nSubState=listening\\nStatusText=\\nMainPID=0\\nNRestarts=0\\n'
"""


@pytest.fixture
def systemctl(home: Any, monkeypatch: pytest.MonkeyPatch):
    """A systemctl that obeys and keeps what it was told."""
    monkeypatch.setenv("PATH", f"{home.path}:{os.environ['PATH']}")
    program = home.path / "systemctl"
    program.write_text(CALLS)
    program.chmod(0o755)

    def calls() -> list[str]:
        kept = home.path / "systemctl.calls"
        return kept.read_text().splitlines() if kept.exists() else []

    return calls


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("/usr/bin/python3", "/usr/bin/python3"),
        ("/home/a b/python", '"/home/a b/python"'),
        ("/opt/100%/python", "/opt/100%%/python"),
        ("/opt/$HOME/python", "/opt/$$HOME/python"),
        ('/opt/"x"/python', '"/opt/\\"x\\"/python"'),
    ],
)
def test_a_program_of_any_name_is_one_word_to_systemd(word: str, told: str):
    assert units.quoted(word) == told


@pytest.mark.parametrize("name", ["rlmd.service", "rlmd@.service"])
def test_the_unit_that_is_written_starts_this_very_installation(name: str):
    text = units.written(name)

    assert f"ExecStart={units.quoted(sys.executable)} -m rlmd serve --systemd\n" in text
    assert text.count("ExecStart=") == 1


def test_installing_writes_the_units_and_opens_the_socket(home: Any, systemctl: Any, capsys: Any):
    code = service.install(None, namespaces=True)

    directory = home.path / ".config/systemd/user"
    assert code == 0
    assert sorted(file.name for file in directory.iterdir()) == ["rlmd.service", "rlmd.socket"]
    assert "--user --no-pager enable --now rlmd.socket" in systemctl()
    assert oct((home.path / "state").stat().st_mode)[-3:] == "700"
    assert "RLMD_STATE_DIR is set in this shell" in capsys.readouterr().out


def test_what_depends_on_the_machine_comes_and_goes_with_it(home: Any, systemctl: Any):
    drop_ins = home.path / ".config/systemd/user/rlmd.service.d"
    key = home.path / ".config/rlmd/api-key"
    key.parent.mkdir(parents=True)
    key.write_text("sk-secret")

    service.install(None, namespaces=False)
    both = sorted(file.name for file in drop_ins.iterdir())
    key.unlink()
    service.install(None, namespaces=True)

    assert both == ["credentials.conf", "no-user-namespaces.conf"]
    assert list(drop_ins.iterdir()) == []
    assert systemctl()


def test_uninstalling_removes_what_installing_wrote_and_nothing_else(home: Any, systemctl: Any):
    service.install(None, namespaces=False)
    theirs = home.path / ".config/systemd/user/other.service"
    theirs.write_text("[Service]\n")

    code = service.uninstall(None)

    assert code == 0
    assert list((home.path / ".config/systemd/user").iterdir()) == [theirs]
    assert "--user --no-pager disable --now rlmd.socket" in systemctl()


def test_the_machines_manager_is_asked_without_user(systemctl: Any, capsys: Any):
    assert service.status("alice", as_json=False) == 0

    assert all(call.startswith("--no-pager show rlmd@alice.") for call in systemctl())
    assert "rlmd@alice.socket: active (listening)" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["install", "uninstall", "status"])
def test_without_systemd_it_says_so_and_changes_nothing(home: Any, monkeypatch: Any, capsys: Any, verb: str):
    monkeypatch.setenv("PATH", str(home.path))
    acts = {
        "install": lambda: service.install(None),
        "uninstall": lambda: service.uninstall(None),
        "status": lambda: service.status(None, as_json=True),
    }

    assert acts[verb]() == os.EX_UNAVAILABLE
    assert "systemd is not on this machine" in capsys.readouterr().err
    assert not (home.path / ".config/systemd").exists()


def test_what_systemd_refuses_is_told_in_its_own_words(home: Any, monkeypatch: Any):
    program = home.path / "systemctl"
    program.write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{home.path}:{os.environ['PATH']}")

    with pytest.raises(Refused, match="Failed to connect to bus"):
        Manager().call("daemon-reload")
    assert shutil.which("systemctl") == str(program)
