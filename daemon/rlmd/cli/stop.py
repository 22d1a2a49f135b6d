"""`rlmd stop`: end the daemon as a service manager would, and wait until it is gone."""

from __future__ import annotations

import os
import select
import signal

from rlmd.cli.client import Client
from rlmd.cli.talk import complain, talk

STOP_S = 60.0
"""Longer than any sensible grace period for the work in hand."""


def stop() -> int:
    """Ask the daemon to end; 69 where none runs, 75 where it has not ended in `STOP_S` seconds."""
    return talk(_stop, starting=False)


def _stop(client: Client) -> int:
    pid = client.call("rlm_status", {}).facts["pid"]
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return 0
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        poll = select.poll()
        poll.register(process, select.POLLIN)
        if not poll.poll(STOP_S * 1000):
            return complain(
                f"the daemon (pid {pid}) is still at work; stop it again to cut that short", os.EX_TEMPFAIL
            )
    finally:
        os.close(process)
    return 0
