"""From counts and evidence to the documents of `findings`: what is shown of features, segments, hours. Decides nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gateway.drift.cells import Cells, Feature, nats
from gateway.drift.estimate import Bounds, Performance
from gateway.drift.evidence import LEAST, Signs
from gateway.drift.findings import (
    Band,
    EstimateOf,
    FeatureFinding,
    LogE,
    Moments,
    Rates,
    Rule,
    SegmentFinding,
    Slot,
    Violations,
)
from gateway.drift.layout import SUMS
from gateway.drift.policy import Policy
from gateway.drift.sentences import feature_sentence
from gateway.drift.states import Standing
from gateway.drift.windows import each_psi
from kernels.divergence import interquartile_range, js_distance_bits, ks, psi, wasserstein
from kernels.evidence import log_tolerance
from registry.profile import FIRST_BIN, Numeric


@dataclass(frozen=True, slots=True)
class Words:
    """Where sums and extremes of numeric features lie in a block."""

    sums: np.ndarray  # int64 [len(SUMS), numeric features]
    extremes: np.ndarray  # int64 [2, numeric features]

    @classmethod
    def of(cls, cells: Cells) -> Words:
        """Features in the order of `cells.features`, which begins with the numeric ones."""
        sums = [_rows(group.sums, len(SUMS), len(group.features)) for group in cells.layout.groups]
        extremes = [_rows(group.extremes, 2, len(group.features)) for group in cells.layout.groups]
        return cls(_beside(sums, len(SUMS)), _beside(extremes, 2))


@dataclass(frozen=True, slots=True)
class Shown:
    """Live numbers of one window, and of all time."""

    counts: np.ndarray  # int64 [C] of the window
    sums: np.ndarray  # float64 [len(SUMS), numeric features] of the window
    extremes: np.ndarray  # float64 [2, numeric features] of all time
    now_s: float


@dataclass(frozen=True, slots=True)
class Change:
    """When a feature left OK it had moved since then, probably."""

    row: int
    wall_s: float
    base: np.ndarray  # int64 [K] cumulative counts of its slots then


def feature_finding(
    cells: Cells, index: int, *, shown: Shown, signs: Signs, standing: Standing, change: Change | None, arm: int
) -> FeatureFinding:
    """Everything about one feature."""
    feature, slots = cells.features[index], cells.of(index)
    counts, reference = shown.counts[slots], cells.reference[slots]
    live = counts.astype(np.float64)
    distance = float(psi(live, reference))
    moments, reference_moments = _moments(feature, index, live, shown)
    known = isinstance(feature, Numeric)
    return FeatureFinding(
        name=feature.name,
        side=feature.side,
        state=standing.state.name,
        since_s=standing.since_s,
        changed_row=None if change is None else change.row,
        changed_s=None if change is None else change.wall_s,
        rows=int(counts.sum()),
        psi=distance,
        js_distance_bits=float(js_distance_bits(live, reference)),
        ks=float(ks(live[:-1], reference[:-1])) if known else None,
        wasserstein_iqr=_wasserstein_iqr(feature, index, live, reference, shown) if isinstance(feature, Numeric) else None,
        log_e=log_e_of(signs, index),
        rates=_rates(cells, slots, live),
        reference_rates=_rates(cells, slots, reference),
        moments=moments,
        reference_moments=reference_moments,
        edges=feature.edges if isinstance(feature, Numeric) else None,
        histogram=histogram(feature, live, reference, cells.rho[slots]),
        tau=feature.tau,
        arm=arm,
        sentence=feature_sentence(
            feature, live, reference, psi=distance, state=standing.state,
            changed_s=None if change is None else change.wall_s, now_s=shown.now_s,
        ),
    )  # fmt: skip


def log_e_of(signs: Signs, index: int) -> LogE:
    """The evidence of one feature."""
    detector = float(signs.detector[index])
    any_, tolerance, drift, warn, alarm = (
        max(float(values[index]), LEAST) for values in (signs.any, signs.tolerance, signs.drift, signs.warn, signs.alarm)
    )
    return LogE(any=any_, tolerance=tolerance, detector=detector if math.isfinite(detector) else None, drift=drift, warn=warn, alarm=alarm)


def histogram(feature: Feature, live: np.ndarray, reference: np.ndarray, rho: np.ndarray) -> tuple[Slot, ...]:
    """Every slot, with what it adds to n KL(live ‖ reference) in nats; all [K]."""
    rows = max(float(live.sum()), 1.0)
    bars = zip(labels(feature), live.tolist(), reference.tolist(), nats(live, rows * rho).tolist(), strict=True)
    return tuple(Slot(label=label, live=int(n), reference=int(c), nats=added) for label, n, c, added in bars)


def labels(feature: Feature) -> list[str]:
    """Names of slots, also the label `bin` of `tidegate_feature_bin_total`; a bin is named by its upper edge."""
    if isinstance(feature, Numeric):
        return ["-inf", "below", *(f"{edge:.9g}" for edge in feature.edges[1:]), "above", "+inf", "nan"]
    return [*(f"={category}" for category in feature.categories), "other", "null"]


def _rates(cells: Cells, slots: slice, counts: np.ndarray) -> Rates:
    rows, null = float(counts.sum()), float(counts[-1])
    outside = float(counts[cells.outside[slots]].sum())
    return Rates(null=null / max(rows, 1.0), outside=outside / max(rows - null, 1.0))


def _moments(feature: Feature, index: int, live: np.ndarray, shown: Shown) -> tuple[Moments | None, Moments | None]:
    if not isinstance(feature, Numeric):
        return None, None
    reference = Moments(mean=feature.mean, sd=math.sqrt(max(feature.m2, 0.0)))
    values = float(live[1 : feature.bins + 3].sum())
    if values <= 0:
        return Moments(mean=None, sd=None), reference
    first, second = (float(shown.sums[power, index]) / values for power in (0, 1))  # about the reference's mean
    least, greatest = shown.extremes[:, index].tolist()
    sd = math.sqrt(max(second - first**2, 0.0))
    return Moments(mean=feature.mean + first, sd=sd, least=_finite(least), greatest=_finite(greatest)), reference


def _wasserstein_iqr(feature: Numeric, index: int, live: np.ndarray, reference: np.ndarray, shown: Shown) -> float | None:
    """In units of the reference's range between quartiles, or of its standard deviation where that is 0."""
    edges = np.array(feature.edges)
    low, high = (float(shown.sums[SUMS.index(tail), index]) for tail in ("tail_low", "tail_high"))
    distance = float(wasserstein(live[1:-2], reference[1:-2], edges, low, high))
    unit = float(interquartile_range(reference[FIRST_BIN:-3], edges)) or math.sqrt(max(feature.m2, 0.0))
    return _finite(distance / unit) if unit > 0 else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


