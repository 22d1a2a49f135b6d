"""The contents that outlive the daemon: a directory in the cache, owned by one daemon at a time.

`pack` holds the contents, `blobs` says which and where, `trees/` what is known of each tree.  All of it
can be computed again, so whatever is not certain to be what was written is thrown away: files of
another version lie elsewhere, each file carries its own hash, and a pack that was touched since
`blobs` was written, as by a daemon that was killed, is read and compared content by content.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import structlog

from rlmd.corpus import known
from rlmd.corpus.blobs import Blob, Blobs
from rlmd.corpus.known import Known
from rlmd.corpus.pack import NoPack, Pack
from rlmd.corpus.sealed import Damaged, read_sealed, write_sealed
from rlmd.corpus.snapshot import Tree
from rlmd.values import Span, TokenEncoding

VERSION = 1
KIND = "rlmd blobs 1"
MOST_TREES = 64
_LOCK, _PACK, _BLOBS, _TREES = "lock", "pack", "blobs", "trees"
_PIECE_BYTES = 1 << 20
log = structlog.get_logger(__name__)


class Shelf:
    """The pack and what is known of trees.  Its methods block: a thread's work, one at a time."""

    def __init__(self, directory: Path, *, private: bool) -> None:
        """Open what lies in *directory*, or begin anew; *private* for one that nobody will open again."""
        self.directory = directory
        self.private = private
        (directory / _TREES).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._saved: tuple[int, ...] = ()
        self.pack = self._resume() or self._begin()

    def save(self) -> None:
        """Write down which contents there are; raises OSError and leaves what was written before."""
        stamps = _stamps(self.pack)
        if self.private or (not self.pack.blobs.has_news and stamps == self._saved):
            return
        end = self.pack.end
        path = str(self.directory / _BLOBS)
        facts = {"pack": self.pack.id, "end": end, "stamps": stamps, "boot": _boot()}
        write_sealed(path, KIND, facts, self.pack.blobs.begin_write())
        _, records = read_sealed(path, KIND)
        self.pack.blobs.end_write(records)
        self._saved = stamps

    def save_tree(self, source: Tree, held: Known) -> None:
        """Write down what is known of *source*; raises OSError.  `save` comes before."""
        if not self.private:
            known.save(str(self._tree(source)), held)
            for path in self.trees()[:-MOST_TREES]:
                path.unlink(missing_ok=True)

    def load_tree(self, source: Tree, encoding: TokenEncoding) -> Known | None:
        """Return what is known of *source* from before, as the one used last."""
        path = self._tree(source)
        found = known.load(str(path), source, encoding, self.pack)
        if found is not None:
            with suppress(OSError):
                os.utime(path)
        return found

    def trees(self) -> list[Path]:
        """Return the files of what is known of trees, the least recently used first."""
        found = [path for path in (self.directory / _TREES).iterdir() if not path.name.endswith(".new")]
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)

    def make_room(self, most_bytes: int | None = None) -> int:
        """Let contents go until *most_bytes* are left, or what is needed; return how many bytes went.

        First go those of no tree, the oldest first; then, tree by tree, those not used for longest.
        Without *most_bytes* only the former.  Who holds `Files` of a snapshot keeps its contents.
        Nobody may be about to make a snapshot of contents that are in none yet.
        """
        needed = {offset for holder in self.pack.holders() for offset in holder.offsets()}
        gone = self._drop_down_to(most_bytes, needed)
        reserved = self.pack.reserved()
        self.pack.keep_only([*reserved, *(blob.span for _, blob in self.pack.blobs.items())])
        self.save()  # last, as it needs room; a crash before it shows, since the pack was touched
        return gone

    def _drop_down_to(self, most_bytes: int | None, needed: set[int]) -> int:
        idle = {
            blob.span.offset: (digest, blob)
            for digest, blob in self.pack.blobs.items()
            if blob.span.offset not in needed
        }
        total = sum(blob.span.length for _, blob in self.pack.blobs.items())
        gone = 0
        for path, offsets in self._by_age(idle):
            if path is not None if most_bytes is None else total - gone <= most_bytes:
                break
            if path is not None:
                path.unlink()
            for offset in offsets:
                digest, blob = idle.pop(offset)
                self.pack.blobs.drop(digest)
                gone += blob.span.length
        return gone

    def _by_age(self, idle: dict[int, tuple[bytes, Blob]]) -> Iterator[tuple[Path | None, list[int]]]:
        """Yield trees with the places that only they and those before them need; first of all no tree."""
        rest, newest_first = set(idle), []
        for path in reversed(self.trees()):
            offsets = rest.intersection(known.offsets_in(str(path), self.pack))
            rest -= offsets
            newest_first.append((path, sorted(offsets)))
        for offset in sorted(rest):
            yield None, [offset]
        yield from reversed(newest_first)

    @property
    def allocated_bytes(self) -> int:
        """What the contents take on the disk."""
        return self.pack.stat().st_blocks * 512

    def close(self) -> None:
        """Write down what is not yet, if that can be, and close the pack."""
        try:
            self.save()
        except OSError as failed:  # what was written before still holds
            log.warning("cache.not_saved", error=str(failed))
        self.pack.close()

    def _tree(self, source: Tree) -> Path:
        return self.directory / _TREES / known.name_of(source)

    def _begin(self) -> Pack:
        """Start with nothing: whatever of ours lay here is removed."""
        for name in (_PACK, _BLOBS, _TREES):
            entry = self.directory / name
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
        (self.directory / _TREES).mkdir(mode=0o700)
        return Pack(str(self.directory / _PACK))

    def _resume(self) -> Pack | None:
        """Return the pack as it was left, without what cannot be relied on; None if that is nothing."""
        try:
            facts, records = read_sealed(str(self.directory / _BLOBS), KIND)
            touched = facts["boot"] != _boot() or facts["stamps"] != list(_stamp(self.directory / _PACK))
            pack = Pack(str(self.directory / _PACK), Blobs(records), end=facts["end"])
        except (OSError, Damaged, NoPack, ValueError, KeyError) as found:
            if not (isinstance(found, OSError) and found.errno == errno.ENOENT):
                log.warning("cache.discarded", reason=str(found))
            return None
        if pack.id != facts["pack"]:
            pack.close()
            log.warning("cache.discarded", reason="a pack of another time")
            return None
        self._saved = tuple(facts["stamps"])
        if touched:
            self._verify(pack)
        return pack

    def _verify(self, pack: Pack) -> None:
        """Drop each content that does not hash to its name; then no tree can be relied on either."""
        spoilt = [digest for digest, blob in pack.blobs.items() if _digest(pack, blob.span) != digest]
        for digest in spoilt:
            pack.blobs.drop(digest)
        if spoilt:
            shutil.rmtree(self.directory / _TREES, ignore_errors=True)
            (self.directory / _TREES).mkdir(mode=0o700)
        log.info("cache.verified", spoilt=len(spoilt))
        self._saved = ()


@contextmanager
def owned(cache: Path) -> Iterator[Path | None]:
    """Yield the directory of the shelf in *cache*, ours as long as the block; None if another has it."""
    directory = cache / "corpus" / f"v{VERSION}"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield directory
    finally:
        os.close(lock)


def _digest(pack: Pack, span: Span) -> bytes:
    digest = sha256()
    for at in range(span.offset, span.offset + span.length, _PIECE_BYTES):
        digest.update(pack.read(Span(at, min(_PIECE_BYTES, span.offset + span.length - at))))
    return digest.digest()


def _stamps(pack: Pack) -> tuple[int, ...]:
    status = pack.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _stamp(path: Path) -> tuple[int, ...]:
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns


def _boot() -> str:
    """Return what tells one run of the system from another: only a power cut loses what was written."""
    return Path("/proc/sys/kernel/random/boot_id").read_text()
