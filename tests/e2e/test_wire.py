"""The eight tools over the socket, in both eras and through the bridge, against the contract."""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import trio
from mcp import Client as SdkClient
from mcp import StdioServerParameters, stdio_client

from daemon_world import Client, Daemon, until
from door_world import call
from e2e.contract import CODES, ERROR, READING, RESULTS, STRUCTURED, TOOLS, misfits, mistakes_of
from rlmd.cli import bridge

HANDSHAKES = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]
CALLS: dict[str, dict[str, Any]] = {
    "rlm_analyze": {"query": "where are splines reticulated?", "paths": ["."]},
    "rlm_query_text": {"query": "error", "text": "all is well\nan error happened\nbye\n"},
    "rlm_status": {},
    "rlm_memory_store": {"key": "k", "value": "v", "tags": ["t"]},
    "rlm_memory_recall": {"key": "k"},
    "rlm_read": {"path": "pkg/knot.py"},
    "rlm_grep": {"pattern": "def "},
    "rlm_glob": {"pattern": "**/*.py"},
}


def check_result(tool: str, result: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Compare one result with all that the contract says of results."""
    facts = result["_meta"]["rlmd/result"]
    (block,) = result["content"]
    assert block["type"] == "text"
    assert 0 < len(block["text"]) <= 9_000
    assert mistakes_of(tool, facts) == []
    assert ("structuredContent" in result) == (tool in STRUCTURED)
    if tool in STRUCTURED:
        assert json.loads(block["text"]) == result["structuredContent"]
        jsonschema.validate(result["structuredContent"], schemas[tool])


def schemas_of(listed: dict[str, Any]) -> dict[str, Any]:
    """Check the list of tools; return the output schemas in it."""
    tools = {tool["name"]: tool for tool in listed["tools"]}
    assert set(RESULTS) <= set(tools) <= TOOLS
    assert {name for name, tool in tools.items() if "outputSchema" in tool} == STRUCTURED & set(tools)
    assert {name for name in RESULTS if tools[name]["annotations"]["readOnlyHint"]} == READING
    for name, given in CALLS.items():
        jsonschema.validate(given, tools[name]["inputSchema"])
    return {name: tool["outputSchema"] for name, tool in tools.items() if "outputSchema" in tool}


@pytest.mark.parametrize("version", HANDSHAKES)
def test_after_a_handshake_each_tool_answers_as_the_contract_says(client: Client, version: str):
    told = client.shake_hands(version)
    listed = client.request("tools/list")["result"]
    schemas = schemas_of(listed)

    results = {
        name: client.request("tools/call", {"name": name, "arguments": given})["result"]
        for name, given in CALLS.items()
    }

    assert told["protocolVersion"] == version
    assert told["serverInfo"]["name"] == "rlmd"
    for name, result in results.items():
        check_result(name, result, schemas)


def test_without_a_handshake_each_tool_answers_as_the_contract_says(client: Client):
    client.send({**call("", request_id="list"), "method": "tools/list"})
    schemas = schemas_of(client.answer_to("list")["result"])

    for name, given in CALLS.items():
        check_result(name, client.call(name, given), schemas)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_sdks_own_client_gets_all_of_it_through_the_bridge(daemon: Daemon, tree: Path, mode: Any):
    command = StdioServerParameters(
        command=sys.executable,
        args=["-I", "-S", bridge.__file__, "connect"],
        env=daemon.places.env(),
        cwd=tree,
    )
    reached: list[float] = []

    async def follow(progress: float, total: float | None, message: str | None) -> None:
        reached.append(progress)

    with trio.fail_after(40):
        async with SdkClient(stdio_client(command), mode=mode) as sdk:
            listed = (await sdk.list_tools()).model_dump(mode="json", by_alias=True, exclude_none=True)
            schemas = schemas_of(listed)
            results = {
                name: await sdk.call_tool(name, given, progress_callback=follow)
                for name, given in CALLS.items()
            }

    for name, result in results.items():
        dumped = result.model_dump(mode="json", by_alias=True)
        check_result(name, {key: value for key, value in dumped.items() if value is not None}, schemas)
    assert reached


def test_each_tool_keeps_to_its_cap_and_says_how_to_get_the_rest(client: Client, tree: Path):
    (tree / "long.txt").write_text("".join(f"needle number {n} in the hay\n" for n in range(20_000)))
    asked = {
        "rlm_analyze": {"query": "needle number", "paths": ["."], "kind": "any"},
        "rlm_query_text": {"query": "needle", "path": "long.txt"},
        "rlm_read": {"path": "long.txt"},
        "rlm_grep": {"pattern": "needle"},
    }

    for name, given in asked.items():
        for most in (100, 500, 3_000, 100_000):
            text = client.call(name, {**given, "max_chars": most})["content"][0]["text"]
            assert len(text) <= most, name
        text = client.call(name, given)["content"][0]["text"]
        assert len(text) <= 9_000, name
        assert any(word in text for word in ("rlm_read", "offset=", "cursor=")), text[-300:]


def test_a_grep_read_by_its_cursor_is_whole_and_in_order(client: Client, tree: Path):
    (tree / "long.txt").write_text("".join(f"needle {n}\n" for n in range(2_500)))
    found: list[int] = []
    cursor: str | None = None

    while True:
        page = client.ask(
            "rlm_grep", {"pattern": "needle", "limit": 1_000} | ({"cursor": cursor} if cursor else {})
        )
        found += [match["line"] for match in page["matches"]]
        if (cursor := page["next_cursor"]) is None:
            break

    assert found == list(range(1, 2_501))
    assert page["total"] == 2_500


def test_progress_only_grows(daemon: Daemon, tree: Path):
    for number in range(800):
        (tree / f"f{number}.py").write_text(f"def f{number}():\n    return {number}\n")
    with daemon.connect(tree) as client:
        client.call("rlm_analyze", {"query": "f77", "paths": ["."]}, progressToken="p")

        told = [frame["params"] for frame in client.others if frame["method"] == "notifications/progress"]

    assert {each["progressToken"] for each in told} == {"p"}
    steps = [each["progress"] for each in told]
    assert steps
    assert steps == sorted(set(steps))
    assert all(each["progress"] <= each["total"] for each in told)


UNKNOWN = [
    ("rlm_grep", {"pattern": "x", "case_insensitiv": True}, "case_insensitive"),
    ("rlm_analyze", {"query": "x", "paths": ["."], "includ": ["*"]}, "include"),
    ("rlm_analyze", {"query": "x", "paths": ["."], "budget": {"second": 3}}, "seconds"),
    ("rlm_memory_recall", {"tag": ["x"]}, "tags"),
    ("rlm_status", {"verbos": True}, "verbose"),
]


@pytest.mark.parametrize(("tool", "given", "nearest"), UNKNOWN)
def test_an_unknown_argument_is_answered_with_the_nearest(
    client: Client, tool: str, given: dict[str, Any], nearest: str
):
    error = client.fail(tool, given)

    assert error["code"] == "bad_argument"
    assert f"did you mean {nearest}?" in error["message"]


WRONG = [
    ("rlm_read", {"path": "nowhere.py"}, "not_found"),
    ("rlm_read", {"path": "/etc/shadow"}, "outside_roots"),
    ("rlm_read", {}, "bad_argument"),
    ("rlm_read", {"path": "pkg/knot.py", "offset": -1}, "bad_argument"),
    ("rlm_read", {"path": "pkg"}, "bad_argument"),
    ("rlm_read", {"path": "a\0b"}, "bad_argument"),
    ("rlm_read", {"path": "x" * 5_000}, "not_found"),
    ("rlm_read", {"path": 3}, "bad_argument"),
    ("rlm_grep", {"pattern": "(?=x)"}, "bad_argument"),
    ("rlm_grep", {"pattern": "x", "cursor": "stale"}, "bad_argument"),
    ("rlm_grep", {"pattern": "x", "file_type": "pyy"}, "bad_argument"),
    ("rlm_grep", {"pattern": "x", "limit": 0}, "bad_argument"),
    ("rlm_glob", {"pattern": "[", "limit": 3}, "bad_argument"),
    ("rlm_analyze", {"query": "x", "paths": []}, "bad_argument"),
    ("rlm_analyze", {"query": "", "paths": ["."]}, "bad_argument"),
    ("rlm_analyze", {"query": "x", "paths": ["gone"]}, "not_found"),
    ("rlm_analyze", {"query": "x", "paths": ["."], "wait_s": 51}, "bad_argument"),
    ("rlm_analyze", {"query": "x", "paths": ["."], "mode": "rlm"}, "no_llm"),
    ("rlm_analyze", {"query": "x", "paths": ["."], "mode": "direct"}, "no_llm"),
    ("rlm_query_text", {"query": "x", "text": "a", "mode": "rlm"}, "no_llm"),
    ("rlm_query_text", {"query": "x"}, "bad_argument"),
    ("rlm_query_text", {"query": "x", "text": "a", "path": "b"}, "bad_argument"),
    ("rlm_memory_store", {"key": "", "value": "v"}, "bad_argument"),
    ("rlm_memory_store", {"key": "absent", "value": "v", "expect_version": 7}, "version_conflict"),
    ("rlm_memory_recall", {"since": "yesterday"}, "bad_argument"),
    ("rlm_memory_recall", {"cursor": "!"}, "bad_argument"),
]


@pytest.mark.parametrize(("tool", "given", "code"), WRONG)
def test_what_a_caller_can_mend_has_a_code_and_a_hint(
    client: Client, tool: str, given: dict[str, Any], code: str
):
    client.ask("rlm_memory_store", {"key": "present", "value": "v"})

    result = client.call(tool, given)

    error = result["_meta"]["rlmd/error"]
    (block,) = result["content"]
    assert result["isError"] is True
    assert list(misfits(error, ERROR)) == []
    assert error["code"] == code
    assert code in CODES
    assert block["text"].startswith(f"{code}: ")
    assert len(block["text"]) <= 9_000
    assert error["hint"]


def test_an_unknown_tool_is_a_fault_of_the_protocol(client: Client):
    client.send(call("rlm_nonsense", {"code": "1"}, request_id=9))

    assert client.answer_to(9)["error"]["code"] == -32602


def test_an_unknown_method_is_a_fault_of_the_protocol(client: Client):
    client.shake_hands()

    assert client.request("tools/nonsense")["error"]["code"] == -32601


def busy(daemon: Daemon, watch: Client) -> tuple[int, int]:
    """Return how many jobs run and how many actors are at work."""
    status = watch.ask("rlm_status")
    return status["jobs"]["running"], sum(actor["busy"] for actor in status["actors"])


@pytest.fixture
def heavy(tmp_path: Path) -> Path:
    """A tree that takes seconds to collect."""
    root = tmp_path / "heavy"
    root.mkdir()
    words = " ".join(f"word{n}" for n in range(4_000))
    for number in range(600):
        (root / f"f{number}.txt").write_text(f"{number} {words}\n" * 2)
    return root


ENDINGS = {
    "notification": lambda asking: asking.send(
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    ),
    "closed": lambda asking: asking.socket.close(),
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("tool", "given"),
    [
        ("rlm_analyze", {"query": "word7", "paths": ["."], "kind": "any"}),
        ("rlm_grep", {"pattern": "[a-z]+[0-9]+ (word1 |word2 )+nothing"}),
    ],
)
def test_cancelled_work_stops_within_100_ms(
    daemon: Daemon, heavy: Path, tool: str, given: dict[str, Any], ending: str, record_property: Any
):
    with daemon.connect() as watch, daemon.connect(heavy) as asking:
        before = daemon.logged().count('"outcome": "cancelled"')
        asking.send(call(tool, given, request_id=1))
        if tool == "rlm_analyze":
            until(lambda: busy(daemon, watch)[1], "the work has begun", 10)
        else:
            time.sleep(0.02)  # there is no telling from outside; the log shows that it was cut short
        began = time.perf_counter()
        ENDINGS[ending](asking)

        took_s = until(lambda: daemon.logged().count('"outcome": "cancelled"') > before, "the call ended", 5)
        until(lambda: busy(daemon, watch) == (0, 0), "all work ended", 5)
        all_s = time.perf_counter() - began

    record_property("took_ms", round(took_s * 1000))
    print(f"\ncancel {tool} by {ending}: call {took_s * 1000:.0f} ms, all work {all_s * 1000:.0f} ms")
    assert took_s < 0.1
    assert all_s < 0.3  # that of looking included


def test_a_client_that_half_closes_still_gets_its_answers(daemon: Daemon, tree: Path):
    with daemon.connect(tree) as client:
        client.send(call("rlm_grep", {"pattern": "def"}, request_id=5))
        client.socket.shutdown(socket.SHUT_WR)

        assert client.answer_to(5)["result"]["_meta"]["rlmd/result"]["total"] == 2
        assert client.receive() is None


def test_answers_come_as_they_are_ready(daemon: Daemon, heavy: Path):
    with daemon.connect(heavy) as client:
        client.send(call("rlm_analyze", {"query": "word7", "paths": ["."], "kind": "any"}, request_id=1))
        client.send(call("rlm_glob", {"pattern": "f1.txt"}, request_id=2))

        first = client.receive()

    assert first is not None
    assert first["id"] == 2
