"""What ranked search is worth: questions with known answers, and what each ingredient adds.

Repositories with a history are looked for in `$RLMD_BENCH_REPOS` (default: `repos` in the cache of
the benchmarks), bare or not; this one's own is always among them.  Constants were chosen on the
repositories marked *, every other one by name; the figure to quote is that of the others.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

from benchmarks import trees
from benchmarks.retrieval.arms import Answer, Arm, Indexed, Ranks, answering, rank_files
from benchmarks.retrieval.questions import Question, of_commits, of_docstrings, sampled
from benchmarks.retrieval.repositories import Repository, found, texts
from rlmd.corpus import index, words
from rlmd.corpus.history import read_log
from rlmd.corpus.rank import RECIPE

WITH, WITHOUT = Arm("with history"), Arm("without history", history=False)
ABLATED = (
    Arm("- path", replace(RECIPE, path=0.0), history=False),
    Arm("- next cuts", replace(RECIPE, more_cuts=0.0), history=False),
    Arm("- file share", replace(RECIPE, file_share=0.0), history=False),
    Arm("- roles", history=False, kind="any"),
)
PLAIN = Arm("plain BM25 of cuts", replace(RECIPE, path=0.0, more_cuts=0.0), history=False, kind="any")
REBUILT: Mapping[str, Callable[[], AbstractContextManager[object]]] = {
    "- defined names": partial(patch.object, index, "NAME_COUNTS", 0),
    "- cuts at definitions": partial(patch.object, index, "cut", lambda lines, _: words_cut(lines)),
    "- identifiers split": partial(patch.object, words, "_PART", words.re.compile(r"[^\s]+|\n")),
    "- stop words": partial(patch.object, words, "STOP", frozenset()),
}
FUNCTIONS = 300

Results = dict[str, dict[str, Ranks]]


def words_cut(lines: list[str]) -> list[index.Cut]:
    """Cut every forty lines, whatever stands there."""
    return [index.Cut(at, min(at + 40, len(lines)), (), ()) for at in range(0, len(lines), 40)]


def main(*, ablate: bool = True) -> None:
    """Ask about commits and docstrings, and print how often the answer stands among the first."""
    repositories = found(None)
    print(
        "repositories: " + ", ".join(f"{name}{'*' * (at % 2 == 0)}" for at, name in enumerate(repositories))
    )
    results: Results = defaultdict(dict)
    for name, place in repositories.items():
        for arm, ranks in of_repository(place, ablate=ablate).items():
            results[arm][name] = ranks
    print_commits(results, list(repositories))
    print_functions()


def of_repository(place: str, *, ablate: bool) -> dict[str, Ranks]:
    """Ask the questions of one repository in every way."""
    measured: dict[str, Ranks] = {}
    with tempfile.TemporaryDirectory(prefix="rlmd-bench-") as scratch:
        repository = Repository(place, Path(scratch))
        questions = of_commits(repository, read_log(place, "HEAD"))
        answer = answering(repository, questions, Path(scratch, "as-is"))
        for arm in (WITH, WITHOUT, *(ABLATED if ablate else ()), PLAIN):
            measured[arm.name] = measure(answer, arm, questions)
        for number, (name, changed) in enumerate(REBUILT.items() if ablate else ()):
            with rebuilt(changed):
                answer = answering(repository, questions, Path(scratch, str(number)))
                measured[name] = measure(answer, WITHOUT, questions)
        repository.pack.close()
    return measured


@contextmanager
def rebuilt(changed: Callable[[], AbstractContextManager[object]]) -> Iterator[None]:
    """Build without one ingredient; tables that remember words are made anew before and after."""
    with ExitStack() as stack:
        stack.callback(index._terms.cache_clear)  # noqa: SLF001  # nothing else can tell old from new
        stack.enter_context(changed())
        index._terms.cache_clear()  # noqa: SLF001
        yield


def measure(answer: Answer, arm: Arm, questions: list[Question]) -> Ranks:
    """Rank the right files of each question."""
    ranks = Ranks()
    for question in questions:
        ranks.note(rank_files(answer(arm, question), question))
    return ranks


def print_commits(results: Results, names: list[str]) -> None:
    """Print each arm over all repositories, over those that were not tuned on, and the arms by repository."""
    total = sum(len(ranks.ranks) for ranks in results[WITH.name].values())
    print(f"\ncommit message -> a file it changed, the tree and the history before it: {total} questions")
    print(f"  {'':24} {'hit@1':>6} {'hit@5':>6} {'hit@10':>6} {'MRR':>6}   held out:")
    for arm, by_name in results.items():
        held = [by_name[name] for at, name in enumerate(names) if at % 2]
        print(f"  {arm:24} {figures(together(list(by_name.values())))}   {figures(together(held))}")
    print("\n  by repository, with and without history")
    for name in names:
        print(f"  {name:24} {figures(results[WITH.name][name])}   {figures(results[WITHOUT.name][name])}")


def together(parts: list[Ranks]) -> Ranks:
    """Return the ranks of all *parts*."""
    return Ranks([rank for part in parts for rank in part.ranks])


def figures(ranks: Ranks) -> str:
    """Return hit@1, hit@5, hit@10 and the mean reciprocal rank."""
    if not ranks.ranks:
        return "     -"
    return f"{ranks.hit(1):6.3f} {ranks.hit(5):6.3f} {ranks.hit(10):6.3f} {ranks.mrr:6.3f}"


def print_functions() -> None:
    """Ask for functions of the standard library by the docstrings that were taken from them."""
    with tempfile.TemporaryDirectory(prefix="rlmd-bench-") as scratch:
        blanked, functions = {}, []
        for path, source in texts(trees.standard_library()):
            blanked[path], documented = of_docstrings(path, source)
            functions += documented
        snapshot = Repository("", Path(scratch)).of_texts(blanked)
        indexed = Indexed(Path(scratch, "words"), [snapshot])
        by_lines, by_file = Ranks(), Ranks()
        for asked in sampled(functions, FUNCTIONS):
            passages = indexed.search(snapshot, None, asked.text, "code")
            by_lines.note(asked.is_in(passage) for passage in passages)
            by_file.note(path == asked.path for path in dict.fromkeys(each.path for each in passages))
    print(f"\ndocstring -> its function, standard library without docstrings: {len(by_file.ranks)} questions")
    print(f"  {'a passage of the function':24} {figures(by_lines)}")
    print(f"  {'its file':24} {figures(by_file)}")
