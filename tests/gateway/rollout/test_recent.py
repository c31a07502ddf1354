"""Recent traffic from a metrics page: of the one model, since the first look."""

from __future__ import annotations

import math

import pytest

from gateway.rollout import events, recent
from tests.gateway.rollout import plans


def page(*, ok: int, bad: int = 0, slow: int = 0, model: str = "m", cancelled: int = 0) -> str:
    name = model.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    total = ok + bad
    return (
        "# HELP tidegate_requests_total Inference requests by how they ended\n"
        f'tidegate_requests_total{{arm="stable",code="OK",model="{name}",protocol="grpc",version="1"}} {ok - 5}\n'
        f'tidegate_requests_total{{arm="stable",code="OK",model="{name}",protocol="http",version="2"}} 5\n'
        f'tidegate_requests_total{{arm="stable",code="INTERNAL",model="{name}",protocol="grpc",version="1"}} {bad}\n'
        f'tidegate_requests_total{{arm="stable",code="CANCELLED",model="{name}",protocol="grpc",version="1"}} {cancelled}\n'
        'tidegate_requests_total{arm="stable",code="OK",model="another",protocol="grpc",version="1"} 1e9\n'
        f'tidegate_compute_duration_seconds_bucket{{le="0.01",model="{name}",version="1"}} {total - 2 * slow}\n'
        f'tidegate_compute_duration_seconds_bucket{{le="0.05",model="{name}",version="1"}} {total - slow}\n'
        f'tidegate_compute_duration_seconds_bucket{{le="+Inf",model="{name}",version="1"}} {total}\n'
        f'tidegate_compute_duration_seconds_count{{model="{name}",version="1"}} {total}\n'
        "tidegate_up 1\n"
    )  # fmt: skip


def test_requests_of_the_model_are_added_up() -> None:
    """Over versions and protocols; what callers took back is no request."""
    found = recent.reading(page(ok=100, bad=2, cancelled=7), "m")
    assert (102.0, 100.0, 2.0) == (found.requests, found.codes["OK"], found.codes["INTERNAL"])
    assert {0.01: 102.0, 0.05: 102.0, math.inf: 102.0} == found.faster
    assert 0.0 == recent.reading(page(ok=100), "nobody").requests


def test_names_are_read_as_they_were_written() -> None:
    """With quotes, backslashes and line breaks."""
    name = 'a"b\\n\nc'
    assert 100.0 == recent.reading(page(ok=100, model=name), name).requests


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("server_error", 20.5 / 1_021),
        ("rejected_input", 0.5 / 1_021),
        ("bad_output", 0.5 / 1_021),
        ("latency_ms > 50", 30.5 / 1_021),
        ("latency_ms > 10", 60.5 / 1_021),
        ("latency_ms > 49", 60.5 / 1_021),
        ("latency_ms > 60", 30.5 / 1_021),
        ("latency_ms > 1", 1_020.5 / 1_021),
        ("server_error or latency_ms > 50", 50.5 / 1_021),
    ],
)
def test_a_base_rate_is_the_share_since_the_first_look(event: str, expected: float) -> None:
    """And never 0; a bound between two buckets is held against the lower one."""
    found = recent.reading(page(ok=1_500, bad=24, slow=31), "m").since(recent.reading(page(ok=500, bad=4, slow=1), "m"))
    assert 1_020.0 == found.requests
    assert pytest.approx(expected) == found.share(events.parse(event))


def test_a_server_that_began_anew_counts_from_nothing() -> None:
    """Its counters went down."""
    now = recent.reading(page(ok=10), "m")
    assert now == now.since(recent.reading(page(ok=500), "m"))


def test_every_rate_of_the_plan_has_one() -> None:
    """Others have none."""
    assert ["errors"] == list(recent.base_rates(plans.plan(), recent.reading(page(ok=10), "m")))


def test_a_page_that_only_looks_like_one_is_refused() -> None:
    """It is not our server's."""
    with pytest.raises(ValueError, match="lacks a label"):
        recent.reading('tidegate_requests_total{model="m"} 3', "m")
