"""What the one who runs cells may rely on."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from rlmd.corpus.text import decode as decode_as_the_corpus_does
from rlmd.errors import BadArgument, Busy, NotFound, SandboxUnavailable
from rlmd.sandbox.requests import Describe, Lines, Quote, Text, Variable
from rlmd.sandbox.services import NO_SERVICES, BudgetExceeded
from sandbox_world import SMALL, ScriptedServices, open_sandbox, packed

pytestmark = pytest.mark.real_io


async def test_state_lasts_between_the_cells_of_a_session_and_names_are_bound_afresh():
    async with open_sandbox() as sandbox:
        first = await sandbox.run("x = [1]\ndef double(n): return 2 * n\nfiles = grep = None")
        second = await sandbox.run("x.append(double(4)); print(len(files), grep('x'))\nx", first.session)

    assert second.stdout == "0 []\n[1, 8]\n"
    assert second.variables == (Variable("x", "list", 2), Variable("double", "function", 0))


async def test_sessions_know_nothing_of_one_another():
    async with open_sandbox() as sandbox:
        await sandbox.run("secret = 1")
        other = await sandbox.run("secret")

    assert "NameError" in other.error


async def test_an_error_is_a_short_traceback_of_the_cell_alone():
    async with open_sandbox() as sandbox:
        told = await sandbox.run("import json\ndef f():\n    json.loads('{')\nprint('before')\nf()")

    assert told.stdout == "before\n"
    assert told.error.splitlines()[0] == '  File "<cell 1>", line 5, in <module>'
    assert "json.loads('{')" in told.error
    assert told.error.count("File ") == 2
    assert told.error.splitlines()[-1].startswith("json.decoder.JSONDecodeError")


async def test_a_syntax_error_runs_nothing():
    async with open_sandbox() as sandbox:
        told = await sandbox.run("print('never')\nif")

    assert (told.stdout, "SyntaxError" in told.error) == ("", True)


async def test_output_is_head_and_tail_with_its_true_length():
    async with open_sandbox(replace(SMALL, output_chars=20)) as sandbox:
        told = await sandbox.run("print('a' * 10 + 'b' * 980 + 'c' * 9)")

    assert told.stdout == "aaaaaaaaaa\n[… 980 characters left out …]\nccccccccc\n"
    assert told.truncated


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-bom", "utf-16-le", "utf-16-be", "unknown-8bit"])
async def test_files_are_decoded_as_the_corpus_decodes_them(tmp_path, encoding):
    codec = encoding if encoding.startswith("utf-16") else "utf-8"
    data = b"\xff\xfe caf\xe9 \n" if encoding == "unknown-8bit" else "\ufeffgrün 😀\nzwei\n".encode(codec)
    content = packed(tmp_path, {"b.txt": data, "a.txt": data[:0]}, encoding)

    async with open_sandbox() as sandbox:
        told = await sandbox.run("submit([list(files), files['b.txt'], files['a.txt']])", content=content)

    assert told.answer == [["a.txt", "b.txt"], decode_as_the_corpus_does(data, encoding), ""]


async def test_a_session_sees_its_own_bytes_and_nothing_else_of_the_pack(tmp_path):
    content = packed(tmp_path, {"a": b"mine"})

    async with open_sandbox() as sandbox:
        told = await sandbox.run("print(files._data[:])", content=content)

    assert told.stdout == "b'mine'\n"


async def test_a_missing_file_names_the_nearest(tmp_path):
    content = packed(tmp_path, {"src/main.py": b"", "src/other.py": b""})

    async with open_sandbox() as sandbox:
        told = await sandbox.run("files['lib/main.py']", content=content)

    assert "no file 'lib/main.py'; there is 'src/main.py'" in told.error


async def test_grep_finds_what_matches_line_by_line(tmp_path):
    content = packed(tmp_path, {"a.py": b"one two\ntwo\n\nTWO three", "b/c.txt": b"x\n two\r\n"})
    code = """
