"""What is mounted where a tree lies, which decides whether the kernel tells of all changes in it."""

from __future__ import annotations

import re
import select
from pathlib import Path

from rlmd.roots import is_within

LOCAL = frozenset(
    {"bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "nilfs2", "ntfs3", "overlay"}
    | {"ramfs", "reiserfs", "tmpfs", "vfat", "xfs", "zfs"}
)
"""File systems that nobody changes behind the kernel's back, as others do on a server or in a program."""
_TABLE = "/proc/self/mountinfo"
_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mounts:
    """The table of mounts; says when it has changed since it was read last."""

    def __init__(self) -> None:
        """Raise OSError where there is none."""
        self._file = Path(_TABLE).open("rb", buffering=0)  # noqa: SIM115  # polled as long as this lives
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLPRI)

    def changed(self) -> bool:
        """Say whether anything was mounted or unmounted since the last look."""
        return bool(self._poll.poll(0))

    def objection(self, root: str) -> str | None:
        """Return why changes below *root* cannot all be seen, or None."""
        self._file.seek(0)
        table = b"".join(iter(lambda: self._file.read(1 << 16), b"")).decode("utf-8", "surrogateescape")
        lies_on, kind = "", ""
        for line in table.splitlines():
            left, _, right = line.partition(" - ")
            place = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), left.split(" ")[4])
            if place != root and is_within(place, root):
                return f"{place} is mounted inside"
            if is_within(root, place) and len(place) >= len(lies_on):
                lies_on, kind = place, right.split(" ")[0]
        return None if kind in LOCAL else f"it lies on {kind or 'nothing known'}"

    def close(self) -> None:
        """Let go of the table."""
        self._file.close()
