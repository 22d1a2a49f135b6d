"""What this process uses of the machine and how much it may: read from /proc, no library."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rlmd.status import ProcessFacts

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
_M_ARENA_MAX = -8


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Memory used against the limit that binds first, named by `source`.

    `stalled_percent` is the share of the last ten seconds in which some task waited for memory
    (PSI), 0 where the kernel does not say.
    """

    used_bytes: int
    limit_bytes: int
    source: str
    stalled_percent: float = 0.0

    @property
    def share(self) -> float:
        """How much of the limit is used, from 0."""
        return self.used_bytes / self.limit_bytes if self.limit_bytes else 0.0


@dataclass(frozen=True, slots=True)
class _Limit:
    """One limit: whose memory counts against it is that of `cgroup`, else of us and our children."""

    bytes: int
    source: str
    cgroup: Path | None = None


def process_facts(*, own_bytes: int = 0, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> ProcessFacts:
    """Return memory, descriptors and threads of this process, and the limit that binds first.

    The limit is the least of *own_bytes* (the setting; 0 = none), the cgroup's memory.max and
    memory.high (its parents' too), the address space rlimit and the machine's RAM; `limit_source`
    names which of them it is.
    """
    status = _fields(proc / "self" / "status")
    use = memory_use(own_bytes=own_bytes, proc=proc, cgroups=cgroups)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ProcessFacts(
        rss_bytes=_kibibytes(status.get("VmRSS", "0 kB")),
        used_bytes=use.used_bytes,
        limit_bytes=use.limit_bytes,
        limit_source=use.source,
        open_fds=sum(1 for _ in os.scandir(proc / "self" / "fd")) - 1,  # the listing's own
        max_fds=soft,
        threads=int(status.get("Threads", "1")),
    )


def memory_use(*, own_bytes: int = 0, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> MemoryUse:
    """Return how much is used of the limit that binds first; takes well under a millisecond."""
    limit = min(_limits(own_bytes, proc, cgroups), key=lambda each: each.bytes)
    if limit.source == "RLIMIT_AS":
        used = _kibibytes(_fields(proc / "self" / "status").get("VmSize", "0 kB"))
    elif limit.cgroup is not None and (text := _text(limit.cgroup / "memory.current").strip()):
        used = int(text) - _inactive_file(limit.cgroup)
    else:
        used = sum(_kibibytes(_fields(proc / pid / "status").get("VmRSS", "0 kB")) for pid in _family(proc))
    return MemoryUse(used, limit.bytes, limit.source, _stalled_percent(proc, cgroups))


def give_back() -> None:
    """Return what was freed to the machine, as far as the C library can (glibc's malloc_trim)."""
    gc.collect()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_few_arenas() -> None:
    """Have the C library's allocator share two arenas among all threads; call it before there are any.

    With one for each thread (glibc's default) what a thread has freed stays with it: under sixteen
    clients the process grew from 120 to 180 MiB in twenty minutes and held nothing in them.
    """
    with suppress(AttributeError, OSError):  # another C library has neither the fault nor the call
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def bound_descriptors(most: int) -> int:
    """Let this process open *most* descriptors, or as many as it may; return how many that are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


def _limits(own_bytes: int, proc: Path, cgroups: Path) -> Iterator[_Limit]:
    yield _Limit(_kibibytes(_fields(proc / "meminfo").get("MemTotal", "0 kB")), "MemTotal")
    if own_bytes:
        yield _Limit(own_bytes, "daemon.memory_bytes")
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        yield _Limit(soft, "RLIMIT_AS")
    for directory in _own_cgroups(proc, cgroups):
        for knob in ("memory.max", "memory.high"):
            value = _text(directory / knob).strip()
            if value.isdigit():
                yield _Limit(int(value), f"cgroup {knob}", directory)


def _own_cgroups(proc: Path, cgroups: Path) -> Iterator[Path]:
    """Yield our cgroup of the unified hierarchy and its parents, innermost first."""
    for line in _text(proc / "self" / "cgroup").splitlines():
        if line.startswith("0::/"):
            own = cgroups / line.removeprefix("0::/")
            yield own
            yield from (parent for parent in own.parents if parent.is_relative_to(cgroups))


def _family(proc: Path) -> Iterator[str]:
    """Yield ourselves and our children: the worker process and the sandboxes have none of their own."""
    yield "self"
    for thread in _entries(proc / "self" / "task"):
        yield from _text(proc / "self" / "task" / thread / "children").split()


def _entries(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _inactive_file(cgroup: Path) -> int:
    """Return the bytes of the page cache that the kernel would give up first."""
    for line in _text(cgroup / "memory.stat").splitlines():
        if line.startswith("inactive_file "):
            return int(line.split()[1])
    return 0


def _stalled_percent(proc: Path, cgroups: Path) -> float:
    """Return PSI's `some avg10` of our cgroup, else of the machine."""
    places = [*(own / "memory.pressure" for own in _own_cgroups(proc, cgroups)), proc / "pressure" / "memory"]
    for place in places:
        for line in _text(place).splitlines():
            if line.startswith("some avg10="):
                return float(line.split()[1].removeprefix("avg10="))
    return 0.0


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