found = [
    [list(m) for m in grep('two')],
    [m.line for m in grep('two', ignore_case=True, paths='a.py')],
    [m.path for m in grep('t.o', paths=['b'])],
    [m.text for m in grep('.', fixed=True)],
    [m.line for m in grep(r'\\s+two', paths='a.py')],
    [m.line for m in grep('^$', paths='a.py')],
    len(grep('o', limit=1)),
]
submit(found)
"""

    async with open_sandbox() as sandbox:
        told = await sandbox.run(code, content=content)

    assert told.answer == [
        [["a.py", 1, "one two"], ["a.py", 2, "two"], ["b/c.txt", 2, " two"]],
        [1, 2, 4],
        ["b/c.txt"],
        [],
        [1],
        [3],
        1,
    ]


async def test_read_and_cite_count_lines_from_one(tmp_path):
    content = packed(tmp_path, {"a.txt": b"one\ntwo\nthree"})
    code = "submit(read('a.txt', 2) + '|' + cite('a.txt', 1, 2).quote, [cite('a.txt', 2, 3), 'three'])"

    async with open_sandbox() as sandbox:
        told = await sandbox.run(code, content=content)
        beyond = await sandbox.run("cite('a.txt', 3, 4)", told.session)

    assert told.answer == "two\nthree|one\ntwo"
    assert told.citations == (Lines("a.txt", 2, 3), Quote("three"))
    assert "has no lines 3 to 4" in beyond.error


async def test_a_text_is_context_and_the_one_file():
    async with open_sandbox() as sandbox:
        told = await sandbox.run("submit([context, dict(files)])", content=Text("grün", "notes.md"))

    assert told.answer == ["grün", {"notes.md": "grün"}]


async def test_calls_go_to_the_services_side_by_side_and_come_back_in_order():
    services = ScriptedServices(wait_s=0.05)
    code = "a = llm_query_async('a', model='m')\nprint(llm_query_batched(['x', 'y', 'z']), a.result())"

    async with open_sandbox() as sandbox:
        told = await sandbox.run(code, services=services)

    assert told.stdout == "['model: X', 'model: Y', 'model: Z'] m: A\n"
    assert (services.most_running, told.sub_calls) == (4, 4)


async def test_a_refused_call_is_an_exception_and_not_an_answer():
    code = """
