"""SIGHUP to a real daemon: what changes at once, what waits, and that a bad file changes nothing."""

from __future__ import annotations

import signal
from pathlib import Path

from daemon_world import Places, running_daemon, until


def test_settings_change_under_a_working_connection(places: Places, tree: Path):
    file = places.top / "my.toml"
    file.write_text("")
    with running_daemon(places, "--config", str(file)) as daemon, daemon.connect(tree) as client:
        client.ask("rlm_grep", {"pattern": "spline"})

        file.write_text(f"[roots]\ndeny = ['{tree}']\n[doors]\nmax_requests = 5\n[corpus]\nsnapshots = 2\n")
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: "config.reloaded" in daemon.logged(), "the reload")
        refused = client.fail("rlm_grep", {"pattern": "spline"})
        status = client.ask("rlm_status")

        file.write_text("[doors]\nmax_requests = 0\n")
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: "config.refused" in daemon.logged(), "the refusal")
        kept = client.ask("rlm_status")

    assert refused["code"] == "outside_roots"
    assert status["doors"]["max_requests"] == kept["doors"]["max_requests"] == 5
    assert "corpus.snapshots was changed and waits for a restart" in [
        each["what"] for each in status["problems"]
    ]
    (mistake,) = [each["what"] for each in kept["problems"] if "max_requests" in each["what"]]
    assert mistake.startswith(f"{file}:2: doors.max_requests: ")
