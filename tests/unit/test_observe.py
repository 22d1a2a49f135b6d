"""Where events go and what they look like there; and percentiles."""

import io
import json
import logging
import os
import pty
import socket
import sys

import pytest
import structlog

from rlmd import observe


@pytest.fixture(autouse=True)
def unconfigured_afterwards():
    """Leave structlog and logging as they were found."""
    before = structlog.get_config()
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.configure(**before)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
def pipe():
    """A reader and a text stream that writes to it."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as source, os.fdopen(writer, "w") as stream:
        yield source, stream


def test_a_pipe_gets_one_line_of_json_for_each_event_with_its_context(pipe):
    source, stream = pipe
    assert observe.configure("info", stream=stream) == "json"

    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        structlog.get_logger().info("walk.ended", files=3, took_s=0.25)
    stream.close()

    event = json.loads(source.read())
    assert event.pop("timestamp")
    assert event == {
        "event": "walk.ended", "level": "info", "request_id": "r-1", "files": 3, "took_s": 0.25,
    }  # fmt: skip


def test_a_traceback_stays_inside_its_line(pipe):
    source, stream = pipe
    observe.configure("info", stream=stream)

    structlog.get_logger().error("actor.crashed", exc_info=OSError("disk on fire"))
    stream.close()

    (line,) = source.read().splitlines()
    assert "OSError: disk on fire" in json.loads(line)["exception"]


def test_events_below_the_level_are_not_written(pipe):
    source, stream = pipe
    observe.configure("warning", stream=stream)

    structlog.get_logger().info("walk.ended")
    stream.close()

    assert source.read() == b""


def test_a_long_value_is_cut_and_says_so(pipe):
    source, stream = pipe
    observe.configure("info", stream=stream)

    structlog.get_logger().info("oops", text="x" * 5000)
    stream.close()

    assert json.loads(source.read())["text"] == "x" * 1000 + "… (5000 characters)"


def test_a_terminal_gets_lines_for_people(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    controller, terminal = pty.openpty()
    with os.fdopen(controller, "rb", buffering=0) as screen, os.fdopen(terminal, "w") as stream:
        assert observe.configure("info", stream=stream) == "console"

        structlog.get_logger().info("walk.ended", files=3)

        line = screen.read(1000).decode()
    assert "walk.ended" in line
    assert "files=3" in line
    assert "\x1b" not in line


def test_the_journal_gets_native_fields(home, monkeypatch, pipe):
    _, stream = pipe
    status = os.fstat(stream.fileno())
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(home.path / "journal"))
        assert observe.configure("info", stream=stream, journal=str(home.path / "journal")) == "journal"

        structlog.get_logger().warning("file.skipped", request_id="r-1", size_bytes=7)

        assert journal.recv(65536).decode().splitlines() == [
            "MESSAGE=file.skipped request_id=r-1 size_bytes=7",
            "PRIORITY=4",
            "SYSLOG_IDENTIFIER=rlmd",
            "RLMD_EVENT=file.skipped",
            "RLMD_REQUEST_ID=r-1",
            "RLMD_SIZE_BYTES=7",
        ]


def test_a_value_of_several_lines_is_one_journal_field():
    event = {"event": "actor.crashed", "level": "error", "exception": "one\ntwo"}

    datagram = observe.to_journal(None, "", event)

    message = b"actor.crashed\none\ntwo"
    assert datagram.startswith(b"MESSAGE\n" + len(message).to_bytes(8, "little") + message + b"\n")


def test_a_journal_that_is_gone_costs_only_the_event(monkeypatch, pipe):
    _, stream = pipe
    status = os.fstat(stream.fileno())
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    observe.configure("info", stream=stream, journal="/nonexistent/journal")

    structlog.get_logger().info("walk.ended")


def test_a_reader_that_has_gone_costs_only_the_event():
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w", buffering=1)
    observe.configure("info", stream=stream)

    structlog.get_logger().info("walk.ended")

    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_place_that_was_chosen_beats_the_one_that_was_found(pipe):
    source, stream = pipe

    place = observe.configure("info", place="console", stream=stream)
    structlog.get_logger().info("walk.ended")
    stream.close()

    assert place == "console"
    assert not source.read().startswith(b"{")


def test_a_stream_without_a_descriptor_gets_json():
    assert observe.place_of(io.StringIO()) == "json"


def test_what_libraries_log_becomes_an_event_without_its_arguments(pipe):
    source, stream = pipe
    observe.configure("info", stream=stream)

    logging.getLogger("mcp.server").warning("bad request: %s", "the user's secret")
    logging.getLogger("httpx").info("GET https://example.org/?q=secret")
    stream.close()

    event = json.loads(source.read())
    assert (event["event"], event["level"], event["logger"]) == ("library.logged", "warning", "mcp.server")
    assert event["template"] == "bad request: %s"
    assert "secret" not in json.dumps(event)


def test_standard_error_is_the_default(capsys):
    observe.configure("info", stream=sys.stderr)

    structlog.get_logger().info("walk.ended")

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "walk.ended" in captured.err


def test_percentiles_are_by_nearest_rank():
    timings = observe.Timings()
    for hundredth in range(100, 0, -1):
        timings.add("walk", hundredth / 100)

    assert timings.summary() == {"walk": observe.Timing(100, pytest.approx(50.5), 0.5, 0.95, 0.99)}


def test_one_duration_is_every_percentile():
    timings = observe.Timings()
    timings.add("walk", 2.0)

    assert timings.summary() == {"walk": observe.Timing(1, 2.0, 2.0, 2.0, 2.0)}


def test_percentiles_forget_but_counts_do_not():
    timings = observe.Timings(keep=2)
    for seconds in (9.0, 1.0, 1.0):
        timings.add("walk", seconds)

    assert timings.summary() == {"walk": observe.Timing(3, 11.0, 1.0, 1.0, 1.0)}


def test_a_block_is_measured_however_it_ends():
    ticks = iter([10.0, 13.0])
    timings = observe.Timings(clock=lambda: next(ticks))

    with pytest.raises(OSError, match="torn"), timings.measure("read"):
        raise OSError("torn")

    assert timings.summary()["read"].total_s == 3
