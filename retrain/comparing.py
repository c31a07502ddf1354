"""The gate that compares: champion and candidate on the same later rows, whole and slice by slice, each with a bound. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from retrain.dataset import Dataset
from retrain.gate_settings import Change, Check, CrossSlice, Gate, Gates, Slices, Value
from retrain.metrics import GREATER_IS_BETTER, METRICS_OF, Metric, measured, weighed
from retrain.resampling import blocks_of, draws, lower_bound, resampled
from retrain.target import Kind

MAX_SLICES = 64  # of one column; the largest ones
_QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Scores of both models on the same rows."""

    labels: np.ndarray  # [rows]
    champion: np.ndarray | None  # [rows], or [rows, classes]; None where there is nobody to compare with
    candidate: np.ndarray  # likewise
    weights: np.ndarray  # [rows]
    blocks: np.ndarray  # [rows]

    def take(self, rows: np.ndarray) -> Judged:
        """Some of the rows, with blocks numbered anew."""
        champion = None if self.champion is None else self.champion[rows]
        blocks = np.unique(self.blocks[rows], return_inverse=True)[1]
        return Judged(self.labels[rows], champion, self.candidate[rows], self.weights[rows], blocks)


def judged(rows: Dataset, champion: np.ndarray | None, candidate: np.ndarray) -> Judged:
    """Rows in the order of time with the scores that both models gave."""
    weights = np.ones(rows.rows) if rows.weights is None else rows.weights
    return Judged(rows.labels, champion, candidate, weights, blocks_of(rows.times_s, rows.rows))


def compare(found: Judged, rows: Dataset, gates: Gates, generator: np.random.Generator) -> Gate:
    """Values, changes, slices and differences between slices, in that order. `rows` have the columns that slices are cut by."""
    checks = [_value(found, value, gates, generator) for value in gates.values]
    if found.champion is not None:
        checks += [_change(found, change, gates, generator) for change in gates.changes]
        checks += _slices(found, rows, gates.slices, gates, generator)
    checks += [_cross(found, rows, cross, gates.slices.n_min, gates, generator) for cross in gates.cross_slices]
    return Gate(name="challenger", checks=tuple(checks))


def figures(found: Judged, rows: Dataset, slices: Slices) -> dict[str, dict[str, float]]:
    """Every metric of the candidate, and of the champion, on the hold-out and each of its slices that is large enough."""
    kind = rows.target.kind
    table = {"holdout": _figures(found, found.candidate, kind)}
    if found.champion is not None:
        table["holdout, champion"] = _figures(found, found.champion, kind)
    for name, mask in slices_of(rows, slices.columns):
        if mask.sum() >= slices.n_min:
            part = found.take(mask)
            table[name] = _figures(part, part.candidate, kind)
    return table


def slices_of(rows: Dataset, columns: tuple[str, ...]) -> list[tuple[str, np.ndarray]]:
    """(name, rows as a mask) of each value of each column, the largest first; numbers by quartiles. Raises `KeyError`."""
    found = []
    for column in columns:
        values = rows.columns[column]
        parts = _text_slices(column, values) if values.dtype == object else _number_slices(column, values)
        found += sorted(parts, key=lambda part: -int(part[1].sum()))[:MAX_SLICES]
    return found


