"""The judgement of what logging costs a server, and which runs count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import capture
from benchmarks.capture import Logged, judge
from benchmarks.replayer import Load
from benchmarks.runs import Run, Target
from benchmarks.workloads import Workload

WORKLOAD = Workload([], lambda samples: [])


def runs(*pairs: tuple[float, float], faults: tuple[str, ...] = ()) -> dict[str, Any]:
    """Answers per processor second, and p99."""
    return {"runs": [{"per_cpu_s": rate, "p99_us": p99, "faults": list(faults)} for rate, p99 in pairs]}


def measured(**changes: dict[str, Any]) -> dict[str, Any]:
    """Everything pays 14, 12 and 30 %, a tenth 2, 1 and 4; a stalled target adds 10 µs."""
    found = {
        "4x16_plain": runs((100, 0), (200, 0), (100, 0)),
        "4x16_all": runs((86, 0), (176, 0), (70, 0)),
        "4x16_tenth": runs((98, 0), (198, 0), (96, 0)),
        "1x1_all": runs((1, 100), (1, 100), (1, 100)),
        "1x1_stalled": runs((1, 90), (1, 110), (1, 500)),
    }
    return found | changes


def test_pairs_are_compared_and_the_median_is_the_bar() -> None:
    """Ratios of throughput, a difference of p99."""
    bars = {bar["name"]: (bar["value"], bar["holds"]) for bar in judge(measured())}
    assert {
        "throughput_logged_all": (0.86, True),
        "throughput_logged_tenth": (0.98, True),
        "p99_us_more_with_a_stalled_target": (10, True),
    } == bars


def test_a_run_that_does_not_count_takes_the_value_of_its_bar() -> None:
    """The other bars keep theirs."""
    broken = runs((86, 0), (176, 0), (70, 0), faults=("3 rows were logged of 4 answers",))
    first, second, _ = judge(measured(**{"4x16_all": broken}))
    assert (None, False, 0.98) == (first["value"], first["holds"], second["value"])


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        ((100.0, 0.0, 0.0), None),
        ((99.0, 0.0, 0.0), "99 rows were logged of 100 answers"),
        ((100.0, 1.0, 0.0), "1 rows were dropped"),
        ((100.0, 0.0, 2.0), "segments were not sealed in time"),
    ],
)
def test_a_run_counts_only_with_all_of_its_rows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, page: tuple[float, float, float], fault: str | None
) -> None:
    """As the server says: logged, not dropped, and sealed."""
    figures = dict(zip((capture._COUNTED, capture._DROPPED, capture._UNSEALED), page, strict=True))
    monkeypatch.setattr(capture, "_figures", lambda port, pattern: [figures[pattern]])
    monkeypatch.setattr(capture, "run", lambda *arguments: Run(rate=1.0, answers=100))
    monkeypatch.setattr(capture, "PATIENCE_S", 0.0)
    monkeypatch.setattr(capture, "SEAL_S", -1.5)
    used = iter((1.0, 2.0))
    logged = Logged(Target("127.0.0.1", 1, lambda: next(used)), 1.0, tmp_path)
    found = logged.load(WORKLOAD, Load(connections=1))
    assert 100 == found["per_cpu_s"]
    assert found["faults"] == [] if fault is None else fault in found["faults"][0]
