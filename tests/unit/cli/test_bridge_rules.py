"""What the bridge repeats, because it may import nothing, is held equal to what it repeats."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlmd import paths
from rlmd.cli import bridge

SOCKET_OF = f"import sys; sys.path.insert(0, {os.path.dirname(bridge.__file__)!r}); import bridge; "


def in_bare_python(code: str, env: dict[str, str], *, before: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", before + SOCKET_OF + code],
        capture_output=True,
        text=True,
        env=env,
        timeout=20,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "env",
    [
        {"RLMD_SOCKET": "/a/b.sock"},
        {"RLMD_SOCKET": "relative.sock"},
        {"RLMD_SOCKET": "", "XDG_RUNTIME_DIR": "/nowhere/run"},
        {"XDG_RUNTIME_DIR": "/nowhere/run/"},
        {"XDG_RUNTIME_DIR": "not/absolute"},
        {"XDG_RUNTIME_DIR": ""},
        {},
    ],
)
def test_the_bridge_looks_for_the_socket_where_the_daemon_has_it(env: dict[str, str]):
    assert in_bare_python("print(bridge.socket_path())", env) == paths.socket_path(env)


def test_the_way_to_a_running_daemon_loads_c_modules_only():
    started = "import sys; started = set(sys.modules)\n"
    loaded = "bridge.hello(); print(sorted(name for name in sys.modules if name not in started))"

    names = in_bare_python(loaded, {}, before=started)

    assert names == "['_json', '_socket', 'bridge', 'errno', 'select']"


def test_a_working_directory_that_is_gone_makes_no_greeting(home: Any, monkeypatch: pytest.MonkeyPatch):
    gone = home.path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert bridge.hello() == b""


def test_a_working_directory_with_any_name_is_quoted(home: Any, monkeypatch: pytest.MonkeyPatch):
    odd = home.path / 'a "b"\\ü'
    odd.mkdir()
    monkeypatch.chdir(odd)

    assert b'\\"b\\"' in bridge.hello()
    assert Path(bridge.__file__).name == "bridge.py"
