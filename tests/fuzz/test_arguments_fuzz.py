"""Arguments that nobody would write, made from the tools' own schemas, and connections dropped anywhere.

Whatever is sent, the answer is a result or an error of the contract, never `internal`; the daemon lives
and its other connections are unharmed.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon_world import Client, Daemon, new_places, running_daemon
from door_world import HANDSHAKE, call
from e2e.contract import CODES

ALLOWED = CODES - {"internal"}
ODD_TEXTS = [
    "",
    "\0",
    "..",
    "../../../etc/passwd",
    "/",
    "~",
    "/proc/self/mem",
    "/dev/zero",
    "a" * 5_000,
    "(" * 300,
    "[a-",
    "{",
    "**/**/**/**/**/*",
    "\ud800",
    "\u202e\ufeff\U0010ffff",
    "%00",
    "*",
    "'; DROP TABLE memories; --",
    '" OR 1=1 NEAR(',
    "NaN",
]
ODD_NUMBERS = [0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**63), 2**200, 0.5, -0.0, 1e308, 1e-308]
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from(ODD_NUMBERS)
    | st.sampled_from(ODD_TEXTS)
    | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
Schema = dict[str, Any]


def fitting(schema: Schema, definitions: Schema) -> st.SearchStrategy[Any]:  # noqa: PLR0911  # one for each type
    """Return what *schema* allows, its bounds left out: those are for the tool to judge."""
    if "$ref" in schema:
        return fitting(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if alternatives := schema.get("anyOf"):
        return st.one_of([fitting(each, definitions) for each in alternatives])
    match schema.get("type"):
        case "string":
            return st.sampled_from([*ODD_TEXTS, "spline", "README.md", ".", "*.py"]) | st.text(max_size=60)
        case "integer":
            return st.integers(-5, 60) | st.sampled_from([n for n in ODD_NUMBERS if isinstance(n, int)])
        case "number":
            return st.floats(0, 3) | st.sampled_from(ODD_NUMBERS)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            return st.lists(fitting(schema.get("items", {}), definitions), max_size=3)
        case "object" if "properties" in schema:
            return fitting_object(schema, definitions)
        case _:
            return JUNK


def fitting_object(schema: Schema, definitions: Schema) -> st.SearchStrategy[Any]:
    """Return objects with some of the properties, each mostly as its schema says, or with strangers."""
    known = {
        name: st.one_of(fitting(each, definitions), fitting(each, definitions), JUNK)
        for name, each in schema["properties"].items()
    }
    required = set(schema.get("required", []))
    mostly = st.fixed_dictionaries(
        {name: each for name, each in known.items() if name in required},
        optional={name: each for name, each in known.items() if name not in required},
    )
    some = st.fixed_dictionaries({}, optional=known)
    strange = st.dictionaries(st.text(max_size=12), JUNK, max_size=2)
    return st.one_of(mostly, mostly, some, st.builds(dict.__or__, mostly, strange))


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with new_places() as places:
        tree = places.top / "tree"
        tree.mkdir()
        (tree / "README.md").write_text("# Spline tools\n\nReticulates splines.\n")
        (tree / "pkg.py").write_text("def reticulate(spline):\n    return spline[::-1]\n")
        with running_daemon(places) as daemon:
            yield daemon
            assert "request.crashed" not in daemon.logged()


@pytest.fixture(scope="module")
def tools(daemon: Daemon) -> dict[str, Schema]:
    with daemon.connect() as client:
        client.shake_hands()
        listed = client.request("tools/list")["result"]["tools"]
    return {tool["name"]: tool["inputSchema"] for tool in listed}


@pytest.mark.parametrize("examples", [12, pytest.param(400, marks=pytest.mark.slow)])
def test_any_arguments_of_any_tool_end_in_an_answer_of_the_contract(
    daemon: Daemon, tools: dict[str, Schema], examples: int
):
    makers = {name: fitting(schema, schema.get("$defs", {})) for name, schema in tools.items()}
    every = st.sampled_from(sorted(makers)).flatmap(lambda name: st.tuples(st.just(name), makers[name]))
    other = daemon.connect(daemon.places.top / "tree")
    client = daemon.connect(daemon.places.top / "tree")

    @settings(
        max_examples=examples * len(makers),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(every)
    def ask(asked: tuple[str, Any]) -> None:
        name, arguments = asked
        arguments = bounded(arguments)
        client.send(call(name, arguments, request_id=1))
        check(name, arguments, answer(client))

    with client, other:
        ask()
        assert other.ask("rlm_grep", {"pattern": "spline"})["total"] == 3
    assert daemon.process.poll() is None


def answer(client: Client) -> dict[str, Any]:
    """Return the next answer; what half a surrogate pair keeps from being JSON is answered without an id."""
    while (frame := client.receive()) is not None:
        if "method" not in frame:
            return frame
    raise AssertionError("the connection ended without an answer")


def bounded(arguments: Any) -> Any:
    """Keep a call from taking long by right: what waits or runs does so for a second at most."""
    if isinstance(arguments, dict):
        limits = {"wait_s": 1, "timeout_s": 1}
        return {
            name: min(value, limits[name]) if name in limits and isinstance(value, int | float) else value
            for name, value in arguments.items()
        }
    return arguments


def check(name: str, arguments: Any, frame: dict[str, Any]) -> None:
    told = f"{name} {json.dumps(arguments)[:600]} -> {json.dumps(frame)[:600]}"
    if "error" in frame:
        assert frame["error"]["code"] in {-32600, -32602, -32700}, told
        return
    result = frame["result"]
    (block,) = result["content"]
    assert block["type"] == "text", told
    if result.get("isError"):
        error = result["_meta"]["rlmd/error"]
        assert error["code"] in ALLOWED, told
        assert block["text"].startswith(f"{error['code']}: "), told


STAGES = [
    b"",
    b"{",
    b'{"rlmd/hello":{"cwd":"/tmp"}}\n',
    json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HANDSHAKE}).encode() + b"\n",
    json.dumps(call("rlm_grep", {"pattern": "spline"})).encode() + b"\n",
    json.dumps(call("rlm_analyze", {"query": "splines", "paths": ["."], "mode": "evidence"})).encode()
    + b"\n",
    json.dumps(call("rlm_memory_store", {"key": "k", "value": "v"})).encode() + b"\n",
    json.dumps(call("rlm_status")).encode() + b"\n",
    b"GET /metrics HTTP/1.1\r\n\r\n",
    b"\xff\x00 no JSON \n" * 3,
]


@pytest.mark.parametrize("times", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_connections_dropped_at_any_stage_of_a_request_leave_nothing(daemon: Daemon, times: int):
    luck = random.Random(times)
    root = daemon.places.top / "tree"
    path = str(daemon.places.socket)
    with daemon.connect(root) as other:
        other.ask("rlm_status")
        for number in range(times):
            drop(path, luck, root)
            if number % 100 == 99:
                assert other.ask("rlm_grep", {"pattern": "spline"})["total"] == 3
        status = settled(other)

    assert (status["doors"]["connections"], status["doors"]["requests"]) == (1, 1)
    assert status["process"]["open_fds"] < 120
    assert [actor["busy"] for actor in status["actors"] if actor["name"] == "memory_writer"] == [0]


def drop(path: str, luck: random.Random, root: Path) -> None:
    """Send up to some stage of a request, read or not, and be gone, now and then by a reset."""
    crowded = contextlib.suppress(BrokenPipeError, ConnectionResetError)  # one of too many is told so
    with crowded, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)  # waits where the queue is full
        connection.settimeout(30)
        connection.sendall(b'{"rlmd/hello":{"cwd":"%s"}}\n' % str(root).encode())
        data = luck.choice(STAGES)
        connection.sendall(data[: luck.randrange(len(data) + 1)] if luck.random() < 0.5 else data)
        match luck.randrange(4):
            case 0:
                connection.shutdown(socket.SHUT_WR)
            case 1 if data.endswith(b"\n"):
                connection.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    connection.recv(10)
            case _:
                pass


def settled(client: Client) -> dict[str, Any]:
    """Return the status once nobody else is connected."""
    for _ in range(200):
        status: dict[str, Any] = client.ask("rlm_status")
        if status["doors"]["connections"] == 1:
            break
    return status
