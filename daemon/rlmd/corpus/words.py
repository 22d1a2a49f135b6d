"""Words of code and prose: identifiers fall into their parts and stay whole beside them.

`parseHTTPRequest` counts as `parse`, `http`, `request` and `parsehttprequest`, so that a question
finds it by its meaning and by its name.  Bulk text is split by table look-ups, not word by word.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from os.path import commonprefix

WORD = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*|\d+|[^\W\d_a-zA-Z]+")
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_a-zA-Z]+")
_APART = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) in "_$")}

_STOP = """
a about add added adding adds all allow allows also an and any are as at avoid be been bug bugfix but by can
change changed changes code could did do does ensure explain feat file find fix fixed fixes fixing for from
had has have how i if implement implementation implemented improve improved in instead into is issue it its
just make makes me more most my need needed needs new no not now of on only or other our own per pr refactor
remove removed removes same should show so some such support supported supports tell than that the their
them then there these they this to update updated updates us use used uses using very via was we were what
when where which who why will with work works would you your
"""
STOP = frozenset(_STOP.split())
"""Words of questions and of commit messages, which say nothing about where an answer lies."""

LONGEST = 256
"""Longer runs are data (base64, minified text), not words, and are left out."""

LEAST_LETTERS = 3

Stem = Callable[[str], list[str]]


def split_word(word: str) -> list[str]:
    """Return the parts of one identifier in lower case, and the whole after them if there are several.

    Parts of a single letter are left out, single digits are not.
    """
    parts = [part.lower() for part in _PART.findall(word)]
    if len(parts) > 1:
        parts.append(word.strip("_$").lower())
    return [part for part in parts if len(part) > 1 or part.isdigit()]


class Terms(dict[str, str]):
    """Turns text into the index's terms, remembering up to *most* distinct runs of characters.

    A run is what lies between characters that no identifier holds; its value is its terms, each
    stemmed by *stem*, separated by spaces.
    """

    def __init__(self, stem: Stem, *, most: int = 300_000) -> None:
        super().__init__()
        self._stem = stem
        self._most = most

    def __missing__(self, run: str) -> str:
        if len(self) >= self._most:
            self.clear()
        parts = (
            [part for word in WORD.findall(run) for part in split_word(word)] if len(run) <= LONGEST else []
        )
        terms = self[run] = " ".join(self._stem(" ".join(parts)))
        return terms

    def of(self, text: str) -> str:
        """Return the terms of *text* in order, separated by spaces."""
        runs = text.translate(_APART).split() if text.isascii() else WORD.findall(text)
        return " ".join(map(self.__getitem__, runs))


def beginnings(question: str, stem: Stem) -> tuple[str, ...]:
    """Return what every form of each word of *question* begins with, longest first.

    The telling words alone, as `wanted` takes them; those of fewer than three letters say nothing.
    """
    found = set[str]()
    for word in _telling(question):
        for part in split_word(word):
            stems = (stemmed.removesuffix("i") for stemmed in stem(part))  # of "memory" and "memories"
            found.update(commonprefix([part, stemmed]) for stemmed in stems)  # noqa: RUF071  # not paths
    return tuple(sorted((each for each in found if len(each) >= LEAST_LETTERS), key=lambda e: (-len(e), e)))


def wanted(question: str, stem: Stem) -> Counter[str]:
    """Count the stemmed terms of *question* without stop words, or with them when nothing else is there."""
    return Counter(term for word in _telling(question) for term in stem(" ".join(split_word(word))))


def _telling(question: str) -> list[str]:
    words = WORD.findall(question)
    return [word for word in words if word.lower() not in STOP] or words
