"""The set-up: settings, the counting of tokens, and the agents that ought to find us."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rlmd.cli import entries
from rlmd.cli.checkup.findings import Finding, broken, ok, unchecked, warning
from rlmd.cli.clients import CLIENTS, Client, carried, command
from rlmd.cli.install import read

if TYPE_CHECKING:
    from rlmd.config import Config

# ruff: noqa: PLC0415  # a command's imports wait until it runs

SAMPLE = "tiktoken is great!"
SAMPLE_TOKENS = {"o200k_base": 6, "cl100k_base": 6}


def settings(files: tuple[str, ...]) -> Finding:
    """Name the settings files that hold."""
    there = [path for path in files if os.path.exists(path)]
    return ok(
        "settings", ", ".join(there) if there else "the defaults; rlmd config init writes them to a file"
    )


def tokens(config: Config) -> Iterator[Finding]:
    """Count a known text with the rank files of the package."""
    from rlmd.tokens.encodings import DamagedRanks, encoding_named
    from rlmd.tokens.engines import EngineRefused, choose_engine

    name = config.tokens.encoding
    try:
        engine = choose_engine(encoding_named(name), config.tokens.engine)
    except DamagedRanks as exc:
        yield broken("tokens", str(exc), "Install rlmd anew.")
        return
    except EngineRefused as exc:
        yield broken("tokens", f"tokens.engine asks for gigatoken: {exc}", 'Set tokens.engine = "auto".')
        return
    counted = len(list(engine.encode(SAMPLE)))
    if counted != SAMPLE_TOKENS[name]:
        yield broken("tokens", f"{SAMPLE!r} has {counted} tokens in {name}", "Install rlmd anew.")
    elif engine.refusal is not None:
        yield ok("tokens", f"{name} is counted offline, by tiktoken ({engine.refusal})")
    else:
        yield ok("tokens", f"{name} is counted offline, by {engine.name}")


def agents() -> Iterator[Finding]:
    """Look into the settings of every agent that has some."""
    absent = []
    for client in CLIENTS.values():
        if os.path.exists(client.file(os.environ)):
            yield _agent(client)
        else:
            absent.append(client.title)
    if absent:
        yield unchecked("agents", f"no settings of {', '.join(absent)}", "rlmd install AGENT makes some.")


def _agent(client: Client) -> Finding:
    file, name = client.file(os.environ), client.name
    install = f"Run: rlmd install {name}."
    try:
        entry = entries.find(read(file), client)
    except (entries.Unusable, UnicodeDecodeError, OSError) as exc:
        return warning(name, f"{file}: {exc}", "Mend the file by hand.")
    if entry is None:
        return unchecked(name, f"{file} does not mention rlmd", install)
    if any(key in entry for key in entries.ADDRESSES):
        return unchecked(name, f"{file} reaches rlmd by address", "docs/guides/http.md has more.")
    return _entry(name, file, entry, install)


def _entry(name: str, file: str, entry: Mapping[str, Any], install: str) -> Finding:
    """Judge an entry that starts a program: whether it is there, is this one, and asks our daemon."""
    started = [entry.get("command"), *entry.get("args", [])]
    gone = [
        each
        for each in started
        if isinstance(each, str) and each.startswith("/") and not os.path.exists(each)
    ]
    if gone:
        return broken(name, f"{file} starts {gone[0]}, which is not there", install)
    program, arguments = command()
    if started[1:2] == ["-I"] and started != [program, *arguments]:
        return warning(name, f"{file} starts another installation than this: {started[0]}", install)
    told = entry.get("env", {})
    differing = [key for key, value in carried(os.environ).items() if told.get(key, value) != value]
    if differing:
        return warning(
            name, f"{file} leads to another daemon than this shell's: {', '.join(differing)}", install
        )
    return ok(name, file)
