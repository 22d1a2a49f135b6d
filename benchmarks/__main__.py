"""`make bench`: every figure that is quoted anywhere, as ratios measured in this one run.

`python -m benchmarks NAME…` runs some of them alone.
"""

from __future__ import annotations

import argparse
import platform

from benchmarks import (
    anchors,
    doors,
    engine,
    grep,
    llm,
    recall,
    remember,
    retrieval,
    sandbox,
    snapshots,
    stages,
    words,
)

BENCHMARKS = {
    "stages": stages.main,
    "snapshots": snapshots.main,
    "grep": grep.main,
    "sandbox": sandbox.main,
    "llm": llm.main,
    "engine": engine.main,
    "remember": remember.main,
    "recall": recall.main,
    "retrieval": retrieval.main,
    "words": words.main,
    "anchors": anchors.main,
    "doors": doors.main,
}


def main() -> None:
    """Run the benchmarks that were named, else all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument(
        "--tree", choices=sorted(stages.TREES), action="append", help="stages on this tree alone"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of stages")
    args = parser.parse_args()
    print(f"{platform.python_implementation()} {platform.python_version()} on {platform.machine()}")
    if args.tree:
        stages.main(args.tree, rounds=args.rounds)
        return
    for name in args.names or BENCHMARKS:
        print(f"\n######## {name}")
        BENCHMARKS[name]()


main()
