"""Whether rows keep the contract of the version that is to be replaced, before anything is trained on them. Pure: counts in, findings out.

Schema, missing values, ranges, categories, labels and times are the contract's; distributions are compared with the version's reference
profile. That they moved is often why there is a job at all, so by itself it warns; a column that lost its values, or all of one kind, does
not become a model.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import msgspec
import numpy as np

from kernels.divergence import js_distance_bits, l_infinity, psi
from registry.profile import Categorical, Numeric, Profile
from registry.schema import Field, Schema
from retrain.surveying import Counts, Survey, features_of, shown
from retrain.target import YES_NO, Target

Level = Literal["ok", "warn", "fail"]
Check = Literal["schema", "missing", "range", "categories", "distribution", "rows", "labels", "times"]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_ORDER: tuple[Level, ...] = ("ok", "warn", "fail")


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What rows may be like."""

    min_rows: Annotated[int, msgspec.Meta(ge=1)] = 1_000  # with a label
    min_yes_share: Share = 0.001  # of the labelled rows, and as much of the other kind, or of every class
    max_violations: Share = 0.0  # share of rows of a column that break its contract
    max_missing_rise: Share = 0.1  # share of missing values over that of the reference
    warn_psi: float = 0.1
    fail_psi: float | None = None  # None: a distribution that moved is no reason not to learn it


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One check of one column, or of all rows where `column` is empty."""

    column: str
    check: Check
    level: Level
    value: float
    limit: float | None
    text: str


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """A column beside its reference, bin by bin: shares of all rows."""

    column: str
    bins: tuple[str, ...]
    reference: tuple[float, ...]
    rows: tuple[float, ...]
    psi: float
    js_distance: float
    l_infinity: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was looked at."""

    model: str
    version: int
    dataset: str  # digest of the snapshot
    rows: int
    labelled: int
    yes: int
    first_us: int | None
    last_us: int | None
    findings: tuple[Finding, ...]
    distributions: tuple[Distribution, ...]

    @property
    def level(self) -> Level:
        """The worst of all."""
        return max((finding.level for finding in self.findings), key=_ORDER.index, default="ok")

    @property
    def failures(self) -> list[Finding]:
        """What forbids a training."""
        return [finding for finding in self.findings if finding.level == "fail"]


def judge(
    survey: Survey,
    schema: Schema,
    profile: Profile | None,
    limits: Limits,
    *,
    model: str,
    version: int,
    dataset: str,
    target: Target = YES_NO,
) -> Report:
    """Hold counts against the contract, the profile and the limits."""
    features = features_of(profile)
    findings = [*_of_rows(survey, limits, target), *_of_schema(survey)]
    distributions = []
    for field in schema.inputs:
        counts = survey.columns.get(field.name)
        if counts is None or not counts.rows:
            continue
        feature = features.get(field.name)
        findings += _of_values(counts, field, feature, limits)
        if feature is not None and counts.slots is not None and profile is not None:
            beside = _beside(counts, feature)
            distributions.append(beside)
            findings.append(_of_distribution(beside, limits))
    return Report(
        model=model, version=version, dataset=dataset, rows=survey.rows, labelled=survey.labelled, yes=survey.yes,
        first_us=survey.first_us, last_us=survey.last_us, findings=tuple(findings), distributions=tuple(distributions),
    )  # fmt: skip


def _of_rows(survey: Survey, limits: Limits, target: Target) -> list[Finding]:
    wrong = f"{survey.wrong_labels:,} labels are {target.expected}"
    enough = survey.labelled >= limits.min_rows
    return [
        _finding("", "rows", enough, survey.labelled, limits.min_rows, f"{survey.labelled:,} of {survey.rows:,} rows have a label"),
        _finding("", "labels", not survey.wrong_labels, survey.wrong_labels, 0, wrong),
        _of_labels(survey, limits, target),
        _finding("", "times", not survey.untimed, survey.untimed, 0, f"{survey.untimed:,} rows have no time", otherwise="warn"),
    ]


def _of_labels(survey: Survey, limits: Limits, target: Target) -> Finding:
    """Of each kind there are some; numbers differ."""
    if target.kind == "number":
        least, most = survey.label_range or (0.0, 0.0)
        return _finding("", "labels", least < most, most - least, 0, f"the labels lie between {least:g} and {most:g}")
    shares = {kind: survey.classes.get(kind, 0) / max(survey.labelled, 1) for kind in range(target.classes)}
    rarest = min(shares, key=lambda kind: shares[kind])
    rare = shares[rarest]
    text = f"{rare:.2%} of the labels are of the rare{'r kind' if target.kind == 'yes_no' else f'st class, {rarest}'}"
    return _finding("", "labels", rare >= limits.min_yes_share, rare, limits.min_yes_share, text)


