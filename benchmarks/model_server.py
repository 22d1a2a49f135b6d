"""A model on loopback, in a process of its own, that answers after as long as the model's name says.

Prints its port.  `slow-0.1` answers after a tenth of a second; all else at once.
"""

from __future__ import annotations

import json
import re
from functools import partial

import trio

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_DELAY = re.compile(rb'"model": *"slow-([\d.]+)"')
_BODY = json.dumps(
    {
        "id": "c1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11},
    }
).encode()
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(_BODY),
    _BODY,
)


async def serve(stream: trio.SocketStream) -> None:
    """Answer every request of one connection; knows just as much HTTP as its clients here need."""
    buffer = b""
    while True:
        while (head_end := buffer.find(b"\r\n\r\n")) < 0:
            if not (piece := await stream.receive_some()):
                return
            buffer += piece
        length = int(found[1]) if (found := _LENGTH.search(buffer, 0, head_end)) else 0
        while len(buffer) < head_end + 4 + length:
            buffer += await stream.receive_some()
        body, buffer = buffer[head_end + 4 : head_end + 4 + length], buffer[head_end + 4 + length :]
        if slow := _DELAY.search(body):
            await trio.sleep(float(slow[1]))
        await stream.send_all(_ANSWER)


async def forgiving(stream: trio.SocketStream) -> None:
    """Serve until the client goes, however it goes."""
    try:
        await serve(stream)
    except trio.BrokenResourceError:
        return
    finally:
        await trio.aclose_forcefully(stream)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, forgiving, 0, host="127.0.0.1", backlog=512))
        print(listeners[0].socket.getsockname()[1], flush=True)


if __name__ == "__main__":
    trio.run(main)
