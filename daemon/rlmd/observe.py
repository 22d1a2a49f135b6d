"""Where log events go, and how long things take.

Events carry ids, names, counts and seconds, never content; long values are cut in case one does.
Standard output belongs to the protocol, so everything here goes to standard error or the journal.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

Level = Literal["debug", "info", "warning", "error"]
Place = Literal["journal", "console", "json"]

JOURNAL = "/run/systemd/journal/socket"
LONGEST_VALUE = 1_000
LONGEST_TEMPLATE = 200
LONGEST_FIELD_BYTES = 48 * 1024
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_SEND_PATIENCE_S = 1.0


def configure(
    level: Level = "info",
    *,
    place: Place | None = None,
    stream: TextIO | None = None,
    journal: str = JOURNAL,
) -> Place:
    """Send log events of *level* and above to *place*, else where *stream* leads; return where.

    Under systemd they become native journal entries, so that `journalctl RLMD_REQUEST_ID=…` and
    `-p err` work and a traceback stays one entry; on a terminal they are coloured for people;
    elsewhere each is one line of JSON.
    """
    stream = stream or sys.stderr
    place = place or place_of(stream)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        cut_long_values,
    ]
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    send: Callable[[Any], object] = partial(print, file=stream, flush=True)
    match place:
        case "journal":
            shared += [structlog.processors.format_exc_info, to_journal]
            send = partial(_send_to_journal, journal)
        case "console":
            # The plain formatter: the rich one prints the values of locals, and those are content.
            console = structlog.dev.ConsoleRenderer(
                colors="NO_COLOR" not in os.environ, exception_formatter=structlog.dev.plain_traceback
            )
            shared += [stamp, console]
        case "json":
            shared += [stamp, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Loggers(send),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Libraries()], force=True)
    return place


def place_of(stream: TextIO) -> Place:
    """Say what reads *stream*: the journal where systemd connected it, a terminal, or a program."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return "json"  # closed, or not a file at all
    if os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}":
        return "journal"
    return "console" if stream.isatty() else "json"


def cut_long_values(_: object, __: str, event: EventDict) -> EventDict:
    """Cut texts no event needs whole, so that no document ends up in a log by accident."""
    for key, value in event.items():
        if isinstance(value, str) and len(value) > LONGEST_VALUE:
            event[key] = f"{value[:LONGEST_VALUE]}… ({len(value)} characters)"
    return event


def to_journal(_: object, __: str, event: EventDict) -> bytes:
    """Render *event* as a datagram of systemd.journal-fields(7); its keys become RLMD_KEY."""
    name, level, trace = (event.pop(key, "") for key in ("event", "level", "exception"))
    texts = {
        key: value if isinstance(value, str) else json.dumps(value, default=str)
        for key, value in event.items()
    }
    message = " ".join([name, *(f"{key}={text}" for key, text in texts.items())])
    fields = {
        "MESSAGE": f"{message}\n{trace}" if trace else message,
        "PRIORITY": str(_PRIORITIES.get(level, 6)),
        "SYSLOG_IDENTIFIER": "rlmd",
        "RLMD_EVENT": name,
    }
    fields.update((_field_name(key), text) for key, text in texts.items())
    return b"".join(_field(key, text) for key, text in fields.items())


def _field_name(key: str) -> str:
    return "RLMD_" + "".join(c if c.isascii() and c.isalnum() else "_" for c in key.upper())


def _field(name: str, text: str) -> bytes:
    value = text.encode(errors="replace")[:LONGEST_FIELD_BYTES]
    if b"\n" not in value:
        return name.encode() + b"=" + value + b"\n"
    return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"


def _send_to_journal(address: str, datagram: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.settimeout(_SEND_PATIENCE_S)
        journal.sendto(datagram, address)


class _Loggers:
    """Makes loggers that hand each rendered event to *send*; where that fails the event is lost."""

    def __init__(self, send: Callable[[Any], object]) -> None:
        self._send = send

    def __call__(self, *_: object) -> _Loggers:
        return self

    def msg(self, rendered: str | bytes) -> None:
        with suppress(OSError, ValueError):  # a reader that is gone is no reason to end
            self._send(rendered)

    debug = info = warning = error = critical = msg


class _Libraries(logging.Handler):
    """Turns what libraries log into events: their templates, for the arguments may be content."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno,
            "library.logged",
            logger=record.name,
            template=str(record.msg)[:LONGEST_TEMPLATE],
            error=record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None,
        )


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one kind of thing took, in seconds; the percentiles are of the latest only."""

    count: int
    total_s: float
    p50_s: float
    p95_s: float
    p99_s: float


class Timings:
    """Durations by name, the latest *keep* of each.  Names are constants of the code.

    Belongs to the event loop's thread.
    """

    def __init__(self, *, keep: int = 1024, clock: Callable[[], float] = time.perf_counter) -> None:
        self._keep = keep
        self._clock = clock
        self._series: dict[str, _Series] = {}

    def add(self, name: str, seconds: float) -> None:
        """Note that *name* took *seconds*."""
        series = self._series.setdefault(name, _Series(deque(maxlen=self._keep)))
        series.count += 1
        series.total_s += seconds
        series.latest.append(seconds)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Note how long the block takes, however it ends."""
        begun = self._clock()
        try:
            yield
        finally:
            self.add(name, self._clock() - begun)

    def summary(self) -> Mapping[str, Timing]:
        """Describe every name that was ever added, in order of first use."""
        return {name: series.timing() for name, series in self._series.items()}


@dataclass(slots=True)
class _Series:
    latest: deque[float]
    count: int = 0
    total_s: float = 0.0

    def timing(self) -> Timing:
        ranked = sorted(self.latest)
        p50, p95, p99 = (_nearest_rank(ranked, percent) for percent in (50, 95, 99))
        return Timing(self.count, self.total_s, p50, p95, p99)


def _nearest_rank(ranked: list[float], percent: int) -> float:
    """Return the smallest value that *percent* of *ranked* do not exceed."""
    return ranked[-(-len(ranked) * percent // 100) - 1]
