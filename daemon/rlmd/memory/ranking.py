"""Which memories answer words best: by the words themselves, by what those bring along, by neighbours.

Four arms, measured one by one in `benchmarks recall`: BM25 of the words asked for; BM25 of the words
that tell the best of these memories from all others (pseudo-relevance feedback after RM3, Lavrenko and
Croft 2001); how alike the letters are, for what stemming does not see; and a share of each score for
what was stored beside a memory in its session or cites the same file, because findings of one piece of
work explain one another.  Only what holds a word that was asked for, or stands beside that, is found.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import apsw

from rlmd.memory.grams import likeness
from rlmd.memory.query import Match, Planner
from rlmd.memory.schema import SEQ_BITS

K = TypeVar("K", int, str)
Params = dict[str, str | int | float | None]

_CANDIDATES = 200
_SHARING = 60
_REACH = 128
"""So many writes around a memory are looked at for its neighbours."""
_TELLING = 5
"""So many of the best memories say which other words matter."""
_TELLING_CHARS = 4_000
_TERMS = 20
_TERMS_COUNTED = 50
_COMMON = 500
"""So many memories with a word, and it tells little and costs much."""
_COMPARED = 50
_SHORTEST_TERM = 3
_CITING = 20


@dataclass(frozen=True, slots=True)
class Weights:
    """What each arm counts beside the words themselves; measured on chats and on docstrings."""

    related: float = 0.15
    letters: float = 0.3
    beside: float = 0.5
    beside_that: float = 0.25
    same_file: float = 0.25


class Ranking:
    """Ranks for one connection; *weights* are for benchmarks to take arms away."""

    def __init__(self, db: apsw.Connection, planner: Planner, weights: Weights | None = None) -> None:
        self._db = db
        self._planner = planner
        self._weights = weights or Weights()

    def best(self, match: Match, params: Params, where: str, shown: Sequence[int]) -> list[tuple[int, float]]:
        """Return up to `most` memories and their scores, best first, the newer first among equals.

        *params* binds what *where* names, and the bounds of `_BY_RANK`.  What was *shown* is left out.
        """
        most = cast("int", params["most"])
        asked = params | {"shown": json.dumps(shown), "most": max(most, _CANDIDATES), "match": match.rare}
        scores = self._scores(asked, where)
        if scores and most <= _CANDIDATES:
            self._add_related(scores, match, asked, where, shown)
            self._add_likeness(scores, match.query)
            self._add_neighbours(scores, asked, where)
        return [(id_, scores[id_]) for id_ in _highest(scores, most)]

    def _scores(self, asked: Params, where: str) -> dict[int, float]:
        rows = self._db.execute(_BY_RANK.format(where=where), asked).fetchall()
        return dict(cast("list[tuple[int, float]]", rows))

    def _add_related(
        self, scores: dict[int, float], match: Match, asked: Params, where: str, shown: Sequence[int]
    ) -> None:
        """Add what other words of the best say; on a later page those are the best of the first."""
        if not self._weights.related:
            return
        best = shown[:_TELLING] or _highest(scores, _TELLING)
        if question := self._planner.any_of(self._telling_words(best, scores, match), match):
            for id_, score in self._scores(asked | {"match": question}, where).items():
                scores[id_] = scores.get(id_, 0.0) + self._weights.related * score

    def _add_likeness(self, scores: dict[int, float], query: str) -> None:
        """Add for the best how much their letters are those of the question."""
        best = _highest(scores, _COMPARED)
        asked = {"ids": json.dumps(best), "most": _TELLING_CHARS}
        texts = dict(cast("list[tuple[int, str]]", self._db.execute(_TEXTS, asked).fetchall()))
        share = self._weights.letters * scores[best[0]]
        for id_, alike in zip(texts, likeness(query, list(texts.values())), strict=True):
            scores[id_] += share * alike

    def _telling_words(
        self, ids: Sequence[int], scores: dict[int, float], match: Match
    ) -> list[tuple[str, int]]:
        """Return the words that make these memories stand out, the most telling first, with their counts."""
        weights: dict[str, float] = defaultdict(float)
        spelled: dict[str, str] = {}
        rows = self._db.execute(_TEXTS, {"ids": json.dumps(list(ids)), "most": _TELLING_CHARS}).fetchall()
        for id_, text in cast("list[tuple[int, str]]", rows):
            words = self._planner.telling_words(text)
            for stem, word in words:
                if stem not in match.stems and len(stem) >= _SHORTEST_TERM:
                    spelled[stem] = word
                    weights[stem] += scores.get(id_, 1.0) / len(words)
        held = cast("int", self._db.execute("SELECT seq FROM counter").get)
        counts: dict[str, int] = {}
        for stem in _highest(weights, _TERMS_COUNTED):
            count = self._planner.memories_with(spelled[stem], _COMMON)
            if 1 < count < min(held, _COMMON):
                weights[stem] *= math.log(held / count)
                counts[stem] = count
        best = _highest({stem: weights[stem] for stem in counts}, _TERMS)
        return [(spelled[stem], counts[stem]) for stem in best]

    def _add_neighbours(self, scores: dict[int, float], asked: Params, where: str) -> None:
        """Add a share of each score to what stands beside the memory, where it belongs on the page."""
        shares: dict[int, float] = defaultdict(float)
        for id_, near, weight in (*self._beside(scores), *self._citing_the_same(scores)):
            if near >> SEQ_BITS == id_ >> SEQ_BITS:
                shares[near] += weight * scores[id_]
        wanted = self._db.execute(_AMONG.format(where=where), asked | {"ids": json.dumps(list(shares))})
        for (id_,) in cast("list[tuple[int]]", wanted.fetchall()):
            scores[id_] = scores.get(id_, 0.0) + shares[id_]

    def _beside(self, scores: dict[int, float]) -> Iterator[tuple[int, int, float]]:
        """Yield each of the best with those stored just before and after it in its session."""
        rows = self._db.execute(_BESIDE, {"ids": json.dumps(_highest(scores, _SHARING))}).fetchall()
        weights = [self._weights.beside, self._weights.beside_that] * 2
        for id_, *found in cast("list[tuple[int, int | None]]", rows):
            yield from ((id_, near, weight) for near, weight in zip(found, weights, strict=True) if near)

    def _citing_the_same(self, scores: dict[int, float]) -> list[tuple[int, int, float]]:
        best = _highest(scores, _TELLING)
        rows = self._db.execute(_CITE_THE_SAME, {"ids": json.dumps(best)}).fetchall()
        return [(id_, near, self._weights.same_file) for id_, near in cast("list[tuple[int, int]]", rows)]


def _highest(scores: Mapping[K, float], most: int) -> list[K]:
    """Return the keys of the highest scores, the greater key first among equals."""
    return sorted(scores, key=lambda key: (scores[key], key), reverse=True)[:most]


# The one thing ever put into these texts is {where}: fragments of `search`, their values bound.

_BY_RANK = """
SELECT m.id, -rank FROM memory_fts CROSS JOIN memory m ON m.id = memory_fts.rowid
WHERE memory_fts MATCH :match AND memory_fts.rowid BETWEEN :low AND :high
  AND (m.id & :seq_bits) <= :mark AND m.id NOT IN (SELECT value FROM json_each(:shown))
  AND {where}
