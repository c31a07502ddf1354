"""What a slab counted, in the terms of the statistics extension."""

from __future__ import annotations

import pytest

from gateway.errors import Code
from gateway.limits import ObserveLimits
from gateway.observe.slabs import GRPC, HTTP
from gateway.observe.statistics import Duration, nothing, stats_of
from tests.gateway.observe.counted import WALL_S, alone
from tests.gateway.observe.test_metrics import FakeVersion, batch, item

SECOND = 10**9


def test_a_version_that_was_never_asked_has_done_nothing() -> None:
    """All zero, and the moment before all moments."""
    found = nothing("m", "3")
    assert ("m", "3", 0, 0, 0) == (found.name, found.version, found.last_inference, found.inference_count, found.execution_count)
    assert {Duration()} == {getattr(found.inference_stats, name) for name in found.inference_stats.__struct_fields__}


def test_every_request_waited_for_all_of_its_batch() -> None:
    """Two requests of three and one rows, which arrived 2 and 1 seconds before a run of 4 seconds with 1 before it and half a one after."""
    metrics, totals = alone(ObserveLimits())
    made = batch(FakeVersion(), item(GRPC, rows=3, arrival=8.0), item(HTTP, rows=1, arrival=9.0), started=10.0, ended=15.0)
    made.assembling, made.answering = 1.0, 0.5
    metrics.batch_done(made)
    metrics.refused(made.version, GRPC, Code.OVERLOADED)
    found = stats_of("m", "3", dict(totals.snapshot().items())["m", "3"])
    assert (int(WALL_S * 1000), 4, 1) == (found.last_inference, found.inference_count, found.execution_count)
    stats = found.inference_stats
    assert (Duration(2, 3 * SECOND), Duration(2, 2 * SECOND)) == (stats.queue, stats.compute_input)
    assert (Duration(2, 8 * SECOND), Duration(2, SECOND)) == (stats.compute_infer, stats.compute_output)
    assert (Duration(2, 14 * SECOND), Duration(1, 0)) == (stats.success, stats.fail)


def test_requests_that_failed_take_their_share() -> None:
    """Of two that ran together one failed: the time of both is told by halves."""
    metrics, totals = alone(ObserveLimits())
    good, bad = item(arrival=9.0), item(arrival=9.0)
    metrics.batch_done(batch(FakeVersion(), good, bad, failed=(bad,), started=10.0, ended=11.0))
    stats = stats_of("m", "3", dict(totals.snapshot().items())["m", "3"]).inference_stats
    assert (1, 1) == (stats.success.count, stats.fail.count)
    assert stats.success.ns == pytest.approx(2 * SECOND) == stats.fail.ns
