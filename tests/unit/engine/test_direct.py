"""One call over numbered passages: what is sent, and what of the answer is believed."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio

from corpus_world import open_world
from rlmd.engine.direct import Form, answer_direct, choose_material, fits_whole, messages, room_tokens
from rlmd.engine.evidence import gather
from rlmd.engine.typed import form
from rlmd.llm.values import Reply, UpstreamError, Usage
from rlmd.values import ignore_progress

pytestmark = pytest.mark.real_io

USAGE = Usage(100, 10, 50, 0.25)
FILES = {
    "src/retry.py": "def retry_delay(n):\n    return 2 ** n\n",
    "docs/notes.md": "# Notes\n\nRetry at most five times.\n",
    "empty.py": "",
}
QUESTION = "how long is the retry delay"


class Model:
    """Answers in turn with what it was given: a text, or an error to raise."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def __call__(self, talk):
        await trio.lowlevel.checkpoint()
        self.asked.append(talk)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Reply(answer, "stop", USAGE, "m")


@asynccontextmanager
async def corpus(tmp_path, files=FILES):
    root = tmp_path / "tree"
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    with trio.fail_after(20):
        async with open_world(tmp_path / "cache") as world:
            snapshot = await world.collect(root)
            yield snapshot, await gather(world.keeper, snapshot, QUESTION, "any", ignore_progress)


async def test_a_small_corpus_is_sent_whole_with_numbered_lines_in_the_order_of_its_paths(tmp_path):
    model = Model('Two to the n [src/retry.py:2 "return 2 ** n"].')
    async with corpus(tmp_path) as (snapshot, evidence):
        answer = await answer_direct(snapshot, evidence, QUESTION, model, window_tokens=32_000)

    (talk,) = model.asked
    assert [each.role for each in talk] == ["system", "user", "assistant", "user"]
    assert talk[3].content == QUESTION
    assert talk[1].content == (
        "Passage 1: docs/notes.md:1-3\n1| # Notes\n2|\n3| Retry at most five times.\n\n"
        "Passage 2: src/retry.py:1-2\n1| def retry_delay(n):\n2|     return 2 ** n\n\n"
        "These are all of the files."
    )
    assert (answer.mode, answer.answer) == ("direct", "Two to the n [src/retry.py:2].")
    assert [(each.path, each.start_line, each.quote, each.verified) for each in answer.citations] == [
        ("src/retry.py", 2, "    return 2 ** n", True)
    ]
    assert answer.coverage.not_examined == ()
    assert not answer.partial


async def test_what_two_questions_share_is_the_same_to_the_byte(tmp_path):
    async with corpus(tmp_path) as (snapshot, evidence):
        material = choose_material(snapshot, evidence, 10_000)

    assert messages(material, "one")[:3] == messages(material, "two")[:3]


async def test_a_claim_that_matches_nothing_is_dropped_and_said_so(tmp_path):
    model = Model("True [src/retry.py:1], false [src/gone.py:7].")
    async with corpus(tmp_path) as (snapshot, evidence):
        answer = await answer_direct(snapshot, evidence, QUESTION, model, window_tokens=32_000)

    assert answer.answer == "True [src/retry.py:1], false."
    assert [each.path for each in answer.citations] == ["src/retry.py"]
    assert "1 claimed citations match nothing and were dropped: src/gone.py:7." in answer.note


async def test_prose_without_citations_is_an_answer(tmp_path):
    async with corpus(tmp_path) as (snapshot, evidence):
        answer = await answer_direct(snapshot, evidence, QUESTION, Model("Long."), window_tokens=32_000)

    assert (answer.answer, answer.citations, answer.state) == ("Long.", (), "done")


async def test_of_a_large_corpus_the_best_passages_are_sent(tmp_path):
    noise = {f"noise/{n}.py": "".join(f"value_{n}_{k} = {k}\n" for k in range(200)) for n in range(30)}
    model = Model("It grows [src/retry.py:1-2].")
    async with corpus(tmp_path, {**FILES, **noise}) as (snapshot, evidence):
        answer = await answer_direct(snapshot, evidence, QUESTION, model, window_tokens=6_000)

    sent = model.asked[0][1].content
    assert "src/retry.py:1-2" in sent
    assert sent.endswith("These are the passages that fit best.")
    assert len(sent) < 6_000 * 4
    assert "do not fit one call" in answer.note
    assert [each.path for each in answer.citations] == ["src/retry.py"]
    assert len(answer.coverage.not_examined) > 20


