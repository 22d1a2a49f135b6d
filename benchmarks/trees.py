"""Real trees to measure on, kept outside the repository and made once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path


def cache() -> Path:
    """Return the directory that benchmark trees live in, made on first use."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    place = Path(base) / "rlmd-bench"
    place.mkdir(parents=True, exist_ok=True)
    return place


def standard_library() -> Path:
    """Return a copy of the running Python's standard library inside a git work tree of its own."""
    tree = cache() / "stdlib"
    if not (tree / ".git").exists():
        source = Path(sysconfig.get_path("stdlib"))
        shutil.rmtree(tree, ignore_errors=True)
        ignored = shutil.ignore_patterns("site-packages", "__pycache__", "*.pyc", "*.so", "*.a")
        shutil.copytree(source, tree, ignore=ignored, symlinks=True)
        (tree / ".gitignore").write_text("__pycache__/\n*.pyc\n")
        subprocess.run(["git", "init", "-q", str(tree)], check=True)
    return tree


class Unavailable(Exception):
    """A tree cannot be had here; the text says why."""


def linux_source() -> Path:
    """Return Debian's linux-source-6.1 in a git work tree, so that its ignore rules hold.

    Raises `Unavailable` where the package cannot be downloaded.  The package's .gitignore ends in
    a `/*` that Debian added for packaging; without that line the rules are the kernel's own.
    """
    tree = cache() / "linux-source-6.1"
    if (tree / ".git").exists():
        return tree
    if shutil.which("apt-get") is None:
        raise Unavailable("no apt-get: Debian's linux-source-6.1 cannot be downloaded")
    work = cache() / "unpack"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    fetched = subprocess.run(
        ["apt-get", "download", "linux-source-6.1"], cwd=work, capture_output=True, text=True, check=False
    )
    packages = list(work.glob("*.deb"))
    if fetched.returncode or not packages:
        raise Unavailable(f"apt-get download linux-source-6.1: {fetched.stderr.strip()[-200:]}")
    subprocess.run(["dpkg-deb", "-x", str(packages[0]), str(work / "x")], check=True)
    archive = next((work / "x" / "usr" / "src").glob("linux-source-6.1.tar.*"))
    subprocess.run(["tar", "-xf", str(archive), "-C", str(work)], check=True)
    source = work / "linux-source-6.1"
    rules = (source / ".gitignore").read_text().splitlines()
    (source / ".gitignore").write_text("\n".join(rule for rule in rules if rule != "/*") + "\n")
    subprocess.run(["git", "init", "-q", str(source)], check=True)
    source.rename(tree)
    shutil.rmtree(work)
    return tree
