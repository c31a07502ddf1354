"""Triton's names on the metrics page: what they count, beside the statistics of the protocol and prometheus-client's readers."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from gateway.control.counting import series_of
from gateway.errors import Code
from gateway.limits import ObserveLimits
from gateway.observe.arena import Arena
from gateway.observe.page import Page
from gateway.observe.slabs import ASSEMBLING, COMPUTE, GRPC, HTTP, QUEUE, REQUEST, ROWS, SUMS
from gateway.observe.statistics import stats_of
from gateway.observe.totals import OVERFLOW, OVERFLOW_SLOT, SERIES_PER_VERSION, UNKNOWN_SLOT, Totals
from gateway.observe.triton_names import FAILURES, SERIES
from tests.gateway.observe.test_page import fill, labels, totals_of
from tests.gateway.observe.witness import read

ROOT = Path(__file__).resolve().parents[3]
DURATIONS = {
    "request": "success", "queue": "queue", "compute_input": "compute_input", "compute_infer": "compute_infer",
    "compute_output": "compute_output",
}  # fmt: skip
COUNTS = ("nv_inference_request_success", "nv_inference_request_failure", "nv_inference_count", "nv_inference_exec_count")
NAMES = {*COUNTS, *[f"nv_inference_{name}_duration_us" for name in DURATIONS]}


def page_of(totals: Totals, *, on: bool = True) -> Page:
    return Page(totals, build={"version": "1"}, gauges=dict, max_labelled=10, now=lambda: 0.0, triton_names=on)


def written(page: Page, *, om: bool = False) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    """Triton's samples by name and labels."""
    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for (name, key), value in read(page.written(openmetrics=om)).items():
        if name.startswith("nv_"):
            found.setdefault(name, {})[key] = value
    return found


def of(model: str, version: str = "1", **more: str) -> frozenset[tuple[str, str]]:
    return frozenset({"model": model, "version": version, **more}.items())


def counted() -> tuple[Arena, Totals]:
    """One version: 7 good requests over both transports, one or more of each failure, in 3 runs of 12 rows."""
    arena, totals = totals_of()
    slab = arena.region(0).slab(totals.open(("m", "1")))
    slab.requests[GRPC, Code.OK], slab.requests[HTTP, Code.OK] = 5, 2
    for number, code in enumerate((Code.OVERLOADED, Code.DEADLINE_EXCEEDED, Code.CANCELLED, Code.INTERNAL, Code.INVALID_ARGUMENT), 1):
        slab.requests[HTTP, code] = number
    slab.counts[REQUEST, 3], slab.counts[COMPUTE, 2] = 8, 3
    slab.sums[:] = [10.0, 1.5, 2.0, 12.0, 0.5, 0.25, 1e9]
    return arena, totals


def test_counters_have_tritons_names_labels_and_units() -> None:
    """In both formats; each failure under its reason, zeros too; times in microseconds."""
    _, totals = counted()
    for om in (False, True):
        found = written(page_of(totals), om=om)
        suffix = "" if om else "_total"  # as prometheus-client reads a plain counter
        assert {f"{name}{suffix}" for name in NAMES} == set(found) or set(found) == NAMES
        value = {name.removesuffix("_total"): values for name, values in found.items()}
        assert (7, 12, 3) == tuple(value[f"nv_inference_{name}"][of("m")] for name in ("request_success", "count", "exec_count"))
        expected = {"REJECTED": 3, "CANCELED": 3, "BACKEND": 4, "OTHER": 5}
        assert {of("m", reason=reason): count for reason, count in expected.items()} == value["nv_inference_request_failure"]
        times = {name: value[f"nv_inference_{name}_duration_us"][of("m")] for name in DURATIONS}
        assert {
            "request": 10_250_000,
            "queue": 1_500_000,
            "compute_input": 500_000,
            "compute_infer": 8_000_000,
            "compute_output": 250_000,
        } == times


def test_lines_stand_as_triton_writes_them() -> None:
    """Labels in its order, whole numbers, one head before all samples of a family."""
    _, totals = counted()
    lines = page_of(totals).written(openmetrics=False).decode().split("\n")
    assert 'nv_inference_request_success{model="m",version="1"} 7' in lines
    at = lines.index("# TYPE nv_inference_request_failure counter")
    assert [f'nv_inference_request_failure{{model="m",version="1",reason="{reason}"}}' for reason in FAILURES] == [
        line.partition(" ")[0] for line in lines[at + 1 : at + 5]
    ]
    om = page_of(totals).written(openmetrics=True).decode()
    assert "# TYPE nv_inference_count unknown\n" in om
    assert om.endswith("# EOF\n")


