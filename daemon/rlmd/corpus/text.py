"""Bytes of a file as text, the same way wherever the corpus looks at them."""

from __future__ import annotations

from collections.abc import Callable

from rlmd.values import Span, TextEncoding

PIECE_BYTES = 2 << 20
"""Longer contents are cut, indexed and quoted piece by piece."""

_CODECS: dict[TextEncoding, tuple[str, int]] = {
    "utf-8": ("utf-8", 1),
    "utf-8-bom": ("utf-8", 1),
    "utf-16-le": ("utf-16-le", 2),
    "utf-16-be": ("utf-16-be", 2),
    "unknown-8bit": ("utf-8", 1),
}


def decode(data: bytes, encoding: TextEncoding) -> str:
    """Return *data* as text without a byte order mark; what is not valid becomes U+FFFD.

    So do the bytes of an unknown encoding beyond ASCII, as they do when its tokens are counted.
    """
    return data.decode(_CODECS[encoding][0], "replace").removeprefix("\ufeff")


def read_piece(read: Callable[[Span], bytes], span: Span, encoding: TextEncoding, at: int) -> bytes:
    """Return the piece of a content that begins at byte *at*: whole lines, or part of a giant one."""
    data = read(Span(span.offset + at, min(PIECE_BYTES, span.length - at)))
    if at + len(data) == span.length:
        return data
    return data[: whole_lines(data, encoding) or len(data)]


def whole_lines(data: bytes, encoding: TextEncoding) -> int:
    """Return the length of the longest beginning of *data* that ends with a line end, 0 without one."""
    codec, width = _CODECS[encoding]
    newline = "\n".encode(codec)
    at = len(data)
    while (at := data.rfind(newline, 0, at)) >= 0:
        if at % width == 0:
            return at + width
        at += width - 1
    return 0
