"""What the clients of a soak work on, and the book of what happened to their requests."""

from __future__ import annotations

import json
import random
import shutil
import sysconfig
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

FILES = 300
CELL = """\
kinds = llm_query_batched(['JUDGE {number} ' + path for path in list(files)[:5]])
print('CELL ONE DONE', len(kinds))"""
LAST = "submit('all of them', [])"


@dataclass
class Book:
    """Requests by kind and outcome, what was acknowledged as stored, and what went wrong."""

    outcomes: Counter[str] = field(default_factory=Counter)
    stored: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, kind: str, outcome: str) -> None:
        with self._lock:
            self.outcomes[f"{kind} {outcome}"] += 1

    def fault(self, what: str) -> None:
        with self._lock:
            self.faults.append(what)
            print(f"FAULT {what}", flush=True)


def plant(root: Path) -> list[Path]:
    """Copy some of the standard library to *root*; return its files."""
    library = Path(sysconfig.get_path("stdlib"))
    chosen = sorted(path for path in library.glob("*/*.py") if "site-packages" not in path.parts)[:FILES]
    for path in chosen:
        place = root / path.relative_to(library)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    return [root / path.relative_to(library) for path in chosen]


def write_script(path: Path) -> None:
    """Write the replies of the model: two cells, five sub-calls a run, and plain prose."""
    steps = [
        {"reply": "kind", "when": "JUDGE", "after_s": 0.05, "tokens_in": 40, "tokens_out": 1, "usd": 0.0001},
        {"reply": f"```repl\n{LAST}\n```", "when": "CELL ONE DONE", "tokens_in": 900, "tokens_out": 9},
        {
            "reply": f"```repl\n{CELL.format(number=0)}\n```",
            "when": "BY CODE",
            "after_s": 0.05,
            "tokens_in": 800,
        },
        {"reply": "It is so.", "when": "PLAINLY", "after_s": 0.1, "tokens_in": 500, "tokens_out": 4},
    ]
    path.write_text("\n".join(map(json.dumps, steps)))


def edit(files: list[Path], luck: random.Random) -> None:
    """Change one file as a person would: a line more, or the same content again."""
    path = luck.choice(files)
    text = path.read_text(errors="replace")
    marked = text.rpartition("\n# soak ")[0] or text
    path.write_text(f"{marked}\n# soak {luck.random()}\n")