@settings(max_examples=40)
@given(st.lists(st.tuples(labels, labels), unique=True, max_size=4), st.integers(0, 1 << 30))
def test_both_readers_and_the_statistics_agree_whatever_the_names(keys: list[tuple[str, str]], seed: int) -> None:
    """Each page parses in its format; counts and times are those that the protocol's statistics tell, of all that ran."""
    arena, totals = totals_of()
    rng = np.random.default_rng(seed)
    for key in keys:
        fill(arena, totals.open(key), rng)
        slab = arena.region(0).slab(totals.open(key))
        slab.sums[:] = np.sort(rng.random(len(slab.sums)) * 1e3)[::-1]
        slab.sums[REQUEST] += slab.sums[QUEUE] + slab.sums[ASSEMBLING]
    fill(arena, UNKNOWN_SLOT, rng)
    page = page_of(totals)
    families = {family.name: family for family in plain(page.written(openmetrics=False).decode())}
    other = {family.name: family for family in openmetrics.text_string_to_metric_families(page.written(openmetrics=True).decode())}
    assert {name for name in families if name.startswith("nv_")} == {name for name in other if name.startswith("nv_")} == NAMES
    value = {
        (sample.name.removesuffix("_total"), frozenset(sample.labels.items())): sample.value
        for name in NAMES
        for sample in families[name].samples
    }
    assert value == {(sample.name, frozenset(sample.labels.items())): sample.value for name in NAMES for sample in other[name].samples}
    assert len(value) == SERIES * len(keys)
    for key, slab in totals.snapshot().items():
        if key not in keys:
            continue
        stats, row = stats_of(*key, slab), of(*key)
        assert stats.inference_stats.success.count == value["nv_inference_request_success", row]
        assert stats.inference_stats.fail.count == sum(
            value["nv_inference_request_failure", row | {("reason", reason)}] for reason in FAILURES
        )
        assert (int(slab.sums[ROWS]), stats.execution_count) == (value["nv_inference_count", row], value["nv_inference_exec_count", row])
        for name in ("queue", "compute_input", "compute_infer", "compute_output"):
            assert abs(getattr(stats.inference_stats, name).ns / 1e3 - value[f"nv_inference_{name}_duration_us", row]) <= 1.001
        both = stats.inference_stats.success.ns + stats.inference_stats.fail.ns
        assert abs(both / 1e3 - value["nv_inference_request_duration_us", row]) <= 1.001


def test_no_counter_falls_for_a_reader_who_meets_a_writer() -> None:
    """The time of a request is there before its share in the queue is: what was taken for a run is not taken back, it is caught up with."""
    arena, totals = counted()
    page, slab = page_of(totals), arena.region(0).slab(totals.open(("m", "1")))
    name = "nv_inference_compute_infer_duration_us_total"

    def ran() -> float:
        return written(page)[name][of("m")]

    before = ran()
    slab.sums[REQUEST] += 3.0
    torn = ran()
    slab.sums[QUEUE] += 2.0
    assert (before + 3e6, before + 3e6) == (torn, ran())
    slab.sums[REQUEST] += 4.0
    assert before + 5e6 == ran()


def test_without_the_switch_there_are_none_and_rows_without_a_model_never() -> None:
    """Triton has no such model; what versions without a row of their own did is in the row of the overflow."""
    arena, totals = counted()
    assert {} == written(page_of(totals, on=False))
    arena.region(0).slab(UNKNOWN_SLOT).requests[0, Code.NOT_FOUND] += 9
    success = "nv_inference_request_success_total"
    assert {of("m")} == set(written(page_of(totals))[success])
    arena.region(0).slab(OVERFLOW_SLOT).requests[0, Code.OK] += 9
    assert {of("m"): 7, of(*OVERFLOW): 9} == written(page_of(totals))[success]


def test_the_bound_of_series_counts_them() -> None:
    """Of one version so many more; the limit says so."""
    assert (SERIES_PER_VERSION, SERIES_PER_VERSION + SERIES) == (series_of(triton_names=False), series_of(triton_names=True))
    text = (ROOT / "gateway" / "limits.py").read_text()
    assert f"a version has up to {SERIES_PER_VERSION}, {SERIES_PER_VERSION + SERIES} with metrics.triton_names" in text
    limits = ObserveLimits(max_series=5 * (SERIES_PER_VERSION + SERIES))
    arena = Arena.create(workers=1, slots=64)
    arena.close()
    totals = Totals(arena, limits, series=series_of(triton_names=True))
    for number in range(20):
        totals.open((f"m{number}", "1"))
    page = page_of(totals).written(openmetrics=False)
    assert limits.max_series >= sum(line.startswith((b"nv_", b"tidegate_")) for line in page.split(b"\n")) - 8


def test_the_documents_name_what_there_is_and_nothing_else() -> None:
    """The table of docs/compatibility.md."""
    rows = re.findall(r"^\| `(nv_\w+)[^|]*\| (yes|no)\b", (ROOT / "docs" / "compatibility.md").read_text(), re.MULTILINE)
    assert {name for name, there in rows if there == "yes"} == NAMES
    assert not {name for name, there in rows if there == "no"} & NAMES


@pytest.mark.parametrize("accept", [False, True])
def test_a_page_of_a_thousand_models_costs_little_more(accept: bool) -> None:
    """12,000 more lines for less than what the other 78,000 cost."""
    arena, totals = totals_of(slots=1_002)
    rng = np.random.default_rng(3)
    for number in range(1_000):
        slot = totals.open((f"model-{number:04d}", "3"))
        fill(arena, slot, rng)
        arena.region(0).slab(slot).sums[:] = rng.random(len(SUMS)) * 1e6

    def took(page: Page) -> float:
        page.written(openmetrics=accept)
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            page.written(openmetrics=accept)
            best = min(best, time.process_time() - started)
        return best

    assert took(page_of(totals)) < 2 * took(page_of(totals, on=False))
    assert 12_000 == page_of(totals).written(openmetrics=accept).count(b"\nnv_")
