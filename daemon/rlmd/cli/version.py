"""`rlmd version`: what this is and what it runs on, without asking a daemon."""

from __future__ import annotations

import json
import os
import sys

from rlmd import __version__


def version(*, as_json: bool = False) -> int:
    """Print the version, as JSON with the interpreter and the package's place; returns 0."""
    if not as_json:
        print(f"rlmd {__version__}")
        return 0
    facts = {
        "version": __version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "executable": sys.executable,
        "package": os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
    }
    print(json.dumps(facts, indent=2))
    return 0
