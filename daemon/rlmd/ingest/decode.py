"""Tell text from binary, and the encoding of text, by the whole content.  Pure."""

from __future__ import annotations

import codecs

from rlmd.values import TextEncoding

_BOMS: tuple[tuple[bytes, TextEncoding], ...] = (
    (codecs.BOM_UTF8, "utf-8-bom"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE: tuple[TextEncoding, ...] = ("utf-16-le", "utf-16-be")
_PIECE_BYTES = 1 << 20


class Classifier:
    """Takes a content in pieces and says what it is.

    A NUL makes it binary, in UTF-16 (which only a byte order mark tells) a NUL character.
    """

    def __init__(self) -> None:
        self._encoding: TextEncoding = "utf-8"
        self._decoder: codecs.IncrementalDecoder | None = None
        self._undecided = False
        self._binary = False

    def feed(self, piece: bytes) -> bool:
        """Look at the next *piece*; False once the content is known to be binary.

        The first piece holds the first three bytes, if there are as many.
        """
        if self._decoder is None:
            self._encoding = next((name for bom, name in _BOMS if piece.startswith(bom)), "utf-8")
            wide = self._encoding in _WIDE
            codec = self._encoding if wide else "utf-8"
            self._decoder = codecs.getincrementaldecoder(codec)("replace" if wide else "strict")
        self._binary = self._binary or not self._is_text(piece, self._decoder)
        return not self._binary

    def _is_text(self, piece: bytes, decoder: codecs.IncrementalDecoder) -> bool:
        if self._encoding in _WIDE:
            return "\0" not in decoder.decode(piece)
        if b"\0" in piece:
            return False
        if self._encoding != "unknown-8bit" and (self._undecided or not piece.isascii()):
            try:
                decoder.decode(piece)
            except UnicodeDecodeError:
                self._encoding = "unknown-8bit"
            else:
                self._undecided = bool(decoder.getstate()[0])
        return True

    def encoding(self) -> TextEncoding | None:
        """Return the encoding of what was fed, or None for binary."""
        if self._binary:
            return None
        return "unknown-8bit" if self._undecided else self._encoding


def classify(data: bytes) -> TextEncoding | None:
    """Return the encoding of *data*, or None for binary; decodes a piece at a time."""
    if data.isascii():
        return None if b"\0" in data else "utf-8"
    classifier = Classifier()
    for start in range(0, len(data), _PIECE_BYTES):
        piece = data if len(data) <= _PIECE_BYTES else data[start : start + _PIECE_BYTES]
        if not classifier.feed(piece):
            return None
    return classifier.encoding()