def _text_slices(column: str, values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return [(f"{column}={text}", values == text) for text in sorted(set(values.tolist()))]


def _number_slices(column: str, values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    finite = values[np.isfinite(values)]
    cuts = np.unique(np.quantile(finite, _QUARTILES, method="inverted_cdf")) if len(finite) else np.zeros(0, np.float32)
    place = np.searchsorted(cuts, values)
    ends = [-np.inf, *cuts.tolist(), np.inf]
    named = [(f"{low:.4g}<{column}<={high:.4g}", (place == i) & ~np.isnan(values)) for i, (low, high) in enumerate(pairwise(ends))]
    return [*named, (f"{column} missing", np.isnan(values))]


def _sign(metric: Metric) -> int:
    return 1 if metric in GREATER_IS_BETTER else -1


def _value(found: Judged, value: Value, gates: Gates, generator: np.random.Generator) -> Check:
    at = measured(value.metric, found.labels, found.candidate, found.weights)
    drawn = draws(found.blocks, repeats=gates.repeats, generator=generator)
    values = resampled(weighed(value.metric, found.labels, found.candidate), found.weights, found.blocks, drawn)
    if value.at_least is not None:
        bound, limit, word = lower_bound(values, gates.confidence), value.at_least, "least"
        passed = bound >= limit
    else:
        assert value.at_most is not None
        bound, limit, word = -lower_bound(-values, gates.confidence), value.at_most, "most"
        passed = bound <= limit
    text = f"{value.metric} is {at:.4f}, surely at {word} {bound:.4f}; at {word} {limit:g} is asked for"
    return Check(name=value.metric, passed=bool(passed), text=text, rows=len(found.labels), candidate=at, bound=bound, limit=limit)


def _change(found: Judged, change: Change, gates: Gates, generator: np.random.Generator, *, part: str = "") -> Check:
    assert found.champion is not None
    metric, sign = change.metric, _sign(change.metric)
    before, after = (measured(metric, found.labels, scores, found.weights) for scores in (found.champion, found.candidate))
    drawn = draws(found.blocks, repeats=gates.repeats, generator=generator)
    old, new = (weighed(metric, found.labels, scores) for scores in (found.champion, found.candidate))
    changes = sign * resampled(lambda w: new(w) - old(w), found.weights, found.blocks, drawn)
    bound, better = lower_bound(changes, gates.confidence), sign * (after - before)
    where = f" on {part}" if part else ""
    tolerance = change.tolerance + change.relative * abs(before)
    asked = f"worse by {tolerance:.4g} is tolerated" if tolerance >= 0 else f"better by {-tolerance:.4g} is asked for"
    text = (
        f"{metric}{where} goes from {before:.4f} to {after:.4f}, {abs(better):.4f} {'better' if better >= 0 else 'worse'}; surely "
        f"{abs(bound):.4f} {'better' if bound >= 0 else 'worse'} at the least, where {asked}"
    )
    return Check(
        name=metric, passed=bool(bound > -tolerance), text=text, slice=part, rows=len(found.labels), champion=before,
        candidate=after,
        change=better, bound=bound, limit=-tolerance, judged=bool(np.isfinite(better)) or not part,
    )  # fmt: skip


def _slices(found: Judged, rows: Dataset, slices: Slices, gates: Gates, generator: np.random.Generator) -> list[Check]:
    checks = []
    for name, mask in slices_of(rows, slices.columns):
        count = int(mask.sum())
        if count < slices.n_min:
            text = f"{name} has {count} rows, fewer than {slices.n_min}"
            checks.append(Check(name=slices.metric, passed=True, text=text, slice=name, rows=count, judged=False))
        else:
            change = Change(metric=slices.metric, tolerance=slices.tolerance, relative=slices.relative)
            checks.append(_change(found.take(mask), change, gates, generator, part=name))
    return checks


def _cross(  # noqa: PLR0917 - as its neighbours, and one more
    found: Judged, rows: Dataset, cross: CrossSlice, n_min: int, gates: Gates, generator: np.random.Generator
) -> Check:
    """The widest difference between two slices; its bound is that of the same difference in each draw."""
    parts = [(name, mask) for name, mask in slices_of(rows, (cross.column,)) if mask.sum() >= n_min]
    if len(parts) < 2:
        text = f"{cross.column} has fewer than two slices of {n_min} rows"
        return Check(name=cross.metric, passed=True, text=text, slice=cross.column, judged=False)
    of_parts = [(weighed(cross.metric, found.labels[mask], found.candidate[mask]), mask) for _, mask in parts]

    def gap(weights: np.ndarray) -> float:
        values = [of_part(weights[mask]) for of_part, mask in of_parts]
        return max(values) - min(values)

    drawn = draws(found.blocks, repeats=gates.repeats, generator=generator)
    at = gap(found.weights)
    bound = -lower_bound(-resampled(gap, found.weights, found.blocks, drawn), gates.confidence)
    text = f"{cross.metric} differs by {at:.4f} between slices of {cross.column}, at the most {bound:.4f}; {cross.at_most:g} is allowed"
    return Check(
        name=cross.metric, passed=bool(bound <= cross.at_most), text=text, slice=cross.column, rows=len(found.labels), candidate=at,
        bound=bound, limit=cross.at_most,
    )  # fmt: skip


def _figures(found: Judged, scores: np.ndarray, kind: Kind) -> dict[str, float]:
    values = {metric: measured(metric, found.labels, scores, found.weights) for metric in METRICS_OF[kind]}
    return {"rows": float(len(found.labels))} | {metric: value for metric, value in values.items() if np.isfinite(value)}
