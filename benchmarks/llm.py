"""What the caller costs and how it copes: every figure beside its bar, as ratios of one run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import openai
import trio

from rlmd import observe
from rlmd.llm.caller import llm_caller, mailbox_limit
from rlmd.llm.limits import Limits
from rlmd.llm.meter import Meter
from rlmd.llm.providers import OTHER, Endpoint
from rlmd.llm.scripted import Scripted, Step
from rlmd.llm.values import Ask, Chat, Message, RateInfo, Reply, Upstream, UpstreamError
from rlmd.llm.wire import Wire
from rlmd.supervision import Mailbox, open_supervisor

CALLS = 1_000
LIMIT = 100
DELAY_S = 0.1
IDEAL_S = CALLS / LIMIT * DELAY_S
CAPACITY = 50
STORM_S = 3.0
ROUNDS = 5

Make = Callable[[], Upstream]


def main() -> None:
    """Measure everything; some 40 seconds."""
    observe.configure("error")
    with model_server() as address:
        for measure in (throughput, overhead, sharing, recovery, heartbeat):
            trio.run(measure, address)


def report(what: str, figure: str, bar: str, *, holds: bool) -> None:
    print(f"  {what:58} {figure:>16}   bar {bar:12} {'holds' if holds else 'MISSED'}")


async def throughput(address: str) -> None:
    """Let a limit of 100 carry 1,000 calls of 100 ms, from cold and once the limit has been found."""
    print(f"\n{CALLS} calls of {DELAY_S * 1000:.0f} ms at a limit of {LIMIT}; ideal {IDEAL_S:.2f} s")
    makes: dict[str, Make] = {
        "scripted": lambda: Scripted(otherwise=Step(reply="hi", after_s=DELAY_S)),
        "wire": partial(wire, address),
    }
    for name, make in makes.items():
        for start, label in ((LIMIT, "limit known"), (Limits().start, "cold limit")):
            ratios = []
            for number in range(ROUNDS):
                async with caller(make, start=start) as box:
                    if start == LIMIT:
                        await burst(box, LIMIT, f"warm {number}")
                    ratios.append(await timed(burst, box, CALLS, f"run {number}") / IDEAL_S)
            figure(f"{name}, {label}", ratios, bar=1.15)
    sdk = bare(address)
    ratios = [await timed(bare_burst, sdk, CALLS) / IDEAL_S for _ in range(ROUNDS)]
    await sdk.close()
    print(
        f"  {'the bare SDK under a CapacityLimiter, for comparison':58} {statistics.median(ratios):14.2f} x"
    )


def figure(what: str, ratios: list[float], *, bar: float) -> None:
    median = statistics.median(ratios)
    spread = f"{median:.2f} x ({min(ratios):.2f}-{max(ratios):.2f})"
    report(what, spread, f"<= {bar}", holds=median <= bar)


async def overhead(address: str) -> None:
    """Ask one call after the other of an endpoint that answers at once, bare and through the caller."""
    print("\nOverhead per call, one after the other, endpoint answers at once")
    sdk, plain = bare(address), wire(address)
    through: list[float] = []
    raw: list[float] = []
    beneath: list[float] = []
    async with caller(partial(wire, address)) as box:
        for number in range(ROUNDS + 1):
            raw.append(await timed(one_by_one, lambda text: bare_call(sdk, "m", text)))
            beneath.append(await timed(one_by_one, lambda text: plain.complete(chat(text, "m"))))
            asking = partial(ask_fresh, box, f"round {number}")
            through.append(await timed(one_by_one, asking))
    await sdk.close()
    await plain.aclose()
    ratios = [ours / theirs for ours, theirs in zip(through[1:], raw[1:], strict=True)]
    print(f"  {'bare SDK':58} {per_call(raw):13.0f} us")
    print(f"  {'the wire alone':58} {per_call(beneath):13.0f} us")
    print(f"  {'caller over the wire':58} {per_call(through):13.0f} us")
    figure("caller over the wire / bare SDK", ratios, bar=1.3)
    async with caller(lambda: Scripted(otherwise="hi")) as box:
        spent = [
            await timed(one_by_one, partial(ask_fresh, box, f"{number}")) for number in range(ROUNDS + 1)
        ]
    print(f"  {'caller over a script: what it adds itself':58} {per_call(spent):13.0f} us")


def per_call(seconds: list[float]) -> float:
    return statistics.median(seconds[1:]) / 300 * 1e6


async def sharing(_: str) -> None:
    """Ask the same thing fifty times at once."""
    model = Scripted(otherwise=Step(reply="hi", after_s=DELAY_S))
    async with caller(lambda: model) as box, trio.open_nursery() as nursery:
        for _number in range(50):
            nursery.start_soon(box.ask, request("the same"))
    print("\nSharing")
    report("calls made for 50 identical ones", str(len(model.asked)), "1", holds=len(model.asked) == 1)


async def recovery(_: str) -> None:
    """Refuse everything for a while, then bear CAPACITY calls at once again."""
    print(f"\nAfter a storm of 429 of {STORM_S:g} s; the server bears {CAPACITY} calls at once")
    for retry_after_s in (None, 1.0):
        server = Crowded(retry_after_s)
        async with caller(lambda server=server: server) as box, trio.open_nursery() as nursery:
            for number in range(4 * CAPACITY):
                nursery.start_soon(keep_asking, box, number)
            await trio.sleep(3)
            server.storm_until = trio.current_time() + STORM_S
            await trio.sleep(STORM_S)
            calm_at = trio.current_time()
            await trio.sleep(13)
            nursery.cancel_scope.cancel()
        rates = [server.answered_between(calm_at + second, calm_at + second + 1) for second in range(13)]
        real = CAPACITY / DELAY_S
        back_s = next((second for second, rate in enumerate(rates) if rate >= 0.8 * real), None)
        name = "without Retry-After" if retry_after_s is None else f"with Retry-After {retry_after_s:g}"
        report(
            f"{name}: back at 80 % after", f"{back_s} s", "<= 10 s", holds=back_s is not None and back_s <= 10
        )
        late = statistics.mean(rates[3:]) / real
        report(f"{name}: share of capacity in seconds 3 to 13", f"{late:.0%}", ">= 80 %", holds=late >= 0.8)


async def heartbeat(address: str) -> None:
    """Beat every millisecond while 1,000 calls run."""
    print(f"\nLoop heartbeat of 1 ms during {CALLS} calls of {DELAY_S * 1000:.0f} ms")
    makes: dict[str, Make] = {
        "scripted": lambda: Scripted(otherwise=Step(reply="hi", after_s=DELAY_S)),
        "wire": partial(wire, address),
    }
    for name, make in makes.items():
        lags: list[float] = []
        async with caller(make) as box, trio.open_nursery() as nursery:
            nursery.start_soon(beat, lags)
            await burst(box, CALLS, name)
            nursery.cancel_scope.cancel()
        p99 = statistics.quantiles(lags, n=100)[98] * 1000
        report(f"{name}: lag p99 (max {max(lags) * 1000:.1f} ms)", f"{p99:.1f} ms", "< 10 ms", holds=p99 < 10)


async def beat(lags: list[float]) -> None:
    while True:
        due = time.perf_counter() + 0.001
        await trio.sleep(0.001)
        lags.append(max(0.0, time.perf_counter() - due))


class Crowded(Scripted):
    """Bears CAPACITY calls at once and refuses the others; in a storm it refuses them all."""

    def __init__(self, retry_after_s: float | None) -> None:
        super().__init__(otherwise=Step(reply="hi", after_s=DELAY_S))
        self.retry_after_s = retry_after_s
        self.storm_until = 0.0
        self.answered: list[float] = []

    async def complete(self, chat: Chat) -> tuple[Reply, RateInfo]:
        if trio.current_time() < self.storm_until or self.in_flight >= CAPACITY:
            await trio.sleep(0.005)
            raise UpstreamError("rate_limited", "slow down", status=429, retry_after_s=self.retry_after_s)
        reply = await super().complete(chat)
        self.answered.append(trio.current_time())
        return reply

    def answered_between(self, begin: float, end: float) -> int:
        return sum(begin <= each < end for each in self.answered)


async def keep_asking(box: Mailbox[Ask, Reply], number: int) -> None:
    """Ask for ever; one that fails is asked again a little later, as an engine would."""
    turn = 0
    while True:
        turn += 1
        try:
            await box.ask(request(f"{number} {turn}", job=str(number % 8)))
        except UpstreamError:
            await trio.sleep(0.5)


@asynccontextmanager
async def caller(make: Make, *, start: int | None = None) -> AsyncIterator[Mailbox[Ask, Reply]]:
    """Open a caller with its cache on disk, as the daemon has it."""
    limits = Limits(concurrency=LIMIT, start=start or Limits().start)
    with tempfile.TemporaryDirectory() as place:
        actor = partial(llm_caller, make, limits, Meter(), cache_path=str(Path(place) / "cache.db"))
        async with open_supervisor(grace=5) as supervisor:
            yield await supervisor.start_concurrent("llm_caller", actor, limit=mailbox_limit(limits))


def chat(text: str, model: str) -> Chat:
    return Chat(messages=(Message("user", text),), model=model)


def request(text: str, *, job: str = "j", model: str = f"slow-{DELAY_S}") -> Ask:
    return Ask(chat=chat(text, model), job=job, interactive=False, project="p")


async def ask_fresh(box: Mailbox[Ask, Reply], label: str, text: str) -> None:
    await box.ask(request(f"{label} {text}", model="m"))


async def burst(box: Mailbox[Ask, Reply], calls: int, label: str) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(calls):
            nursery.start_soon(box.ask, request(f"{label} {number}"))


async def one_by_one(call: Callable[[str], Awaitable[object]]) -> None:
    for number in range(300):
        await call(str(number))


async def timed(work: Callable[..., Awaitable[object]], *arguments: object) -> float:
    began = time.perf_counter()
    await work(*arguments)
    return time.perf_counter() - began


def wire(address: str) -> Wire:
    return Wire(Endpoint(provider=OTHER, base_url=address, key="k" * 20, key_origin="benchmark", model="m"))


def bare(address: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=address, api_key="k" * 20, max_retries=0)


async def bare_call(sdk: openai.AsyncOpenAI, model: str, text: str) -> None:
    await sdk.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])


async def bare_burst(sdk: openai.AsyncOpenAI, calls: int) -> None:
    slots = trio.CapacityLimiter(LIMIT)

    async def call(number: int) -> None:
        async with slots:
            await bare_call(sdk, f"slow-{DELAY_S}", str(number))

    async with trio.open_nursery() as nursery:
        for number in range(calls):
            nursery.start_soon(call, number)


@contextmanager
def model_server() -> Iterator[str]:
    """Run the loopback model beside us; yield its address."""
    command = [sys.executable, "-m", "benchmarks.model_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