try: llm_query('refuse')
except SubCallError as error: print(error)
print(llm_query_batched(['ok', 'refuse'], return_exceptions=True))
llm_query_batched(['ok', 'refuse'])
"""

    async with open_sandbox() as sandbox:
        told = await sandbox.run(code, services=ScriptedServices())

    assert told.stdout.startswith("no_llm: no model is configured.\n['model: OK', SubCallError(")
    assert told.error.endswith("SubCallError: no_llm: no model is configured.")


async def test_what_is_not_there_yet_says_so():
    async with open_sandbox() as sandbox:
        told = await sandbox.run("outline('a')", services=NO_SERVICES)
        model = await sandbox.run("llm_query('a')", told.session)

    assert "NotAvailable: outline is not available yet" in told.error
    assert "no model is configured" in model.error


async def test_search_and_symbols_come_back_as_rows():
    code = "p, = search('words', k=3, paths='src'); r, = references('f')\nsubmit([list(p), list(r)])"

    async with open_sandbox() as sandbox:
        told = await sandbox.run(code, services=ScriptedServices())

    assert told.answer == [["a.py", 3, 4, "words 3 ['src']", 0.5], ["a.py", 7, "uses f"]]


async def test_calls_are_budgeted_over_the_whole_session_even_past_a_kill():
    limits = replace(SMALL, calls=3)
    code = "print(budget()['calls'])\nx = llm_query_batched(['a', 'b'])"

    async with open_sandbox(limits) as sandbox:
        first = await sandbox.run(code, services=ScriptedServices())
        killed = await sandbox.run("import os; os._exit(3)", first.session)
        second = await sandbox.run(code, first.session, services=ScriptedServices())

    assert (first.stdout, first.error) == ("3\n", None)
    assert killed.killed == "the process died: exit status 3"
    assert second.stdout == "1\n"
    assert "BudgetExceeded: all sub-calls of this session are made" in second.error


async def test_the_budget_of_the_run_is_an_exception_of_its_own():
    class Spent(ScriptedServices):
        async def llm_query(self, prompt, model):
            raise BudgetExceeded("0.50 USD are spent")

    async with open_sandbox() as sandbox:
        told = await sandbox.run(
            "try: llm_query('a')\nexcept BudgetExceeded as e: print(e)", services=Spent()
        )

    assert told.stdout == "0.50 USD are spent\n"


async def test_time_in_sub_calls_is_not_the_cells_own():
    services = ScriptedServices(wait_s=0.6)

    async with open_sandbox() as sandbox:
        told = await sandbox.run("print(llm_query('a'))", services=services, timeout_s=0.3)

    assert (told.stdout, told.error) == ("model: A\n", None)


async def test_the_whole_cell_has_a_limit_too_and_its_calls_are_ended():
    services = ScriptedServices(wait_s=60)

    async with open_sandbox(replace(SMALL, longest_s=0.3, grace_s=2)) as sandbox:
        told = await sandbox.run("x = 1\nllm_query('a')", services=services)
        after = await sandbox.run("x", told.session)

    assert told.killed is None
    assert "ran out of time" in told.error
    assert services.running == 0
    assert after.stdout == "1\n"


async def test_an_interrupted_cell_keeps_the_sessions_state():
    async with open_sandbox() as sandbox:
        told = await sandbox.run("x = 7\nwhile True: pass", timeout_s=0.2)
        after = await sandbox.run("x", told.session)

    assert told.killed is None
    assert "KeyboardInterrupt: the cell ran out of time" in told.error
    assert after.stdout == "7\n"


async def test_what_does_not_stop_is_killed_and_the_session_begins_anew(tmp_path):
    content = packed(tmp_path, {"a": b"text"})

    async with open_sandbox() as sandbox:
        told = await sandbox.run("x = 7\nsum(range(10**13))", timeout_s=0.2, content=content)
        after = await sandbox.run("print(files['a'], 'x' in globals())", told.session)

    assert told.killed == "the cell ran out of time and did not stop when it was interrupted"
    assert after.stdout == "text False\n"


async def test_memory_is_limited_and_the_session_lives_on():
    async with open_sandbox(replace(SMALL, memory_bytes=64 << 20)) as sandbox:
        told = await sandbox.run("x = bytes(200 << 20)")
        after = await sandbox.run("1 + 1", told.session)

    assert told.error.endswith("MemoryError")
    assert after.stdout == "2\n"


async def test_the_least_recently_used_session_makes_room_and_says_so_later():
    async with open_sandbox(sessions=2) as sandbox:
        first = await sandbox.run("1")
        second = await sandbox.run("2")
        await sandbox.run("1", first.session)
        await sandbox.run("3")

        with pytest.raises(NotFound, match="made room"):
            await sandbox.run("2", second.session)
        assert (await sandbox.run("1", first.session)).error is None


async def test_when_every_session_is_running_the_next_is_refused_at_once():
    started = trio.Event()

    class Hanging(ScriptedServices):
        async def llm_query(self, prompt, model):
            started.set()
            await trio.sleep_forever()
            return ""

    async with open_sandbox(sessions=1) as sandbox, trio.open_nursery() as nursery:

        async def hang():
            await sandbox.run("llm_query('a')", services=Hanging())

        nursery.start_soon(hang)
        await started.wait()
        with pytest.raises(Busy, match="All 1 sessions"):
            await sandbox.run("1")
        nursery.cancel_scope.cancel()


async def test_a_held_session_is_not_ended_to_make_room():
    async with open_sandbox(sessions=1) as sandbox:
        held = await sandbox.run("1", held=True)
        with pytest.raises(Busy):
            await sandbox.run("2")
        await sandbox.run("", held.session, close=True)

        assert (await sandbox.run("2")).stdout == "2\n"


async def test_an_idle_session_ends_and_says_so():
    async with open_sandbox(idle_s=0.05) as sandbox:
        told = await sandbox.run("1")
        await trio.sleep(0.2)

        with pytest.raises(NotFound, match=r"idle for 0\.05 s; its variables are lost"):
            await sandbox.run("1", told.session)


async def test_an_unknown_session_and_content_for_an_old_one_are_refused():
    async with open_sandbox() as sandbox:
        with pytest.raises(NotFound, match="no such session"):
            await sandbox.run("1", "s-nonsense")
        told = await sandbox.run("1")
        with pytest.raises(BadArgument, match="keeps the content"):
            await sandbox.run("1", told.session, content=Text("x"))


async def test_two_sessions_of_one_snapshot_share_its_copy(tmp_path):
    def copies():
        links = [os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
        return sum("rlmd-session" in link for link in links)

    content = packed(tmp_path, {"a": b"x" * 5000})
    async with open_sandbox() as sandbox:
        while not (await sandbox.box.ask(Describe())).available:  # noqa: ASYNC110  # proven in the background
            await trio.sleep(0.01)
        first = await sandbox.run("1", content=content)
        second = await sandbox.run("1", content=content)
        shared = copies()
        await sandbox.run("", first.session, close=True)
        left = copies()
        await sandbox.run("", second.session, close=True)

        assert (shared, left, copies()) == (2, 2, 0)


async def test_a_process_that_cannot_be_locked_runs_nothing():
    unsafe = """