ORDER BY rank LIMIT :most
"""

_TEXTS = """
SELECT m.id, m.key || ' ' || substr(m.value, 1, :most) || ' ' || m.words
FROM json_each(:ids) j CROSS JOIN memory m ON m.id = j.value
"""

_BEFORE = f"""
SELECT b.id FROM memory b INDEXED BY memory_beside
WHERE b.id < c.id AND b.id >= c.id - {_REACH} AND b.session = c.session ORDER BY b.id DESC LIMIT 1 OFFSET
"""  # noqa: S608  # a number of this file

_AFTER = f"""
SELECT a.id FROM memory a INDEXED BY memory_beside
WHERE a.id > c.id AND a.id <= c.id + {_REACH} AND a.session = c.session ORDER BY a.id LIMIT 1 OFFSET
"""  # noqa: S608  # the same

_BESIDE = f"""
SELECT c.id, ({_BEFORE} 0), ({_BEFORE} 1), ({_AFTER} 0), ({_AFTER} 1)
FROM json_each(:ids) j CROSS JOIN memory c ON c.id = j.value WHERE c.session IS NOT NULL
"""  # noqa: S608  # texts of this file

_CITE_THE_SAME = f"""
SELECT DISTINCT c.id, n.memory_id
FROM json_each(:ids) j CROSS JOIN memory c ON c.id = j.value
CROSS JOIN anchor a ON a.memory_id = c.id AND a.rev = c.rev
CROSS JOIN anchor n ON n.path = a.path AND n.memory_id <> c.id
CROSS JOIN memory m ON m.id = n.memory_id AND m.rev = n.rev
LIMIT {_CITING}
"""  # noqa: S608  # a number of this file

_AMONG = """
SELECT m.id FROM json_each(:ids) j CROSS JOIN memory m ON m.id = j.value
WHERE (m.id & :seq_bits) <= :mark AND m.id NOT IN (SELECT value FROM json_each(:shown)) AND {where}
"""
