"""Runs that spend no more than they must: what was asked before, what suffices, who is up to it."""

import pytest
import trio

from engine_world import cell, open_world
from rlmd.llm.scripted import Step

FRUIT = {
    f"notes/{number}.txt": f"note {number}\nIt is about {fruit}.\n"
    for number, fruit in enumerate(["apples", "pears", "apples", "plums", "apples", "pears"])
}
BATCH = cell("kinds = llm_query_batched([f'Name the fruit: {text}' for text in files.values()])")
COUNT = cell("submit({kind: kinds.count(kind) for kind in kinds})")
SUBS = [
    Step(when=f"It is about {fruit}s", reply=fruit, tokens_in=10, tokens_out=1)
    for fruit in ("apple", "pear", "plum")
]


@pytest.fixture(autouse=True)
async def in_time():
    with trio.fail_after(50):
        yield


async def test_what_the_sub_model_is_not_up_to_goes_to_the_root_model(tmp_path):
    subs = [Step(when="It is about", error="truncated", message="cut off")]
    steps = [
        Step(when="Name the fruit", reply="pear", tokens_in=10, tokens_out=1),
        cell(
            "asked = [f'Name the fruit: {text}' for text in files.values()]\n"
            "got = llm_query_batched(asked[:2], return_exceptions=True)\nprint(got)"
        ),
        cell("submit([each for each in got if isinstance(each, str)])"),
    ]
    async with open_world(tmp_path, steps, subs) as world:
        outcome = await world.answer("Which?", FRUIT)

    assert (outcome.answer, outcome.partial) == (["pear"], False)
    assert "SubCallError" in world.roots()[-1].messages[-1].content
    assert len(world.subs()) == 2


async def test_a_run_submits_once_it_knows_enough_and_ends_what_is_under_way(tmp_path):
    early = (
        "asked = [llm_query_async(f'Name it: {text}') for text in files.values()]\n"
        "submit(asked[0].result(), ['It is about apples.'])"
    )
    subs = [Step(when="note 0\n", reply="apple", after_s=0.3), Step(reply="late", after_s=60, when="note")]
    async with open_world(tmp_path, [cell(early)], subs) as world:
        began = trio.current_time()
        outcome = await world.answer("What is the first about?", FRUIT)
        took_s = trio.current_time() - began

    assert (outcome.answer, outcome.partial) == ("apple", False)
    assert len(world.model.sub.cancelled) == 5
    assert not world.budget.open
    assert took_s < 20


async def test_what_was_asked_before_is_not_paid_for_again_by_another_run(tmp_path):
    async with open_world(tmp_path, [BATCH, COUNT, BATCH, COUNT], SUBS) as world:
        first = await world.answer("How many are there of each fruit?", FRUIT)
        paid = len(world.model.asked)
        again = await world.answer("How many are there of each fruit?", FRUIT)
        free = world.spender.tally.tokens_in
        await world.answer("How many are there of each fruit?", FRUIT, project="another")

    assert again.answer == first.answer
    assert (free, paid) == (0, 8)
    assert len(world.model.asked) == 2 * paid
