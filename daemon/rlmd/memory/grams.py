"""How much texts look like a question, by runs of letters: what stems and whole words do not see."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from rlmd.memory.words import STOP_WORDS

_GRAM = 4
_MOST_GRAMS = 200
_NO_WORD = re.compile(r"\W+")
_K1 = 1.2
_B = 0.75


def likeness(question: str, texts: Sequence[str]) -> list[float]:
    """Return for each text how much of the letters of *question* it has, from 0 to 1 for the most alike.

    BM25 (Robertson and Zaragoza 2009) over runs of four letters, their rarity taken among *texts* alone.
    """
    spaced = [f" {_NO_WORD.sub(' ', text.lower())} " for text in texts]
    mean_chars = sum(map(len, spaced)) / max(1, len(spaced))
    shares = [_K1 * (1 - _B + _B * len(text) / mean_chars) for text in spaced]
    found = [0.0] * len(spaced)
    for gram in _grams(question):
        counts = [text.count(gram) for text in spaced]
        if holding := len(counts) - counts.count(0):
            rarity = math.log(1 + (len(counts) - holding + 0.5) / (holding + 0.5))
            for at, count in enumerate(counts):
                if count:
                    found[at] += rarity * count * (_K1 + 1) / (count + shares[at])
    most = max(found, default=0.0)
    return [each / most for each in found] if most else found


def _grams(question: str) -> list[str]:
    words = (word for word in _NO_WORD.split(question.lower()) if word and word not in STOP_WORDS)
    spaced = (f" {word} " for word in words)
    grams = (word[at : at + _GRAM] for word in spaced for at in range(len(word) - _GRAM + 1))
    return list(dict.fromkeys(grams))[:_MOST_GRAMS]
