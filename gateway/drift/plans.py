"""What is kept of one version: the layout of its block, from its profile, its schema and the settings. Pure.

Supervisor, workers and the evaluating process each derive the same plan from the same content.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from gateway.drift.layout import Layout, layout_of
from gateway.drift.rules import Rule, rules_of
from gateway.drift_settings import Contract, DriftPlan, Segments
from registry.profile import Categorical, Profile
from registry.schema import Schema

LEARN_BYTES = 16 << 20  # of rows that one worker keeps to learn a profile from; touched only while it learns


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """What is counted of one version."""

    profile: Profile | None
    schema: Schema | None
    rules: tuple[Rule, ...]
    segments: tuple[str, ...]  # names, the last for all others; () where traffic is not divided
    segment_feature: str | None  # that divides it; None with names: a parameter does
    segment_parameter: str | None
    learn_rows: int  # until there is a profile
    bins: bool  # the metrics page has a counter for each
    layout: Layout

    @property
    def checksum(self) -> int:
        """Of the layout and of what its lines stand for: as many segments with other names are another plan."""
        meant = (self.segments, self.segment_feature, self.segment_parameter, [(rule.port, rule.kind) for rule in self.rules])
        return self.layout.checksum ^ zlib.crc32(repr(meant).encode())


def plan_of(profile: Profile | None, schema: Schema | None, drift: DriftPlan, contract: Contract) -> WatchPlan | None:
    """None where there is nothing to keep."""
    profile = profile if drift.watched else None
    rules = rules_of(schema, contract)
    learn_rows = drift.learn_rows if drift.watched and profile is None else 0
    if profile is None and not rules and not learn_rows:
        return None
    names = _segments(profile, drift.segments) if profile is not None and drift.segments is not None else ()
    layout = layout_of(profile, segments=len(names) or 1, rules=len(rules), learn_bytes=LEARN_BYTES if learn_rows else 0)
    asked = drift.segments if names else None
    feature, parameter = (asked.feature, asked.parameter) if asked else (None, None)
    return WatchPlan(profile, schema, rules, names, feature, parameter, learn_rows, drift.bins, layout)


def _segments(profile: Profile, asked: Segments) -> tuple[str, ...]:
    """Names of the segments; none where the profile has no such feature."""
    if asked.parameter is not None:
        return (*asked.values, "other")
    for feature in profile.categorical:
        if feature.name == asked.feature:
            return (*map(str, feature.categories[: asked.most]), "other")
    return ()


def segment_feature(plan: WatchPlan) -> Categorical | None:
    """The feature that divides traffic, if one does."""
    if plan.profile is None or plan.segment_feature is None:
        return None
    return next((feature for feature in plan.profile.categorical if feature.name == plan.segment_feature), None)
