"""Kill the daemon in the middle of a paid run: it goes on, and pays for nothing that it had kept."""

import json
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from daemon_world import new_places, running_daemon, until

PIECES, DELAY_S, IN_FLIGHT = 200, 0.02, 100
"""Completions that are on their way when the daemon dies are paid for, and cannot have been kept."""
CELLS = [
    f"kinds = llm_query_batched([f'judge {{n}}' for n in range({PIECES // 2})])",
    f"kinds += llm_query_batched([f'judge {{n}}' for n in range({PIECES // 2}, {PIECES})])",
    "submit(len(kinds))",
]


class Model(ThreadingHTTPServer):
    """Answers root calls by the next cell, and counts every completion that it was paid for."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.paid: Counter[str] = Counter()
        self.lock = threading.Lock()

    def handle_error(self, *_):
        """Say nothing of connections that died with the daemon."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"]
        is_root = asked[0]["role"] == "system"
        said = sum(each["role"] == "assistant" for each in asked)
        time.sleep(DELAY_S)
        with self.server.lock:
            self.server.paid[f"root {said}" if is_root else asked[0]["content"]] += 1
        text = f"```repl\n{CELLS[said]}\n```" if is_root else "yes"
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
        whole = {"id": "c", "object": "chat.completion", "created": 0, "model": "m"}
        body = json.dumps({**whole, "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def running_model():
    with Model() as model:
        thread = threading.Thread(target=model.serve_forever)
        thread.start()
        try:
            yield model
        finally:
            model.shutdown()
            thread.join()


def options(model):
    return [
        f"-ollm.base_url=http://127.0.0.1:{model.server_port}/v1",
        "-ollm.model=m",
        "-ollm.window_tokens=32000",
        "-ollm.cache_entries=0",
    ]


def begin(daemon, tree):
    given = {"query": "How many are yes?", "paths": [str(tree)], "mode": "rlm", "detach": True}
    with daemon.connect() as client:
        return client.ask("rlm_analyze", {**given, "budget": {"calls": 300}})["job_id"]


def kept(places):
    """Return how many paid results the journal holds."""
    with sqlite3.connect(f"file:{places.state / 'jobs.db'}?mode=ro", uri=True) as db:
        counted = db.execute("SELECT count(*) FROM entry WHERE kind IN ('root', 'call')").fetchone()[0]
    db.close()
    return counted


@pytest.mark.slow
@pytest.mark.parametrize("point", range(20))
def test_a_killed_daemon_goes_on_with_what_it_had_paid_for(point):
    moment = random.Random(point).randrange(PIECES + len(CELLS))
    with new_places() as places, running_model() as model:
        tree = places.top / "tree"
        tree.mkdir()
        (tree / "a.txt").write_text("one text\n")
        with running_daemon(places, *options(model)) as daemon:
            job = begin(daemon, tree)
            until(lambda: model.paid.total() > moment, "so much is paid")
            daemon.end(signal.SIGKILL)
        paid_before, kept_before = model.paid.total(), kept(places)

        with running_daemon(places, *options(model)) as daemon, daemon.connect() as client:
            found = client.ask("rlm_job", {"action": "wait", "job_id": job, "wait_s": 40})

    print(f"{paid_before} paid, {kept_before} kept when killed, {model.paid.total()} paid in all")
    assert (found["state"], found["answer"], found["partial"]) == ("done", PIECES, False)
    assert found["usage"]["calls"] == PIECES + len(CELLS)
    assert len(model.paid) == PIECES + len(CELLS)
    assert model.paid.total() <= PIECES + len(CELLS) + (paid_before - kept_before) + IN_FLIGHT


@pytest.mark.slow
def test_a_cancelled_job_closes_what_it_had_in_flight_at_once():
    with new_places() as places, running_model() as model:
        tree = places.top / "tree"
        tree.mkdir()
        (tree / "a.txt").write_text("one text\n")
        with running_daemon(places, *options(model)) as daemon, daemon.connect() as client:
            job = begin(daemon, tree)
            until(lambda: model.paid.total() > 20, "the batch is under way")
            began = time.perf_counter()
            found = client.ask("rlm_job", {"action": "cancel", "job_id": job})
            took_s = time.perf_counter() - began
            sessions = client.ask("rlm_status")["sandbox"]["sessions"]
            listed = client.ask("rlm_job", {"action": "list"})["jobs"]

    assert found["state"] == "cancelled"
    assert sessions == 0
    assert took_s < 0.5
    assert [each["state"] for each in listed] == ["cancelled"]
