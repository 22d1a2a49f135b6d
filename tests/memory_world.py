"""A writer and a reader of one memory file, without the mailbox between."""

from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from rlmd.memory.ask import Recall
from rlmd.memory.entry import Forget, Purge, Store, Undo
from rlmd.memory.recall import open_recaller
from rlmd.memory.writer import memory_writer

ASK = Recall(project="p")


def note(key, value="", *tags, project="p", **more):
    return Store(key=key, value=value, tags=tags, project=project, **more)


class Memory:
    def __init__(self, write, recaller):
        self.write = write
        self.recaller = recaller

    async def note(self, key, value="", *tags, **more):
        return await self.change(note(key, value, *tags, **more))

    async def store(self, *stores):
        for outcome in await self.write(list(stores)):
            assert not isinstance(outcome, Exception), outcome

    async def change(self, request):
        (outcome,) = await self.write([request])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def forget(self, key, project="p"):
        return await self.change(Forget(key, project))

    async def undo(self, key, project="p"):
        return await self.change(Undo(key, project))

    async def purge(self, key, project="p"):
        return await self.change(Purge(key, project))

    async def keys(self, **question):
        return [item.key for item in (await self.page(**question)).items]

    async def values(self, **question):
        return {item.key: item.value for item in (await self.page(**question)).items}

    async def page(self, **question):
        return await self.recaller.recall(replace(ASK, **question))

    async def history(self, key, project="p"):
        """Return version, state and value of each version, newest first."""
        page = await self.page(key=key, project=project, history=True)
        return [(item.version, item.state, item.value) for item in page.items]

    async def pages(self, meanwhile=None, **question):
        """Follow the cursor to the end; *meanwhile* is awaited after each page."""
        cursor, pages = None, []
        while cursor or not pages:
            page = await self.page(**question, cursor=cursor)
            pages.append([item.key for item in page.items])
            cursor = page.next_cursor
            if meanwhile:
                await meanwhile(len(pages))
        return pages


@asynccontextmanager
async def opened(path, **limits):
    """Open the file for the length of the block; the clock is real, the time bounded."""
    with trio.fail_after(30):
        async with (
            memory_writer(str(path), **limits) as write,
            open_recaller(str(path), readers=2) as recaller,
        ):
            yield Memory(write, recaller)
