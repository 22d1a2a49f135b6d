"""A question put to the index of a snapshot: the passages that answer it, however little matches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rlmd.corpus.build import Plan
from rlmd.corpus.cuts import cut, lines_of, style_of
from rlmd.corpus.path_words import PathWords
from rlmd.corpus.rank import RECIPE, Hit, Recipe, diversify, front_first, rank
from rlmd.corpus.roles import WEIGHTS, role
from rlmd.corpus.searchers import Searchers
from rlmd.corpus.snapshot import Entry, Snapshot
from rlmd.corpus.text import decode
from rlmd.corpus.words import Stem, wanted
from rlmd.values import Kind, Passage, Span

CUTS_LOOKED_AT = 1000
MOST_LOOKED_AT = 16_000
FILES_PROMISED, CUTS_PROMISED = 50, 200
"""So many files that have no word in the best cuts are looked at for what else speaks for them."""
PER_FILE, LEAST_FILES = 3, 10
FRONT_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Found:
    """A passage of the file *entry*; it was cut from the bytes from *at* on, which begin on line *line*.

    Lines here are counted from 0, unlike the passage's own.
    """

    passage: Passage
    entry: Entry
    at: int = 0
    line: int = 0


@dataclass(frozen=True, slots=True)
class Ranked:
    """What a search found, best first.

    `terms` are the stems of the question's words and how often each was asked for.  `unindexed` are
    the files that were not searched, for lack of time or because they cannot be indexed.
    """

    found: list[Found]
    terms: Mapping[str, int]
    unindexed: list[Entry]

    @property
    def passages(self) -> list[Passage]:
        """The passages alone, best first."""
        return [found.passage for found in self.found]


class Past(Protocol):
    """The commits before a snapshot."""

    def vote(self, terms: Mapping[str, float]) -> Mapping[str, float]:
        """Return what those most like weighted *terms* say for each path, 1 for the first."""
        ...


@dataclass(frozen=True, slots=True)
class Searched:
    """A snapshot with what a search of it asks: its indexed cuts, the words of its paths, past commits."""

    snapshot: Snapshot
    searcher: Searchers
    plan: Plan
    path_words: PathWords
    past: Past | None = None


def search(
    searched: Searched, stem: Stem, question: str, kind: Kind, limit: int, recipe: Recipe = RECIPE
) -> Ranked:
    """Rank the cuts of a snapshot for *question*; blocks for some milliseconds, a thread's work.

    At least *limit* passages of at least 10 files where the snapshot has them, at most 3 of one file
    unless it is the only one.  What no word of the question reaches comes last, with score 0.
    """
    snapshot, plan, weights = searched.snapshot, searched.plan, WEIGHTS[kind]
    terms, paths = wanted(question, stem), snapshot.files.paths

    def weight(row: int) -> float:
        return weights[role(paths[row])]

    hits = _living(searched.searcher, plan, terms)
    lifts = _Lifts(searched, terms, kind, recipe)
    passed_over = lifts.promising(weight).difference(hit.number for hit in hits)
    hits += searched.searcher.search_in(terms, passed_over, CUTS_PROMISED)
    ranked = rank(hits, plan.rows, weight, lifts.of, recipe)
    per_file = PER_FILE if len(snapshot.files) > 1 else limit
    taken = diversify(ranked, limit=limit, per_file=per_file, least_files=LEAST_FILES)
    found = [_found(snapshot, score, row, hit, searched.searcher.within(hit)) for score, row, hit in taken]
    if len(found) < limit or len({row for _, row, _ in taken}) < LEAST_FILES:
        found += _fill(snapshot, found, front_first(paths, weight), limit=limit, per_file=per_file)
    return Ranked(found, terms, [snapshot.files[row] for row in plan.missing])


class _Lifts:
    """What speaks for files beside their cuts: their paths and past commits."""

    def __init__(self, searched: Searched, terms: Counter[str], kind: Kind, recipe: Recipe) -> None:
        self._searched, self._terms, self._recipe = searched, terms, recipe
        self._paths = searched.snapshot.files.paths
        self._share = searched.path_words.weigh(terms)
        self._voted = searched.past.vote(terms) if searched.past is not None and kind != "docs" else {}

    def of(self, row: int) -> float:
        """Return what speaks for the file at *row*."""
        path, recipe = self._paths[row], self._recipe
        return recipe.path * self._share(path) + recipe.history * self._voted.get(path, 0.0)

    def promising(self, weight: Callable[[int], float]) -> set[int]:
        """Return the contents of the files for which most speaks, whether or not their words do."""
        files = self._searched.snapshot.files
        named = self._searched.path_words.named(self._terms)
        voted = (row for path in self._voted if (row := files.row(path)) is not None)
        worth = {row: weight(row) * self.of(row) for row in {*named, *voted}}
        best = sorted(worth, key=lambda row: (-worth[row], row))[:FILES_PROMISED]
        numbers = map(self._searched.plan.number, best)
        return {number for number in numbers if number is not None}


def _living(searcher: Searchers, plan: Plan, terms: Counter[str]) -> list[Hit]:
    """Look at more hits where many belong to contents that the snapshot does not hold."""
    most = CUTS_LOOKED_AT
    while True:
        hits = searcher.search(terms, most)
        living = [hit for hit in hits if plan.rows(hit.number)]
        if len(hits) < most or len(living) >= CUTS_LOOKED_AT // 2 or most >= MOST_LOOKED_AT:
            return living[:CUTS_LOOKED_AT]
        most *= 4


def _found(snapshot: Snapshot, score: float, row: int, hit: Hit, within: tuple[str, ...]) -> Found:
    passage = Passage(snapshot.files.paths[row], hit.start + 1, hit.stop, score, within)
    return Found(passage, snapshot.files[row], hit.at, hit.line)


def _fill(
    snapshot: Snapshot, found: Sequence[Found], rows: Sequence[int], *, limit: int, per_file: int
) -> Iterator[Found]:
    """Yield further passages with score 0 until *found* is long and broad enough.

    First the fronts of files that are not there yet, then more of their cuts, in the order of *rows*.
    """
    taken = Counter(each.passage.path for each in found)
    seen = {(each.passage.path, each.passage.start_line) for each in found}
    total = len(found)
    for most in range(1, per_file + 1):
        for row in rows:
            if total >= limit and len(taken) >= min(LEAST_FILES, len(rows)):
                return
            entry = snapshot.files[row]
            if taken[entry.path] >= most or (total >= limit and taken[entry.path]):
                continue
            fresh = (each for each in _front(snapshot, entry) if (entry.path, each.start_line) not in seen)
            if (passage := next(fresh, None)) is not None:
                seen.add((passage.path, passage.start_line))
                taken[entry.path] += 1
                total += 1
                yield Found(passage, entry)
            elif not taken[entry.path]:
                del taken[entry.path]


def _front(snapshot: Snapshot, entry: Entry) -> Iterator[Passage]:
    """Yield the cuts of the file's first FRONT_BYTES."""
    length = min(entry.span.length, FRONT_BYTES)
    lines = lines_of(decode(snapshot.pack.read(Span(entry.span.offset, length)), entry.encoding))
    cuts = cut(lines, style_of(entry.path))
    if length < entry.span.length and len(cuts) > 1:
        cuts.pop()  # it may go on beyond what was read
    for each in cuts:
        yield Passage(entry.path, each.start + 1, each.stop, 0.0, each.within)
