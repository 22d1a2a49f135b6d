"""Actors whose requests say what should happen to them, and that keep a diary."""

from contextlib import asynccontextmanager

import trio

from rlmd.errors import RequestError


class PanicError(BaseException):
    """Stands for pyo3's PanicException, which is no Exception either."""


def scripted(diary=None, name=""):
    """Answer with how many requests this incarnation has begun; obey the request meanwhile."""
    diary = [] if diary is None else diary

    @asynccontextmanager
    async def actor():
        begun = 0
        diary.append(f"open {name}".strip())

        async def handle(request):
            nonlocal begun
            begun += 1
            number = begun
            await obey(request, handle, diary)
            return number

        try:
            yield handle
        finally:
            diary.append(f"close {name}".strip())

    return actor


async def obey(request, handle, diary):
    match request:
        case "crash":
            raise OSError("disk on fire")
        case "panic":
            raise PanicError("index out of bounds")
        case "panic in nursery":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(handle, "panic")
        case "refuse":
            raise RequestError("no such path")
        case "refuse in nursery":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(handle, "refuse")
        case float() as seconds:
            try:
                await trio.sleep(seconds)
            except trio.Cancelled:
                diary.append(f"cancelled at {trio.current_time():g}")
                raise


async def collect(ends, mailbox, request):
    """Ask, and append how that ended to *ends*."""
    try:
        ends.append(await mailbox.ask(request))
    except Exception as error:  # noqa: BLE001 - however it ended is what the test asks
        ends.append(type(error).__name__)
