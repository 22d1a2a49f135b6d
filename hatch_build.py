"""Put the manual page into the package, made from the command line that it describes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualHook(BuildHookInterface[Any]):
    """Runs when a wheel is built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the page below the build directory and have it installed as share/man/man1/rlmd.1."""
        if version == "editable":
            return
        sys.path.insert(0, str(Path(self.root, "daemon")))
        try:
            from rlmd.cli.manual import page  # noqa: PLC0415  # it is this tree's own
        finally:
            sys.path.pop(0)
        made = Path(self.directory, "rlmd.1")
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text(page(), encoding="utf-8")
        build_data["shared_data"][str(made)] = "share/man/man1/rlmd.1"
