"""Two signals, a grace, a watchdog: on the virtual clock, with real signals and a real socket."""

import os
import signal
import socket
from contextlib import asynccontextmanager

import pytest
import trio

from rlmd.lifecycle import feed_watchdog, idle, open_lifecycle
from rlmd.supervision import open_supervisor


@pytest.fixture
def notices(home, monkeypatch):
    """Stand for systemd; call to get what it was told since."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(home.path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(home.path / "notify"))

        def drain():
            told = []
            while True:
                try:
                    told.append(manager.recv(4096).decode().split("\n")[0])
                except BlockingIOError:
                    return told

        yield drain


@asynccontextmanager
async def sleeper():
    async def handle(seconds):
        await trio.sleep(seconds)
        return "done"

    yield handle


async def send(number, at):
    await trio.sleep_until(at)
    os.kill(os.getpid(), number)


async def serve(answers, signals, *, request_s, grace_s=60):
    """Run one request of *request_s* seconds against an actor while *signals* arrive, each at its time."""

    async def request(box):
        answers.append(await box.ask(request_s))

    async with trio.open_nursery() as outside, open_lifecycle(grace_s=grace_s) as life:
        for number, at in signals:
            outside.start_soon(send, number, at)
        async with open_supervisor(grace=grace_s) as supervisor:
            box = await supervisor.start("sleeper", sleeper)
            async with life.serving() as requests:
                life.ready("serving")
                requests.start_soon(request, box)
                await trio.sleep_forever()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_lets_requests_in_hand_finish(autojump_clock, notices, number):
    answers = []

    await serve(answers, [(number, 1)], request_s=5.0)

    assert answers == ["done"]
    assert trio.current_time() == 5
    assert notices() == ["READY=1", "STOPPING=1"]


async def test_the_second_signal_cancels_them(autojump_clock, notices):
    answers = []

    await serve(answers, [(signal.SIGTERM, 1), (signal.SIGTERM, 2)], request_s=5.0)

    assert answers == []
    assert trio.current_time() == 2
    assert notices() == ["READY=1", "STOPPING=1"]


async def test_requests_that_outlast_the_grace_are_cancelled(autojump_clock):
    answers = []

    await serve(answers, [(signal.SIGTERM, 1)], request_s=1e9, grace_s=10)

    assert answers == []
    assert trio.current_time() == 11


async def test_a_signal_during_boot_is_heard_when_the_doors_would_open(autojump_clock, notices):
    async with open_lifecycle(grace_s=5) as life:
        os.kill(os.getpid(), signal.SIGTERM)
        await trio.sleep(1)
        async with life.serving():
            life.ready("serving")
            await trio.sleep_forever()

    assert notices() == ["STOPPING=1"]
    assert trio.current_time() == 1


async def test_a_signal_after_stop_only_confirms_it(autojump_clock):
    answers = []
    async with trio.open_nursery() as outside, open_lifecycle(grace_s=60) as life:
        outside.start_soon(send, signal.SIGTERM, 2)
        async with life.serving() as requests:

            async def request():
                await trio.sleep(5)
                answers.append("done")

            requests.start_soon(request)
            life.stop("asked to")
            await trio.sleep_forever()

    assert answers == ["done"]


async def test_draining_is_announced_to_whoever_waits_for_requests(autojump_clock):
    async with open_lifecycle(grace_s=60) as life, life.serving() as requests:
        requests.start_soon(life.draining.wait)
        life.stop("asked to")

    assert trio.current_time() == 0


async def test_doors_that_end_by_themselves_begin_the_drain(autojump_clock, notices):
    async with open_lifecycle(grace_s=60) as life:
        async with life.serving() as requests:
            requests.start_soon(trio.sleep, 3)

        assert life.draining.is_set()

    assert trio.current_time() == 3
    assert notices() == ["STOPPING=1"]


async def test_an_error_of_the_doors_leaves_alone_and_takes_everything_down(autojump_clock):
    with pytest.raises(OSError, match="address in use"):  # noqa: PT012 - the blocks are what it leaves
        async with open_lifecycle(grace_s=60) as life, open_supervisor(grace=60), life.serving() as requests:
            requests.start_soon(trio.sleep_forever)
            raise OSError("address in use")
    assert trio.current_time() == 0


async def test_hangup_reloads_and_shows_what_came_of_it(autojump_clock, notices):
    reloads = []

    async def reload():
        reloads.append(trio.current_time())
        return "reloaded"

    async with trio.open_nursery() as outside, open_lifecycle(grace_s=1, reload=reload) as life:
        outside.start_soon(send, signal.SIGHUP, 1)
        outside.start_soon(send, signal.SIGTERM, 2)
        async with life.serving():
            await trio.sleep_forever()

    assert reloads == [1]
    assert notices() == ["RELOADING=1", "READY=1", "STOPPING=1"]


async def test_hangup_without_a_reload_ends_nothing(autojump_clock, notices):
    async with open_lifecycle(grace_s=1) as life, life.serving():
        os.kill(os.getpid(), signal.SIGHUP)
        await trio.sleep(5)

    assert trio.current_time() == 5
    assert notices() == ["STOPPING=1"]


async def test_idleness_begins_the_drain(autojump_clock, events):
    async with open_lifecycle(grace_s=60) as life:
        life.stop_when_idle(lambda: 4.0, 30)
        async with life.serving():
            await trio.sleep_forever()

    assert trio.current_time() == 34
    assert events[0] == {"event": "drain.begun", "log_level": "info", "reason": "idle", "grace_s": 60}


async def test_idle_waits_while_anything_goes_on(autojump_clock):
    def since():
        return None if trio.current_time() < 45 else 45.0

    await idle(since, 30)

    assert trio.current_time() == 75


async def test_the_watchdog_is_fed_at_half_its_interval(autojump_clock, notices):
    with trio.move_on_after(31):
        await feed_watchdog(20, lambda: True)

    assert notices() == ["WATCHDOG=1"] * 4


async def test_the_watchdog_starves_while_something_is_unhealthy(autojump_clock, notices, events):
    with trio.move_on_after(31):
        await feed_watchdog(20, lambda: not 5 < trio.current_time() < 12.5)

    assert notices() == ["WATCHDOG=1"] * 3  # at 0, 13 and 23
    assert [event["event"] for event in events] == ["watchdog.withheld"] * 3


async def test_a_lagging_loop_withholds_one_ping_until_it_keeps_up(mock_clock, notices):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed_watchdog, 20, lambda: True)
        await trio.testing.wait_all_tasks_blocked()
        assert notices() == ["WATCHDOG=1"]

        mock_clock.jump(15)  # five seconds more than the ten it slept
        await trio.testing.wait_all_tasks_blocked()
        assert notices() == []

        mock_clock.jump(1)
        await trio.testing.wait_all_tasks_blocked()
        assert notices() == ["WATCHDOG=1"]
        nursery.cancel_scope.cancel()


async def test_no_watchdog_is_fed_where_systemd_wants_none(autojump_clock, notices):
    async with open_lifecycle(grace_s=1) as life:
        life.watch(lambda: True)
        await trio.sleep(100)

    assert notices() == []


async def test_the_watchdog_is_fed_throughout_the_drain(autojump_clock, notices, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    async with open_lifecycle(grace_s=60) as life:
        life.watch(lambda: True)
        async with life.serving() as requests:
            requests.start_soon(trio.sleep, 35)
            life.stop("asked to")

    assert notices().count("WATCHDOG=1") == 4
