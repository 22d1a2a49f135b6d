"""`rlmd doctor`: look at everything that may be broken, and say what was not looked at."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict

from rlmd import __version__, paths
from rlmd.cli import exits
from rlmd.cli.checkup import machine, setup
from rlmd.cli.checkup.findings import Finding, State, broken
from rlmd.cli.checkup.running import Running
from rlmd.errors import ConfigError

# ruff: noqa: PLC0415  # a command's imports wait until it runs

ORDER: tuple[State, ...] = ("ok", "unchecked", "warning", "broken")
MARKS: dict[State, str] = {"ok": "ok", "unchecked": "-", "warning": "warning", "broken": "BROKEN"}


def doctor(*, as_json: bool, config: str | None = None, overrides: Sequence[str] = ()) -> int:
    """Print what was found, troubles last; 0 unless something is broken, then 1.

    Starts no daemon, makes no call to a model, and writes nothing.
    """
    found = list(_look(config, overrides))
    worst = max(found, key=lambda each: ORDER.index(each.state)).state
    if as_json:
        facts = {"version": __version__, "worst": worst, "findings": [asdict(each) for each in found]}
        print(json.dumps(facts, ensure_ascii=False))
    else:
        print(as_text(found))
    return exits.FOUND_NOTHING if worst == "broken" else 0


def as_text(found: Iterable[Finding]) -> str:
    """Write the findings for a person, a line each, the worst last; what mends one stands below it."""
    lines = []
    for each in sorted(found, key=lambda each: ORDER.index(each.state)):
        lines.append(f"{MARKS[each.state]:<8}  {each.name:<12} {each.what}")
        lines += [f"{'':<23}{each.fix}"] if each.fix else []
    return "\n".join(lines)


def _look(file: str | None, overrides: Sequence[str]) -> Iterator[Finding]:
    from rlmd.config import Config, load
    from rlmd.llm.discover import discover

    files = paths.config_files()
    yield from _safely("python", machine.python)
    yield from _safely("system", machine.system)
    try:
        settings = load(files, file=file, env=os.environ, overrides=overrides).config
        yield setup.settings((*files, file) if file else files)
    except ConfigError as exc:
        for problem in exc.problems:
            yield broken(
                "settings", problem, "A daemon does not start with it; rlmd config check judges again."
            )
        settings = Config()
    running = Running()
    yield from _safely("daemon", running.daemon)
    yield from _safely("systemd", machine.systemd)
    yield from _safely("sandbox", lambda: running.sandbox(settings))
    yield from _safely("tokens", lambda: setup.tokens(settings))
    found = discover(settings.llm, env=os.environ, stored_key=paths.key_file())
    yield from _safely("model", lambda: running.model(found))
    yield from _safely("agents", setup.agents)
    yield from _safely("disk", machine.disk)
    yield from _safely("permissions", machine.permissions)


def _safely(name: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Look, and let a look that crashes be a finding: the others are wanted all the more then."""
    try:
        yield from look()
    except Exception as exc:  # noqa: BLE001  # see above
        yield broken(name, f"could not be looked at: {type(exc).__name__}: {exc}", "Run: rlmd bugreport.")
