"""What recall finds, by the tools alone: evidence of LoCoMo's questions, docstrings by their headlines.

LoCoMo is read from RLMD_BENCH_LOCOMO, a directory with `locomo10.zip` or `locomo10.json`; it is never
committed, and without it that part says so and is left out.
"""

from __future__ import annotations

import ast
import json
import os
import random
import re
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from rlmd.errors import RequestError
from rlmd.memory.ask import Recall
from rlmd.memory.batch import Batch, Change, Done
from rlmd.memory.entry import Store
from rlmd.memory.query import VOCABULARY
from rlmd.memory.ranking import Weights
from rlmd.memory.schema import SCHEMA
from rlmd.memory.search import Reader
from rlmd.store import Keeper, open_reader

DOCSTRINGS = 450
DEPTHS = (5, 10, 20)
_ALONE = Weights(related=0, letters=0, beside=0, beside_that=0, same_file=0)
ARMS = {
    "words alone": _ALONE,
    "and related words": replace(_ALONE, related=Weights().related),
    "and letters": replace(_ALONE, letters=Weights().letters),
    "and neighbours": replace(_ALONE, beside=Weights().beside, beside_that=Weights().beside_that),
    "all": Weights(),
}


@dataclass(frozen=True)
class Question:
    """What is asked of one project, and the keys that hold the answer."""

    project: str
    text: str
    keys: frozenset[str]


Set = tuple[list[Store], list[Question]]


def docstrings() -> Set:
    """Return docstrings of the standard library without their headline, which is the question."""
    library = Path(sysconfig.get_path("stdlib"))
    found: list[tuple[str, str, str]] = []
    for path in sorted(library.glob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and (doc := ast.get_docstring(node)):
                head, _, rest = doc.partition("\n\n")
                if len(head.split()) >= 4 and len(rest.split()) >= 15:
                    found.append((f"{path.stem}.{node.name}.{node.lineno}", " ".join(head.split()), rest))
    chosen = random.Random(0).sample(found, min(DOCSTRINGS, len(found)))
    stores = [Store(key=f"d{at}", value=rest, project="docs") for at, (_, _, rest) in enumerate(chosen)]
    asked = [Question("docs", head, frozenset({f"d{at}"})) for at, (_, head, _) in enumerate(chosen)]
    return stores, asked


def locomo(place: Path) -> Set:
    """Return every turn of LoCoMo's conversations, and its questions that name their evidence."""
    stores: list[Store] = []
    questions: list[Question] = []
    for number, sample in enumerate(_conversations(place)):
        project = f"conversation{number}"
        said = dict(_turns(sample.get("conversation", sample)))
        for key, (session, text) in said.items():
            stores.append(Store(key=key, value=text, project=project, session=f"{project}.{session}"))
        for asked in sample["qa"]:
            keys = frozenset(re.findall(r"D\d+:\d+", " ".join(asked.get("evidence", ())))) & said.keys()
            if keys:
                questions.append(Question(project, asked["question"], keys))
    return stores, questions


def _conversations(place: Path) -> list[dict[str, Any]]:
    """Read either form it is published in: one list, or a file for each conversation."""
    archive = place / "locomo10.zip"
    if not archive.exists():
        listed: list[dict[str, Any]] = json.loads((place / "locomo10.json").read_text())
        return listed
    with zipfile.ZipFile(archive) as opened:
        names = sorted(name for name in opened.namelist() if name.endswith(".json") and "__MAC" not in name)
        return [json.loads(opened.read(name)) for name in names]


def _turns(conversation: dict[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    number = 1
    while f"session_{number}" in conversation:
        date = conversation.get(f"session_{number}_date_time", "")
        for turn in conversation[f"session_{number}"]:
            text = f"[{date}] {turn['speaker']}: {turn.get('text', '')} {turn.get('blip_caption', '')}"
            yield turn["dia_id"], (str(number), text)
        number += 1


def evaluate(load: Callable[[], Set]) -> dict[str, dict[str, float]]:
    """Store a set and ask its questions by each arm; return what `_ask` finds, by the names of ARMS."""
    stores, questions = load()
    with tempfile.TemporaryDirectory(prefix="rlmd-bench-") as place:
        path = f"{place}/memory.db"
        keeper = Keeper(path, SCHEMA)
        for at in range(0, len(stores), 256):
            keeper.transact(stores[at : at + 256], _write)
        found = {}
        for name, weights in ARMS.items():
            reader = Reader(open_reader(path, VOCABULARY), weights)
            found[name] = _ask(reader, questions)
            reader.db.close()
        keeper.close()
    return found


def _ask(reader: Reader, questions: list[Question]) -> dict[str, float]:
    """Return the share of evidence found at each depth, the MRR, and how many questions there were."""
    totals = dict.fromkeys([f"R@{depth}" for depth in DEPTHS] + ["MRR"], 0.0)
    for question in questions:
        asked = Recall(project=question.project, query=question.text, limit=max(DEPTHS))
        keys = [item.key for item in reader.recall(asked).items]
        for depth in DEPTHS:
            totals[f"R@{depth}"] += len(question.keys & set(keys[:depth])) / len(question.keys)
        totals["MRR"] += next((1 / rank for rank, key in enumerate(keys, 1) if key in question.keys), 0.0)
    return {name: total / max(1, len(questions)) for name, total in totals.items()} | {
        "questions": float(len(questions))
    }


def _write(db: apsw.Connection, stores: Sequence[Change]) -> list[Done | RequestError]:
    return Batch(db, max_value_bytes=1 << 20, max_bytes=1 << 32).write(stores)


def main() -> None:
    """Print both sets beside their bars."""
    _print("stdlib docstrings", evaluate(docstrings), "R@10 .80")
    place = os.environ.get("RLMD_BENCH_LOCOMO")
    if place is None or not any((Path(place) / f"locomo10.{kind}").exists() for kind in ("zip", "json")):
        print("LoCoMo: skipped, RLMD_BENCH_LOCOMO names no directory with locomo10.zip or locomo10.json")
        return
    _print("LoCoMo turns", evaluate(partial(locomo, Path(place))), "R@5 .62, R@10 .71")


def _print(name: str, found: dict[str, dict[str, float]], bar: str) -> None:
    print(f"{name}, {found['all']['questions']:.0f} questions (bar {bar})")
    for arm, figures in found.items():
        told = "  ".join(f"{key} {value:.3f}" for key, value in figures.items() if key != "questions")
        print(f"  {arm:18} {told}")


if __name__ == "__main__":
    main()
