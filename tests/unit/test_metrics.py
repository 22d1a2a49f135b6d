"""The text that Prometheus reads: well formed, complete, and silent about what nobody knows."""

import re

from rlmd.metrics import exposition
from rlmd.observe import Timing
from rlmd.status import ActorFacts, DoorFacts, LlmFacts, MemoryFacts, ProcessFacts, Status

SAMPLE = re.compile(r'[a-z_]+(\{[a-z_]+="(?:[^"\\\n]|\\.)*"(,[a-z_]+="(?:[^"\\\n]|\\.)*")*\})? -?[\d.e+-]+')


def status(**others):
    return Status(
        version="0.1.0",
        pid=1,
        uptime_s=2.5,
        state="degraded",
        actors=(ActorFacts("walker", 2, 1, 3, 4, None),),
        memory=MemoryFacts(5, 4096, 0, "ok"),
        process=ProcessFacts(50 << 20, 1 << 30, "MemTotal", 9, 3),
        doors=DoorFacts(refused={"slow": 2}),
        **others,
    )


def exposed(usd_by_project=None, **others):
    timings = {"rlm_grep": Timing(10, 3.5, 0.25, 0.5, 1.0)}
    text = exposition(status(**others), tools=timings, stages={}, usd_by_project=usd_by_project or {})
    return text.splitlines()


def test_every_line_is_a_sample_or_tells_of_one():
    lines = exposed({'/a "b"\\c\n': 0.25})

    assert [line for line in lines if not (line.startswith("# ") or SAMPLE.fullmatch(line))] == []
    names = [re.match(r"[a-z_]+", line)[0] for line in lines if not line.startswith("#")]
    told = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {re.sub("_(sum|count)$", "", name) for name in names} - told == set()


def test_percentiles_sums_and_counts_of_each_tool():
    lines = exposed()

    assert 'rlmd_tool_duration_seconds{tool="rlm_grep",quantile="0.95"} 0.5' in lines
    assert 'rlmd_tool_duration_seconds_sum{tool="rlm_grep"} 3.5' in lines
    assert 'rlmd_tool_duration_seconds_count{tool="rlm_grep"} 10' in lines


def test_actors_doors_and_the_state_that_holds():
    lines = exposed()

    assert 'rlmd_actor_waiting{actor="walker"} 3' in lines
    assert 'rlmd_actor_restarts_total{actor="walker"} 4' in lines
    assert 'rlmd_refused_total{reason="slow"} 2' in lines
    assert 'rlmd_state{state="degraded"} 1' in lines
    assert 'rlmd_state{state="ready"} 0' in lines


def test_money_that_nobody_knows_is_not_told():
    known = exposed({"/p": 0.5}, llm=LlmFacts(usd=0.5))
    unknown = exposed({"/p": None}, llm=LlmFacts(usd=None))

    assert "rlmd_llm_cost_usd_total 0.5" in known
    assert 'rlmd_project_cost_usd_total{project="/p"} 0.5' in known
    assert [line for line in unknown if "cost" in line] == []
