"""Words of code and prose: identifiers fall into their parts and stay whole beside them.

`parseHTTPRequest` counts as `parse`, `http`, `request` and `parsehttprequest`, so that a question
finds it by its meaning and by its name.  Bulk text is split by table look-ups, not word by word.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from os.path import commonprefix

WORD = re.compile(r"[A-Za-z0-9_$]+|[^\W_a-zA-Z0-9]+")
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_a-zA-Z]+|\n")
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
ONE_PART = 2
_END = "\0"

Stem = Callable[[str], list[str]]


def split_word(word: str) -> list[str]:
    """Return the parts of one identifier in lower case, and the whole after them if there are several.

    Parts of a single letter are left out, single digits are not; what begins with a digit is one.
    """
    if word[0].isdigit():
        return [word.lower()]
    parts = [part.lower() for part in _PART.findall(word)]
    if len(parts) > 1:
        parts.append(word.strip("_$").lower())
    return [part for part in parts if len(part) > 1 or part.isdigit()]


class Terms:
    """Turns text into the index's terms, remembering up to *most* distinct words and what they become.

    Parts are stemmed by *stem*, whole identifiers are not.  New words are learnt together, those of a
    text at a time, which costs a tenth of asking for each.
    """

    def __init__(self, stem: Stem, *, most: int = 300_000) -> None:
        self._stem = stem
        self._most = most
        self._known: dict[str, str] = {}
        self._stems: dict[str, str] = {}
        self._pieces: dict[str, str] = {_END: _END}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, text: str) -> str:
        """Return the terms of *text* in order, separated by white space."""
        return self.of_all([text])[0]

    def of_all(self, texts: Sequence[str]) -> list[str]:
        """Return the terms of each of *texts*."""
        split = [text.translate(_APART).split() if text.isascii() else WORD.findall(text) for text in texts]
        new = set[str]().union(*split).difference(self._known)
        if new:
            self._learn(new)
        terms = [" ".join(map(self._known.__getitem__, words)) for words in split]
        if len(self._known) > self._most:
            self._known.clear()
            self._stems.clear()
            self._pieces = {_END: _END}
        return terms

    def _learn(self, words: set[str]) -> None:
        """Add *words* to the table, with a few passes over all of them instead of a loop.

        Identifiers fall into pieces at their underscores, most of which other words have brought.
        """
        numbers = {word for word in words if word[0].isdigit()}
        self._known.update((number, number.lower()) for number in numbers)
        rest = [word for word in words if word not in numbers]
        short = [word if len(word) <= LONGEST else "" for word in rest]
        pieces = f" {_END} ".join([*short, ""]).replace("_", " ").replace("$", " ").split()
        if unknown := list(set(pieces).difference(self._pieces)):
            self._learn_pieces(unknown)
        split = f" {' '.join(map(self._pieces.__getitem__, pieces))} ".split(_END)
        for word, low, terms in zip(rest, "\n".join(short).lower().split("\n"), split, strict=False):
            self._known[word] = terms + low.strip("_$") if terms.count(" ") > ONE_PART else terms.strip()

    def _learn_pieces(self, pieces: list[str]) -> None:
        """Add what each of *pieces* becomes: its parts, stemmed, the letters that stand alone left out.

        Behind a line end for each piece stand its parts, with a space around each.
        """
        parts = " ".join(_PART.findall("\n" + "\n".join(pieces))).lower().split(" ")
        stems = self._stems
        unknown = list(set(parts).difference(stems))
        kept = [part if len(part) > 1 or part.isdigit() else "-" for part in unknown]
        stems.update(zip(unknown, self._stem(" ".join(kept)), strict=True))
        stems.update((part, "") for part, said in zip(unknown, kept, strict=True) if said == "-")
        stems["\n"] = "\n"
        stemmed = (" ".join(map(stems.__getitem__, parts)) + " ").split("\n")[1:]
        self._pieces.update(zip(pieces, (terms[1:-1] for terms in stemmed), strict=True))


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
    return Counter(Terms(stem).of(" ".join(_telling(question))).split())


def _telling(question: str) -> list[str]:
    words = WORD.findall(question)
    return [word for word in words if word.lower() not in STOP] or words
