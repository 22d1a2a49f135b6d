"""The confined process: take what is handed over, lock the door from inside, run cells until killed.

Started by `rlmd.sandbox.process` with an empty environment and one end of a socket pair as its
standard input; it may hold no secret, because it never had one.  Standard library only.
"""

from __future__ import annotations

import builtins
import json
import mmap
import os
import random
import signal
import socket
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rlmd.sandbox import confine, preload
from rlmd.sandbox.cell import Cells, Ran
from rlmd.sandbox.channel import Channel
from rlmd.sandbox.documents import Files
from rlmd.sandbox.names import Names, Submission
from rlmd.sandbox.pages import Pages
from rlmd.sandbox.table import unpack
from rlmd.sandbox.wire import Op

FD = 3
"""The socket, and the only descriptor that leads anywhere once the locks are closed."""
START_BYTES = 1 << 16
NICENESS = 5
MOST_FDS = 256
LONGEST_NAME_CHARS = 100


def main(
    parent: int,
    *,
    layers: Iterable[str] = confine.LAYERS,
    extra_calls: Iterable[int] = (),
    tools: bool = False,
) -> None:
    """Serve one session of the daemon *parent*; never returns.

    Tests alone leave out *layers*, add *extra_calls*, or keep the *tools* of escape within reach.
    """
    confine.die_with(parent, signal.SIGKILL)
    os.dup2(0, FD)
    preload.load()
    _give_way()
    channel = Channel(FD)
    start, data, table = _receive_start(channel)
    _close_descriptors()
    pages = Pages(data, start["blocks"], channel.bring)
    pages.note(*start["there"])
    files = Files(unpack(table[:]), pages)
    names = Names(channel, files, start["context"])
    cells = Cells(start["output_chars"])
    signal.signal(signal.SIGINT, cells.interrupt)
    random.seed(0)
    try:
        held = confine.lock(
            memory_bytes=start["memory_bytes"], cpu_s=start["cpu_s"], layers=layers, extra_calls=extra_calls
        )
    except confine.Unconfined as failed:
        channel.send(Op.UNSAFE, parts=[str(failed)])
        os._exit(1)
    if not tools:
        preload.put_away()
    channel.send(Op.READY, parts=held)
    namespace: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
    while True:
        code = channel.next_cell()
        names.begin(namespace)
        ran = cells.run(code, namespace)
        channel.send(Op.DONE, parts=_report(ran, names.submission(), names.variables(namespace)))


def _give_way() -> None:
    """Yield processor and, when memory runs out, life to everybody else."""
    os.nice(NICENESS)
    try:
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
    except OSError:
        pass  # a read-only /proc costs only the preference


def _receive_start(channel: Channel) -> tuple[dict[str, Any], mmap.mmap, mmap.mmap]:
    """Wait for the session's settings and map its two descriptors, for reading only."""
    with socket.socket(fileno=FD) as connection:
        data, fds, _, _ = socket.recv_fds(connection, START_BYTES, 2)
        if not data:
            os._exit(0)
        channel.feed(data)
        connection.detach()
    start: dict[str, Any] = json.loads(channel.receive().parts[0])
    content, table = (mmap.mmap(fd, 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ) for fd in fds)
    return start, content, table


def _close_descriptors() -> None:
    """Leave nothing but FD and three ends of /dev/null; mappings stay without their descriptors."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.closerange(FD + 1, MOST_FDS)
    sys.stdin = None


def _report(ran: Ran, submission: Submission | None, variables: Sequence[tuple[str, str, int]]) -> list[str]:
    """Return the parts of a DONE frame; see `rlmd.sandbox.outcome`, which reads them."""
    listed = [text for name, kind, size in variables for text in (_cut(name), _cut(kind), str(size))]
    kind, answer, citations = submission or ("", "", [])
    return [ran.output, str(ran.written), ran.error, kind, answer, str(len(variables)), *listed, *citations]


def _cut(name: str) -> str:
    return name[:LONGEST_NAME_CHARS]
