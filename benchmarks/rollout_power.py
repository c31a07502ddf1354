"""How many events until a verdict, event by event, beside the table by which rollouts are planned.

The table was made with a few hundred rollouts a cell, so its own error is that of a median of `TABLE_ROLLOUTS`; here are more.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kernels import odds

TABLE_ROLLOUTS = 300
FAIL_LEVEL, PASS_LEVEL, BASE = 100.0, 20.0, 0.005
# Events until FAIL at E ≥ 100, median and 90th of a hundred, by weight and ratio; until PASS at E ≥ 20 of a candidate as good, by margin.
FAILS: dict[tuple[float, float], tuple[float, float | None]] = {
    (0.05, 2): (302, 678), (0.05, 3): (94, None), (0.05, 5): (31, None), (0.05, 10): (12, None),
    (0.1, 2): (188, 407), (0.1, 3): (56, None), (0.1, 5): (21, None), (0.1, 10): (9, None),
    (0.5, 2): (87, 197), (0.5, 3): (36, None), (0.5, 5): (17, None), (0.5, 10): (13, None),
}  # fmt: skip
PASSES: dict[tuple[float, float], float] = {
    (0.05, 1.25): 3374, (0.05, 1.5): 696, (0.05, 2.0): 212, (0.1, 1.25): 1639, (0.1, 1.5): 422, (0.1, 2.0): 132,
    (0.5, 1.25): 786, (0.5, 1.5): 169, (0.5, 2.0): 54,
}  # fmt: skip
_CHUNK = 250  # rollouts at a time

Document = dict[str, Any]


def measure(count: int, seed: int) -> Document:
    """Medians, nineties, the requests that they mean at a base rate of 0.5 %, and how far the table is away in its standard errors."""
    random, found = np.random.default_rng([seed, 3]), {}
    for (weight, ratio), (median, ninety) in FAILS.items():
        events = crossings(random, count, weight, ratio, 1.0, odds.above(1.0), FAIL_LEVEL, most=12 * median)
        requests = np.median(events) / (BASE * (weight * ratio + 1 - weight))
        found[f"fail {weight:g} x{ratio:g}"] = compared(random, events, median, ninety) | {"median_requests": round(float(requests))}
    for (weight, margin), median in PASSES.items():
        events = crossings(random, min(count, 2000), weight, 1.0, margin, odds.below(margin), PASS_LEVEL, most=8 * median)
        found[f"pass {weight:g} <{margin:g}"] = compared(random, events, median, None)
    return found


def bars(measured: Document) -> list[tuple[str, float, str, float]]:
    """The farthest of 21 medians and three nineties, in standard errors of the table."""
    return [("power_table_farthest_standard_errors", max(one["errors"] for one in measured.values()), "<=", 4.0)]


def crossings(
    random: np.random.Generator,
    count: int,
    weight: float,
    ratio: float,
    against: float,
    alternatives: np.ndarray,
    level: float,
    *,
    most: float,
) -> np.ndarray:
    """Events until the evidence first reaches a level, [count]; inf for never within `most` events."""
    share, found = weight * ratio / (weight * ratio + 1 - weight), []
    for _ in range(-(-count // _CHUNK)):
        ours = np.cumsum(random.random((_CHUNK, int(most))) < share, axis=1, dtype=np.float64)
        events = np.arange(1, int(most) + 1, dtype=np.float64)
        total = np.zeros_like(ours)
        for other in alternatives:
            both = math.log((weight * other + 1 - weight) / (weight * against + 1 - weight))
            total += np.exp(np.minimum(ours * math.log(other / against) - events * both, 700.0))
        reached = total / len(alternatives) >= level
        found.append(np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, math.inf))
    return np.concatenate(found)[:count]


def compared(random: np.random.Generator, events: np.ndarray, median: float, ninety: float | None) -> Document:
    """Beside the table; an error is at least half an event, to which it is rounded."""
    drawn = np.sort(random.choice(events, (400, TABLE_ROLLOUTS)), axis=1)
    found: Document = {"median": float(np.median(events)), "table": median, "p90": float(np.sort(events)[int(0.9 * len(events))])}
    away = [abs(median - found["median"]) / max(float(drawn[:, TABLE_ROLLOUTS // 2].std()), 0.5)]
    if ninety is not None:
        found["table_p90"] = ninety
        away.append(abs(ninety - found["p90"]) / max(float(drawn[:, 9 * TABLE_ROLLOUTS // 10].std()), 0.5))
    return found | {"errors": round(max(away), 2)}
