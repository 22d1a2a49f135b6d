"""Repositories that tests make."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def git(tree: Path, *arguments: str) -> str:
    """Run git in *tree* as nobody in particular; return what it printed."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "HOME": str(tree)}
    ran = subprocess.run(
        ["git", "-C", str(tree), *identity, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.strip()
