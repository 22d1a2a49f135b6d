"""What the one who runs cells may rely on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rlmd.corpus.text import decode as decode_as_the_corpus_does
from rlmd.sandbox.requests import Lines, Quote, Text, Variable
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
        told = await sandbox.run("files['a']; print(files._pages._data[:])", content=content)

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
