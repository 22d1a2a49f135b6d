"""The names that every cell finds: the documents, what can be asked of the daemon, and the way out.

Runs inside; standard library only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from rlmd.sandbox.channel import BudgetExceeded, Channel, NotAvailable, Reply, SubCallError
from rlmd.sandbox.documents import Files
from rlmd.sandbox.longtext import LongText
from rlmd.sandbox.wire import Op

LONGEST_LINE_CHARS = 500
LONGEST_ANSWER_BYTES = 1 << 20
LONGEST_JSON_BYTES = 64 << 10
MOST_VARIABLES = 200
MOST_CITATIONS = 500
LONGEST_QUOTE_CHARS = 2_000
BOUND = (
    "grep", "search", "outline", "read", "definitions", "references", "llm_query", "llm_query_batched",
    "llm_query_async", "rlm_query", "cite", "budget", "submit",
)  # fmt: skip
SIZED = (str, bytes, bytearray, list, tuple, dict, set, frozenset)


class Match(NamedTuple):
    """One line that matches."""

    path: str
    line: int
    text: str


class Passage(NamedTuple):
    """A ranked run of lines."""

    path: str
    start_line: int
    end_line: int
    text: str
    score: float


class Citation(NamedTuple):
    """Lines of a file and what they say, to hand to `submit`."""

    path: str
    start_line: int
    end_line: int
    quote: str


class Submission(NamedTuple):
    """What `submit` was given: the kind "text" or "json", the answer, and its citations as parts."""

    kind: str
    answer: str
    citations: list[str]


class Names:
    """Makes the names of the contract and remembers what was submitted."""

    def __init__(self, channel: Channel, files: Files, context: str | None) -> None:
        self._channel = channel
        self._files = files
        self._submission: Submission | None = None
        self.bound: dict[str, Any] = {name: getattr(self, name) for name in BOUND}
        self.bound |= {"files": files, "Citation": Citation, "Match": Match, "Passage": Passage}
        self.bound |= {"SubCallError": SubCallError, "BudgetExceeded": BudgetExceeded}
        self.bound |= {"NotAvailable": NotAvailable}
        if context is not None:
            self.bound["context"] = files[context]

    def begin(self, namespace: dict[str, Any]) -> None:
        """Bind every name afresh and forget what the last cell submitted."""
        self._submission = None
        namespace.update(self.bound, variables=lambda: self.variables(namespace))

    def submission(self) -> Submission | None:
        """Return what this cell submitted last."""
        return self._submission

    def variables(self, namespace: dict[str, Any]) -> list[tuple[str, str, int]]:
        """List what the cells have defined: name, type, and length of what has one."""
        hidden = {"variables", *self.bound}
        return [
            (name, str(type(value).__name__), len(value) if type(value) in SIZED else 0)
            for name, value in list(namespace.items())
            if isinstance(name, str)
            and not name.startswith("_")
            and name not in hidden
            and not isinstance(value, ModuleType)
        ][:MOST_VARIABLES]

    def read(self, path: str, start: int = 1, end: int | None = None) -> str:
        """Return lines *start* to *end* of a file, both counted from 1 and included."""
        text = self._files[path]
        if start < 1 or (end is not None and end < start - 1):
            raise ValueError(f"lines {start} to {end} are no range; lines count from 1")
        if isinstance(text, LongText):
            pairs = enumerate(text.lines(), 1)
            return "".join(f"{line}\n" for at, line in pairs if start <= at and (end is None or at <= end))
        return "".join(_lines(text)[start - 1 : end])

    def cite(self, path: str, start_line: int, end_line: int) -> Citation:
        """Return lines of a file as a citation; raise ValueError for lines that it has not."""
        quote = self.read(path, start_line, end_line)
        if not quote or end_line > start_line + quote.count("\n"):
            raise ValueError(f"{path} has no lines {start_line} to {end_line}")
        return Citation(path, start_line, end_line, quote.removesuffix("\n"))

    def grep(
        self,
        pattern: str,
        paths: str | Iterable[str] | None = None,
        ignore_case: bool = False,  # noqa: FBT001, FBT002  # the contract's signature
        fixed: bool = False,  # noqa: FBT001, FBT002  # the contract's signature
        limit: int = 200,
    ) -> list[Match]:
        """Return up to *limit* lines that match, in path order; a path stands for what lies below it too.

        The pattern is one of `re`, line by line, and as slow as it makes itself: the cell's limit holds.
        """
        compiled = re.compile(
            re.escape(pattern) if fixed else pattern, re.MULTILINE | (re.IGNORECASE if ignore_case else 0)
        )
        needle = pattern.encode() if fixed and not ignore_case else b""
        found: list[Match] = []
        for path in self._below(paths):
            if needle and not self._files.may_hold(path, needle):
                continue
            for line, text in _matching(compiled, self._files[path]):
                found.append(Match(path, line, text[:LONGEST_LINE_CHARS]))
                if len(found) >= limit:
                    return found
        return found

    def search(self, query: str, k: int = 10, paths: str | Iterable[str] | None = None) -> list[Passage]:
        """Return the *k* passages that answer *query* best."""
        wanted = [paths] if isinstance(paths, str) else list(paths or ())
        parts = self._channel.ask(Op.SEARCH, str(query), str(int(k)), *wanted).parts()
        rows = zip(*[iter(parts)] * 5, strict=True)
        return [
            Passage(path, int(start), int(end), text, float(score)) for path, start, end, text, score in rows
        ]

    def outline(self, path: str) -> str:
        """Return what a file defines."""
        return self._channel.ask(Op.OUTLINE, path).result()

    def definitions(self, name: str) -> list[Match]:
        """Return the lines that define *name*."""
        return self._symbols(Op.DEFINITIONS, name)

    def references(self, name: str) -> list[Match]:
        """Return the lines that mention *name*."""
        return self._symbols(Op.REFERENCES, name)

    def llm_query(self, prompt: str, model: str | None = None) -> str:
        """Return one model's answer to *prompt*; raise SubCallError or BudgetExceeded."""
        return self.llm_query_async(prompt, model).result()

    def llm_query_async(self, prompt: str, model: str | None = None) -> Reply:
        """Ask a model and go on; `.result()` of what is returned waits for the answer."""
        return self._channel.ask(Op.LLM_QUERY, model or "", str(prompt))

    def llm_query_batched(
        self,
        prompts: Sequence[str],
        model: str | None = None,
        return_exceptions: bool = False,  # noqa: FBT001, FBT002  # the contract's signature
    ) -> list[Any]:
        """Ask all *prompts* side by side; return the answers in their order.

        Without *return_exceptions* the first failure is raised, once all others have ended too.
        """
        replies = [self.llm_query_async(prompt, model) for prompt in prompts]
        errors = [reply.exception() for reply in replies]
        failed = next((error for error in errors if error is not None), None)
        if failed is not None and not return_exceptions:
            raise failed
        return [error or reply.result() for reply, error in zip(replies, errors, strict=True)]

    def rlm_query(
        self, question: str, paths: str | Iterable[str] | None = None, text: str | None = None
    ) -> str:
        """Have a run of its own answer *question*, over *paths* or over *text*."""
        wanted = [paths] if isinstance(paths, str) else list(paths or ())
        source = ["", ""] if text is None else ["text", str(text)]
        return self._channel.ask(Op.RLM_QUERY, str(question), *source, *wanted).result()

    def budget(self) -> dict[str, Any]:
        """Say what is left to spend."""
        left: dict[str, Any] = json.loads(self._channel.ask(Op.BUDGET).result())
        return left

    def submit(self, answer: Any, citations: Iterable[Citation | str] | None = None) -> None:
        """Give the answer, a text or a JSON value, with citations, or quotes to be found in the files."""
        told: list[str] = []
        given = [citations] if isinstance(citations, (str, Citation)) else list(citations or ())
        for each in given[:MOST_CITATIONS]:
            if isinstance(each, str):
                told += ["quote", each[:LONGEST_QUOTE_CHARS], "", ""]
            else:
                told += ["lines", str(each[0]), str(int(each[1])), str(int(each[2]))]
        kind, text = ("text", answer) if isinstance(answer, str) else ("json", _as_json(answer))
        most = LONGEST_ANSWER_BYTES if kind == "text" else LONGEST_JSON_BYTES
        if len(text.encode("utf-8", "replace")) > most:
            raise ValueError(f"the answer has more than {most:,} bytes")
        self._submission = Submission(kind, text, told)

    def _symbols(self, op: Op, name: str) -> list[Match]:
        rows = zip(*[iter(self._channel.ask(op, name).parts())] * 3, strict=True)
        return [Match(path, int(line), text) for path, line, text in rows]

    def _below(self, paths: str | Iterable[str] | None) -> Iterator[str]:
        if paths is None:
            yield from self._files
            return
        for given in [paths] if isinstance(paths, str) else paths:
            path = given.rstrip("/")
            below = (
                [path] if path in self._files else [one for one in self._files if one.startswith(f"{path}/")]
            )
            if not below and path not in {"", "."}:
                self._files[path]  # raises, with the nearest that there are
            yield from below or self._files


def _as_json(value: Any) -> str:
    """Return *value* as strict JSON text; raise TypeError or ValueError for what has no such form."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _lines(text: str) -> list[str]:
    r"""Split at "\n" alone, ends kept: the line numbers of grep and of editors."""
    pieces = text.split("\n")
    return [f"{piece}\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])


def _matching(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line that matches on its own."""
    if isinstance(text, LongText):
        for number, line in enumerate(text.lines(), 1):
            if pattern.search(line):
                yield number, line
        return
    number, counted, at = 1, 0, 0
    while match := pattern.search(text, at):
        start = text.rfind("\n", 0, match.start()) + 1
        stop = text.find("\n", start)
        end = len(text) if stop < 0 else stop
        if start == len(text) and (not text or text[-1] == "\n"):
            return  # what follows the last line end is no line
        line = text[start:end]
        if pattern.search(line):  # a match of the whole may lean on the next line
            number += text.count("\n", counted, start)
            counted = start
            yield number, line.removesuffix("\r")
        if stop < 0:
            return
        at = stop + 1
