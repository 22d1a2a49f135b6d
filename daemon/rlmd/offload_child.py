"""The worker process: read a call, run it, write back what came of it, until the socket closes.

Run as a script by `rlmd.offload`, which speaks the other end: `offload_child.py FD PARENT_PID`.
It imports nothing but the standard library until a call names a module.  Each frame is a length
of eight bytes, big-endian, and a pickle; both ends are this program, so pickles are trusted.
The first frame is the host's `sys.path`, every further one `(function, args)`, each answered by
`(outcome, payload)` with an outcome of `value`, `raised`, `failed` or, as last words, `fatal`.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import pickle
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from io import BufferedRWPair
from pathlib import Path

HEAD = struct.Struct("!Q")
PR_SET_PDEATHSIG = 1
NICENESS = 5
OOM_SCORE = 500


def main(fd: int, parent: int) -> None:
    """Serve calls from *fd* until its other end closes; die with the process *parent*."""
    _die_with(parent)
    _give_way()
    with socket.socket(fileno=fd) as connection, connection.makefile("rwb") as stream:
        sys.path[:] = pickle.loads(_receive(stream) or pickle.dumps(sys.path))  # noqa: S301  # the host is us
        while (frame := _receive(stream)) is not None:
            try:
                answer = _answer(frame)
            except BaseException as error:
                # A Rust panic is no Exception and leaves its library in an unknown state.
                _send(stream, pickle.dumps(("fatal", _describe(error))))
                raise
            _send(stream, answer)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, however that comes about."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel was told
        os._exit(1)


def _give_way() -> None:
    """Yield processor and, when memory runs out, life to the daemon."""
    os.nice(NICENESS)
    with contextlib.suppress(OSError):  # a read-only /proc costs only the preference
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))


def _receive(stream: BufferedRWPair) -> bytes | None:
    head = stream.read(HEAD.size)
    return stream.read(HEAD.unpack(head)[0]) if len(head) == HEAD.size else None


def _send(stream: BufferedRWPair, frame: bytes) -> None:
    stream.write(HEAD.pack(len(frame)))
    stream.write(frame)
    stream.flush()


def _answer(frame: bytes) -> bytes:
    try:
        function, args = pickle.loads(frame)  # noqa: S301  # the host is us
        return pickle.dumps(("value", _resolve(function)(*args)), pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001  # whatever the function raises is its caller's
        return _raised(error)


def _resolve(function: str) -> Callable[..., object]:
    module, _, name = function.partition(":")
    found: Callable[..., object] = getattr(importlib.import_module(module), name)
    return found


def _raised(error: Exception) -> bytes:
    """Pack *error* to be raised in the host, or its text if it would not survive the journey."""
    text = _describe(error)
    error.add_note(f"raised in the worker process:\n{text}")
    try:
        packed = pickle.dumps(("raised", error))
        pickle.loads(packed)  # noqa: S301  # our own bytes; some exceptions pack but do not unpack
    except Exception:  # noqa: BLE001  # an exception's own pickling may raise anything
        return pickle.dumps(("failed", text))
    return packed


def _describe(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
