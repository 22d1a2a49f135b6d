"""What a job did, as a tree of runs and turns for people, and a line each for programs; pure."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rlmd.engine.ledger import Entry
from rlmd.engine.talk import cut

_CODE_CHARS = 1_200
_TOLD_CHARS = 800
_TEXT_CHARS = 160


@dataclass(slots=True)
class Spent:
    """What some entries cost; `usd` is None once one is unknown."""

    calls: int = 0
    tokens: int = 0
    usd: float | None = 0.0
    seconds: float = 0.0

    def add(self, entry: Entry) -> None:
        """Count *entry*."""
        body = entry.body
        self.calls += entry.kind in {"root", "call"}
        self.tokens += _number(body.get("tokens_in")) + _number(body.get("tokens_out"))
        usd = body.get("usd", 0.0)
        known = isinstance(usd, int | float) and self.usd is not None
        self.usd = (self.usd or 0.0) + float(str(usd)) if known else None
        if entry.kind in {"root", "cell"}:
            seconds = body.get("s")
            self.seconds += seconds if isinstance(seconds, int | float) else 0.0

    def shown(self) -> str:
        """Return it in a few words."""
        usd = "$?" if self.usd is None else f"${self.usd:.4f}"
        return f"{self.calls} calls, {self.tokens:,} tokens, {usd}, {self.seconds:.1f} s"


def lines_of_json(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield every entry as a line of JSON, in order and whole."""
    for each in entries:
        told = {"node": each.node, "turn": each.turn, "kind": each.kind, "key": each.key, **each.body}
        yield json.dumps(told, ensure_ascii=False)


def tree(entries: Sequence[Entry]) -> str:
    """Write the runs out turn by turn, children under the turn that asked for them."""
    return "\n".join(_run(entries, "0", ""))


def spent(entries: Iterable[Entry]) -> Spent:
    """Return what *entries* cost together."""
    total = Spent()
    for each in entries:
        total.add(each)
    return total


def _run(entries: Sequence[Entry], node: str, indent: str) -> Iterator[str]:
    whole = spent(each for each in entries if each.node == node or each.node.startswith(f"{node}/"))
    yield f"{indent}run {node}: {whole.shown()}"
    turns: dict[int, list[Entry]] = defaultdict(list)
    for each in entries:
        if each.node == node:
            turns[each.turn].append(each)
    for turn in sorted(turns):
        yield f"{indent}  turn {turn}: {spent(turns[turn]).shown()}"
        for each in turns[turn]:
            yield from (f"{indent}    {line}" for line in _entry(each))
            if each.kind == "child":
                yield from _run(entries, str(each.body.get("node")), indent + "      ")


def _entry(entry: Entry) -> Iterator[str]:
    body = entry.body
    match entry.kind:
        case "root" if "error" in body:
            yield f"the model failed: {body['error']}: {body['message']}"
        case "root":
            pass  # its cell follows
        case "call":
            text = body.get("text", f"failed: {body.get('message')}")
            yield f"sub-call {_line(body.get('prompt'))} → {_line(text)}"
        case "cell":
            yield from (f"| {line}" for line in cut(str(body["code"]), _CODE_CHARS).rstrip().split("\n"))
            yield from (f"> {line}" for line in cut(str(body["told"]), _TOLD_CHARS).rstrip().split("\n"))
        case "child":
            yield f"asked a run of its own {_line(body.get('question'))} → {_line(body.get('answer'))}"


def _line(text: object) -> str:
    return repr(cut(str(text), _TEXT_CHARS))


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
