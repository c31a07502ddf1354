"""The metrics page beside prometheus-client's: the same samples in both formats, the same choice of format, at a fraction of the time."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import exposition

from gateway.limits import ObserveLimits
from gateway.observe.arena import Arena
from gateway.observe.page import GAUGES, OPENMETRICS, PLAIN, Family, Page, Values, wants_openmetrics
from gateway.observe.slabs import EDGES, ROWS, SUMS
from gateway.observe.totals import OVERFLOW_SLOT, SERIES_PER_VERSION, UNKNOWN_SLOT, Key, Totals
from tests.gateway.observe.witness import Collector, Samples, heads, read

FORMATS = {False: "text/plain; version=0.0.4", True: "application/openmetrics-text; version=1.0.0"}
BUILD = {"version": "1.2", "python": '3.11 "quoted"'}


def totals_of(limits: ObserveLimits | None = None, *, slots: int = 64) -> tuple[Arena, Totals]:
    arena = Arena.create(workers=2, slots=slots)
    arena.close()
    return arena, Totals(arena, limits or ObserveLimits())


def page_of(totals: Totals, gauges: dict[str, Values] | None = None, *, max_labelled: int = 10_000) -> Page:
    return Page(totals, build=BUILD, gauges=lambda: gauges or {}, max_labelled=max_labelled, now=lambda: 0.0)


def fill(arena: Arena, slot: int, rng: np.random.Generator, *, worker: int = 0) -> None:
    """Counts of all sizes; some bins and outcomes are empty."""
    slab = arena.region(worker).slab(slot)
    slab.requests[...] = rng.integers(0, 1 << 40, slab.requests.shape) * (rng.random(slab.requests.shape) < 0.3)
    slab.counts[...] = rng.integers(0, 1 << 45, slab.counts.shape) >> rng.integers(0, 46, slab.counts.shape)
    slab.counts[ROWS, len(EDGES[ROWS]) + 1 :] = 0
    slab.shadow[...] = rng.integers(0, 1 << 40, slab.shadow.shape) * (rng.random() < 0.5)
    slab.sums[...] = rng.random(len(SUMS)) * 10.0 ** rng.integers(-9, 20, len(SUMS))


def same(totals: Totals, page: Page, gauges: dict[str, Values]) -> Samples:
    """The samples of the page, after they were compared with the witness's in both formats."""
    witness = Collector(totals, build=BUILD, gauges=gauges)
    for openmetrics, accept in FORMATS.items():
        written, expected = page.written(openmetrics=openmetrics), witness.page(accept)[0]
        assert read(expected) == read(written)
        assert heads(expected) == heads(written)
    return read(written)


AWKWARD = ['a"b', "a\\", "\n", "%d", "a%", '\\"', "{}", "é✓", "\r"]
labels = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(AWKWARD)
numbers = st.floats(allow_nan=False) | st.integers(-5, 1 << 50)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(labels, labels), unique=True, max_size=5),
    st.integers(0, 1 << 30),
    st.fixed_dictionaries(
        {},
        optional={
            "tidegate_model_state": st.dictionaries(st.tuples(labels, labels, labels), numbers, min_size=1, max_size=4),
            "tidegate_worker_connections": st.dictionaries(st.tuples(labels), numbers, min_size=1, max_size=4),
            "tidegate_worker_exits_total": st.dictionaries(st.tuples(labels), st.floats(0, 1e300), min_size=1, max_size=4),
            "tidegate_ready": numbers,
        },
    ),
)
def test_every_value_is_what_prometheus_client_writes(keys: list[Key], seed: int, gauges: dict[str, Any]) -> None:
    """For any names, quotes, line breaks and signs of percent among them, and any counts, in both formats."""
    arena, totals = totals_of()
    rng = np.random.default_rng(seed)
    for worker in (0, 1):
        for slot in (UNKNOWN_SLOT, OVERFLOW_SLOT, *[totals.open(key) for key in keys])[rng.integers(0, 3) :]:
            fill(arena, slot, rng, worker=worker)
    same(totals, page_of(totals, gauges), gauges)