async def test_a_window_that_proves_smaller_is_asked_again_with_what_fits(tmp_path):
    tight = UpstreamError("overflow", "too long", window_tokens=4_000)
    model = Model(tight, "Fine [src/retry.py:1].")
    noise = {f"n{n}.py": "retry delay = 1\n" * 400 for n in range(6)}
    async with corpus(tmp_path, {**FILES, **noise}) as (snapshot, evidence):
        answer = await answer_direct(snapshot, evidence, QUESTION, model, window_tokens=64_000)

    first, second = (len(talk[1].content) for talk in model.asked)
    assert second < first
    assert answer.answer.startswith("Fine")


async def test_a_window_that_is_too_small_twice_is_an_error(tmp_path):
    errors = [UpstreamError("overflow", "too long") for _ in range(2)]
    async with corpus(tmp_path) as (snapshot, evidence):
        with pytest.raises(UpstreamError, match="too long"):
            await answer_direct(snapshot, evidence, QUESTION, Model(*errors), window_tokens=32_000)


async def test_a_failure_before_anything_was_paid_for_is_raised(tmp_path):
    model = Model(UpstreamError("auth", "bad key"))
    async with corpus(tmp_path) as (snapshot, evidence):
        with pytest.raises(UpstreamError, match="bad key"):
            await answer_direct(snapshot, evidence, QUESTION, model, window_tokens=32_000)


async def test_a_useless_reply_that_was_paid_for_leaves_the_evidence(tmp_path):
    model = Model(UpstreamError("truncated", "cut off", usage=USAGE))
    async with corpus(tmp_path) as (snapshot, evidence):
        answer = await answer_direct(snapshot, evidence, QUESTION, model, window_tokens=32_000)

    assert (answer.partial, answer.limit) == (True, "llm")
    assert answer.citations
    assert "cut off" in answer.note


INTEGER = Form(schema='{"type":"integer"}', faults=form({"type": "integer"}))


async def test_a_typed_answer_is_checked_mended_and_cited(tmp_path):
    model = Model(
        "Five.", '```json\n"five"\n```', '```json\n5\n```\nIt says so [docs/notes.md:3 "at most five"].'
    )
    async with corpus(tmp_path) as (snapshot, evidence):
        answer = await answer_direct(snapshot, evidence, QUESTION, model, window_tokens=32_000, form=INTEGER)

    assert (answer.answer, answer.partial) == (5, False)
    assert [(each.path, each.start_line) for each in answer.citations] == [("docs/notes.md", 3)]
    assert '{"type":"integer"}' in model.asked[0][-1].content
    assert "no JSON" in model.asked[1][-1].content
    assert "'five' is not of type 'integer'" in model.asked[2][-1].content


async def test_an_answer_that_never_fits_its_schema_leaves_the_evidence(tmp_path):
    model = Model("one", "two", "three")
    async with corpus(tmp_path) as (snapshot, evidence):
        answer = await answer_direct(snapshot, evidence, QUESTION, model, window_tokens=32_000, form=INTEGER)

    assert (answer.partial, answer.limit, len(model.asked)) == (True, "llm", 3)
    assert answer.citations


async def test_content_is_what_the_snapshot_holds_though_the_files_have_changed_since(tmp_path):
    async with corpus(tmp_path) as (snapshot, evidence):
        (tmp_path / "tree/src/retry.py").write_text("gone\n")
        material = choose_material(snapshot, evidence, 10_000)

    assert material.passages[1].lines[0] == "def retry_delay(n):"
    assert all(each.verified for each in material.passages)


async def test_what_fits_depends_on_window_and_ceiling(tmp_path):
    assert room_tokens(None) == room_tokens(32_768)
    assert room_tokens(1_000_000) == 100_000
    assert room_tokens(1_000_000, most_tokens=7) == 7
    assert room_tokens(1_000) == 0
    async with corpus(tmp_path) as (snapshot, _):
        assert fits_whole(snapshot, 200)
        assert not fits_whole(snapshot, 50)
