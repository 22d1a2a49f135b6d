"""Cells of the kinds that models write run unchanged, under every Python that this machine has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rlmd.sandbox.requests import Text
from sandbox_world import ScriptedServices, open_sandbox

pytestmark = pytest.mark.real_io

HERE = Path(__file__).parent
BLOCKS, MORE = (json.loads((HERE / f"{name}.json").read_text()) for name in ("repl_blocks", "model_cells"))
LOG = "".join(
    f"2026-11-22T10:00:{at % 60:02d} {'ERROR' if at % 7 == 0 else 'INFO'} service id={at} in {at % 90}ms\n"
    for at in range(500)
)
PYENV = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
OTHERS = tuple(minor for minor in range(11, 15) if minor != sys.version_info.minor)


@pytest.fixture(scope="module", params=[sys.version_info.minor, *OTHERS], ids=lambda minor: f"3.{minor}")
def python(request):
    """An interpreter of one version, one that starts."""
    if request.param == sys.version_info.minor:
        return os.path.realpath(sys.executable)
    name = f"python3.{request.param}"
    places = [shutil.which(name), *sorted(map(str, PYENV.glob(f"3.{request.param}.*/bin/{name}")))]
    told = f"import sys; sys.exit(sys.version_info[:2] != (3, {request.param}))"
    for place in filter(None, places):
        if subprocess.run([place, "-c", told], check=False, stderr=subprocess.DEVNULL).returncode == 0:
            return os.path.realpath(place)
    pytest.skip(f"there is no {name} here")


async def test_all_known_blocks_run_unchanged(python):
    async with open_sandbox(python=python) as sandbox:
        session, failed = None, {}
        for block in BLOCKS:
            content = Text(LOG) if session is None else None
            told = await sandbox.run(block["code"], session, content=content, services=ScriptedServices())
            session = told.session
            if told.error or told.killed or "OK" not in told.stdout:
                failed[block["id"]] = told

    assert failed == {}
    assert len(BLOCKS) == 24


async def test_cells_of_the_kinds_that_models_write_run(python):
    async with open_sandbox(python=python) as sandbox:
        session, failed = None, {}
        for cell in MORE:
            content = Text(LOG) if session is None else None
            told = await sandbox.run(cell["code"], session, content=content, services=ScriptedServices())
            session = told.session
            if told.error or told.killed:
                failed[cell["id"]] = told.error or told.killed

    assert failed == {}
    assert len(MORE) >= 40


async def test_no_version_of_python_gets_past_the_locks(python):
    async with open_sandbox(python=python) as sandbox:
        told = await sandbox.run("open('/etc/passwd')")
        after = await sandbox.run("import sys; tuple(sys.version_info[:2])", told.session)

    assert "PermissionError" in told.error
    assert after.stdout.strip("()\n").replace(", ", ".") in python
