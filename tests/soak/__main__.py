"""`make soak MINUTES=30`: sixteen clients at one daemon, a crash a minute, and what must not change.

Fails when a request stays unanswered, when memory or descriptors grow after the first minutes,
when a process is left behind, or when a memory that was acknowledged is not there at the end.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from daemon_world import PACKAGE, PATIENCE_S, Daemon, Places, is_alive, new_places, until
from soak.clients import KINDS, Asker
from soak.world import Book, plant, write_script

SETTLE_SHARE, LONGEST_SETTLE_S = 1 / 3, 300.0
SAMPLE_S, CRASH_S = 2.0, 60.0


@dataclass
class Samples:
    """What the daemon's process held, over time; `pids` are all the processes it ever had below it."""

    at_s: list[float] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)
    fds: list[float] = field(default_factory=list)
    threads: list[float] = field(default_factory=list)
    pids: set[int] = field(default_factory=set)

    def take(self, daemon: Daemon, began: float) -> None:
        proc = Path(f"/proc/{daemon.pid}")
        status = dict(
            line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line
        )
        self.at_s.append(time.monotonic() - began)
        self.rss_mib.append(int(status["VmRSS"].split()[0]) / 1024)
        self.fds.append(float(sum(1 for _ in (proc / "fd").iterdir())))
        self.threads.append(float(status["Threads"]))
        self.pids.update(daemon.children())


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", type=Path, metavar="FILE", help="keep the daemon's log here after a fault")
    args = parser.parse_args()
    book, samples = Book(), Samples()
    with new_places() as places:
        root = places.top / "tree"
        files = plant(root)
        with breakable_daemon(places, args.seed) as daemon:
            run_clients(daemon, root, files, book, samples, args.minutes * 60)
            check_memory(daemon, book)
            code = daemon.end()
        injected = daemon.log.read_text().count("crash.injected")
        book.outcomes["daemon crashes injected"] = injected
        if code:
            book.fault(f"the daemon ended with {code}: {daemon.log.read_text()[-2000:]}")
        left = [pid for pid in samples.pids if is_alive(pid)]
        if left:
            book.fault(f"processes were left behind: {left}")
        report(book, samples, args.minutes * 60)
        if book.faults and args.log:
            args.log.write_text(daemon.log.read_text())
    return 1 if book.faults else 0


@contextmanager
def breakable_daemon(places: Places, seed: int) -> Iterator[Daemon]:
    script = places.top / "script.jsonl"
    write_script(script)
    log = places.top / "stderr.log"
    command = [sys.executable, "-m", "soak.daemon", str(seed), f"llm.script={script}", "engine.keep_jobs=50"]
    path = f"{PACKAGE}:{Path(__file__).parents[1]}"
    began = time.perf_counter()
    with log.open("ab") as stderr:
        process = subprocess.Popen(command, env=places.env(PYTHONPATH=path), stderr=stderr, cwd="/")
    try:
        until(lambda: process.poll() is not None or "rlmd: ready" in log.read_text(), "the daemon is ready")
        assert process.poll() is None, log.read_text()
        yield Daemon(places, process, log, time.perf_counter() - began)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(PATIENCE_S)


def run_clients(
    daemon: Daemon, root: Path, files: list[Path], book: Book, samples: Samples, seconds: float
) -> None:
    threads = []
    for number, kind in enumerate(KINDS):
        asker = Asker(f"{kind.__name__}-{number}", root, files, book)
        threads.append(threading.Thread(target=_guarded, args=(kind, asker, daemon.places), daemon=True))
    began = time.monotonic()
    for thread in threads:
        thread.start()
    next_crash = began + CRASH_S
    while (now := time.monotonic()) - began < seconds:
        if daemon.process.poll() is not None:
            book.fault(f"the daemon died with {daemon.process.returncode}")
            break
        samples.take(daemon, began)
        if now >= next_crash:
            next_crash += CRASH_S
            daemon.process.send_signal(signal.SIGUSR1)
            print(
                f"{now - began:6.0f} s  {samples.rss_mib[-1]:7.1f} MiB  {samples.fds[-1]:4.0f} fds",
                flush=True,
            )
        time.sleep(SAMPLE_S)
    book.over.set()
    for thread in threads:
        thread.join(120)
        if thread.is_alive():
            book.fault(f"{thread.name} still waits for an answer")


def _guarded(kind, asker: Asker, places: Places) -> None:
    try:
        kind(asker, places)
    except Exception as exc:  # noqa: BLE001  # a client that breaks is a finding
        asker.book.fault(f"{asker.name}: {type(exc).__name__}: {exc}")


def check_memory(daemon: Daemon, book: Book) -> None:
    """Every value that was acknowledged is there, and the file is whole."""
    with daemon.connect(daemon.places.top) as client:
        for key, value in book.stored.items():
            found = client.ask("rlm_memory_recall", {"key": key, "project": "soak"})["items"]
            if [item["value"] for item in found] != [value]:
                book.fault(f"{key} should be {value!r} and is {found}")
        integrity = client.ask("rlm_status", {"verbose": True})["memory"]["integrity"]
    if integrity != "ok":
        book.fault(f"memory.db: {integrity}")


def report(book: Book, samples: Samples, seconds: float) -> None:
    for what, times in sorted(book.outcomes.items()):
        print(f"{times:8,}  {what}")
    print(f"{len(book.stored):8,}  memories acknowledged and checked")
    settle_s = min(LONGEST_SETTLE_S, seconds * SETTLE_SHARE)
    kept = [position for position, at_s in enumerate(samples.at_s) if at_s >= settle_s]
    for name, values, least in (
        ("RSS, MiB", samples.rss_mib, 0.0),
        ("descriptors", samples.fds, 1.0),
        ("threads", samples.threads, 1.0),
    ):
        growth, noise = trend([samples.at_s[i] for i in kept], [values[i] for i in kept])
        verdict = "flat" if growth <= max(2 * noise, least) else "GROWS"
        mean = statistics.fmean([values[i] for i in kept])
        print(
            f"{name:12} mean {mean:8.1f}  from {values[kept[0]]:8.1f} to {values[-1]:8.1f}, "
            f"line {growth:+7.2f} over {samples.at_s[-1] - settle_s:.0f} s, noise {noise:.2f}: {verdict}"
        )
        if verdict != "flat" and name != "threads":
            book.fault(f"{name} grows by {growth:.2f}, its noise is {noise:.2f}")
    print(f"{len(book.faults)} faults")


def trend(at_s: list[float], values: list[float]) -> tuple[float, float]:
    """Return by how much a straight line through *values* rises, and how far they lie about it."""
    line = statistics.linear_regression(at_s, values)
    off = [value - (line.slope * at + line.intercept) for at, value in zip(at_s, values, strict=True)]
    return line.slope * (at_s[-1] - at_s[0]), statistics.pstdev(off)


if __name__ == "__main__":
    sys.exit(main())
