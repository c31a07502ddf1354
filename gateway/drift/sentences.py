"""One sentence in plain English for each finding: what moved, how far, since when, and which values say it best. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from gateway.drift.cells import Feature
from gateway.drift.estimate import Performance
from gateway.drift.states import State
from registry.profile import FIRST_BIN, Categorical, Numeric

_MOVED = {State.DRIFT: "has moved a little", State.WARN: "has moved", State.ALARM: "has moved far"}


@dataclass(frozen=True, slots=True)
class Telling:
    """Some values, and which shares of rows they were and are."""

    values: str
    before: float
    now: float

    @property
    def nats(self) -> float:
        """How well they tell live from reference rows: KL of the two shares."""
        return sum(
            now * math.log(now / before)
            for now, before in ((self.now, self.before), (1 - self.now, 1 - self.before))
            if now > 0 and before > 0
        )


def feature_sentence(
    feature: Feature, live: np.ndarray, reference: np.ndarray, *, psi: float, state: State, changed_s: float | None, now_s: float
) -> str:
    """live, reference: counts of the feature's slots [K] in the window that is shown."""
    if live.sum() == 0:
        return f"{feature.name}: no rows"
    if state is State.OK:
        return f"{feature.name} is as the reference: PSI {_distance(psi)}"
    since = "" if changed_s is None else f" since about {clock_time(changed_s, now_s)}"
    return f"{feature.name} {_MOVED[state]}: PSI {_distance(psi)}{since}; {what_tells(feature, live, reference)}"


def what_tells(feature: Feature, live: np.ndarray, reference: np.ndarray) -> str:
    """The values whose share changed most, live and reference counts [K]."""
    best = max(tellings(feature, live, reference), key=lambda telling: telling.nats)
    return f"{best.values} went from {percent(best.before)} to {percent(best.now)}"


def tellings(feature: Feature, live: np.ndarray, reference: np.ndarray) -> Iterator[Telling]:
    """Everything that may be said of which values changed; shares of the reference are a little above 0 where it has none."""
    smooth = reference + 0.5 / len(reference)
    before, now = smooth / smooth.sum(), live / max(live.sum(), 1)
    null = "missing values" if isinstance(feature, Numeric) else "null"
    yield Telling(null, float(before[-1]), float(now[-1]))
    yield from _numeric(feature, before, now) if isinstance(feature, Numeric) else _categorical(feature, before, now)


def _numeric(feature: Numeric, before: np.ndarray, now: np.ndarray) -> Iterator[Telling]:
    edges, finite = feature.edges, slice(FIRST_BIN, FIRST_BIN + feature.bins)
    outside = [0, 1, feature.bins + 2, feature.bins + 3]
    low, high = _number(edges[0]), _number(edges[-1])
    yield Telling(f"values outside {low} to {high}", float(before[outside].sum()), float(now[outside].sum()))
    above_before, above_now = (share[FIRST_BIN:-1][::-1].cumsum()[::-1] for share in (before, now))
    for k in range(1, feature.bins):
        old, new = float(above_before[k]), float(above_now[k])
        present_old, present_new = 1 - float(before[-1]), 1 - float(now[-1])
        if new >= old:
            yield Telling(f"values above {_number(edges[k])}", old, new)
        else:
            yield Telling(f"values up to {_number(edges[k])}", present_old - old, present_new - new)
    for k, (old, new) in enumerate(zip(before[finite].tolist(), now[finite].tolist(), strict=True)):
        if k in feature.atoms:
            yield Telling(f"the value {_number(edges[k + 1])}", old, new)
        elif 0 < k < feature.bins - 1:  # the outer ones are tails
            yield Telling(f"values from {_number(edges[k])} to {_number(edges[k + 1])}", old, new)


def _categorical(feature: Categorical, before: np.ndarray, now: np.ndarray) -> Iterator[Telling]:
    yield Telling("values that the reference does not name", float(before[-2]), float(now[-2]))
    for category, old, new in zip(feature.categories, before.tolist(), now.tolist(), strict=False):
        yield Telling(f"'{category}'" if isinstance(category, str) else f"the value {category}", old, new)


def performance_sentence(performance: Performance, reference: float, *, trustworthy: bool) -> str:
    """Of the window that is shown, beside the reference's accuracy."""
    accuracy = performance.accuracy
    if accuracy is None:
        return "no scores to estimate the accuracy from"
    text = (
        f"accuracy is estimated at {accuracy.mid:.3f} ({accuracy.low:.3f} to {accuracy.high:.3f}), and was {reference:.3f} on the reference"
    )
    return text if trustworthy else text + "; do not trust it: too many rows lie where the reference has none"


def version_sentence(state: State, moved: list[str], features: int, *, rows: int, at_risk: bool) -> str:
    """moved: names, the most moved first."""
    if rows == 0:
        return "no rows yet"
    risk = "the estimated performance is at risk; " if at_risk else ""
    if not moved:
        whole = (
            "nothing is known to have moved" if state is State.OK or at_risk else "something has moved, and no single feature can be named"
        )
        return risk + whole
    named = ", ".join(moved[:3]) + (f" and {len(moved) - 3} more" if len(moved) > 3 else "")
    return f"{risk}{len(moved)} of {features} features {'has' if len(moved) == 1 else 'have'} moved: {named}"


def clock_time(at_s: float, now_s: float) -> str:
    """Minutes, UTC; with the date where it is not today's."""
    at, now = (datetime.fromtimestamp(moment, UTC) for moment in (at_s, now_s))
    return at.strftime("%H:%M UTC" if at.date() == now.date() else "%Y-%m-%d %H:%M UTC")


def percent(share: float) -> str:
    """Two digits below ten."""
    value = 100 * share
    if 0 < value < 0.01:
        return "under 0.01 %"
    return f"{value:.0f} %" if value >= 9.95 else f"{value:.2g} %"


def _distance(psi: float) -> str:
    return f"{psi:.2f}" if psi >= 0.01 else f"{psi:.2g}"


def _number(value: float) -> str:
    return f"{value:.2f}" if 0.01 <= abs(value) < 1 else f"{value:.6g}" if abs(value) >= 1 or value == 0 else f"{value:.2g}"
