"""What this process uses of the machine and how much it may: read from /proc, no library."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from rlmd.status import ProcessFacts

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


def process_facts(*, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> ProcessFacts:
    """Return memory, descriptors and threads of this process, and the limit that binds first.

    The limit is the least of the cgroup's memory.max and memory.high (its parents' too), the
    address space rlimit and the machine's RAM; `limit_source` names which of them it is.
    """
    status = _fields(proc / "self" / "status")
    limit_bytes, source = min(_limits(proc, cgroups))
    return ProcessFacts(
        rss_bytes=_kibibytes(status.get("VmRSS", "0 kB")),
        limit_bytes=limit_bytes,
        limit_source=source,
        open_fds=sum(1 for _ in os.scandir(proc / "self" / "fd")) - 1,  # the listing's own
        threads=int(status.get("Threads", "1")),
    )


def _limits(proc: Path, cgroups: Path) -> Iterator[tuple[int, str]]:
    yield _kibibytes(_fields(proc / "meminfo").get("MemTotal", "0 kB")), "MemTotal"
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        yield soft, "RLIMIT_AS"
    for directory in _own_cgroups(proc, cgroups):
        for knob in ("memory.max", "memory.high"):
            value = _text(directory / knob).strip()
            if value.isdigit():
                yield int(value), f"cgroup {knob}"


def _own_cgroups(proc: Path, cgroups: Path) -> Iterator[Path]:
    """Yield our cgroup of the unified hierarchy and its parents, innermost first."""
    for line in _text(proc / "self" / "cgroup").splitlines():
        if line.startswith("0::/"):
            own = cgroups / line.removeprefix("0::/")
            yield own
            yield from (parent for parent in own.parents if parent.is_relative_to(cgroups))


def _fields(path: Path) -> dict[str, str]:
    pairs = (line.partition(":") for line in _text(path).splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # a controller that is not there limits nothing
        return ""


def _kibibytes(field: str) -> int:
    return int(field.split(maxsplit=1)[0]) * 1024
