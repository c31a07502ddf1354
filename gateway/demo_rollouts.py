"""Two candidates for champion under live traffic: one that learned from shuffled labels, and one that learned from a month more.

Both follow one plan, and the verdicts are the server's. Callers ask for one flight at a time, and every answer is held against what
scikit-learn says for the version that gave it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from gateway.client import Answer
from gateway.client_admin import AdminClient
from gateway.client_rest import RestClient
from gateway.clock import Clock
from gateway.control.rollout_work import Applying
from gateway.demo_story import MODEL, PERSON, DemoError, Server, Story, published
from gateway.load import closed_loop
from gateway.rollout.status import HistoryEntry, Status
from registry.store import Store

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from retrain.dataset import Dataset

CONCURRENCY = 4  # the machine has time to spare, which is what a shadow runs in
AT_ONCE = 500  # requests between two looks at the rollout
PATIENCE_S = 240.0
UNIT = "flight"  # the parameter by which a rollout tells callers apart
ENOUGH = {"ratio": None, "or_abs": 0.05}
TOLD = ("pass", "fail", "moved", "rolled")  # of what happened to a rollout
PLAN: dict[str, Any] = {
    "apiVersion": "tidegate/v1",
    "kind": "Rollout",
    "spec": {
        "model": MODEL,
        "unit": {"from": [f"parameter:{UNIT}"]},
        "rollback_window": 0,  # an earlier run of the demo may have had it
        "keep_stable_warm": "1s",
        "strategy": {
            "steps": [
                {"shadow": {"percent": 100, "max_share_of_capacity": 1.0}, "until": {"min_units": 400}},
                {"setWeight": 10, "until": {"min_units": 100}},
                {"setWeight": 50, "until": {"min_units": 500}},
            ]
        },
        "analysis": {
            "warmup": {"requests": 0, "duration": "0s"},
            "metrics": [
                {"name": "errors", "type": "rate", "event": "server_error", "critical": True, "pass_if": ENOUGH},
                {"name": "bad_output", "type": "rate", "event": "bad_output", "critical": True, "pass_if": ENOUGH},
                {"name": "refused", "type": "rate", "event": "rejected_input", "critical": True, "pass_if": ENOUGH},
                {"name": "agreement", "type": "agreement", "min": 0.75, "critical": True, "tolerance": {"atol": 0.1, "rtol": 0.0}},
            ],
        },
    },
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that somebody would like to be champion."""

    title: str
    learned: str  # from what
    rows: Dataset
    end: str  # the phase in which its rollout has to end


@dataclass(slots=True)
class Traffic:
    """Callers who come one after the other, and who must get what their version says."""

    server: Server
    flights: Dataset
    pipelines: dict[str, Pipeline]  # by version
    sent: int = 0

    def some(self) -> Counter[str]:
        """Some requests, and how many each version answered. Raises `DemoError`."""
        start = self.sent % self.flights.rows
        rows = self.flights.take(slice(start, start + AT_ONCE))
        client = self.server.client
        messages = [
            client.request(MODEL, rows.take(slice(row, row + 1)).tensors(), parameters={UNIT: str(start + row)}) for row in range(rows.rows)
        ]
        answers: list[tuple[int, Answer]] = []
        found = closed_loop(
            client, messages, concurrency=CONCURRENCY, requests=rows.rows, answered=lambda *answered: answers.append(answered)
        )
        self.sent += rows.rows
        if found.errors:
            raise DemoError(f"{rows.rows - found.rows} of {rows.rows} requests were not answered: {found.errors}")
        self._check(rows, answers)
        return Counter(answer.version for _, answer in answers)

    def _check(self, rows: Dataset, answers: list[tuple[int, Answer]]) -> None:
        from retrain.export import TOLERANCE
        from retrain.target import PROBABILITIES
        from retrain.train import frame

        expected = {version: pipeline.predict_proba(frame(rows))[:, 1] for version, pipeline in self.pipelines.items()}
        for index, answer in answers:
            if not abs(float(answer.outputs[PROBABILITIES][0, 1]) - expected[answer.version][index]) <= TOLERANCE:
                raise DemoError(f"version {answer.version} answered flight {index} otherwise than scikit-learn does")


def candidates(january: Dataset, february: Dataset) -> list[Candidate]:
    """The worse one, and the better one."""
    shuffled = np.random.default_rng(0).permutation(january.labels)
    return [
        Candidate("Worse", "January with its labels shuffled", january.labelled(shuffled), "rolled_back"),
        Candidate("Better", "January and February", january.and_then(february), "succeeded"),
    ]


def roll_out(
    story: Story, server: Server, store: Store, candidate: Candidate, *,
    flights: Dataset, reference: Dataset, champion: tuple[str, Pipeline], clock: Clock,
) -> dict[str, Any]:  # fmt: skip
    """Publish a candidate and let the server decide. `reference`: rows for its parity with scikit-learn. Raises `DemoError`."""
    from retrain import export, train

    with story.step(candidate.title) as done:
        pipeline = train.fit(candidate.rows)
        put = published(store, export.export(pipeline, reference, fitted=candidate.rows), clock)
        auc, other = [train.score(flights.labels, one.predict_proba(train.frame(flights))[:, 1]).auc for one in (pipeline, champion[1])]
        traffic = Traffic(server, flights, {champion[0]: champion[1], str(put.version): pipeline})
        status, answered = _decided(server, put.version, traffic, clock)
        entries = AdminClient(RestClient(server.admin)).history(status.id).entries
        if status.phase != candidate.end:
            raise DemoError(f"rollout {status.id} of version {put.version} is {status.phase}, and not {candidate.end}: {status.reason}")
        counts = ", ".join(f"{count:,} by version {version}" for version, count in sorted(answered.items()))
        done(
            f"version {put.version} learned from {candidate.learned} (AUC in March {auc:.3f}, the champion's {other:.3f}): "
            f"{status.phase.replace('_', ' ')}; {traffic.sent:,} flights of March answered meanwhile, {counts}, each as scikit-learn does"
        )
    for line in told(entries):
        story.text(f"  {line}")
    return {
        "version": put.version, "rollout": status.id, "phase": status.phase, "auc": round(auc, 4), "champion_auc": round(other, 4),
        "answered": dict(answered), "history": [entry.event for entry in entries], "verdicts": told(entries),
    }  # fmt: skip


def plan(version: int) -> bytes:
    """The plan of a version, as a file would have it: JSON is YAML."""
    spec = {**PLAN["spec"], "candidate": {"version": version}}
    return msgspec.json.encode({**PLAN, "metadata": {"name": f"{MODEL}-{version}"}, "spec": spec})


def told(entries: tuple[HistoryEntry, ...]) -> list[str]:
    """What the server decided, and why, in its words."""
    return [f"{entry.event}: {entry.reason}" for entry in entries if entry.event in TOLD]


def _decided(server: Server, version: int, traffic: Traffic, clock: Clock) -> tuple[Status, Counter[str]]:
    """Ask for flights until the rollout is over."""
    admin, until = AdminClient(RestClient(server.admin)), clock.now() + PATIENCE_S
    rollout = admin.apply(plan(version), Applying(actor=PERSON, reason="the demo", force=True)).status.id
    answered: Counter[str] = Counter()
    while True:
        answered += traffic.some()
        status = admin.status(rollout)
        if status.final:
            return status, answered
        if clock.now() > until or server.child.status is not None:
            raise DemoError(f"rollout {rollout} does not end: {status.phase}, {status.waiting or status.reason}")