import os, sys
sys.path.append(sys.argv[1])
from rlmd.sandbox import child, confine
calls = confine.CALLS[os.uname().machine]
calls |= {"openat": {"x86_64": 257, "aarch64": 56}[os.uname().machine]}
child.main(int(sys.argv[2]))
"""

    async with open_sandbox(program=unsafe, warm=0) as sandbox:
        with pytest.raises(SandboxUnavailable, match="could still be reached"):
            await sandbox.run("print('ran')")
        assert not (await sandbox.box.ask(Describe())).available


async def test_status_says_which_locks_hold():
    async with open_sandbox() as sandbox:
        await sandbox.run("1")
        facts = await sandbox.box.ask(Describe())

    assert facts.available
    assert {layer.partition("-")[0] for layer in facts.layers} >= {"rlimit", "seccomp"}
    assert facts.sessions == 1


async def test_a_run_can_be_repeated():
    code = "import random\nprint(random.random(), list({'a', 'b', 'c', 'd'}), hash('x'))"

    async with open_sandbox() as sandbox:
        first = await sandbox.run(code)
        second = await sandbox.run(code)

    assert first.stdout == second.stdout


async def test_the_process_has_no_environment_and_one_descriptor(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    code = "import os\nprint(sorted(os.environ))\nx = llm_query('wait')"
    seen = []

    class Looking(ScriptedServices):
        async def llm_query(self, prompt, model):
            seen.extend(descriptors_of_children())
            return ""

    async with open_sandbox(warm=0) as sandbox:
        await sandbox.run("1", close=True)
        told = await sandbox.run(code, services=Looking())

    assert set(json.loads(told.stdout.replace("'", '"'))) <= {"PYTHONHASHSEED", "LC_CTYPE"}
    if os.geteuid() == 0:  # others may not look into a process that cannot be dumped
        assert ["/dev/null", "/dev/null", "/dev/null", "socket"] in seen


def descriptors_of_children():
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        yield sorted(os.readlink(fd).partition(":")[0] for fd in Path(f"/proc/{pid}/fd").iterdir())
