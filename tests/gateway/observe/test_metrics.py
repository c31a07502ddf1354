"""The metrics page as a scraper reads it: every request counted once, under labels that come from the loaded table only."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from gateway.errors import Code
from gateway.limits import ObserveLimits
from gateway.observe.metrics import outcomes
from gateway.observe.page import Page
from gateway.observe.slabs import DURATION_EDGES_S, GRPC, HTTP, LAST, PROTOCOLS, ROWS_EDGES, Slab
from gateway.observe.totals import Totals
from gateway.serving.batch import Batch, Item
from gateway.serving.model import RunFault
from tests import naive
from tests.gateway.observe.counted import WALL_S, alone

LABELS = ("model", "version", "arm", "protocol", "code", "le")
Samples = dict[tuple[str, ...], float]


class FakeVersion:
    """A loaded version's name and number."""

    def __init__(self, name: str = "m", number: int = 3) -> None:
        self.name, self.number = name, number


def item(protocol: int = GRPC, *, rows: int = 1, arrival: float = 10.0, cancelled: bool = False, done: bool = False) -> Item:
    made = Item()
    made.sink = SimpleNamespace(protocol=protocol)  # type: ignore[assignment]
    made.caller = SimpleNamespace(cancelled=cancelled)
    made.rows, made.size, made.arrival, made.done, made.id = rows, 8 * rows, arrival, done, b"secret-id"
    return made


def batch(version: Any, *items: Item, failed: tuple[Item, ...] = (), started: float = 10.5, ended: float = 11.0) -> Batch:
    made = Batch(version, ((),), list(items), sum(item.rows for item in items), 64)
    made.started, made.ended = started, ended
    made.failed = [(item, RunFault(Code.INVALID_ARGUMENT, "no")) for item in failed]
    return made


def page_of(totals: Totals, *loaded: tuple[str, str], **gauges: float) -> Page:
    given = {"tidegate_model_loaded": dict.fromkeys(loaded, 1.0), **gauges}
    return Page(totals, build={"version": "1.2"}, gauges=lambda: given, max_labelled=10, now=itertools.count().__next__)


def scraped(totals: Totals, **gauges: float) -> Samples:
    """Every sample by its name and label values, but for those of the overflow."""
    page, _ = page_of(totals, ("m", "3"), **gauges).page("")
    return {
        (sample.name, *[sample.labels[label] for label in LABELS if label in sample.labels]): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
        if family.name != "tidegate_metrics_overflow"
    }


def test_a_batch_is_counted_by_protocol_and_outcome() -> None:
    """Each request once: answered, failed, too late, gone."""
    (metrics, totals), bad = alone(ObserveLimits()), item(HTTP)
    metrics.batch_done(batch(FakeVersion(), item(), item(HTTP), bad, item(done=True), item(HTTP, cancelled=True), failed=(bad,)))
    counted = {key[1:]: value for key, value in scraped(totals).items() if key[0] == "tidegate_requests_total"}
    assert {
        ("m", "3", "stable", "grpc", "OK"): 1, ("m", "3", "stable", "http", "OK"): 1, ("m", "3", "stable", "http", "INVALID_ARGUMENT"): 1,
        ("m", "3", "stable", "grpc", "DEADLINE_EXCEEDED"): 1, ("m", "3", "stable", "http", "CANCELLED"): 1,
    } == counted  # fmt: skip


@pytest.mark.parametrize("alike", [True, False])
def test_a_batch_in_which_all_went_well_is_counted_by_protocol(alike: bool) -> None:
    """With one sink, and with several."""
    metrics, totals = alone(ObserveLimits())
    made = batch(FakeVersion(), *[item(HTTP) for _ in range(3)], *([] if alike else [item()] * 2))
    made.alike = made.items[0].sink if alike else None
    metrics.batch_done(made)
    page = scraped(totals)
    assert 3 == page["tidegate_requests_total", "m", "3", "stable", "http", "OK"]
    assert (None if alike else 2) == page.get(("tidegate_requests_total", "m", "3", "stable", "grpc", "OK"))


times = st.floats(0.0, 30.0, allow_subnormal=False)  # the runtime may have told this thread to take them for zero
batches = st.lists(st.tuples(st.lists(st.tuples(times, st.integers(1, 2_000)), min_size=1, max_size=6), times, times), max_size=8)


@settings(max_examples=150)
@given(batches)
def test_histograms_hold_every_duration_once(drawn: list[tuple[list[tuple[float, int]], float, float]]) -> None:
    """Counts, sums and buckets as the slow way finds them; buckets never fall, the last one is the count."""
    (metrics, totals), version = alone(ObserveLimits()), FakeVersion()
    expected = [np.zeros(len(DURATION_EDGES_S) + 1) for _ in range(4)]
    sums = np.zeros(4)
    for requests, waited, took in drawn:
        started = 100.0 + waited
        made = batch(version, *[item(rows=rows, arrival=100.0 - early) for early, rows in requests], started=started, ended=started + took)
        metrics.batch_done(made)
        arrivals = [one.arrival for one in made.items]
        counts, took_s = naive.durations(arrivals, made.started, made.ended, made.rows, DURATION_EDGES_S, ROWS_EDGES)
        expected = [old + np.array(new) for old, new in zip(expected, counts, strict=True)]
        sums += took_s
    page = scraped(totals)
    if not drawn:
        assert not [key for key in page if key[0].endswith("_bucket")]
        return
    names = [f"tidegate_{name}_duration_seconds" for name in ("request", "queue", "compute")] + ["tidegate_batch_rows"]
    for name, counts, total, edges in zip(names, expected, sums, (*[DURATION_EDGES_S] * 3, ROWS_EDGES), strict=True):
        buckets = [page[f"{name}_bucket", "m", "3", "+Inf" if math.isinf(edge) else repr(float(edge))] for edge in (*edges, math.inf)]
        assert np.cumsum(counts)[: len(edges) + 1].tolist() == buckets
        assert counts.sum() == page[f"{name}_count", "m", "3"] == buckets[-1]
        assert total == pytest.approx(page[f"{name}_sum", "m", "3"])


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["batch", "dropped", "refused", "unknown", "reload"]), st.integers(0, 2), st.sampled_from([GRPC, HTTP]),
        st.sampled_from([code for code in Code if code is not Code.OK]), st.integers(1, 5),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=150)
