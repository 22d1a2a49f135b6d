"""`rlmd doctor` beside a real daemon."""

from __future__ import annotations

import json

from daemon_world import Daemon


def test_doctor_asks_the_daemon_and_compares_the_keys(daemon: Daemon):
    done = daemon.places.run("doctor", "--json", OPENAI_API_KEY="sk-of-this-shell")

    found = {each["name"]: each for each in json.loads(done.out)["findings"]}
    assert done.code == 0, done.out
    assert f"pid {daemon.pid}" in found["daemon"]["what"]
    assert found["socket"]["what"] == str(daemon.places.socket)
    assert found["sandbox"]["state"] == "ok"
    assert found["tokens"]["state"] == "ok"
    assert found["key"]["state"] == "warning"
    assert "rlmd auth set" in found["key"]["fix"]
    assert "sk-of" not in done.out + done.err


def test_doctor_reads_as_lines_with_troubles_last(daemon: Daemon):
    done = daemon.places.run("doctor", "-o", "llm.retries=99")

    lines = done.out.splitlines()
    assert done.code == 1
    assert lines[0].startswith("ok ")
    assert lines[-2].startswith("BROKEN    settings ")
    assert lines[-1].lstrip().startswith("A daemon does not start")
