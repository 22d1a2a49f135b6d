"""Keep the segments of a pack: what is new gets some, many small ones become one, dead ones go.

Runs in a worker process of its own, behind everybody else, a step a call.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from mmap import mmap
from pathlib import Path

import numpy as np

from rlmd.corpus.exact_request import Damaged, Place
from rlmd.corpus.exact_worker import UNOWNED, Corpus, open_segment, open_text
from rlmd.corpus.segment import PREFIX, Numbers, Segment, build
from rlmd.corpus.table import Table

SEAL_BYTES = 4 << 20
"""Less text than this is scanned in milliseconds, and waits for more."""
SEGMENT_BYTES = 256 << 20
SMALL_BYTES = 64 << 20
MOST_SMALL = 8
LOWEST = 19


def survey(directory: str, pack: str, identity: str) -> tuple[str, ...]:
    """Return the segments below *directory* that belong to the pack; remove all else that is there.

    Those go that are damaged or unfinished, of another pack, or half of whose contents were given back.
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)
    kept: list[str] = []
    text = open_text(pack)
    for entry in sorted(Path(directory).iterdir()):
        if entry.name.startswith(PREFIX) and _is_of_use(str(entry), text, identity):
            kept.append(str(entry))
        else:
            shutil.rmtree(entry, ignore_errors=True)
    return tuple(kept)


def tend(place: Place, directory: str, identity: str) -> tuple[tuple[str, ...], bool]:
    """Take one step towards segments for a whole snapshot; return those there are then, and whether to go on.

    A step reads at most `SEGMENT_BYTES`, some three seconds.  Segments that an earlier step replaced are
    removed; a step that is killed leaves a directory that the next survey removes.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, LOWEST)
    segments = place.segments
    for entry in Path(directory).glob(f"{PREFIX}*"):
        if str(entry) not in segments:
            shutil.rmtree(entry, ignore_errors=True)
    opened = {name: open_segment(name) for name in segments}
    corpus = Corpus(Table(place.table), tuple(opened.values()))
    rest = corpus.table.blobs[corpus.owner == UNOWNED]
    text = open_text(place.pack)
    if rest[:, 1].sum() >= SEAL_BYTES:
        name = build(identity, text, _first(rest), directory)
        return (*segments, os.path.join(directory, name)), True
    small = [name for name, segment in opened.items() if segment.text_bytes < SMALL_BYTES]
    if len(small) <= MOST_SMALL:
        return segments, False
    merged = np.unique(np.concatenate([opened[name].blobs for name in small]), axis=0)
    name = build(identity, text, _alive(merged, text), directory)
    return (*(each for each in segments if each not in small), os.path.join(directory, name)), True


def _is_of_use(directory: str, text: mmap, identity: str) -> bool:
    try:
        segment = Segment(directory)
    except Damaged:
        return False
    return segment.pack == identity and 2 * len(_alive(segment.blobs, text)) >= len(segment.blobs)


def _alive(blobs: Numbers, text: mmap) -> Numbers:
    """Return the blobs that are still in the pack: what was punched out reads as NUL, which no text holds."""
    inside = blobs[blobs[:, 0] + blobs[:, 1] < len(text)]
    return inside[np.frombuffer(text, np.uint8)[inside[:, 0]] > 0]


def _first(blobs: Numbers) -> Numbers:
    """Return the first of *blobs* that fill one segment, at least one."""
    return blobs[: max(1, int(np.searchsorted(np.cumsum(blobs[:, 1]), SEGMENT_BYTES, "right")))]
