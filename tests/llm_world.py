"""A caller over a scripted model, on whatever clock the test has."""

from contextlib import asynccontextmanager

import trio
import trio.testing

from rlmd.llm.caller import llm_caller, mailbox_limit
from rlmd.llm.limits import Limits
from rlmd.llm.meter import Meter
from rlmd.llm.values import Ask, Chat, Message
from rlmd.supervision import open_supervisor


def chat(text="hello", model="m", **more):
    return Chat(messages=(Message("user", text),), model=model, **more)


def question(text="hello", *, job="j", interactive=False, project="p", use_cache=True, **more):
    return Ask(
        chat=chat(text, **more), job=job, interactive=interactive, project=project, use_cache=use_cache
    )


@asynccontextmanager
async def open_caller(upstream, meter=None, *, luck=1.0, cache_path=None, grace=1e6, **limits):
    """Yield the mailbox of a caller whose backoff takes *luck* of its ceiling."""

    def actor():
        return llm_caller(
            lambda: upstream,
            known,
            meter or Meter(),
            cache_path=cache_path,
            clock=trio.current_time,
            luck=lambda: luck,
        )

    known = Limits(**limits)
    async with open_supervisor(grace=grace) as supervisor:
        yield await supervisor.start_concurrent("llm_caller", actor, limit=mailbox_limit(known))


async def collect(ends, box, ask):
    """Ask, and append the text or the kind of failure, with the time."""
    try:
        reply = await box.ask(ask)
        ends.append((trio.current_time(), reply.text))
    except Exception as error:  # noqa: BLE001 - however it ended is what the test asks
        ends.append((trio.current_time(), getattr(error, "kind", type(error).__name__)))


async def gather(box, asks):
    """Ask all at once, in order, and return how they ended in the order of their ends."""
    ends = []
    async with trio.open_nursery() as nursery:
        for each in asks:
            nursery.start_soon(collect, ends, box, each)
            await trio.testing.wait_all_tasks_blocked()
    return ends
