"""`make bench`: every figure of the README, as ratios measured in this one run."""

from __future__ import annotations

import argparse
import platform
from functools import partial

import trio

from benchmarks import stages, trees


def main() -> None:
    """Measure on the standard library and on Debian's linux-source, where that can be had."""
    parser = argparse.ArgumentParser(prog="benchmarks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tree", choices=["stdlib", "linux"], action="append")
    args = parser.parse_args()
    print(
        f"{platform.python_implementation()} {platform.python_version()} on {platform.machine()}; "
        f"{args.rounds} interleaved rounds after one warm-up, ratios are medians of the rounds'"
    )
    makers = {"stdlib": trees.standard_library, "linux": trees.linux_source}
    for name in args.tree or makers:
        try:
            tree = makers[name]()
        except trees.Unavailable as why:
            print(f"\nskipped {name}: {why}")
            continue
        trio.run(partial(stages.measure, str(tree.resolve()), rounds=args.rounds))


main()
