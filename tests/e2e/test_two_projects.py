"""Two projects ask the same things at the same time: nothing of one is heard in the other."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread

from daemon_world import new_places, running_daemon

CELL = """
word = files['a.txt'].split()[-1]
same = llm_query_batched(['the same question', 'the same question'])
mine = llm_query('the text is: ' + files['a.txt'])
again = llm_query('the same question')
submit([word, same, mine, again], [cite('a.txt', 1, 1), 'the secret of this project is alpha',
        'the secret of this project is beta'])
"""


class Model(ThreadingHTTPServer):
    """Writes the one cell, and gives each sub-call a reply that no other has."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.numbers = count(1)

    def handle_error(self, *_):
        """Say nothing of connections that ended."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"]
        text = f"reply {next(self.server.numbers)} to {asked[0]['content']}"
        if asked[0]["role"] == "system":
            text = f"```repl\n{CELL}\n```"
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 10, "completion_tokens": 1}
        body = json.dumps({"model": "m", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Keep the test's output clean."""


@contextmanager
def running_model():
    with Model() as model:
        thread = Thread(target=model.serve_forever)
        thread.start()
        try:
            yield f"-ollm.base_url=http://127.0.0.1:{model.server_port}/v1"
        finally:
            model.shutdown()
            thread.join()


def ask(daemon, place, number):
    """Ask as an agent whose workspace is *place*."""
    with daemon.connect(place) as client:
        given = {"query": f"What is secret number {number}?", "paths": ["."], "mode": "rlm", "wait_s": 50}
        return client.ask("rlm_analyze", given)


def test_eight_jobs_of_two_projects_share_no_answer_no_reply_and_no_citation():
    with new_places() as places, running_model() as address:
        for name in ("alpha", "beta"):
            (places.top / name / ".git").mkdir(parents=True)
            (places.top / name / "a.txt").write_text(f"the secret of this project is {name}\n")
        options = [address, "-ollm.model=m", "-ollm.window_tokens=32000", "-osandbox.sessions=8"]
        with running_daemon(places, *options) as daemon, ThreadPoolExecutor(8) as pool:
            jobs = [
                (name, pool.submit(ask, daemon, places.top / name, number))
                for number in range(4)
                for name in ("alpha", "beta")
            ]
            found = [(name, job.result()) for name, job in jobs]

    heard = {"alpha": set(), "beta": set()}
    for name, answer in found:
        word, same, mine, again = answer["answer"]
        assert (answer["state"], answer["partial"], word) == ("done", False, name)
        assert mine.endswith(f"is {name}\n")
        assert {each["quote"] for each in answer["citations"]} == {f"the secret of this project is {name}"}
        assert all(each["verified"] for each in answer["citations"])
        assert "1 citations match nothing" in answer["note"]
        heard[name] |= {re.match(r"reply \d+", reply)[0] for reply in (*same, mine, again)}
    assert len(heard["alpha"]) == len(heard["beta"]) == 2  # within a project each prompt was asked once
    assert not heard["alpha"] & heard["beta"]
