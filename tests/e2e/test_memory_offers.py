"""Memories by address, news of them, and what fits into so many tokens, over the socket of a real daemon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from daemon_world import Client
from door_world import MODERN_META
from rlmd.tokens.worker import engine_for

EVIDENCE = {"path": "pkg/spline.py", "start_line": 4, "end_line": 6}


@pytest.fixture
def address(client: Client, tree: Path) -> str:
    client.ask("rlm_memory_store", {"key": "how/it works", "value": "reversed", "evidence": [EVIDENCE]})
    return f"rlmd://memory/{quote(str(tree), safe='')}/{quote('how/it works')}"


def news(client: Client) -> dict[str, Any]:
    while True:
        frame = client.receive()
        assert frame is not None
        if frame.get("method") == "notifications/resources/updated":
            return frame["params"]


def test_a_memory_is_read_at_its_address_with_the_state_of_its_code(client: Client, tree: Path, address: str):
    (tree / "pkg/spline.py").write_text("# moved\n" + (tree / "pkg/spline.py").read_text())

    answer = client.request("resources/read", {"uri": address, "_meta": MODERN_META})
    listed = client.request("resources/list", {"_meta": MODERN_META})

    item = json.loads(answer["result"]["contents"][0]["text"])
    assert (item["key"], item["value"], item["status"]) == ("how/it works", "reversed", "moved")
    assert item["anchors"][0]["start_line"] == 5
    assert address in [resource["uri"] for resource in listed["result"]["resources"]]


def test_an_address_that_leads_nowhere_is_an_error(client: Client, address: str):
    for uri in (address + "x", "rlmd://memory/p", "rlmd://nothing/at/all"):
        assert client.request("resources/read", {"uri": uri, "_meta": MODERN_META})["error"]["code"] == -32602


def test_a_subscriber_of_the_handshake_era_hears_of_changed_code_and_of_new_versions(
    client: Client, daemon: Any, tree: Path, address: str
):
    with daemon.connect(tree) as subscriber:
        assert subscriber.shake_hands()["capabilities"]["resources"]["subscribe"] is True
        subscriber.request("resources/subscribe", {"uri": address})

        (tree / "pkg/spline.py").write_text("def reticulate(spline):\n    return sorted(spline)\n")
        assert news(subscriber)["uri"] == address
        client.ask("rlm_memory_store", {"key": "how/it works", "value": "sorted"})
        assert news(subscriber)["uri"] == address

        subscriber.request("resources/unsubscribe", {"uri": address})
        assert "result" in subscriber.request("resources/subscribe", {"uri": "rlmd://jobs/j-1"})


def test_a_stream_of_the_stateless_era_hears_of_changed_code(client: Client, tree: Path, address: str):
    watched = {"resourceSubscriptions": [address]}
    params = {"notifications": watched, "_meta": MODERN_META}
    client.send({"jsonrpc": "2.0", "id": "listen-1", "method": "subscriptions/listen", "params": params})
    acknowledged = client.receive()
    assert acknowledged is not None
    assert acknowledged["method"] == "notifications/subscriptions/acknowledged"

    (tree / "pkg/spline.py").unlink()

    told = news(client)
    assert told["uri"] == address
    assert told["_meta"]["io.modelcontextprotocol/subscriptionId"] == "listen-1"


def test_the_answer_has_no_more_tokens_than_asked_for_and_the_cursor_goes_on_from_there(
    daemon: Any, tmp_path: Path
):
    engine = engine_for("o200k_base", "tiktoken")
    with daemon.connect(tmp_path) as client:
        for number in range(12):
            value = f"the zebra {number} " + f"word{number} " * 40
            client.ask("rlm_memory_store", {"key": f"k{number:02}", "value": value})

        seen, cursor = [], None
        while cursor or not seen:
            given = {"query": "zebra", "limit": 12, "max_tokens": 700} | (
                {"cursor": cursor} if cursor else {}
            )
            result = client.call("rlm_memory_recall", given)
            page = result["structuredContent"]
            assert len(engine.encode(result["content"][0]["text"])) <= 700
            seen += [item["key"] for item in page["items"]]
            cursor = page["next_cursor"]
        small = client.ask("rlm_memory_recall", {"key": "k03", "max_tokens": 160})
        refused = client.fail("rlm_memory_recall", {"key": "k03", "max_tokens": 50})

    assert sorted(seen) == [f"k{number:02}" for number in range(12)]
    assert "[cut" in small["items"][0]["value"]
    assert refused["code"] == "bad_argument"


def test_the_prompts_begin_with_what_is_remembered(client: Client, tree: Path, address: str):
    (tree / "pkg/spline.py").unlink()

    listed = client.request("prompts/list", {"_meta": MODERN_META})
    first = client.request("prompts/get", {"name": "recall-first", "_meta": MODERN_META})
    wrong = client.request("prompts/get", {"name": "nothing", "_meta": MODERN_META})
    ask = {"name": "ask-corpus", "arguments": {"question": "why?"}, "_meta": MODERN_META}
    corpus = client.request("prompts/get", ask)

    assert address
    assert [prompt["name"] for prompt in listed["result"]["prompts"]] == ["ask-corpus", "recall-first"]
    text = first["result"]["messages"][0]["content"]["text"]
    assert "how/it works (missing: its code has changed, check it): reversed" in text
    assert wrong["error"]["code"] == -32602
    assert "why?" in corpus["result"]["messages"][0]["content"]["text"]


def test_an_answer_is_remembered_with_the_lines_that_it_cites(client: Client, daemon: Any, tree: Path):
    found = client.ask("rlm_analyze", {"query": "reticulate spline", "paths": ["."], "mode": "evidence"})

    by_command = ("memory", "store", "splines", "They are reversed.", "--job", found["job_id"], "--json")
    done = daemon.places.run(*by_command, cwd=tree)
    by_tool = client.ask("rlm_memory_store", {"key": "same", "value": "x", "evidence": found["evidence"][:1]})

    stored = json.loads(done.out)
    assert done.code == 0, done
    assert "pkg/spline.py" in [anchor["path"] for anchor in stored["anchors"]]
    assert {anchor["status"] for anchor in stored["anchors"]} == {"fresh"}
    assert by_tool["anchors"][0]["path"] == found["evidence"][0]["path"]
