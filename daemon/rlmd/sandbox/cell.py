"""One cell: run it, keep what it prints, echo its last expression, tell what it raised.

Runs inside; standard library only.
"""

from __future__ import annotations

import ast
import io
import linecache
import sys
import traceback
from types import CodeType, FrameType
from typing import Any, NamedTuple

LONGEST_ERROR_CHARS = 4_000
INTERRUPTED = "the cell ran out of time and was interrupted; what it had set is still there"


class Output(io.TextIOBase):
    """Keeps the head and the tail of what is printed, half of *limit* characters each, and its length."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._half = max(1, limit // 2)
        self._head: list[str] = []
        self._tail: list[str] = []
        self._head_room = self._half
        self._tail_chars = 0
        self.written = 0

    def writable(self) -> bool:
        """Say that it is written to."""
        return True

    def write(self, text: str) -> int:
        """Take *text*."""
        size = len(text)
        self.written += size
        if self._head_room:
            taken = text[: self._head_room]
            self._head.append(taken)
            self._head_room -= len(taken)
            text = text[len(taken) :]
        if text:
            self._tail.append(text[-self._half :])
            self._tail_chars += len(self._tail[-1])
            if self._tail_chars > 4 * self._half or len(self._tail) > self._half:
                self._shorten()
        return size

    def text(self) -> str:
        """Return what is kept, with a line between head and tail that says what is missing."""
        self._shorten()
        head, tail = "".join(self._head), "".join(self._tail)
        missing = self.written - len(head) - len(tail)
        return f"{head}\n[… {missing:,} characters left out …]\n{tail}" if missing else head + tail

    def _shorten(self) -> None:
        self._tail = ["".join(self._tail)[-self._half :]]
        self._tail_chars = len(self._tail[0])


class Ran(NamedTuple):
    """What a cell printed, with how many characters it were in truth, and what it raised."""

    output: str
    written: int
    error: str


class Cells:
    """Runs cells one after the other over one namespace."""

    def __init__(self, output_chars: int) -> None:
        self._output_chars = output_chars
        self._number = 0
        self._is_running = False

    def run(self, source: str, namespace: dict[str, Any]) -> Ran:
        """Run *source*; an error is told, and what was done before it stays."""
        self._number += 1
        name = f"<cell {self._number}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        output = Output(self._output_chars)
        sys.stdout = sys.stderr = output
        sys.displayhook = _show
        error = ""
        try:
            try:
                self._is_running = True
                for code in _compiled(source, name):
                    exec(code, namespace)  # noqa: S102  # this is what the process is for
            finally:
                self._is_running = False
        except BaseException as raised:  # noqa: BLE001  # a cell may raise anything, and must not end us
            error = _told(raised)
        finally:
            sys.settrace(None)
            sys.setprofile(None)
        return Ran(output.text(), output.written, error)

    def interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        """Stop the cell that runs, if one does, once: a handler of signals."""
        if self._is_running:
            self._is_running = False
            raise KeyboardInterrupt(INTERRUPTED)


def _compiled(source: str, name: str) -> list[CodeType]:
    """Compile *source*; a last bare expression by itself, so that its value is shown."""
    tree = ast.parse(source, name)
    codes = []
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    if tree.body:
        codes.append(compile(tree, name, "exec", dont_inherit=True))
    if last is not None:
        codes.append(compile(ast.Interactive([last]), name, "single", dont_inherit=True))
    return codes


def _show(value: object) -> None:
    if value is not None:
        print(repr(value))


def _told(raised: BaseException) -> str:
    """Return a traceback of the cell's own lines; an exception whose text raises is told without it."""
    try:
        lines = traceback.format_exception_only(type(raised), raised)
        own = [
            frame
            for frame in traceback.extract_tb(raised.__traceback__)
            if frame.filename.startswith("<cell ")
        ]
        text = "".join([*traceback.StackSummary.from_list(own[-8:]).format(), *lines])
    except BaseException:  # noqa: BLE001  # str() of a hostile exception is hostile code
        text = f"{type(raised).__name__}: (its text could not be had)"
    if len(text) > LONGEST_ERROR_CHARS:
        half = LONGEST_ERROR_CHARS // 2
        text = f"{text[:half]}\n[… {len(text) - 2 * half:,} characters left out …]\n{text[-half:]}"
    return text.rstrip()
