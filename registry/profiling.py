"""From reference rows to the profile of a version: bins, categories, moments, times between independent rows, clean windows, calibration.

Pure: arrays in, a `Profile` out. The content of a column never refuses it: constants, infinities and nothing but NaN make bins too. What a
profile leaves out, it says. `rows` reads a file into such arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from registry import profile as profiles
from registry.autocorrelation import autocorrelation_time, category_autocorrelation_time
from registry.calibration import calibration_of, score_of, truth_of
from registry.categories import categories_of, codes_of, is_open, tally
from registry.columns import Column, Feature, check, chosen, features_of
from registry.edges import BINS, bins_worth, cut, moments_of, slots_of
from registry.errors import refused
from registry.profile import MAX_CATEGORIES, Calibration, Categorical, Numeric, Profile
from registry.schema import Category, Schema
from registry.windows import Clean


@dataclass(frozen=True, slots=True)
class Profiled:
    """A profile, and one sentence about each thing that it leaves out."""

    profile: Profile
    notes: tuple[str, ...] = ()


def profile_of(
    columns: Sequence[Column],
    *,
    source: Literal["training", "log", "served"] = "training",
    schema: Schema | None = None,
    labels: np.ndarray | None = None,
    times_s: np.ndarray | None = None,
    bins: int = BINS,
) -> Profiled:
    """The profile of rows in the order of time; where `times_s`, [rows] seconds since the Unix epoch, says another order, they take that.

    `schema` says which values stand for missing ones. `labels`, [rows], are what the model's binary score is about; None or NaN where a row
    has none. Raises `Kind.INVALID_MODEL` for no rows, for arrays that are no rows of one table or no tensors, and for labels that are not
    of two kinds or of a model without such a score.
    """
    rows = check(columns)
    columns, labels, times_s = _in_time(columns, labels, times_s, rows)
    kept, notes = chosen(columns)
    nulls = {field.name: field.null_value for field in (*schema.inputs, *schema.outputs)} if schema else {}
    clean = Clean(rows, times_s)
    found: list[Numeric | Categorical] = []
    names: set[str] = set()
    for column in kept:
        for feature in features_of(column):
            found.append(_described(_renamed(feature, names), nulls.get(column.port), clean, bins))
            names.add(found[-1].name)
    profile = Profile(
        rows=rows,
        source=source,
        numeric=tuple(feature for feature in found if isinstance(feature, Numeric)),
        categorical=tuple(feature for feature in found if isinstance(feature, Categorical)),
        calibration=None if labels is None else _calibration(columns, labels),
        windows=clean.windows(),
    )
    return Profiled(profiles.check(profile), tuple(notes))


def _in_time(
    columns: Sequence[Column], labels: np.ndarray | None, times_s: np.ndarray | None, rows: int
) -> tuple[Sequence[Column], np.ndarray | None, np.ndarray | None]:
    """Everything in the order of time, rows of one moment as they were."""
    for what, array in (("labels", labels), ("times", times_s)):
        if array is not None and array.shape != (rows,):
            raise refused(f"there are {rows} reference rows and {what} of shape {list(array.shape)}")
    if times_s is None:
        return columns, labels, None
    if times_s.dtype.kind not in "fiu" or not np.isfinite(times_s).all():
        raise refused("the times of the reference rows are not all numbers of seconds")
    if (times_s[1:] >= times_s[:-1]).all():
        return columns, labels, times_s
    order = np.argsort(times_s, kind="stable")
    ordered = [replace(column, values=column.values[order]) for column in columns]
    return ordered, None if labels is None else labels[order], times_s[order]


def _renamed(feature: Feature, taken: set[str]) -> Feature:
    """With a name that no other feature has."""
    name = feature.name
    while name in taken:
        name = f"{name} ({feature.side})"
    return replace(feature, name=name)


def _described(feature: Feature, null: Category | None, clean: Clean, bins: int) -> Numeric | Categorical:
    if feature.values.dtype.kind == "f":
        return _numeric(feature, feature.values, None, clean, bins)
    counts = tally(feature.values)
    if feature.values.dtype.kind in "iu" and (len(counts.keys() - {null}) > MAX_CATEGORIES or is_open(counts)):
        assert not isinstance(null, str)  # the schema has checked it
        return _numeric(feature, feature.values.astype(np.float64), null, clean, bins)
    categories = categories_of(counts, null=null)
    codes = codes_of(feature.values, categories, null=null)
    slots = len(categories) + 2
    clean.add(codes, slots)
    return Categorical(
        name=feature.name,
        side=feature.side,
        port=feature.port,
        element=feature.element,
        categories=categories,
        counts=tuple(np.bincount(codes, minlength=slots).tolist()),
        null=null,
        tau=category_autocorrelation_time(codes),
    )


def _numeric(feature: Feature, values: np.ndarray, null: float | None, clean: Clean, bins: int) -> Numeric:
    tau = autocorrelation_time(values)
    edges, atoms = cut(values, bins=bins_worth(len(values) / tau, most=bins), forced=null)
    slots, number = slots_of(values, edges), len(edges) + 4
    clean.add(slots, number)
    mean, m2, m3, m4 = moments_of(values)
    return Numeric(
        name=feature.name,
        side=feature.side,
        port=feature.port,
        element=feature.element,
        kind=feature.kind,
        edges=tuple(edges.tolist()),
        counts=tuple(np.bincount(slots, minlength=number).tolist()),
        atoms=tuple(atoms.tolist()),
        mean=mean,
        m2=m2,
        m3=m3,
        m4=m4,
        tau=tau,
    )


def _calibration(columns: Sequence[Column], labels: np.ndarray) -> Calibration:
    output, element = score_of(columns)
    known, yes = truth_of(labels)
    scores = output.flat()[known, element]
    scored = np.isfinite(scores)
    if not scored.all():
        yes = yes[scored]
    return calibration_of(output.port, element, scores[scored], yes)
