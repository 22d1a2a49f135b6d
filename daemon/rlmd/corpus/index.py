"""The word index over the cuts of a corpus: written in the worker process, searched in the daemon.

One document is one cut.  Contents are keyed by a number that the daemon gives to each content and
never twice, so a batch whose fate is unknown (its worker was killed) is simply numbered anew and
what it may have left behind is never looked up.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple, cast

import tantivy

from rlmd.corpus.cuts import Cut, Style, cut, lines_of
from rlmd.corpus.pack import pread
from rlmd.corpus.rank import Hit
from rlmd.corpus.register import enter
from rlmd.corpus.text import decode, read_piece, whole_lines
from rlmd.corpus.words import Stem, Terms
from rlmd.values import Span, TextEncoding

NAME_COUNTS = 4
"""A name that a cut defines counts this often, beside the times it is written."""
_HEAP_BYTES = 64_000_000
_TOKENIZER = "terms"
_NUMBERS = ("number", "start", "stop", "at", "line")


class Content(NamedTuple):
    """A content to index, from byte *at* on, which is on line *line* (from 0).

    `key` is what it is looked up by when the index is opened again, `number` what its cuts are found by.
    """

    key: bytes
    number: int
    span: Span
    encoding: TextEncoding
    style: Style
    at: int = 0
    line: int = 0


def stemmer() -> Stem:
    """Return the function that the index and every question stem by, word by word."""
    words = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
    return words.filter(tantivy.Filter.stemmer("english")).build().analyze


def extend(directory: str, pack: str, contents: Sequence[Content]) -> tuple[int, int]:
    """Index *contents*, whose bytes lie in the file *pack*, and commit.  Runs in a worker process.

    All but the last are indexed to their ends, and entered in the register of the directory.  Of the
    last, one piece from `at` on.  Returns the byte and the line to go on from; at the end of the
    content, the byte is its length.
    """
    file = os.open(pack, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writer = _writer(directory)
        for content in contents:
            reached = _add(writer, file, content)
        writer.commit()
        whole = contents if reached[0] == content.span.length else contents[:-1]
        enter(directory, ((each.key, each.number) for each in whole))
    except BaseException:
        _writer.cache_clear()  # it may be broken
        raise
    finally:
        os.close(file)
    return reached


@lru_cache(maxsize=1)
def _writer(directory: str) -> tantivy.IndexWriter:
    """Keep the writer from call to call: it merges while the next batch is cut.

    One at a time is kept: each holds memory, and a lock that dies with the process.
    """
    return _open(directory).writer(heap_size=_HEAP_BYTES, num_threads=1)


def _add(writer: tantivy.IndexWriter, file: int, content: Content) -> tuple[int, int]:
    data, at = read_piece(partial(pread, file), content.span, content.encoding, content.at), content.at
    lines = lines_of(decode(data, content.encoding))
    cuts = cut(lines, content.style)
    for each, terms in zip(cuts, _terms().of_all([_said(each, lines) for each in cuts]), strict=True):
        document = tantivy.Document()
        document.add_integer("number", content.number)
        document.add_integer("start", content.line + each.start)
        document.add_integer("stop", content.line + each.stop)
        document.add_integer("at", at)
        document.add_integer("line", content.line)
        document.add_text("terms", terms)
        document.add_text("within", "\n".join(each.within))
        writer.add_document(document)
    ended = at + len(data) == content.span.length
    whole = ended or whole_lines(data, content.encoding) == len(data)
    return at + len(data), content.line + len(lines) - (not whole)


def _said(each: Cut, lines: Sequence[str]) -> str:
    return "\n".join((*each.names * NAME_COUNTS, *each.within, *lines[each.start : each.stop]))


@lru_cache(maxsize=1)
def _terms() -> Terms:
    """Keep the table of words as long as the worker process lives: a cold one halves the speed."""
    return Terms(stemmer())


def _open(directory: str) -> tantivy.Index:
    """Open the index in *directory*, or create it there."""
    schema = tantivy.SchemaBuilder()
    for name in _NUMBERS:
        schema.add_integer_field(name, fast=True, indexed=name == "number")
    text_field(schema)
    schema.add_text_field("within", stored=True, index_option="basic", tokenizer_name="raw")
    index = tantivy.Index(schema.build(), directory)
    return with_tokenizer(index)


def with_tokenizer(index: tantivy.Index) -> tantivy.Index:
    """Return *index*, told what `terms` are made of."""
    index.register_tokenizer(_TOKENIZER, tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build())
    return index


def text_field(schema: tantivy.SchemaBuilder) -> None:
    """Add the field of `terms`, which `Terms` has split and stemmed, to *schema*."""
    schema.add_text_field("terms", tokenizer_name=_TOKENIZER, index_option="freq")


def any_of(schema: tantivy.Schema, terms: Mapping[str, float]) -> tantivy.Query:
    """Return the query for what holds any of the weighted *terms*."""
    query = tantivy.Query
    should = [
        (tantivy.Occur.Should, query.boost_query(query.term_query(schema, "terms", term, "freq"), weight))
        for term, weight in terms.items()
    ]
    return query.boolean_query(should) if should else query.empty_query()


class Searcher:
    """The index in *directory* as of its last commit when this was made.  Blocks: a thread's work."""

    def __init__(self, directory: str) -> None:
        self._index = _open(directory)
        self._searcher = self._index.searcher()
        self.cuts: int = self._searcher.num_docs

    def holders(self, term: str) -> int:
        """Return how many cuts hold *term*."""
        return self._searcher.doc_freq("terms", term)

    def search(self, terms: Mapping[str, float], limit: int) -> list[Hit]:
        """Return the *limit* best cuts for weighted, stemmed *terms*, best first."""
        found = self._searcher.search(any_of(self._index.schema, terms), limit, count=False).hits
        return list(self._hits(found))

    def search_in(self, terms: Mapping[str, float], numbers: Iterable[int], limit: int) -> list[Hit]:
        """Return the *limit* best cuts of the contents *numbers*, also such that hold none of *terms*."""
        query, schema = tantivy.Query, self._index.schema
        within = query.const_score_query(query.term_set_query(schema, "number", list(numbers)), 0.0)
        both = query.boolean_query(
            [(tantivy.Occur.Must, within), (tantivy.Occur.Should, any_of(schema, terms))]
        )
        return list(self._hits(self._searcher.search(both, limit, count=False).hits))

    def _hits(self, found: list[tuple[float, tantivy.DocAddress]]) -> Iterator[Hit]:
        addresses = [address for _, address in found]
        columns = (cast("list[int]", self._searcher.fast_field_values(name, addresses)) for name in _NUMBERS)
        for (score, address), number, start, stop, at, line in zip(found, *columns, strict=True):
            yield Hit(score, number, start, stop, at, line, self, address)

    def within(self, hit: Hit) -> tuple[str, ...]:
        """Return the first lines of the definitions around *hit*, outermost first."""
        text = self._searcher.doc(hit.address).get_first("within")
        return tuple(text.split("\n")) if text else ()
