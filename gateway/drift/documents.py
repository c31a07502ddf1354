"""The documents about one version: `Findings` for whoever asks, `Gauges` for the metrics page."""

from __future__ import annotations

import math

import numpy as np

from gateway.drift.display import estimate_of, feature_finding, segment_findings, violations
from gateway.drift.evidence import LEAST
from gateway.drift.findings import FeatureFinding, Findings, Gauges, HourFinding, PerformanceFinding, Reference, Scope, Window
from gateway.drift.layout import ROWS
from gateway.drift.sentences import performance_sentence, version_sentence
from gateway.drift.states import Standing, State
from gateway.drift.watch import Watch
from gateway.drift.windows import mean_psi


def findings_of(watch: Watch, *, reference_made_s: float | None = None) -> Findings:
    """Everything that is known, as of the last look. `reference_made_s`: when the profile was made, if that is known."""
    kind, block = watch.window()
    features = _features(watch, block)
    standing, performance = watch.standing(), _performance(watch, block)
    moved = [feature.name for feature in features if feature.state != State.OK.name]
    at_risk = watch.performance.state is not State.OK
    return Findings(
        state=standing.state.name,
        since_s=standing.since_s,
        sentence=version_sentence(standing.state, moved, len(features), rows=watch.rows, at_risk=at_risk),
        rows=watch.rows,
        window=Window(kind=kind, rows=int(block[ROWS]), minutes=watch.policy.recent_minutes if kind == "minutes" else None),
        reference=Reference(
            digest=watch.digest, source=watch.profile.source, rows=watch.profile.rows,
            age_s=None if reference_made_s is None else watch.looked_s - reference_made_s,
        ),
        alpha=watch.policy.alpha,
        log_e=max(watch.log_e, LEAST),
        log_e_windows=watch.log_e_windows if watch.layer else None,
        log_e_needed=-math.log(watch.policy.test_alpha),
        together=_scope(watch.together),
        predictions=_scope(watch.predictions()),
        features=features,
        performance=performance,
        segments=segment_findings(watch.cells, watch.segments, block, watch.total.block, watch.policy),
        violations=violations(watch.rules, watch.total.rules),
        hours=_hours(watch),
    )  # fmt: skip


def gauges_of(watch: Watch) -> Gauges:
    """What the metrics page shows, as of the last look."""
    assert watch.signs is not None, "nothing has been looked at"
    _, block = watch.window()
    scopes = {"global": watch.standing(), "predictions": watch.predictions()}
    recent = watch.estimate(block) if watch.table else None
    if recent is not None:
        scopes["performance"] = watch.performance
    accuracy = None if recent is None else recent.accuracy
    signs = watch.signs
    return Gauges(
        rows=watch.rows,
        states={name: int(standing.state) for name, standing in scopes.items()},
        features=tuple(feature.name for feature in watch.cells.features),
        feature_states=tuple(int(standing.state) for standing in watch.standings),
        psi=tuple(watch.psi(block).tolist()),
        log_e={
            name: tuple(np.maximum(values, LEAST).tolist())
            for name, values in (("any", signs.any), ("tolerance", signs.tolerance), ("detector", signs.detector))
        },
        accuracy={} if accuracy is None else {"low": accuracy.low, "mid": accuracy.mid, "high": accuracy.high},
        violations=violations(watch.rules, watch.total.rules),
    )


def _features(watch: Watch, block: np.ndarray) -> tuple[FeatureFinding, ...]:
    """The ones that moved first, by state and then by what they add."""
    if watch.signs is None:
        return ()
    shown, arms = watch.shown(block), watch.evidence.any.number.tolist()
    found = [
        feature_finding(
            watch.cells, index, shown=shown, signs=watch.signs, standing=standing, change=watch.changes.get(index), arm=arms[index]
        )
        for index, standing in enumerate(watch.standings)
    ]
    return tuple(sorted(found, key=lambda feature: (-State[feature.state], -sum(slot.nats for slot in feature.histogram))))


def _performance(watch: Watch, block: np.ndarray) -> PerformanceFinding | None:
    if watch.table is None:
        return None
    recent, calibration = watch.estimate(block), watch.table.calibration
    trustworthy = watch.trustworthy(recent)
    return PerformanceFinding(
        state=watch.performance.state.name,
        since_s=watch.performance.since_s,
        all=estimate_of(watch.estimate(watch.total.block)),
        recent=estimate_of(recent),
        reference_accuracy=calibration.accuracy,
        reference_auc=calibration.auc,
        trustworthy=trustworthy,
        sentence=performance_sentence(recent, calibration.accuracy, trustworthy=trustworthy),
    )


def _hours(watch: Watch) -> tuple[HourFinding, ...]:
    hours = ((begin_s, int(block[ROWS]), mean_psi(watch.cells, watch.cells.total(block))) for begin_s, block in watch.rings.each_hour())
    return tuple(HourFinding(begin_s=begin_s, rows=rows, psi=distance) for begin_s, rows, distance in hours if rows)


def _scope(standing: Standing) -> Scope:
    return Scope(state=standing.state.name, since_s=standing.since_s)
