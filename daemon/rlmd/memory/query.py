"""From words somebody typed to a full-text question whose cost is bounded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import apsw
from rapidfuzz import fuzz, process

from rlmd.memory.schema import TOKENIZER
from rlmd.memory.words import STOP_WORDS, humps

_POSTINGS_BUDGET = 3_000
"""Ranking costs 0.5 to 1 µs a posting: so many keep a question over common words under 10 ms."""
_RELATED_BUDGET = 1_500
_MAX_WORDS = 64
_SHORTEST_TYPO = 4
_LIKE_WORDS = 3
_ALIKE = 80.0
_TERMS_COMPARED = 5_000

VOCABULARY = "CREATE VIRTUAL TABLE temp.memory_words USING fts5vocab('main', 'memory_fts', 'row');"
"""What a connection needs before it plans."""


@dataclass(frozen=True, slots=True)
class Match:
    """Questions for `memory_fts MATCH`.

    `rare` has the words that are cheap enough to rank by, `all` asks for every word at once where
    none is, `every` for any of them.  An empty one is not to be asked.  `stems` are the words asked
    for, and `tags` what narrows all of it down.
    """

    rare: str = ""
    all: str = ""
    every: str = ""
    query: str = ""
    stems: frozenset[str] = frozenset()
    tags: str = ""


class Planner:
    """Plans questions for one connection that has its VOCABULARY, by how many memories hold each word."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._tokenize = db.fts5_tokenizer(TOKENIZER[0], list(TOKENIZER[1:]))

    def plan(self, query: str, tags: str = "") -> Match:
        """Ask for any word of *query*, rarest first, until the postings budget is spent.

        Words are cut where the index cuts them, stop words dropped unless there is nothing else,
        and identifiers asked for whole and in parts.  Every word is quoted: none is an operator.
        A word that no memory holds stands for those most like it.  *tags* narrows all of it down.
        """
        counts: dict[str, int] = {}
        asked = self._words(query)
        for stem, word in asked.items():
            if count := self.memories_with(word):
                counts[word] = count
            else:
                counts |= {like: self.memories_with(like) for like in self._like(stem)}
        found = sorted((word for word in counts if counts[word]), key=lambda word: counts[word])
        if not found:
            return Match()
        rare: list[str] = []
        spent = 0
        for word in found:
            spent += counts[word]
            if spent > _POSTINGS_BUDGET:
                break
            rare.append(word)
        every = _joined(" OR ", found, tags)
        if not rare:
            return Match(all=_joined(" AND ", found, tags) if len(found) > 1 else "", every=every)
        return Match(
            rare=_joined(" OR ", rare, tags),
            every="" if len(rare) == len(found) else every,
            query=query,
            stems=frozenset(asked),
            tags=tags,
        )

    def any_of(self, words: Sequence[tuple[str, int]], match: Match) -> str:
        """Ask for any of *words*, each with its count, the first ones first while they cost little."""
        cheap: list[str] = []
        spent = 0
        for word, count in words:
            if spent + count <= _RELATED_BUDGET:
                cheap.append(word)
                spent += count
        return f"{_joined(' OR ', cheap, match.tags)} AND ({match.rare})" if cheap else ""

    def telling_words(self, text: str) -> list[tuple[str, str]]:
        """Return stem and spelling of each word of *text* that is no stop word, as often as it is there."""
        source = text.encode()
        words = (
            (stem, source[start:end].decode())
            for start, end, stem in self._tokens(source, apsw.FTS5_TOKENIZE_DOCUMENT)
        )
        return [(stem, word) for stem, word in words if word.lower() not in STOP_WORDS]

    def tagged(self, tags: Sequence[str], hold: str) -> str:
        """Return a question for memories that may have *tags*; "" where the index cannot be asked.

        *hold* is " AND " or " OR ".  The index knows tags by their words alone, so it finds too much,
        but nothing too little.
        """
        told = [
            tag for tag in tags if self._tokenized(tag) and json.dumps(tag, ensure_ascii=False) == f'"{tag}"'
        ]
        return f"({hold.join(f'tags : {_quoted(tag)}' for tag in told)})" if len(told) == len(tags) else ""

    def _like(self, stem: str) -> list[str]:
        """Return the words of the index most like one that it does not have: typos, beginnings."""
        if len(stem) < _SHORTEST_TYPO:
            return []
        near = {
            "low": stem[:1],
            "high": stem[:1] + "\U0010ffff",
            "length": len(stem),
            "most": _TERMS_COMPARED,
        }
        terms = [cast("str", row[0]) for row in self._db.execute(_TERMS, near)]
        found = process.extract(stem, terms, scorer=fuzz.ratio, limit=_LIKE_WORDS, score_cutoff=_ALIKE)
        return [term for term, _, _ in found]

    def _words(self, query: str) -> dict[str, str]:
        """Return the first words of *query* by their stems, as the index's own tokenizer has them."""
        everything = self._tokenized(query)
        telling = {stem: word for stem, word in everything.items() if word.lower() not in STOP_WORDS}
        words = telling or everything
        for word in list(words.values()):
            for part in humps(word):
                words |= self._tokenized(part)
        return dict(list(words.items())[:_MAX_WORDS])

    def memories_with(self, word: str, most: int = _POSTINGS_BUDGET + 1) -> int:
        """Count the memories that hold *word*, up to *most* of them."""
        return cast("int", self._db.execute(_COUNT, {"word": _quoted(word), "most": most}).get)

    def _tokenized(self, text: str) -> dict[str, str]:
        source = text.encode()
        tokens = self._tokens(source, apsw.FTS5_TOKENIZE_QUERY)
        return {stem: source[start:end].decode() for start, end, stem in tokens}

    def _tokens(self, source: bytes, reason: int) -> list[tuple[int, int, str]]:
        return cast(
            "list[tuple[int, int, str]]", self._tokenize(source, reason, None, include_colocated=False)
        )


def _joined(operator: str, words: list[str], tags: str) -> str:
    text = f"({operator.join(map(_quoted, words))})"
    return f"{text} AND {tags}" if tags else text


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


_COUNT = "SELECT count(*) FROM (SELECT 1 FROM memory_fts WHERE memory_fts MATCH :word LIMIT :most)"

_TERMS = """
SELECT term FROM temp.memory_words
WHERE term >= :low AND term < :high AND length(term) BETWEEN :length - 2 AND :length + 8 LIMIT :most
"""
