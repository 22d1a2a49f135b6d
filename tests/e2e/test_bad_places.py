"""What a bad place to live gets: wrong settings, a state in use, a full disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon_world import Daemon, Places, running_daemon

MIB = 1 << 20
AS_ROOT = os.geteuid() == 0


WRONG_SETTINGS = """\
[doors]
max_conections = 3
max_requests = "many"

[ingets]
readers = 2

[daemon]
grace_s = -1
"""


def serve(places: Places, *options: str, **env: str) -> tuple[int, str]:
    """Run `rlmd serve`, which has to end by itself."""
    done = subprocess.run(
        [sys.executable, "-m", "rlmd", "serve", *options],
        env=places.env(**env),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_wrong_settings_are_all_told_with_line_and_nearest_key(places: Places):
    file = places.top / "wrong.toml"
    file.write_text(WRONG_SETTINGS)

    code, err = serve(places, "--config", str(file), "-o", "log.level=loud", RLMD_DOORS__WAIT="3")

    assert code == 78
    assert f"{file}:2" in err
    assert "max_connections" in err
    assert f"{file}:3" in err
    assert f"{file}:5" in err
    assert "ingest" in err
    assert f"{file}:9" in err
    assert "log.level" in err
    assert "RLMD_DOORS__WAIT" in err
    assert "wait_s" in err
    assert not places.socket.exists()


@pytest.mark.parametrize(
    "text",
    [
        "[doors\n",
        *(
            pytest.param(text, marks=pytest.mark.slow)
            for text in ("a = \n", "[doors]\nmax_requests = 1\nmax_requests = 2\n", "\x00", "\xff")
        ),
    ],
)
def test_a_settings_file_that_is_no_toml_is_78_with_its_line(places: Places, text: str):
    file = places.top / "broken.toml"
    file.write_bytes(text.encode("latin-1"))

    code, err = serve(places, "--config", str(file))

    assert code == 78
    assert str(file) in err


@pytest.mark.slow
def test_places_that_cannot_be_are_78(places: Places):
    (places.top / "a_file").write_text("x")
    long = str(places.top / ("x" * 120))

    assert serve(places, RLMD_SOCKET=long)[0] == 78
    assert serve(places, RLMD_STATE_DIR=str(places.top / "a_file"))[0] == 78
    assert serve(places, RLMD_CACHE_DIR=str(places.top / "a_file/below"))[0] == 78
    assert serve(places, RLMD_SOCKET=str(places.top / "a_file"))[0] == 78
    assert serve(places, "--config", str(places.top / "absent.toml"))[0] == 78


def test_a_second_daemon_on_the_same_state_is_refused_with_75(daemon: Daemon, places: Places):
    same_socket = serve(daemon.places)
    same_state = serve(places, RLMD_STATE_DIR=str(daemon.places.state))
    socket_only = serve(places, RLMD_SOCKET=str(daemon.places.socket))

    for code, err in (same_socket, same_state, socket_only):
        assert code == 75
        assert "another daemon" in err
    with daemon.connect() as client:
        assert client.ask("rlm_status")["pid"] == daemon.pid


@pytest.fixture
def small_disk(places: Places) -> Iterator[Path]:
    """A file system of a few megabytes."""
    if not AS_ROOT:
        pytest.skip("needs root to mount a tmpfs")
    place = places.top / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.slow
def test_a_full_disk_refuses_the_write_and_loses_nothing(places: Places, small_disk: Path):
    env = {"RLMD_STATE_DIR": str(small_disk / "state")}
    stored: dict[str, str] = {}
    with running_daemon(places, env=env) as daemon, daemon.connect(places.top) as client:
        for number in range(200):
            value = f"{number} " + os.urandom(20_000).hex()
            result = client.call("rlm_memory_store", {"key": f"k{number}", "value": value})
            if result.get("isError"):
                refused = result["_meta"]["rlmd/error"]
                break
            stored[f"k{number}"] = value
        else:
            pytest.fail("the disk was never full")
        read = {
            key: client.ask("rlm_memory_recall", {"key": key, "value_chars": 60_000})["items"]
            for key in stored
        }
        status = client.ask("rlm_status")
    with running_daemon(places, env=env) as daemon, daemon.connect(places.top) as client:
        after = {
            key: client.ask("rlm_memory_recall", {"key": key, "value_chars": 60_000})["items"][0]["value"]
            for key in stored
        }

    print(f"\nfull disk: {len(stored)} stored, then {refused}; {status['memory']}")
    assert refused["code"] == "busy"
    assert refused["hint"]
    assert refused["retryable"]
    assert {key: items[0]["value"] for key, items in read.items()} == stored
    assert after == stored


@pytest.mark.slow
def test_a_full_cache_fails_the_analysis_and_not_the_daemon(places: Places, small_disk: Path, tmp_path: Path):
    root = tmp_path / "big"
    root.mkdir()
    for number in range(40):
        (root / f"f{number}.txt").write_text(f"{number} spline " * 20_000)
    env = {"RLMD_CACHE_DIR": str(small_disk / "cache")}
    with running_daemon(places, env=env) as daemon, daemon.connect(root) as client:
        error = client.fail("rlm_analyze", {"query": "spline", "paths": ["."], "kind": "any", "wait_s": 50})
        state = client.ask("rlm_status")["state"]
        grep = client.ask("rlm_grep", {"pattern": "spline", "limit": 1})
        (root / "sub").mkdir()
        (root / "sub/small.txt").write_text("a spline\n")
        small = client.call("rlm_analyze", {"query": "spline", "paths": ["sub"], "kind": "any"})

    assert error["code"] == "busy"
    assert error["hint"]
    assert state == "ready"
    assert grep["total"] == 40
    assert not small.get("isError")
