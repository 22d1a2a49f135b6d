"""Which way a question is answered, how long its asker waits, and what is left when time runs out."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio

from corpus_world import open_world
from rlmd.answers import Question
from rlmd.corpus.keeper import Collect
from rlmd.engine.answering import Answering
from rlmd.engine.commission import Bursar, Settings
from rlmd.engine.jobs import Jobs
from rlmd.engine.model import Model
from rlmd.errors import BudgetExhausted, NoLlm
from rlmd.llm.providers import COMMAND, Endpoint
from rlmd.llm.values import Reply, UpstreamError, Usage
from rlmd.supervision import open_supervisor
from rlmd.values import ignore_progress

pytestmark = pytest.mark.real_io

ENDPOINT = Endpoint(provider=COMMAND, command=("model",), model="m", window_tokens=32_000)
QUERY = "how long is the retry delay"


def says(text, after_s=0.0):
    @asynccontextmanager
    async def actor():
        async def answer(ask):
            await trio.sleep(after_s)
            if isinstance(text, Exception):
                raise text
            return Reply(text, "stop", Usage(10, 2, usd=0.5), ask.chat.model)

        yield answer

    return actor


async def settled():
    await trio.lowlevel.checkpoint()
    return ENDPOINT


async def forget(_):
    await trio.lowlevel.checkpoint()


@asynccontextmanager
async def open_answering(tmp_path, caller=None):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "retry.py").write_text("def retry_delay(n):\n    return 2 ** n\n")
    with trio.fail_after(20):
        async with (
            open_world(tmp_path / "cache") as world,
            open_supervisor(grace=1) as supervisor,
            trio.open_nursery() as nursery,
        ):
            bursar = None
            if caller is not None:
                model = Model(await supervisor.start_concurrent("llm_caller", caller), settled)
                bursar = Bursar(model, forget, Settings())
            answering = Answering(world.keeper, Jobs(nursery, most=4), bursar)
            yield world, answering, Collect(str(tree))
            nursery.cancel_scope.cancel()


async def ask(answering, target, **question):
    return await answering.analyze(target, Question(query=QUERY, **question), "project", ignore_progress)


async def test_without_a_model_auto_is_evidence_and_says_why(tmp_path):
    async with open_answering(tmp_path) as (_, answering, target):
        answer = await ask(answering, target)

    assert (answer.mode, answer.state, answer.fresh) == ("evidence", "done", True)
    assert "no" in answer.note
    assert answer.evidence[0].path == "retry.py"


@pytest.mark.parametrize("mode", ["direct", "rlm"])
async def test_what_needs_a_model_is_refused_without_one(tmp_path, mode):
    async with open_answering(tmp_path) as (_, answering, target):
        with pytest.raises(NoLlm) as refused:
            await ask(answering, target, mode=mode)

    assert "llm.base_url" in refused.value.hint


async def test_with_a_model_auto_asks_it_once_and_says_what_that_cost(tmp_path):
    caller = says('Two to the n [retry.py:2 "return 2 ** n"].')
    async with open_answering(tmp_path, caller) as (_, answering, target):
        answer = await ask(answering, target)

    assert answer.mode == "direct"
    assert [(c.path, c.start_line, c.verified) for c in answer.citations] == [("retry.py", 2, True)]
    assert (answer.usage.calls, answer.usage.usd, answer.usage.model) == (1, 0.5, "m")


async def test_evidence_asked_for_by_name_asks_no_model(tmp_path):
    async with open_answering(tmp_path, says("never")) as (_, answering, target):
        answer = await ask(answering, target, mode="evidence")

    assert (answer.mode, answer.usage.calls) == ("evidence", 0)


async def test_a_model_that_overruns_the_budget_leaves_the_evidence(tmp_path):
    async with open_answering(tmp_path, says("late", after_s=60)) as (_, answering, target):
        answer = await ask(answering, target, mode="direct", budget_s=1.0)

    assert (answer.partial, answer.limit, answer.mode) == (True, "seconds", "direct")
    assert answer.evidence


async def test_the_time_of_a_question_bounds_its_collecting_too(tmp_path):
    async with open_answering(tmp_path) as (world, answering, target):
        world.may_read = trio.Event()
        with pytest.raises(BudgetExhausted, match="could not all be read"):
            await ask(answering, target, budget_s=0.2)
        world.may_read.set()
        later = await ask(answering, target)

    assert later.evidence


@pytest.mark.parametrize("limit", [{"budget_calls": 0}, {"budget_usd": 0.0}, {"budget_tokens": 300}])
async def test_a_budget_that_pays_for_no_call_is_an_error_where_a_call_was_asked_for(tmp_path, limit):
    async with open_answering(tmp_path, says("never")) as (_, answering, target):
        with pytest.raises(BudgetExhausted):
            await ask(answering, target, mode="direct", **limit)


async def test_a_budget_without_calls_is_answered_by_evidence_where_nothing_else_was_asked_for(tmp_path):
    async with open_answering(tmp_path, says("never")) as (_, answering, target):
        answer = await ask(answering, target, budget_calls=0)

    assert (answer.mode, answer.usage.calls) == ("evidence", 0)
    assert "the budget allows no call" in answer.note


async def test_calls_that_run_out_while_an_answer_is_mended_leave_the_evidence(tmp_path):
    schema = '{"type":"integer"}'
    async with open_answering(tmp_path, says("five")) as (_, answering, target):
        answer = await ask(answering, target, mode="direct", schema=schema, budget_calls=2)

    assert (answer.partial, answer.limit, answer.usage.calls) == (True, "calls", 2)
    assert answer.evidence


async def test_what_it_will_take_is_said_before_it_is_spent(tmp_path):
    told = []
    async with open_answering(tmp_path, says("two")) as (_, answering, target):
        await answering.analyze(target, Question(query=QUERY), "project", told.append)

    (before,) = [each.note for each in told if each.note]
    assert before.startswith("before anything is spent: One call, since all 9 tokens fit it (≤ 9,205 tokens")


async def test_a_model_that_fails_before_anything_was_paid_is_an_error(tmp_path):
    async with open_answering(tmp_path, says(UpstreamError("auth", "wrong key"))) as (_, answering, target):
        with pytest.raises(UpstreamError, match="wrong key"):
            await ask(answering, target)


async def test_a_call_that_waits_no_longer_leaves_its_job_running_and_joins_it_later(tmp_path):
    async with open_answering(tmp_path) as (world, answering, target):
        world.may_read = trio.Event()
        first = await ask(answering, target, wait_s=0.05)
        world.may_read.set()
        second = await ask(answering, target)

    assert first.state == "running"
    assert (second.state, second.job_id, second.fresh) == ("done", first.job_id, False)


async def test_what_no_word_of_the_question_reaches_is_evidence_but_cited_nowhere(tmp_path):
    async with open_answering(tmp_path) as (_, answering, target):
        answer = await answering.analyze(
            target, Question(query="zzqqxx unrelated"), "project", ignore_progress
        )

    assert (answer.answer, answer.citations) == (None, ())
    assert [each.score for each in answer.evidence] == [0]


async def test_a_job_that_is_ended_early_answers_from_what_it_has_and_says_why(tmp_path):
    asked = trio.Event()

    @asynccontextmanager
    async def silent():
        async def answer(_):
            asked.set()
            await trio.sleep_forever()

        yield answer

    async with open_answering(tmp_path, silent) as (_, answering, target):
        answers = []

        async def asking():
            answers.append(await ask(answering, target, mode="direct"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(asking)
            await asked.wait()
            answering.jobs.end_largest("No room.")
        (answer,) = answers

    assert (answer.state, answer.partial, answer.limit) == ("done", True, "seconds")
    assert answer.note.endswith("No room.")
    assert answer.evidence[0].path == "retry.py"