# --- other parts of the document ----------------------------------------------------------------------------------------------------------


def segment_findings(
    cells: Cells, names: Sequence[str], window: np.ndarray, whole: np.ndarray, policy: Policy
) -> tuple[SegmentFinding, ...]:
    """window, whole: blocks of the time that is shown and of all time, int64 [words]; none where traffic is not divided."""
    if len(names) < 2:
        return ()
    shown, every = cells.gather(window), cells.gather(whole)
    needed = math.log(len(names) * len(cells.features) / policy.test_alpha)
    found = []
    for index, name in enumerate(names):
        distances = each_psi(cells, shown[index])
        farthest = int(np.argmax(distances))
        slots = cells.of(farthest)
        live, reference = every[index, slots].astype(np.float64), cells.reference[slots]
        log_e = float(log_tolerance(live, reference, policy.tolerances[0], float(cells.tau[farthest])))
        rows = int(shown[index, cells.of(0)].sum())
        found.append(
            SegmentFinding(
                name=name, rows=rows, psi=float(distances.mean()), farthest=cells.features[farthest].name if rows else None,
                farthest_psi=float(distances[farthest]), log_e=max(log_e, LEAST), beyond=log_e >= needed,
            )
        )  # fmt: skip
    return tuple(found)


def violations(rules: Sequence[Rule], counts: np.ndarray) -> tuple[Violations, ...]:
    """counts: int64 [rules, 2], values and rows."""
    pairs = zip(rules, counts.tolist(), strict=True)
    return tuple(Violations(input=rule.input, rule=rule.rule, mode=rule.mode, values=values, rows=rows) for rule, (values, rows) in pairs)


def estimate_of(performance: Performance) -> EstimateOf:
    """As a document."""
    return EstimateOf(rows=performance.rows, accuracy=_band(performance.accuracy), auc=_band(performance.auc))


def _band(bounds: Bounds | None) -> Band | None:
    return None if bounds is None else Band(low=bounds.low, mid=bounds.mid, high=bounds.high)


def _rows(at: int, rows: int, width: int) -> np.ndarray:
    return at + np.arange(rows * width).reshape(rows, width)


def _beside(parts: Sequence[np.ndarray], rows: int) -> np.ndarray:
    return np.concatenate(parts, axis=1) if parts else np.zeros((rows, 0), np.int64)
