"""A model that follows a script, for agents: it calls the tools it was told to, and keeps what came back.

It speaks the two protocols that agents speak to their models, messages and responses, as far as two
agents need it.  Everything is on loopback.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One thing that the model does: call *tool*; `before` runs when it is about to."""

    tool: str
    given: Mapping[str, Any] = field(default_factory=dict)
    before: Callable[[], object] = lambda: None


@dataclass
class Script:
    """What the model does in order, and what it got to see: `results` by step, and the tools on offer."""

    steps: Sequence[Step]
    results: list[Json] = field(default_factory=list)
    offered: set[str] = field(default_factory=set)
    asked: int = 0

    def next_step(self, results: list[Json]) -> Step | None:
        """Take over the *results* so far; return the step that follows, None at the end."""
        self.results = results
        if len(results) >= len(self.steps):
            return None
        step = self.steps[len(results)]
        step.before()
        return step

    def text(self, number: int) -> str:
        """Return what the model read as the result of a step."""
        return "".join(_texts(self.results[number]))


@contextmanager
def fake_model(*steps: Step) -> Iterator[tuple[str, Script]]:
    """Serve a model that follows *steps*; yield its address and what it saw."""
    script = Script(steps)
    handler = type("Handler", (_Handler,), {"script": script, "lock": threading.Lock()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", script
        finally:
            server.shutdown()
            serving.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script
    lock: threading.Lock

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._send(b"", "text/plain")

    def do_GET(self) -> None:
        self._json({"data": [{"id": "fake-model"}], "models": []})

    def do_POST(self) -> None:
        body = json.loads(self._body() or b"{}")
        path = self.path.partition("?")[0]
        if path.endswith("/count_tokens"):
            self._json({"input_tokens": 10})
        elif path.endswith("/messages"):
            self._messages(body)
        elif path.endswith("/responses"):
            self._responses(body)
        else:
            self._json({})

    def _messages(self, body: Json) -> None:
        """Answer in the protocol of Claude Code; what asks without tools is about a title, say."""
        results = [
            block
            for message in body["messages"]
            if isinstance(message["content"], list)
            for block in message["content"]
            if block["type"] == "tool_result"
        ]
        step = None
        if body.get("tools"):
            with self.lock:
                self.script.offered |= {str(tool.get("name")) for tool in body["tools"]}
                step = self.script.next_step(results)
        block: Json = {"type": "text", "text": "done"}
        delta: Json = {"type": "text_delta", "text": "done"}
        if step is not None:
            block = {"type": "tool_use", "id": f"toolu_{len(results)}", "name": f"mcp__rlmd__{step.tool}"}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(step.given)}
        stop = "tool_use" if step else "end_turn"
        usage = {"input_tokens": 1, "output_tokens": 1}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"]}
        if not body.get("stream"):
            self._json({**message, "content": [block], "stop_reason": stop, "usage": usage})
            return
        empty = {"input": {}} if step else {"text": ""}
        self._events(
            {
                "type": "message_start",
                "message": {**message, "content": [], "stop_reason": None, "usage": usage},
            },
            {"type": "content_block_start", "index": 0, "content_block": {**block, **empty}},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": usage},
            {"type": "message_stop"},
        )

    def _responses(self, body: Json) -> None:
        """Answer in the protocol of Codex."""
        results = [item for item in body["input"] if str(item.get("type", "")).endswith("_output")]
        with self.lock:
            self.script.offered |= set(_named(body.get("tools", [])))
            step = self.script.next_step(results)
        item: Json = {"type": "message", "id": "m1", "role": "assistant"}
        item["content"] = [{"type": "output_text", "text": "done"}]
        if step is not None:
            item = {"type": "function_call", "id": f"fc{len(results)}", "call_id": f"call{len(results)}"}
            item |= {"name": step.tool, "namespace": "mcp__rlmd", "arguments": json.dumps(step.given)}
        usage = {"input_tokens": 1, "input_tokens_details": None, "output_tokens": 1}
        usage |= {"output_tokens_details": None, "total_tokens": 2}
        self._events(
            {"type": "response.created", "response": {"id": "r1"}},
            {"type": "response.output_item.done", "item": item},
            {"type": "response.completed", "response": {"id": "r1", "usage": usage}},
        )

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _events(self, *events: Json) -> None:
        lines = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]
        self._send("".join(lines).encode(), "text/event-stream")

    def _json(self, value: Json) -> None:
        self._send(json.dumps(value).encode(), "application/json")

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _named(tools: Sequence[Any]) -> Iterator[str]:
    """Yield the names of tools, and of those in a namespace."""
    for tool in tools:
        if isinstance(tool, dict):
            yield str(tool.get("name") or tool.get("type"))
            yield from _named(tool.get("tools") or [])


def _texts(result: Any) -> Iterator[str]:
    match result:
        case str():
            yield result
        case list():
            for each in result:
                yield from _texts(each)
        case {"text": str(text)}:
            yield text
        case {"content": content} | {"output": content}:
            yield from _texts(content)
