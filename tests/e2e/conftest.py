"""One daemon for all tests that do it no harm, and the trees that they ask about."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon_world import Client, Daemon, Places, new_places, running_daemon

LIBRARY = Path(os.path.realpath(sysconfig.get_path("stdlib")))
NO_TESTS = ["site-packages/**", "**/test/**", "**/tests/**", "idlelib/**", "lib2to3/**"]


@pytest.fixture(scope="session")
def shared_places() -> Iterator[Places]:
    with new_places() as places:
        yield places


@pytest.fixture(scope="session")
def daemon(shared_places: Places) -> Iterator[Daemon]:
    """The daemon that all share: tests neither stop it nor leave anything running in it."""
    with running_daemon(shared_places) as daemon:
        yield daemon
        assert daemon.process.poll() is None, daemon.logged()[-4_000:]


@pytest.fixture
def places() -> Iterator[Places]:
    """Directories for a daemon of the test's own."""
    with new_places() as places:
        yield places


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree whose facts can be counted by hand."""
    root = tmp_path / "tree"
    (root / "pkg").mkdir(parents=True)
    (root / "README.md").write_text("# Spline tools\n\nReticulates splines.\n")
    (root / "pkg/spline.py").write_text(
        '"""Splines."""\n\n\ndef reticulate(spline):\n    """Reticulate one."""\n    return spline[::-1]\n'
    )
    (root / "pkg/knot.py").write_text("def tie(knot):\n    return knot * 2\n")
    return root


@pytest.fixture
def client(daemon: Daemon, tree: Path) -> Iterator[Client]:
    """A connection to the shared daemon that works in the small tree."""
    with daemon.connect(tree) as client:
        yield client


@pytest.fixture(scope="session")
def library(daemon: Daemon) -> Iterator[Client]:
    """A connection that works in the standard library."""
    with daemon.connect(LIBRARY) as client:
        yield client


@pytest.fixture(scope="session")
def stdlib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the standard library with its tests, without what is installed beside it."""
    root = tmp_path_factory.mktemp("library") / "stdlib"
    skipped = shutil.ignore_patterns("site-packages", "__pycache__", "config-*")
    shutil.copytree(LIBRARY, root, symlinks=True, ignore=skipped)
    return root


def git(cwd: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments], cwd=cwd, check=True)
