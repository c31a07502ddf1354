"""The bench of rollouts: traffic is what it says, others' rules are theirs, and bars are judged from what was measured."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks import rollout, rollout_driver, rollout_latency, rollout_peers, rollout_power
from benchmarks.rollout_traffic import Crowd, Kind, Requests, records_of, seeds
from gateway.rollout.records import Flag
from kernels import odds


@pytest.fixture(scope="module")
def crowd():
    return Crowd(np.random.default_rng(1))


def test_arms_are_the_routers_and_errors_come_at_their_rate(crowd):
    """A quarter of the users are the candidate's, each always; its errors are twice as many. Few users make many of the requests."""
    shares, rates = [], []
    for random in seeds(1, "test", 40):
        units, ours, failed = Requests(crowd, Kind(ratio=2.0), random).next(60_000, 0.25)
        assert np.array_equal(ours, units < np.uint64(2**62))
        shares.append(np.mean(np.unique(units) < 2**62))
        rates.append((failed[~ours].mean(), failed[ours].mean()))
    assert pytest.approx(0.25, abs=0.005) == np.mean(shares)
    stable, candidate = np.mean(rates, axis=0)
    assert pytest.approx(2.0, rel=0.1) == candidate / stable
    assert 0.01 < stable < 0.015  # the base rate, and two incidents
    _, counts = np.unique(units, return_counts=True)
    assert np.sort(counts)[-len(counts) // 100 :].sum() > 0.05 * 60_000


def test_records_are_left_of_failures_and_of_sampled_units(crowd):
    """All failures, a twentieth of the users."""
    units, ours, failed = Requests(crowd, Kind(), np.random.default_rng(2)).next(50_000, 0.5)
    records = records_of(units, ours, failed, step=1, begin_s=7.0)
    assert failed.sum() == np.count_nonzero(records["flags"] & Flag.SERVER_ERROR)
    sampled = np.unique(records["unit"][(records["flags"] & Flag.SAMPLED) != 0])
    assert pytest.approx(0.05, rel=0.1) == len(sampled) / len(np.unique(units))
    assert ({1}, True) == (set(records["step"].tolist()), 7 <= records["time_s"].min() < 8)
    assert len(units) == len(records_of(units, ours, failed, step=1, begin_s=7.0, sample=1.0))


def test_a_rollout_depends_on_its_seed_and_place_alone(crowd):
    """So one cell can be run again without the others."""
    first, second = (
        [one.requests for one in (rollout.rollout(rollout.CELLS["better"], crowd, random) for random in seeds(5, "x", 2))] for _ in "ab"
    )
    assert first == second
    assert {"promoted"} == {rollout.rollout(rollout.CELLS["better"], crowd, random).verdict for random in seeds(5, "x", 2)}


def test_the_upper_bound_is_clopper_and_pearsons():
    """Against scipy's beta quantile."""
    for hits, rows in ((0, 2000), (7, 2000), (50, 60), (20, 20)):
        expected = stats.beta.ppf(0.95, hits + 1, rows - hits) if hits < rows else 1.0
        assert expected == pytest.approx(rollout.upper(hits, rows), abs=1e-6)


def test_ranks_are_high_where_the_shift_is_and_a_peeked_z_test_errs_often():
    """A shift of three deviations is high, none is at most 1 % of the time; z at 1 % looked at 120 times is wrong far more often."""
    random = np.random.default_rng(3)
    assert rollout_peers.is_high(random.normal(3, 1, 40), random.normal(0, 1, 40))
    alarms = [rollout_peers.is_high(random.normal(5, 1, 40), random.normal(5, 1, 40)) for _ in range(300)]
    assert np.mean(alarms) <= 0.03
    requests = [Requests(None, Kind(clustered=False), one) for one in seeds(4, "z", 60)]
    assert np.mean([rollout_peers.peeked_z(rollout_peers.schedule(one)) for one in requests]) > 0.05
    assert np.mean([rollout_peers.odds_of_requests(rollout_peers.schedule(Requests(None, Kind(ratio=ratio, clustered=False), random)))
                    for ratio in (1.0, 4.0)]) == 0.5  # fmt: skip
    assert rollout_peers.constant(rollout_peers.schedule(Requests(None, Kind(ratio=5.0, clustered=False), random)), 10)


def test_the_first_event_that_is_enough_is_the_kernels():
    """Event by event, at one weight."""
    alternatives = odds.above(1.0)
    events = rollout_power.crossings(np.random.default_rng(4), 20, 0.1, 3.0, 1.0, alternatives, 100.0, most=400)
    random = np.random.default_rng(4)
    ours = np.cumsum(random.random((rollout_power._CHUNK, 400)) < 0.3 / 1.2, axis=1)
    for row, first in enumerate(events.tolist()):
        level = lambda at: (np.array([float(ours[row, at])]), np.array([float(at + 1 - ours[row, at])]), np.zeros(1), np.array([0.1]))  # noqa: B023, E731
        assert (
            odds.log_odds(*level(int(first) - 1), alternatives, 1.0)
            >= np.log(100)
            > odds.log_odds(*level(int(first) - 2), alternatives, 1.0)
        )


def test_latencies_depend_on_the_batch_and_batches_on_the_weight():
    """A tenth of the units in batches of a tenth of the load."""
    calls = np.concatenate([rollout_latency.calls(np.random.default_rng(seed), 2000, weight=0.1, ratio=1.0) for seed in range(40)])
    ours = calls["arm"] == 1
    assert calls["batch_rows"][ours].mean() < 0.5 * calls["batch_rows"][~ours].mean()
    same = calls["batch_rows"] == 3
    assert np.median(calls["latency_s"][same & ours]) == pytest.approx(np.median(calls["latency_s"][same & ~ours]), rel=0.05)


def test_bars_are_judged_from_what_was_measured():
    """A share within α and its error holds, one above does not; without a value nothing does."""
    found = {"rollouts": 2000, "failed": {"share": 0.014}}
    assert rollout.allowed("x", found, "failed", 0.01)["holds"]
    assert not rollout.allowed("x", found | {"failed": {"share": 0.016}}, "failed", 0.01)["holds"]
    assert not rollout.bar("x", None, "<=", 1.0)["holds"]
    assert {"promoted": 1.0, "failed": 0.0} == {
        name: rollout.summary([rollout_driver.Outcome("promoted", 5)])[name]["share"] for name in ("promoted", "failed")
    }


def test_a_rollout_goes_through_the_machine():
    """A worse candidate is rolled back, what is never decided stays open."""
    worse = rollout_driver.run(
        rollout.plan_of(weights=(50.0,), margin={"ratio": 1.5}), Requests(None, Kind(ratio=8.0, clustered=False), np.random.default_rng(6)),
        look=200, most=50_000, sample=0.05,
    )  # fmt: skip
    assert ("failed", True) == (worse.verdict, worse.requests < 5000)
    undecided = rollout_driver.run(
        rollout.plan_of(weights=(5.0,), margin={"ratio": 1.5}), Requests(None, Kind(clustered=False), np.random.default_rng(7)),
        look=500, most=2000, sample=0.05,
    )  # fmt: skip
    assert rollout_driver.Outcome("open", 2000) == undecided