def _of_schema(survey: Survey) -> list[Finding]:
    found = [_finding(name, "schema", False, 1, 0, "there is no such column") for name in survey.absent]
    found += [_finding(name, "schema", False, 1, 0, f"the column is {kind}") for name, kind in survey.misfits.items()]
    return found or [_finding("", "schema", True, 0, 0, "every input has a column of its kind")]


def _of_values(counts: Counts, field: Field, feature: Numeric | Categorical | None, limits: Limits) -> list[Finding]:
    rows, name = counts.rows, counts.name
    missing = counts.missing / rows
    found = []
    if field.nulls == "refused":
        found.append(_share(name, "missing", missing, limits.max_violations, f"{counts.missing:,} of {rows:,} values are missing"))
    else:
        usual = _missing_share(feature)
        text = f"{missing:.2%} of the values are missing, {usual:.2%} in the reference"
        found.append(_share(name, "missing", missing, min(usual + limits.max_missing_rise, 1.0), text))
    if counts.kind == "number":
        broken, bounds = counts.below + counts.above, field.range
        found.append(_share(name, "range", counts.infinite / rows, limits.max_violations, f"{counts.infinite:,} values are infinite"))
        if bounds is not None:
            ends = f"{'-∞' if bounds.min is None else f'{bounds.min:g}'} … {'∞' if bounds.max is None else f'{bounds.max:g}'}"
            found.append(
                _share(name, "range", broken / rows, limits.max_violations, f"{broken:,} of {rows:,} values lie outside of {ends}")
            )
    if field.categories is not None and counts.kind == "text":
        text = f"{counts.unknown:,} values are none of the contract's" + (f": {shown(counts.strangers)}" if counts.unknown else "")
        found.append(_share(name, "categories", counts.unknown / rows, limits.max_violations, text))
    return found


def _of_distribution(beside: Distribution, limits: Limits) -> Finding:
    text = f"PSI {beside.psi:.3f}, Jensen-Shannon distance {beside.js_distance:.3f}, L∞ {beside.l_infinity:.3f} to the reference"
    failed = limits.fail_psi is not None and beside.psi >= limits.fail_psi
    level: Level = "fail" if failed else "warn" if beside.psi >= limits.warn_psi else "ok"
    limit = limits.fail_psi if failed else limits.warn_psi
    return Finding(column=beside.column, check="distribution", level=level, value=beside.psi, limit=limit, text=text)


def _beside(counts: Counts, feature: Numeric | Categorical) -> Distribution:
    assert counts.slots is not None
    live, reference = counts.slots.astype(np.float64), np.array(feature.counts, np.float64)
    return Distribution(
        column=counts.name,
        bins=slot_names(feature),
        reference=tuple((reference / max(reference.sum(), 1)).tolist()),
        rows=tuple((live / max(live.sum(), 1)).tolist()),
        psi=float(psi(live, reference)),
        js_distance=float(js_distance_bits(live, reference)),
        l_infinity=float(l_infinity(live, reference)),
    )


def slot_names(feature: Numeric | Categorical) -> tuple[str, ...]:
    """What each slot of a profile's feature holds, for people."""
    if isinstance(feature, Categorical):
        return (*map(str, feature.categories), "other", "missing")
    edges = feature.edges
    bins = [f"({low:.4g}, {high:.4g}]" for low, high in pairwise(edges)]
    return ("-∞", f"≤ {edges[0]:.4g}", *bins, f"> {edges[-1]:.4g}", "∞", "missing")


def _missing_share(feature: Numeric | Categorical | None) -> float:
    return 0.0 if feature is None else feature.counts[-1] / max(sum(feature.counts), 1)


def _share(column: str, check: Check, value: float, limit: float, text: str) -> Finding:
    return _finding(column, check, value <= limit, value, limit, text)


def _finding(  # noqa: PLR0917 - a row of a table
    column: str, check: Check, good: bool, value: float, limit: float, text: str, *, otherwise: Level = "fail"
) -> Finding:
    return Finding(column=column, check=check, level="ok" if good else otherwise, value=float(value), limit=float(limit), text=text)
