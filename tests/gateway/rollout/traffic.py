"""Plans and records for the tests of evidence."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np

from gateway.rollout.plan import Plan
from gateway.rollout.records import RECORD, Flag, Kind

ERRORS = {"name": "errors", "type": "rate", "event": "server_error", "critical": True, "pass_if": {"ratio": 1.5}}
STEPS = [{"setWeight": 5, "until": {"min_units": 50}}, {"setWeight": 25}, {"setWeight": 50}]
SHADOW = [{"shadow": {}, "until": {"min_units": 50}}, {"setWeight": 50}]
COLD: dict[str, Any] = {"requests": 0, "duration": "0s"}


def plan(*metrics: dict[str, Any], steps: Any = STEPS, ab: Any = None, **analysis: Any) -> Plan:
    """A plan with these metrics, and without a warm-up unless one is given."""
    strategy = {"ab": ab} if ab else {"steps": steps}
    spec = {"model": "m", "candidate": {"version": 2}, "strategy": strategy}
    said = {"warmup": COLD, **analysis, "metrics": metrics or [ERRORS]}
    document = {"apiVersion": "tidegate/v1", "kind": "Rollout", "metadata": {"name": "r"}, "spec": {**spec, "analysis": said}}
    return msgspec.convert(document, Plan)


def records(units: Any, *, step: int = 0, arm: Any = 0, flags: Any = Flag.SAMPLED, **columns: Any) -> np.ndarray:
    """Calls of these units, all sampled and without an event unless said otherwise."""
    units = np.atleast_1d(np.asarray(units, np.uint64))
    made = np.zeros(len(units), RECORD)
    made["unit"], made["step"], made["arm"], made["flags"] = units, step, arm, flags
    made["value"] = made["other_value"] = math.nan
    made["batch_rows"], made["time_s"] = 1, 1000.0 + np.arange(len(units)) * 1e-3
    for name, column in columns.items():
        made[name] = column
    return made


def pairs(units: Any, *, step: int = 0, flags: Any = Flag.SAMPLED | Flag.AGREES, other_flags: Any = 0) -> np.ndarray:
    """Pairs of these units."""
    return records(units, step=step, arm=1, flags=flags, other_flags=other_flags, kind=Kind.PAIR)


def traffic(
    random: np.random.Generator, calls: int, weight: float, *, step: int = 0, rate: float = 0.01, ratio: float = 1.0, **columns: Any
) -> np.ndarray:
    """Calls of as many units, assigned by their hashes, with server errors at a rate that is `ratio` times as high in the candidate."""
    units = random.integers(0, 2**64 - 1, calls, np.uint64, endpoint=True)
    arm = (units < np.uint64(round(weight * 1e4) * 2**64 // 10_000)).astype(np.uint8)
    failed = random.random(calls) < rate * np.where(arm == 1, ratio, 1.0)
    return records(units, step=step, arm=arm, flags=Flag.SAMPLED | np.where(failed, Flag.SERVER_ERROR, 0), **columns)
