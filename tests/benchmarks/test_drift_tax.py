"""The judgement of what counting costs a server, and which runs count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import drift_loop, drift_tax
from benchmarks.drift_tax import Ledger, interval, judge
from benchmarks.replayer import Load
from benchmarks.runs import Run, Target
from benchmarks.workloads import Workload

LOAD = Load(connections=1)
WORKLOAD = Workload([], lambda samples: [])


def runs(*pairs: tuple[float, float], faults: tuple[str, ...] = ()) -> dict[str, Any]:
    """Answers per processor second, and p99."""
    return {"runs": [{"per_cpu_s": rate, "p99_us": p99, "faults": list(faults)} for rate, p99 in pairs]}


def measured(**changes: dict[str, Any]) -> dict[str, Any]:
    """16 features pay 1, 2 and 4 %; 256 pay 10."""
    found = {
        "grpc_4x16_16_unwatched": runs((100, 0), (200, 0), (100, 0)),
        "grpc_4x16_16_watched": runs((99, 0), (196, 0), (96, 0)),
        "grpc_1x1_16_unwatched": runs((1, 100), (1, 900), (1, 100)),
        "grpc_1x1_16_watched": runs((1, 160), (1, 910), (1, 90)),
        "grpc_4x16_256_unwatched": runs((100, 0)),
        "grpc_4x16_256_watched": runs((90, 0)),
        "grpc_1x1_256_unwatched": runs((1, 100)),
        "grpc_1x1_256_watched": runs((1, 151)),
    }
    return found | changes


def test_pairs_are_compared_and_the_median_is_the_bar() -> None:
    """Ratios of throughput, differences of p99."""
    bars = {bar["name"]: (bar["value"], bar["holds"]) for bar in judge(measured())}
    assert {
        "throughput_watched_16_features": (0.98, True),
        "p99_us_more_watched_16_features": (10, True),
        "throughput_watched_256_features": (0.9, True),
        "p99_us_more_watched_256_features": (51, False),
    } == bars


@pytest.mark.parametrize("side", ["watched", "unwatched"])
def test_a_run_that_does_not_count_takes_the_value_of_its_bar(side: str) -> None:
    """The other bars keep theirs."""
    name = f"grpc_4x16_16_{side}"
    broken = runs((100, 0), (100, 0), (100, 0), faults=("3 rows were counted for drift, not 4",))
    first, second, *_ = judge(measured(**{name: broken}))
    assert (None, False, [], 10) == (first["value"], first["holds"], first["interval"], second["value"])


def test_nothing_measured_holds_nothing() -> None:
    """Every bar is there, without a value."""
    assert [(None, False)] * 4 == [(bar["value"], bar["holds"]) for bar in judge({})]


def test_the_interval_leaves_out_as_many_ranks_as_chance_allows() -> None:
    """Of twenty the five lowest and the five highest."""
    assert [5, 14] == interval([float(value) for value in range(20)])


@pytest.mark.parametrize(
    ("watched", "said", "fault"),
    [
        (True, [0, 4, 10], ""),
        (True, [0, 4, 4, 10], ""),  # the evaluation came a moment later
        (True, [0, 4, 9], "5 rows were counted for drift, not 6"),
        (False, [0, 0, 0], ""),
        (False, [0, 0, 6], "6 rows were counted for drift, not 0"),
    ],
)
def test_the_server_must_say_that_it_counted_what_it_answered(
    monkeypatch: pytest.MonkeyPatch, watched: bool, said: list[int], fault: str
) -> None:
    """No more and no less, and nothing where it watches nothing."""
    answers, pages = [4, 6], list(said)
    monkeypatch.setattr(drift_tax, "PATIENCE_S", 0.2 if fault else 10.0)
    monkeypatch.setattr(drift_tax, "rows_counted", lambda _port: pages.pop(0) if len(pages) > 1 else pages[0])
    monkeypatch.setattr(drift_tax, "run", lambda *_: Run(rate=1.0, answers=answers.pop(0)))
    ledger = Ledger(Target("", 0, lambda: 0.0, 1, Path()), watched=watched)
    first, second = (ledger.load(WORKLOAD, LOAD) for _ in range(2))
    ledger.settle()
    assert ([], [fault] if fault else []) == (first["faults"], second["faults"])


def test_the_longest_call_of_all_is_judged() -> None:
    """In milliseconds."""
    calls = {"1": {"median": 1.0, "longest": 30.0}, "256": {"median": 20.0, "longest": 1200.0}}
    ((value, holds),) = [(bar["value"], bar["holds"]) for bar in drift_loop.judge(calls)]
    assert (1.2, False) == (value, holds)
