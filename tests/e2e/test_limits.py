"""Limits of a real daemon: beyond each it refuses, says so, and goes on."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from daemon_world import Places, running_daemon, until
from door_world import call


def test_near_the_memory_limit_new_work_is_refused_and_the_rest_goes_on(places: Places, tree: Path):
    with running_daemon(places, "-odaemon.memory_bytes=20 MiB") as daemon, daemon.connect(tree) as client:
        until(lambda: "memory.refusing" in daemon.logged(), "the limit is noticed")
        analysis = client.fail("rlm_analyze", {"query": "splines", "paths": ["."]})
        cell = client.fail("rlm_exec", {"code": "1"})
        grep = client.ask("rlm_grep", {"pattern": "spline"})
        client.ask("rlm_memory_store", {"key": "k", "value": "v"})
        status = client.ask("rlm_status")

    assert (analysis["code"], analysis["retryable"], cell["code"]) == ("busy", True, "busy")
    assert grep["total"] > 0
    assert status["process"]["limit_source"] == "daemon.memory_bytes"
    assert status["process"]["used_bytes"] > status["process"]["limit_bytes"] == 20 << 20
    (problem,) = [each for each in status["problems"] if "memory" in each["what"]]
    assert problem["fix"].endswith("or raise daemon.memory_bytes.")


def test_descriptors_are_bounded_and_a_crowd_beyond_them_ends_nothing(places: Places, tree: Path):
    options = ("-odaemon.descriptors=256", "-odoors.max_connections=1000")
    with running_daemon(places, *options) as daemon:
        with ExitStack() as crowd:
            for _ in range(128):
                crowd.enter_context(places.connect()).shake_hands()
            turned_away = [crowd.enter_context(places.connect()).receive() for _ in range(72)]
            taken = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        until(lambda: len(os.listdir(f"/proc/{daemon.pid}/fd")) < taken - 100, "the crowd is gone")
        with daemon.connect(tree) as client:
            grep = client.ask("rlm_grep", {"pattern": "spline"})
            process = client.ask("rlm_status")["process"]
        alive = daemon.process.poll() is None

    assert alive
    assert all("busy" in each["error"]["message"] for each in turned_away if each)
    assert None not in turned_away
    assert grep["total"] > 0
    assert process["max_fds"] == 256
    assert process["open_fds"] < 100


def test_a_client_may_not_have_more_calls_in_hand_than_allowed(places: Places, tree: Path):
    with running_daemon(places, "-odoors.max_requests=1") as daemon, daemon.connect(tree) as client:
        slow = {"code": "import time\nwhile True: pass", "timeout_s": 3}
        client.send(call("rlm_exec", slow, request_id="slow"))
        refused = client.fail("rlm_status")
        client.answer_to("slow")
        after = client.ask("rlm_status")

    assert refused["code"] == "busy"
    assert after["doors"]["refused"] == {"busy": 1}
    assert after["doors"]["max_requests"] == 1
