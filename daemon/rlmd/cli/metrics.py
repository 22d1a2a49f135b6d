"""`rlmd metrics`: the daemon's figures as Prometheus reads them, fetched from the page on its socket."""

from __future__ import annotations

import os
import socket
import sys

from rlmd import paths
from rlmd.cli import start
from rlmd.cli.talk import complain

PATIENCE_S = 30.0


def metrics() -> int:
    """Print the figures; 69 where no daemon runs.

    `rlmd metrics > rlmd.prom` in a timer is what node_exporter's textfile collector wants.
    """
    try:
        with start.connect(paths.socket_path()) as connection:
            told = _fetch(connection)
    except (start.NotRunning, OSError) as exc:
        return complain(str(exc), os.EX_UNAVAILABLE)
    head, _, body = told.partition(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        return complain(body.decode(errors="replace").strip() or "the daemon gave no page", os.EX_SOFTWARE)
    sys.stdout.write(body.decode())
    return 0


def _fetch(connection: socket.socket) -> bytes:
    connection.settimeout(PATIENCE_S)
    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: rlmd\r\n\r\n")
    told = bytearray()
    while data := connection.recv(65_536):
        told += data
    return bytes(told)