@given(STEPS)
def test_totals_are_conserved_whatever_happens(steps: list[tuple[str, int, int, Code, int]]) -> None:
    """Batches, drops, refusals and versions that are unloaded and loaded again: nothing is lost, nothing falls, nothing counts twice."""
    (metrics, totals), versions, expected, before = alone(ObserveLimits()), [FakeVersion("a", n) for n in range(3)], 0, 0.0
    for deed, index, protocol, code, count in steps:
        version: Any = versions[index]
        if deed == "batch":
            metrics.batch_done(batch(version, *[item(protocol) for _ in range(count)]))
        elif deed == "dropped":
            metrics.dropped(version, item(protocol), code)
        elif deed == "refused":
            metrics.refused(version, protocol, code)
        elif deed == "unknown":
            metrics.refused(None, protocol, code)
        else:
            metrics.forget(version)
            versions[index] = FakeVersion("a", index)
        expected += {"batch": count, "reload": 0}.get(deed, 1)
        total = float(sum(slab.requests.sum() for _, slab in totals.snapshot().items()))
        assert before <= total == expected
        before = total
    page = scraped(totals)
    assert expected == sum(value for key, value in page.items() if key[0] == "tidegate_requests_total")


def test_no_label_comes_from_a_request() -> None:
    """What names no loaded model is `_unknown`, however many names are tried; values are those of closed lists."""
    metrics, totals = alone(ObserveLimits())
    for code in Code:
        metrics.refused(None, HTTP, code)
    metrics.dropped(FakeVersion(), item(), Code.CANCELLED)  # type: ignore[arg-type]
    page, _ = page_of(totals, ("m", "3")).page("")
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    closed = {"model": {"_unknown", "m"}, "version": {"", "3", "1.2"}, "arm": {"stable"}, "protocol": set(PROTOCOLS)}
    assert closed == {name: labels[name] for name in closed}
    assert labels["code"] <= {code.name for code in Code}
    assert {*closed, "code", "le", "reason"} == set(labels)
    assert b"secret" not in page


def test_refused_requests_have_no_durations() -> None:
    """`_unknown` has a count and no histogram."""
    metrics, totals = alone(ObserveLimits())
    metrics.refused(None, GRPC, Code.NOT_FOUND)
    assert [("tidegate_requests_total", "_unknown", "", "stable", "grpc", "NOT_FOUND")] == [
        key for key in scraped(totals) if "_unknown" in key
    ]


def test_what_is_loaded_and_the_gauges_are_shown() -> None:
    """Values as they are at the scrape."""
    page = scraped(alone(ObserveLimits())[1], tidegate_ready=1.0, tidegate_connections=7)
    assert 1 == page["tidegate_model_loaded", "m", "3"] == page["tidegate_build_info", "1.2"]
    assert (1, 7) == (page["tidegate_ready",], page["tidegate_connections",])


def test_the_page_comes_in_the_format_that_the_scraper_asks_for() -> None:
    """Prometheus' text by default, OpenMetrics on demand, both whole."""
    metrics, totals = alone(ObserveLimits())
    metrics.batch_done(batch(FakeVersion(), item()))
    made = page_of(totals, ("m", "3"))
    (plain, plain_type), (fancy, fancy_type) = made.page(""), made.page("application/openmetrics-text; version=1.0.0")
    assert (True, True) == (plain_type.startswith("text/plain"), fancy_type.startswith("application/openmetrics-text"))
    families = {family.name for family in openmetrics.text_string_to_metric_families(fancy.decode())}
    assert families >= {"tidegate_requests", "tidegate_request_duration_seconds", "tidegate_build"}
    assert fancy.endswith(b"# EOF\n")
    assert b"# EOF" not in plain


def test_outcomes_put_the_deadline_and_the_caller_before_the_run() -> None:
    """Who was told that the deadline passed was not told what the run gave."""
    late, gone, bad, good = item(done=True), item(cancelled=True), item(), item()
    found = list(outcomes(batch(FakeVersion(), late, gone, bad, good, failed=(late, gone, bad))))
    assert [(late, Code.DEADLINE_EXCEEDED), (gone, Code.CANCELLED), (bad, Code.INVALID_ARGUMENT), (good, Code.OK)] == found


def test_slabs_merge_by_addition() -> None:
    """Two workers that share the batches count what one would count alone."""
    whole, *halves = (alone(ObserveLimits()) for _ in range(3))
    for index in range(40):
        made = batch(FakeVersion(), *[item(index % 2, rows=index + 1)] * 3, started=10.0 + index / 8, ended=12.0 + index)
        for metrics, _ in (whole, halves[index % 2]):
            metrics.batch_done(made)
    slabs: list[Slab] = [dict(totals.snapshot().items())["m", "3"] for _, totals in (whole, *halves)]
    for name in Slab.__slots__:
        one, *others = (getattr(slab, name) for slab in slabs)
        expected = sum(others)
        if name == "sums":  # of two moments, the later one
            expected[LAST] = WALL_S
        np.testing.assert_allclose(one, expected)
