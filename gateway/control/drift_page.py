"""What the metrics page shows of drift: gauges of tests and states, and on request counters by bin, from which any window follows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from gateway.drift.display import labels
from gateway.drift.tracked import Tracked
from gateway.drift.watch import Watch

Sample = tuple[tuple[str, ...], float]
Families = dict[str, list[Sample]]
VIOLATIONS = "tidegate_contract_violations_total"


def families_of(versions: Iterable[tuple[str, str, Tracked]]) -> Families:
    """Family → label values and numbers, of every version: (model, version, what is known of it).

    A version may be there several times, by one reference after the other: of two gauges the later one counts, counters of rules are added.
    """
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for model, version, tracked in versions:
        for name, labels_, value in _samples(tracked, bins=tracked.plan.bins):
            family, key = found.setdefault(name, {}), (model, version, *labels_)
            if math.isfinite(value):  # the channel's JSON has no other numbers
                family[key] = value + (family.get(key, 0.0) if name == VIOLATIONS else 0.0)
    return {name: [*family.items()] for name, family in found.items()}


def _samples(tracked: Tracked, *, bins: bool) -> Iterator[tuple[str, tuple[str, ...], float]]:
    gauges = tracked.gauges()
    for broken in tracked.violations() if gauges is None else gauges.violations:
        yield VIOLATIONS, (broken.input, broken.rule, broken.mode), float(broken.values)
    if gauges is None or tracked.watch is None:
        return
    yield "tidegate_drift_rows_total", (), float(gauges.rows)
    for scope, state in gauges.states.items():
        yield "tidegate_drift_state", (scope,), float(state)
    for name, state, psi in zip(gauges.features, gauges.feature_states, gauges.psi, strict=True):
        yield "tidegate_drift_feature_state", (name,), float(state)
        yield "tidegate_drift_psi", (name,), psi
    for test, values in gauges.log_e.items():
        for name, value in zip(gauges.features, values, strict=True):
            yield "tidegate_drift_log_e", (name, test), value
    for bound, accuracy in gauges.accuracy.items():
        yield "tidegate_estimated_accuracy", (bound,), accuracy
    if bins:
        yield from _bins(tracked.watch)


def _bins(watch: Watch) -> Iterator[tuple[str, tuple[str, ...], float]]:
    """Every slot of every feature: what was ever counted, and the share of the reference."""
    counts, cells = watch.counts(), watch.cells
    for index, feature in enumerate(cells.features):
        slots = cells.of(index)
        for label, count, ratio in zip(labels(feature), counts[slots].tolist(), cells.rho[slots].tolist(), strict=True):
            yield "tidegate_feature_bin_total", (feature.name, label), float(count)
            yield "tidegate_feature_reference_ratio", (feature.name, label), ratio
