"""The word index over the messages of past commits: built in the worker process, searched in the daemon."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import tantivy

from rlmd.corpus.history import Past, follow, read_log, votes
from rlmd.corpus.index import any_of, stemmer, text_field, with_tokenizer
from rlmd.corpus.words import Terms

NEIGHBOURS = 30
"""So many of the commits most like a question vote."""
_HEAP_BYTES = 32_000_000


def build(directory: str, place: str, revision: str) -> None:
    """Index the commits at and before *revision* of the repository at *place* in the empty *directory*."""
    write(open_past(directory), follow(read_log(place, revision)))


def write(index: tantivy.Index, past: Iterable[Past]) -> None:
    """Add *past* to *index* and commit."""
    commits, table = list(past), Terms(stemmer())
    writer = index.writer(heap_size=_HEAP_BYTES, num_threads=1)
    for terms, (_, paths) in zip(table.of_all([each.message for each in commits]), commits, strict=True):
        document = tantivy.Document()
        document.add_text("terms", terms)
        document.add_text("paths", "\n".join(paths))
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()


def open_past(directory: str) -> tantivy.Index:
    """Open the index in *directory*, or create it there."""
    schema = tantivy.SchemaBuilder()
    text_field(schema)
    schema.add_text_field("paths", stored=True, index_option="basic", tokenizer_name="raw")
    return with_tokenizer(tantivy.Index(schema.build(), directory))


class Voters:
    """The commits indexed in a directory.  Blocks: a thread's work."""

    def __init__(self, directory: str) -> None:
        self._index = open_past(directory)
        self._searcher = self._index.searcher()

    def vote(self, terms: Mapping[str, float]) -> dict[str, float]:
        """Return what the commits most like weighted *terms* say for each path, 1 for the first."""
        query = any_of(self._index.schema, terms)
        found = self._searcher.search(query, NEIGHBOURS, count=False).hits
        return votes((score, self._paths(address)) for score, address in found)

    def _paths(self, address: tantivy.DocAddress) -> list[str]:
        text = self._searcher.doc(address).get_first("paths")
        return text.split("\n") if isinstance(text, str) else []
