"""A repository indexed as the daemon indexes it, and its questions answered as the daemon answers them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.retrieval.questions import Question
from benchmarks.retrieval.repositories import Repository
from rlmd.corpus.build import held_against
from rlmd.corpus.cuts import style_of
from rlmd.corpus.history import follow, read_log
from rlmd.corpus.index import Content, Searcher, extend, stemmer
from rlmd.corpus.path_words import PathWords
from rlmd.corpus.rank import RECIPE, Recipe
from rlmd.corpus.search import Searched, search
from rlmd.corpus.searchers import Searchers
from rlmd.corpus.shard import key_of
from rlmd.corpus.snapshot import Snapshot
from rlmd.corpus.voters import Voters, open_past, write
from rlmd.values import Kind, Passage

BATCH = 256
LIMIT = 20


@dataclass
class Ranks:
    """Where the first right answer stood, from 1; 0 where none was among those looked at."""

    ranks: list[int] = field(default_factory=list)

    def note(self, right: Iterable[bool]) -> None:
        """Note the first that is right."""
        self.ranks.append(next((at for at, is_right in enumerate(right, 1) if is_right), 0))

    def hit(self, most: int) -> float:
        """Return the share of questions answered among the first *most*."""
        return sum(0 < rank <= most for rank in self.ranks) / len(self.ranks)

    @property
    def mrr(self) -> float:
        """The mean reciprocal rank."""
        return sum(1 / rank for rank in self.ranks if rank) / len(self.ranks)


class Indexed:
    """Snapshots with one index under them, in *directory*."""

    def __init__(self, directory: Path, snapshots: Sequence[Snapshot]) -> None:
        directory.mkdir()
        (directory / "contents").touch()
        self._numbers: dict[bytes, int] = {}
        contents: list[Content] = []
        for snapshot in snapshots:
            files = snapshot.files
            for row, path in enumerate(files.paths):
                key = key_of(snapshot, row)
                if key not in self._numbers:
                    self._numbers[key] = len(self._numbers)
                    contents.append(
                        Content(
                            key,
                            self._numbers[key],
                            files.span_at(row),
                            files.encoding_at(row),
                            style_of(path),
                        )
                    )
        for at in range(0, len(contents), BATCH):
            extend(str(directory), snapshots[0].pack.path, contents[at : at + BATCH])
        self._searcher = Searchers([Searcher(str(directory))])
        self._stem = stemmer()
        self._prepared: dict[str, Searched] = {}

    def search(
        self, snapshot: Snapshot, past: Voters | None, text: str, kind: Kind, recipe: Recipe = RECIPE
    ) -> list[Passage]:
        """Return the passages, best first."""
        held = self._prepared.get(snapshot.id)
        if held is None:
            planned = held_against(snapshot, [self._numbers])
            held = Searched(snapshot, self._searcher, planned, PathWords(snapshot.files.paths, self._stem))
            self._prepared[snapshot.id] = held
        searched = Searched(held.snapshot, held.searcher, held.plan, held.path_words, past)
        return search(searched, self._stem, text, kind, LIMIT, recipe).passages


def voters(directory: Path, place: str, revision: str) -> Voters:
    """Index the commits at and before *revision* in *directory*."""
    directory.mkdir()
    write(open_past(str(directory)), follow(read_log(place, revision)))
    return Voters(str(directory))


@dataclass(frozen=True)
class Arm:
    """One way to answer."""

    name: str
    recipe: Recipe = RECIPE
    history: bool = True
    kind: Kind = "code"


Answer = Callable[[Arm, Question], list[Passage]]


def rank_files(passages: Iterable[Passage], question: Question) -> list[bool]:
    """Return of each file, in the order of the passages, whether it is an answer."""
    return [path in question.paths for path in dict.fromkeys(each.path for each in passages)]


def answering(repository: Repository, questions: Sequence[Question], scratch: Path) -> Answer:
    """Return what answers *questions*, each from the tree before its commit and the commits before that."""
    scratch.mkdir()
    snapshots = {q.revision: repository.snapshot(repository.tree(q.revision)) for q in questions}
    indexed = Indexed(scratch / "words", list(snapshots.values()))
    past: dict[str, Voters] = {}

    def answer(arm: Arm, question: Question) -> list[Passage]:
        if arm.history and question.revision not in past:
            past[question.revision] = voters(
                scratch / f"past-{len(past)}", repository.place, question.revision
            )
        asked = past[question.revision] if arm.history else None
        return indexed.search(snapshots[question.revision], asked, question.text, arm.kind, arm.recipe)

    return answer