def _anything(family: Family) -> Values:
    labels = tuple(f"l{index}" for index, _ in enumerate(family.labels))
    if family.kind == "histogram":
        return {(*labels, bound): count for count, bound in enumerate(("1.0", "60.0", "+Inf", "sum"), 1)}
    return {labels: 2.0} if labels else 3.0


def test_every_place_for_a_gauge_is_on_the_page() -> None:
    """In the order of the table, whatever order they are given in; what is not given is not there."""
    _, totals = totals_of()
    gauges = {name: _anything(family) for name, family in reversed(GAUGES.items())}
    page = page_of(totals, gauges)
    samples = same(totals, page, gauges)
    assert set(GAUGES) <= {name.removesuffix("_bucket") for name, _ in samples}
    lines = [line.split(" ")[2] for line in page.written(openmetrics=False).decode().split("\n") if line.startswith("# TYPE")]
    assert list(GAUGES) == [name for name in lines if name in GAUGES]
    assert not set(GAUGES) & {name for name, _ in read(page_of(totals).written(openmetrics=True))}


def test_a_gauge_without_a_place_is_an_error() -> None:
    """It would have no type and no meaning."""
    _, totals = totals_of()
    with pytest.raises(KeyError, match="tidegate_mood"):
        page_of(totals, {"tidegate_mood": 1.0}).written(openmetrics=False)


def test_half_characters_cannot_break_the_page() -> None:
    """UTF-8 has none: a question mark stands for each."""
    _, totals = totals_of()
    totals.open(("a\ud800b", "1"))
    assert b'{le="+Inf",model="a?b",version="1"} 0\n' in page_of(totals).written(openmetrics=False)


def test_series_of_gauges_past_the_bound_are_left_out_and_counted() -> None:
    """The most that one page left out; the rest of the page is whole."""
    _, totals = totals_of()
    gauges: dict[str, Values] = {"tidegate_model_loaded": {("m", str(number)): 1.0 for number in range(25)}, "tidegate_ready": 1.0}
    page = page_of(totals, gauges, max_labelled=20)
    for _ in range(2):
        samples = read(page.written(openmetrics=True))
        assert 20 == sum(name == "tidegate_model_loaded" for name, _ in samples)
        assert 5 == samples["tidegate_metrics_overflow_total", frozenset([("reason", "gauges")])]
        assert 1 == samples["tidegate_ready", frozenset()]


def test_a_page_has_no_more_series_than_it_may() -> None:
    """With 400 models of a hostile name each, every outcome of each seen, and room for 30: the sum of all counts is on the page."""
    limits = ObserveLimits(max_series=30 * SERIES_PER_VERSION)
    arena, totals = totals_of(limits, slots=200)
    for number in range(400):
        key = (f'm"{number}\n', "1")
        arena.region(number % 2).slab(totals.open(key)).requests += 1
        if number % 2:
            totals.close(key)
    loaded = {(f'm"{number}\n', "1"): 1.0 for number in range(400)}
    gauges: dict[str, Values] = {"tidegate_model_loaded": loaded}
    samples = read(page_of(totals, gauges, max_labelled=30).written(openmetrics=False))
    assert limits.max_series >= sum(name not in ("tidegate_metrics_overflow_total", "tidegate_build_info") for name, _ in samples)
    assert 400 * 30 == sum(value for (name, _), value in samples.items() if name == "tidegate_requests_total")
    over = {dict(key)["reason"]: value for (name, key), value in samples.items() if name == "tidegate_metrics_overflow_total"}
    assert {"slots": 0, "series": 372, "gauges": 370} == over


