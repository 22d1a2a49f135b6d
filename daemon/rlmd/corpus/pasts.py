"""The pasts of repositories: for each commit that a tree stands at, those before it, ready to vote."""

from __future__ import annotations

import hashlib
import shutil
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import structlog
import trio

from rlmd.corpus.lineage import Lineage, lineage_of
from rlmd.corpus.voters import Voters
from rlmd.offload import Offload, OffloadError

BUILD = "rlmd.corpus.voters:build"
MOST = 8
log = structlog.get_logger(__name__)


class Below:
    """Votes for the files below the directory *prefix* of a repository, named as seen from there."""

    def __init__(self, voters: Voters, prefix: str) -> None:
        self._voters, self._prefix = voters, prefix

    def vote(self, terms: Mapping[str, float]) -> dict[str, float]:
        """Return what the commits most like weighted *terms* say for each path, 1 for the first."""
        votes, start = self._voters.vote(terms), len(self._prefix)
        return {path[start:]: said for path, said in votes.items() if path.startswith(self._prefix)}


class Pasts:
    """Owns *directory*, where each past that was read lies until more than MOST came after it.

    They are read by *offload*, in tasks of *nursery*, which outlive those who wait for them.
    """

    def __init__(
        self, directory: Path, offload: Offload, threads: trio.CapacityLimiter, nursery: trio.Nursery
    ) -> None:
        self._directory, self._offload = directory, offload
        self._threads, self._nursery = threads, nursery
        self._known: OrderedDict[str, Voters | None] = OrderedDict()
        self._reading: dict[str, trio.Event] = {}

    async def before(self, root: str, within_s: float) -> Below | None:
        """Return the past of the tree at *root*, None if it has none or it is not read *within_s* seconds."""
        lineage = await trio.to_thread.run_sync(lineage_of, root, limiter=self._threads)
        if lineage is None or lineage.head is None:
            return None
        name = hashlib.sha256(f"{lineage.common}\0{lineage.head}".encode("utf-8", "replace")).hexdigest()[:32]
        if name not in self._known:
            if name not in self._reading:
                self._reading[name] = trio.Event()
                self._nursery.start_soon(self._read, name, lineage)
            with trio.move_on_after(within_s):
                await self._reading[name].wait()
        voters = self._known.get(name)
        return None if voters is None else Below(voters, f"{root}/".removeprefix(f"{lineage.top}/"))

    async def _read(self, name: str, lineage: Lineage) -> None:
        try:
            place = self._directory / name
            blocking = partial(trio.to_thread.run_sync, limiter=self._threads)
            if not await blocking(place.is_dir):
                new = place.with_suffix(".new")
                await blocking(_empty, new)
                await self._offload.call(BUILD, str(new), lineage.top, lineage.head)
                await blocking(new.rename, place)
            self._known[name] = await blocking(Voters, str(place))
        except (OSError, ValueError, OffloadError) as error:  # tantivy raises ValueError, whatever went wrong
            log.warning("history.not_read", error=str(error))
            self._known[name] = None
        finally:
            self._reading.pop(name).set()
        while len(self._known) > MOST:
            gone, _ = self._known.popitem(last=False)
            await blocking(partial(shutil.rmtree, self._directory / gone, ignore_errors=True))


def _empty(directory: Path) -> None:
    """Make *directory* anew."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True)
