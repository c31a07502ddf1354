"""Families of the metrics page: known ones, labelled as they say, readable by prometheus-client, bounded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gateway.control.drift_page import VIOLATIONS, families_of
from gateway.drift.layout import ROWS
from gateway.drift.plans import WatchPlan, plan_of
from gateway.drift.policy import Policy
from gateway.drift.tracked import Tracked
from gateway.drift_settings import Contract, DriftPlan
from gateway.observe.page import GAUGES
from registry.profile import Profile
from registry.schema import Field, Range, Schema
from tests.gateway.drift.profiles import profile
from tests.gateway.observe.test_page import page_of, totals_of
from tests.gateway.observe.witness import read

SCHEMA = Schema(
    format=1, inputs=(Field(name="x", type="tensor(float)", shape=None, nulls="refused", range=Range(max=4)),), outputs=()
)  # fmt: skip


def plan(reference: Profile | None, *, bins: bool = False) -> WatchPlan:
    made = plan_of(reference, SCHEMA, DriftPlan(watched=True, learn_rows=10, bins=bins, segments=None), Contract())
    assert made is not None
    return made


def tracked(plan_: WatchPlan, *, broken: int = 3, looks: bool = True) -> Tracked:
    """A version of which 80 rows were counted, all in the second bin."""
    found = Tracked("m/1/d", plan_, Policy(), None, 0.0)
    block = np.zeros(plan_.layout.block_words, np.int64)
    views = plan_.layout.views(block)
    views.begin(plan_.layout.checksum)
    views.head[ROWS] = 80
    views.rules[0, 0] = broken
    for counts in views.counts:
        counts[0, :, 3] = 80
    for counts in views.categories:
        counts[0, 0] = 80
    found.tally.open("b", [block])
    if looks:
        found.look(60.0)
    return found


def sampled(families: dict[str, Any], family: str) -> dict[tuple[str, ...], float]:
    values = dict(families[family])
    assert len(values) == len(families[family]), "a series is there twice"
    return values


@pytest.mark.parametrize("bins", [True, False])
def test_families_are_those_of_the_page_and_prometheus_reads_them(bins: bool) -> None:
    """In both formats; every sample has the labels of its family."""
    families = families_of([("m", "1", tracked(plan(profile(calibration=True), bins=bins))), ('"', "2", tracked(plan(profile())))])
    assert families.keys() <= GAUGES.keys()
    for name, samples in families.items():
        assert all(len(labels) == len(GAUGES[name].labels) for labels, _ in samples), name
    _, totals = totals_of()
    gauges = {name: dict(samples) for name, samples in families.items()}
    for openmetrics in (True, False):
        series = read(page_of(totals, gauges).written(openmetrics=openmetrics))  # type: ignore[arg-type]
        drift = [key for key in series if key[0].startswith(("tidegate_drift", "tidegate_feature", "tidegate_contract", "tidegate_estim"))]
        assert sum(map(len, families.values())) == len(drift)
    assert bins == ("tidegate_feature_bin_total" in families)


def test_psi_follows_from_the_bins() -> None:
    """Every slot of every feature: counts sum to the rows, shares of the reference to 1."""
    families = families_of([("m", "1", tracked(plan(profile(), bins=True)))])
    counts, ratios = sampled(families, "tidegate_feature_bin_total"), sampled(families, "tidegate_feature_reference_ratio")
    assert counts.keys() == ratios.keys()
    for feature in ("x[0]", "x[1]", "c"):
        mine = [labels for labels in counts if labels[2] == feature]
        assert 80 == sum(counts[labels] for labels in mine)
        assert 1.0 == pytest.approx(sum(ratios[labels] for labels in mine))
        assert len(mine) == len(set(mine)) >= 4


def test_a_version_is_there_once_whatever_it_was_held_against() -> None:
    """Gauges are of the later reference; what broke rules adds up, or a counter would fall."""
    before, first, second = (tracked(plan(each), broken=at) for at, each in enumerate((None, profile(), profile(features=1)), 3))
    families = families_of([("m", "1", before), ("m", "1", first), ("m", "1", second)])
    assert {("m", "1", "x", "nulls", "observe"): 12.0, ("m", "1", "x", "range", "observe"): 0.0} == sampled(families, VIOLATIONS)
    for family in families:
        sampled(families, family)
    assert 80 == sampled(families, "tidegate_drift_rows_total")["m", "1"]


def test_what_nobody_has_looked_at_has_no_gauges() -> None:
    """But rules: they are counted as they are."""
    families = families_of([("m", "1", tracked(plan(profile()), looks=False))])
    assert {VIOLATIONS} == families.keys()


def test_numbers_that_json_does_not_have_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would end the channel."""
    found = tracked(plan(profile()))
    gauges = found.gauges()
    assert gauges is not None
    broken = type(gauges)(**{name: getattr(gauges, name) for name in gauges.__struct_fields__} | {"psi": (np.nan, np.inf, 0.5)})
    monkeypatch.setattr(Tracked, "gauges", lambda _self: broken)
    assert {("m", "1", gauges.features[2]): 0.5} == sampled(families_of([("m", "1", found)]), "tidegate_drift_psi")


def test_bins_are_as_the_version_s_settings_say() -> None:
    """Each version by its own."""
    shown, hidden = tracked(plan(profile(), bins=True)), tracked(replace(plan(profile()), bins=False))
    families = families_of([("m", "1", shown), ("n", "1", hidden)])
    assert {"m"} == {labels[0] for labels, _ in families["tidegate_feature_bin_total"]}
