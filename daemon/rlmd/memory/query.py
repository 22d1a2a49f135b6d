"""From words somebody typed to a full-text question whose cost is bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import apsw

from rlmd.memory.schema import TOKENIZER
from rlmd.memory.words import STOP_WORDS, humps

_POSTINGS_BUDGET = 4_000
"""Ranking costs 2 µs a posting: this many keep a question over common words under 10 ms."""
_MAX_WORDS = 64


VOCABULARY = "CREATE VIRTUAL TABLE temp.memory_words USING fts5vocab('main', 'memory_fts', 'row');"
"""What a connection needs before it plans."""


@dataclass(frozen=True, slots=True)
class Match:
    """Questions for `memory_fts MATCH`: `rare` is cheap enough to rank by, `every` leaves no word out.

    Both are empty when no memory holds any of the words.
    """

    rare: str
    every: str


class Planner:
    """Plans questions for one connection that has its VOCABULARY, by how many memories hold each word."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._tokenize = db.fts5_tokenizer(TOKENIZER[0], list(TOKENIZER[1:]))

    def plan(self, query: str) -> Match:
        """Ask for any word of *query*, rarest first, until the postings budget is spent.

        Words are cut where the index cuts them, stop words dropped unless there is nothing else,
        and identifiers asked for whole and in parts.  Every word is quoted: none is an operator.
        """
        counts = {word: self._memories_with(stem) for stem, word in self._words(query).items()}
        found = sorted((word for word in counts if counts[word]), key=lambda word: counts[word])
        rare: list[str] = []
        spent = 0
        for word in found:
            spent += counts[word]
            if rare and spent > _POSTINGS_BUDGET:
                break
            rare.append(word)
        return Match(_any_of(rare), _any_of(found))

    def _words(self, query: str) -> dict[str, str]:
        """Return the first words of *query* by their stems, as the index's own tokenizer has them."""
        everything = self._tokenized(query)
        telling = {stem: word for stem, word in everything.items() if word.lower() not in STOP_WORDS}
        words = telling or everything
        for word in list(words.values()):
            for part in humps(word):
                words |= self._tokenized(part)
        return dict(list(words.items())[:_MAX_WORDS])

    def _tokenized(self, text: str) -> dict[str, str]:
        source = text.encode()
        tokens = self._tokenize(source, apsw.FTS5_TOKENIZE_QUERY, None, include_colocated=False)
        return {
            stem: source[start:end].decode()
            for start, end, stem in cast("list[tuple[int, int, str]]", tokens)
        }

    def _memories_with(self, stem: str) -> int:
        return cast("int", self._db.execute(_COUNT, {"stem": stem}).get or 0)


def _any_of(words: list[str]) -> str:
    return " OR ".join('"' + word.replace('"', '""') + '"' for word in words)


_COUNT = "SELECT doc FROM temp.memory_words WHERE term = :stem"
