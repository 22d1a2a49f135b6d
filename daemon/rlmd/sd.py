"""What systemd and a service tell each other: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).

Every function does nothing, and says so, where there is no systemd.
"""

from __future__ import annotations

import os
import socket
import time

_SEND_PATIENCE_S = 1.0


def notify(*assignments: str) -> bool:
    """Tell systemd *assignments* such as `READY=1` in one message; return whether it was sent.

    A manager that is gone or does not read within a second is no reason to stop serving.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(_SEND_PATIENCE_S)
            manager.connect("\0" + address[1:] if address.startswith("@") else address)
            manager.send("\n".join(assignments).encode())
    except OSError:
        return False
    return True


def ready(status: str) -> bool:
    """Say that start-up, or a reload, is complete; *status* is what `systemctl status` shows."""
    return notify("READY=1", f"STATUS={status}")


def reloading() -> bool:
    """Say that a reload has begun; `ready` ends it."""
    return notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping(status: str) -> bool:
    """Say that shutting down has begun."""
    return notify("STOPPING=1", f"STATUS={status}")


def watchdog_interval() -> float | None:
    """Return the seconds within which systemd wants a WATCHDOG=1, None where it wants none."""
    interval_us = os.environ.get("WATCHDOG_USEC", "")
    for_pid = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not interval_us.isdecimal() or for_pid != str(os.getpid()):
        return None
    return int(interval_us) / 1e6 or None


def listen_fds(*, first_fd: int = 3) -> dict[str, list[int]]:
    """Return the sockets handed over by socket activation: descriptors by FileDescriptorName.

    No child inherits them, nor the variables that announce them: those are gone afterwards, so
    that a second call returns nothing.
    """
    for_pid, count, names = (os.environ.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
    if for_pid != str(os.getpid()) or not count.isdecimal():
        return {}
    handed: dict[str, list[int]] = {}
    called = names.split(":") if names else []
    for position in range(int(count)):
        fd = first_fd + position
        os.set_inheritable(fd, False)
        handed.setdefault(called[position] if position < len(called) else "unknown", []).append(fd)
    return handed
