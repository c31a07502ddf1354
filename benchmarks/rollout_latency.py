"""Latency under batches of unequal size: a candidate that is as fast, and one that is slower, through the product's tally.

The load moves, a batch holds what its arm's share of the load is, and a call takes longer in a larger one. Beside the strata: the odds of
the same calls by the weight alone, which is what a comparison of two latency histograms comes to.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np

from benchmarks.rollout_traffic import seeds
from gateway.rollout.plan import Plan, weight_units
from gateway.rollout.records import RECORD, Flag
from gateway.rollout.tally import Tally
from kernels import odds

ALPHA = 0.05  # at which false alarms are counted here, so that there are some to count
CALLS, LOOKS = 12_000, 24
EDGE_S = 0.006
CASES = {"as_fast_at_5": (0.05, 1.0), "as_fast_at_25": (0.25, 1.0), "as_fast_at_75": (0.75, 1.0), "a_fifth_slower_at_10": (0.10, 1.2)}

Document = dict[str, Any]


def measure(count: int, seed: int) -> Document:
    """Shares of rollouts that are called slower: by dominance, by a bound of 6 ms, and by that bound without strata."""
    found: Document = {}
    for name, (weight, ratio) in CASES.items():
        alarms = np.array([once(random, weight, ratio) for random in seeds(seed, f"latency {name}", count)])
        shares = [round(float(share), 4) for share in alarms.mean(axis=0)]
        found[name] = {"rollouts": count, **dict(zip(("dominance", "bound", "bound_without_strata"), shares, strict=True))}
    return found


def bars(measured: Document) -> list[tuple[str, float, str, float]]:
    """False alarms within α and its binomial error; what is slower is found; and the plain comparison does err, in both directions."""
    found = []
    for name, one in measured.items():
        if name.startswith("as_fast"):
            error = 2.326 * math.sqrt(ALPHA * (1 - ALPHA) / one["rollouts"])
            found += [(f"latency_{name}_{test}", one[test], "<=", round(ALPHA + error, 4)) for test in ("dominance", "bound")]
    slower = measured["a_fifth_slower_at_10"]
    found += [
        ("latency_a_fifth_slower_dominance", slower["dominance"], ">=", 0.95),
        ("latency_a_fifth_slower_bound", slower["bound"], ">=", 0.7),
    ]
    found.append(("without_strata_as_fast_is_called_slow", measured["as_fast_at_75"]["bound_without_strata"], ">=", 0.5))
    found.append(("without_strata_slower_is_not_found", slower["bound_without_strata"], "<=", 0.1))
    return found


def once(random: np.random.Generator, weight: float, ratio: float) -> tuple[bool, bool, bool]:
    """One rollout of one step."""
    tally, alarm, above = Tally(_plan(weight)), False, np.zeros(2)
    tally.enter(0, weight_units(100 * weight), 0.0)
    for _ in range(LOOKS):
        batch = calls(random, CALLS // LOOKS, weight=weight, ratio=ratio)
        tally.add(batch)
        slow = batch["arm"][batch["latency_s"] > EDGE_S]
        above += np.bincount(slow, minlength=2)
        level = (above[1:], above[:1], np.zeros(1), np.array([weight]))
        alarm |= odds.log_odds(*level, odds.above(1.0), 1.0) >= -math.log(ALPHA)
    dominance, bound = tally.verdicts(0.0).metrics
    return dominance.tripped, bound.tripped, bool(alarm)


def calls(random: np.random.Generator, count: int, *, weight: float, ratio: float) -> np.ndarray:
    """Records of so many units, all sampled, at one moment of a load that moves from one to the next."""
    records = np.zeros(count, RECORD)
    records["unit"] = random.integers(0, 2**64 - 1, count, np.uint64, endpoint=True)
    ours = records["unit"] < np.uint64(weight_units(100 * weight) * 2**64 // 10_000)
    load = 12.0 * random.lognormal(0.0, 0.5)
    rows = 1 + random.poisson(load * np.where(ours, weight, 1 - weight))
    latency = 2e-3 * (1 + 0.15 * rows) * random.lognormal(0.0, 0.25, count) * np.where(ours, ratio, 1.0)
    records["arm"], records["batch_rows"], records["latency_s"], records["flags"] = ours, rows, latency, int(Flag.SAMPLED)
    records["value"] = random.integers(0, 5, count)
    return records


def _plan(weight: float) -> Plan:
    metrics = [
        {"name": "latency", "type": "dominance", "tolerate": {"slower": 1.0}},
        {"name": "bound", "type": "rate", "event": f"latency_ms > {1e3 * EDGE_S:g}", "critical": True},
    ]
    analysis = {"alpha": {"fail": ALPHA}, "warmup": {"requests": 0, "duration": "0s"}, "metrics": metrics}
    spec = {"model": "m", "candidate": {"version": 2}, "strategy": {"steps": [{"setWeight": 100 * weight}]}, "analysis": analysis}
    return msgspec.convert({"apiVersion": "tidegate/v1", "kind": "Rollout", "metadata": {"name": "r"}, "spec": spec}, Plan)
