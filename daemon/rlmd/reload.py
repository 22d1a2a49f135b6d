"""The settings that hold, and how SIGHUP reads them anew: whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import structlog
import trio

from rlmd.config import Config, Loaded
from rlmd.config.changes import between
from rlmd.errors import ConfigError
from rlmd.status import Problem

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class Settings:
    """`config` holds now; *read* reads all sources again, *apply* puts a new one to work.

    `problems` are what the last reload could not do, for status to show.
    """

    config: Config
    read: Callable[[], Loaded]
    apply: Callable[[Config], None]
    problems: tuple[Problem, ...] = ()

    async def reload(self) -> str:
        """Take over what may change now and say in a line what that was; never raises.

        With any mistake in any source nothing changes, and the line names the first.
        """
        try:
            wanted = (await trio.to_thread.run_sync(self.read)).config
        except ConfigError as wrong:
            told = [_without_home(problem) for problem in wrong.problems]
            log.warning("config.refused", problems=told)
            self.problems = tuple(
                Problem(f"{mistake}; the settings from before hold", "Mend it, then send SIGHUP again.")
                for mistake in wrong.problems
            )
            return f"config error: {wrong.problems[0]}"
        change = between(self.config, wanted)
        self.apply(change.config)
        self.config = change.config
        log.info("config.reloaded", applied=change.applied, waiting=change.waiting)
        self.problems = tuple(
            Problem(f"{name} was changed and waits for a restart", "`rlmd stop`; the next client starts it.")
            for name in change.waiting
        )
        return _summary(change.applied, change.waiting)


def _summary(applied: tuple[str, ...], waiting: tuple[str, ...]) -> str:
    told = [f"reloaded {', '.join(applied)}" if applied else "reloaded, nothing new"]
    return "; ".join([*told, *([f"restart for {', '.join(waiting)}"] if waiting else [])])


def _without_home(text: str) -> str:
    return text.replace(os.path.expanduser("~"), "~")
