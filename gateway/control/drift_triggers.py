"""An ALARM asks for a new version, once: a retrain trigger in the registry that the version came from.

What could not be written is tried again with the next look. A registry that cannot be written to, or a repository that is none, costs a
line in the log for each ALARM.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from gateway.drift.documents import findings_of
from gateway.drift.states import State
from gateway.drift.watch import Watch
from registry.discovery import Source
from registry.errors import Kind, RegistryError
from registry.triggers import Window

_log = logging.getLogger(__name__)
_REASON = 400  # characters
RULES = {"performance": "estimated_performance", "predictions": "prediction_drift", "features": "feature_drift"}


class DriftTriggers:
    """Of one server."""

    def __init__(self, proposer: str) -> None:
        """`proposer`: the server's name."""
        self._proposer = proposer
        self._seen: dict[tuple[str, int], float] = {}  # since when a version is in the ALARM that was dealt with

    def look(self, source: Source, model: str, version: int, watch: Watch, wall_s: float) -> None:
        """Propose a trigger where a version has come to be in ALARM."""
        standing = watch.standing()
        if standing.state is not State.ALARM:
            self._seen.pop((model, version), None)
            return
        if self._seen.get((model, version)) == standing.since_s:
            return
        try:
            new = self._propose(source, model, version, watch, wall_s)
        except RegistryError as error:
            _log.error("no retrain trigger for %s/%d: %s", model, version, error.message)
            if error.kind is Kind.STORAGE:
                return
        else:
            _log.warning("retrain trigger for %s/%d: %s", model, version, new)
        self._seen[model, version] = standing.since_s

    def _propose(self, source: Source, model: str, version: int, watch: Watch, wall_s: float) -> str:
        """The trigger's id. Raises `RegistryError`."""
        found = findings_of(watch)
        rule = _rule(watch)
        moved = [feature for feature in found.features if feature.state == State.ALARM.name]
        evidence = {"log_e": found.log_e, "log_e_needed": found.log_e_needed} | {f"psi {one.name}": one.psi for one in moved[:32]}
        reason = next((one.sentence for one in moved), found.sentence) if rule != RULES["performance"] else found.sentence
        changes = [change.wall_s for change in watch.changes.values()]
        trigger, _ = source.triggers().propose(
            model, version, manifest=source.manifest(model, version), rule=rule, reason=reason[:_REASON],
            features=tuple([one.name for one in moved]), evidence=evidence,
            window=Window(start=_moment(min([*changes, wall_s])), end=_moment(wall_s), rows=found.window.rows),
            proposer=self._proposer, now_s=watch.standing().since_s,  # so that it is the same trigger after a restart
        )  # fmt: skip
        return trigger.id


def _rule(watch: Watch) -> str:
    if watch.performance.state is State.ALARM:
        return RULES["performance"]
    return RULES["predictions" if watch.predictions().state is State.ALARM else "features"]


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