def test_texts_of_rows_that_are_gone_are_not_kept() -> None:
    """Rows come and go; the page has those that there are, under their own names."""
    arena, totals = totals_of(ObserveLimits(max_series_per_model=2 * SERIES_PER_VERSION))
    page = page_of(totals)
    for version in range(1, 20):
        key = ("m", str(version))
        arena.region(0).slab(totals.open(key)).requests[0, 0] += version
        totals.close(key)
        same(totals, page, {})
    assert 4 == len(page._texts)


ACCEPTS = [
    "", "*/*", "text/html", "text/plain", "text/plain; version=0.0.4", "text/plain;version=1.0.0;escaping=allow-utf-8",
    "application/openmetrics-text", "application/openmetrics-text; version=1.0.0", "application/openmetrics-text;version=0.0.1",
    "application/openmetrics-text;version=0.0.1,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1",
    "application/openmetrics-text; version=2.0.0", "application/openmetrics-text;version=1", "application/openmetrics-text;version=1.0",
    "text/plain;version=1.0.0,application/openmetrics-text;version=1.0.0", "text/plain;version=0.0.4,application/openmetrics-text",
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    "application/openmetrics-text ; version=1.0.0", " application/openmetrics-text", "application/openmetrics-textual",
]  # fmt: skip


@pytest.mark.parametrize("accept", ACCEPTS)
def test_the_format_is_chosen_as_prometheus_client_chooses(accept: str) -> None:
    """Also for what Prometheus 2 and 3 send; the content type says which one came."""
    content_type = exposition.choose_encoder(accept)[1]
    assert content_type.startswith("application/openmetrics-text") == wants_openmetrics(accept)
    _, totals = totals_of()
    page, said = page_of(totals).page(accept)
    assert (page.endswith(b"# EOF\n"), said) == ((True, OPENMETRICS) if wants_openmetrics(accept) else (False, PLAIN))


@settings(max_examples=300)
@given(st.text() | st.text(st.sampled_from("application/openmetrics-text;version=1.0.0,٣ "), max_size=80))
def test_any_accept_header_gets_a_page(accept: str) -> None:
    """Nothing in it is an error."""
    assert wants_openmetrics(accept) in (True, False)


def test_who_only_reads_counters_needs_neither_kernels_nor_a_runtime() -> None:
    """The supervisor starts at once and stays small."""
    heavy = {"numba", "onnxruntime", "grpc", "prometheus_client", "obstore"}
    program = f"import sys, gateway.observe.page, gateway.observe.saved; print(sorted({heavy} & set(sys.modules)))"
    assert b"[]\n" == subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout


def test_a_page_of_a_thousand_models_is_written_many_times_faster() -> None:
    """78,000 lines, two workers; at least six times faster than prometheus-client beside it, every value the same."""
    arena, totals = totals_of(slots=1_002)
    rng = np.random.default_rng(3)
    for number in range(1_000):
        slot = totals.open((f"model-{number:04d}", "3"))
        for worker in (0, 1):
            fill(arena, slot, rng, worker=worker)
            arena.region(worker).slab(slot).requests[:, 2:] = 0
    page, witness = page_of(totals), Collector(totals, build=BUILD, gauges={})
    written = page.written(openmetrics=False)
    assert 50_000 < written.count(b"\n")
    ours, theirs = min(_took(lambda: page.written(openmetrics=False)) for _ in range(3)), _took(lambda: witness.page(""))
    assert ours * 6 < theirs
    assert _plainly_read(witness.page("")[0]) == _plainly_read(written)


def _plainly_read(page: bytes) -> dict[tuple[str, frozenset[str]], float]:
    """Samples whose label values hold nothing special; the library's parser takes seconds for a page like this."""
    lines = (line.rpartition(" ") for line in page.decode().split("\n") if line and line[0] != "#" and "build_info" not in line)
    parts = ((name.partition("{"), value) for name, _, value in lines)
    return {(name, frozenset(rest.rstrip("}").split(","))): float(value) for (name, _, rest), value in parts}


def _took(deed: Any) -> float:
    started = time.process_time()
    deed()
    return time.process_time() - started
