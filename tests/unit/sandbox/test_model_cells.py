"""Cells of the kinds that models write run unchanged."""

from __future__ import annotations

import json
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


async def test_all_known_blocks_run_unchanged():
    async with open_sandbox() as sandbox:
        session, failed = None, {}
        for block in BLOCKS:
            content = Text(LOG) if session is None else None
            told = await sandbox.run(block["code"], session, content=content, services=ScriptedServices())
            session = told.session
            if told.error or told.killed or "OK" not in told.stdout:
                failed[block["id"]] = told

    assert failed == {}
    assert len(BLOCKS) == 24


async def test_cells_of_the_kinds_that_models_write_run():
    async with open_sandbox() as sandbox:
        session, failed = None, {}
        for cell in MORE:
            content = Text(LOG) if session is None else None
            told = await sandbox.run(cell["code"], session, content=content, services=ScriptedServices())
            session = told.session
            if told.error or told.killed:
                failed[cell["id"]] = told.error or told.killed

    assert failed == {}
    assert len(MORE) >= 40
