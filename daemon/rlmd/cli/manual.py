"""The manual page, rlmd(1), made from the parsers; `python -m rlmd.cli.manual` prints it.

Building the package puts it into share/man, so nothing that is generated has to be kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from rlmd import __version__
from rlmd.cli.parsers import build_parser

SYNOPSIS = "COMMAND [ARGUMENTS]"
DESCRIPTION = (
    "One daemon per user answers questions about content far larger than any context window, with "
    "citations that were checked against the bytes, and remembers findings across sessions. Agents reach "
    "it over MCP; these commands do the same from a shell. A daemon is started where none runs. Data goes "
    "to standard output, progress and complaints to standard error; --json is stable. NO_COLOR is respected."
)
EXIT_STATUS = {
    "0": "it went well",
    "1": "the question failed or found nothing; doctor: something is broken",
    "2": "the command line is wrong",
    "65": "the input, or a file of ours, cannot be used",
    "69": "no daemon can be reached",
    "70": "something broke inside",
    "75": "busy, or it may pass: try again",
    "77": "permission",
    "78": "the settings, or a place that they name, are wrong",
    "130": "interrupted",
}
ENVIRONMENT = {
    "RLMD_SOCKET": "the socket; else $XDG_RUNTIME_DIR/rlmd/mcp.sock, else /tmp/rlmd-UID/mcp.sock",
    "RLMD_STATE_DIR": "memory and jobs; else $XDG_STATE_HOME/rlmd, else ~/.local/state/rlmd",
    "RLMD_CACHE_DIR": "what can be computed again; else $XDG_CACHE_HOME/rlmd, else ~/.cache/rlmd",
    "RLMD_SECTION__KEY": "a setting, such as RLMD_LOG__LEVEL=debug",
    "OPENAI_API_KEY, OPENROUTER_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY": "keys of model providers",
}
FILES = {
    "/etc/rlmd/config.toml, ~/.config/rlmd/config.toml": "settings; rlmd config init writes them",
    "~/.config/rlmd/api-key": "the key that rlmd auth set keeps",
    "~/.local/state/rlmd/memory.db": "memories; rlmd memory backup copies it",
}


def page() -> str:
    """Return the page in the language of man(7)."""
    parser = build_parser()
    lines = [
        f'.TH RLMD 1 "" "rlmd {__version__}" "User Commands"',
        *_section("NAME", f"rlmd \\- {_escaped('questions of content larger than any context window')}"),
        *_section("SYNOPSIS", f".B rlmd\n{_escaped(SYNOPSIS)}"),
        *_section("DESCRIPTION", _escaped(DESCRIPTION)),
        ".SH COMMANDS",
        *_commands(parser),
        *_table("EXIT STATUS", EXIT_STATUS),
        *_table("ENVIRONMENT", ENVIRONMENT),
        *_table("FILES", FILES),
    ]
    return "\n".join(lines) + "\n"


def _commands(parser: argparse.ArgumentParser, about: str = "") -> Iterator[str]:
    below = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]  # noqa: SLF001
    if not below:
        usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
        yield from (f'.SS "{_escaped(parser.prog)}"', _escaped(usage), ".PP", _escaped(f"{about}."))
        yield from _arguments(parser)
        return
    for group in below:
        helps = {each.dest: each.help or "" for each in group._choices_actions}  # noqa: SLF001  # see completion
        for name, verb in group.choices.items():
            yield from _commands(verb, helps.get(name, ""))


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    for each in parser._actions:  # noqa: SLF001  # as above
        if isinstance(each, argparse._HelpAction):  # noqa: SLF001  # every command has it
            continue
        value = each.metavar or ("|".join(map(str, each.choices)) if each.choices else each.dest.upper())
        if not each.option_strings:
            named = str(value)
        elif each.nargs == 0:
            named = ", ".join(each.option_strings)
        else:
            named = f"{', '.join(each.option_strings)} {value}"
        yield from (".TP", f".B {_escaped(named)}", _escaped(each.help or "see DESCRIPTION"))


def _section(name: str, text: str) -> Iterator[str]:
    yield from (f".SH {name}", text)


def _table(name: str, rows: dict[str, str]) -> Iterator[str]:
    yield f".SH {name}"
    for key, text in rows.items():
        yield from (".TP", f".B {_escaped(key)}", _escaped(text))


def _escaped(text: str) -> str:
    """Make *text* stand for itself: no line of it is a request, no mark of it an escape."""
    lines = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...").splitlines()
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in lines)


if __name__ == "__main__":
    print(page(), end="")
