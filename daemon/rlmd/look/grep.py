"""Which lines match now: an exact search over the tree as it is, without any index."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from operator import attrgetter

import trio

from rlmd.answers import GrepRequest
from rlmd.corpus.pattern import compile_pattern
from rlmd.ingest.globs import byte_view
from rlmd.ingest.ignore import Rules
from rlmd.look.file_types import rules_of_type
from rlmd.look.page import GrepResult, Page, Text
from rlmd.look.selection import batches, narrowed
from rlmd.look.steps import in_steps
from rlmd.look.texts import NotText, open_file
from rlmd.roots import relative_to
from rlmd.values import FileRef, Skip, SkipTally, WalkRules


async def grep(
    request: GrepRequest, path: str, *, rules: WalkRules, workspace: str | None, limiter: trio.CapacityLimiter
) -> GrepResult:
    """Find the lines that `rg -n --hidden -g '!.git'` finds below *path*, resolved and allowed.

    A glob is relative to *path*; `file_type` holds beside it.  A page holds matching lines, or in
    the modes `files_with_matches` and `count` files.  A file counts as the walk finds it and as it
    reads then; one that fails or turns out binary half-way counts as not searched.  Cancelling
    returns at once.  Raises BadArgument for every argument that cannot be used.
    """
    search = _Search(request, path, rules, workspace)
    await in_steps(search.run(), limiter=limiter)
    return search.result()


class _Search:
    """One pass over the files, and the page that it fills."""

    def __init__(self, request: GrepRequest, path: str, rules: WalkRules, workspace: str | None) -> None:
        self._request, self._path, self._workspace = request, path, workspace
        self._page = Page(request)
        self._rules = rules if request.glob is None else narrowed(rules, request.glob, path)
        self._type = None if request.file_type is None else rules_of_type(request.file_type)
        self._skipped = SkipTally()

    def run(self) -> Iterator[None]:
        """Search, yielding wherever it may pause."""
        pattern = compile_pattern(
            self._request.pattern,
            ignore_case=self._request.case_insensitive,
            fixed_strings=self._request.fixed_strings,
        )
        workspace = None if self._workspace is None else os.path.realpath(self._workspace)
        yield
        found: list[FileRef] = []
        for batch in batches(self._path, self._rules, self._skipped):
            found += batch if self._type is None else [each for each in batch if is_of(self._type, each.path)]
            yield
        found.sort(key=attrgetter("absolute"))
        yield
        for file in found:
            shown = relative_to(file.absolute, workspace)
            text = Text(file.absolute, shown, partial(open_file, file.absolute))
            try:
                yield from self._page.search(text, pattern)
            except NotText as not_text:
                self._skipped.add(Skip(file.path, not_text.reason))
        yield from self._page.add_context()

    def result(self) -> GrepResult:
        """What was found, once `run` is through."""
        return self._page.result(self._skipped)


def is_of(file_type: Rules, path: str) -> bool:
    """Return whether the name that *path* ends with is one of the type."""
    return bool(file_type.verdict("", byte_view(path.rpartition("/")[2]), is_dir=False))
