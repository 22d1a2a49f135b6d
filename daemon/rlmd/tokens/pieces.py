r"""Where a text may be cut so that its parts have, together, exactly the tokens of the whole.

Both encodings first split text by a pattern without look-behind, then merge within each match.  A
cut changes nothing where a match ends in the whole text anyway and no match before it looks past
it.  Read against the patterns in `encodings`, that holds for four kinds of places:

1. Before a space or tab that follows something visible.  White space starts a match or continues a
   run of white space; nothing visible ever takes it in.
2. After a newline, before something visible that is no slash.  A run of white space with a newline
   in it is matched up to its last newline, as are newlines after punctuation; o200k adds slashes.
3. Before a digit that follows ASCII punctuation.  Digits are matched only by digits.
4. Before punctuation other than an apostrophe that follows a letter.  Letters end there.

The visible character before a cut also keeps `\s+(?!\S)` and `\s++$`, which look ahead, from seeing
it; in the second kind the alternatives that take newlines come to the same end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

LONGEST_PIECE = 900_000
"""Characters; tiktoken panics on a run of white space a little over a million long."""
LEAST_PIECE = LONGEST_PIECE // 2

_LETTER = "[A-Za-z\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff]"
_PUNCTUATION = r"[!-&(-/:-@\[-`{-~\u3001\u3002\uff0c]"
CUT = re.compile(
    rf"(?<=\S)(?=[ \t])|(?<=\n)(?=[^\s/])|(?<=[!-/:-@\[-`{{-~])(?=[0-9])|(?<={_LETTER})(?={_PUNCTUATION})"
)
"""Every place, of width zero, where cutting changes nothing."""


def cut(parts: Iterable[str], *, least: int = LEAST_PIECE, longest: int = LONGEST_PIECE) -> Iterator[str]:
    """Cut a text that comes in *parts* into pieces of at most *longest* characters, in order.

    A text that fits is one piece.  Token counts of the pieces add up to that of the text, except
    where more than *longest* - *least* characters hold no place to cut, as in one endless run of a
    letter: there it is cut blindly, which may change the count by a few tokens for each cut.
    """
    text = ""
    for part in parts:
        text += part
        start = 0
        while len(text) - start > longest:
            found = CUT.search(text, start + least, start + longest)
            end = found.end() if found else start + longest
            yield text[start:end]
            start = end
        text = text[start:]
    yield text
