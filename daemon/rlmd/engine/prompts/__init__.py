"""What models are told, in files beside this one; `version` names the wording."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources


@cache
def prompt(name: str) -> str:
    """Return the text of the file *name*.md."""
    return resources.files(__name__).joinpath(f"{name}.md").read_text("utf-8")


@cache
def version() -> str:
    """Return a hash over all prompts of a run: a trajectory is of one wording."""
    digest = hashlib.sha256("\0".join(prompt(name) for name in ("root", "closing")).encode())
    return digest.hexdigest()[:12]
