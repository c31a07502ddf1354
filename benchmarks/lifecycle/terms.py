"""A server that is stopped under load, again and again: what it has accepted it answers, what it has not it refuses, and it ends with 0.

Readiness goes first and for a while it serves on; then connections are told, listeners close, open requests finish. Its totals are kept
in a state directory, so that the requests that it says it answered OK can be held against the answers that callers have.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from benchmarks.lifecycle import registries
from benchmarks.lifecycle.callers import Callers, Size
from benchmarks.lifecycle.gateway import serving
from benchmarks.lifecycle.reloads import truths
from benchmarks.lifecycle.truth import Truth
from benchmarks.lifecycle.verdicts import bar, judge, outcomes
from benchmarks.load.messages import Prepared
from registry.checkpoint import CheckpointFile
from registry.state_directory import StateDirectory

SIZES = {"grpc": Size(connections=4, streams=4), "http": Size(connections=4)}
BEFORE_S, LONGEST_S, EXIT_S = 0.3, 30.0, 25.0
MAY_HAPPEN = {
    "grpc UNAVAILABLE", "grpc unaccepted", "grpc refused connection", "http 503", "http closed", "http refused connection",
}  # fmt: skip
SETTINGS = "processes: {{workers: 2, spare: false, drain_delay_s: 0.2, state: {state}}}\n"


def measure(folder: Path, *, terms: int, cores: str, seed: int, python: str) -> dict[str, Any]:
    """Each time another server on the same registry and state directory."""
    registries.two_versions(folder / "registry")
    requests, judges = truths(seed)
    runs, counted = [], 0
    for _ in range(terms):
        run = _round(folder, requests, judges, cores, python)
        total = _kept(folder / "state")
        run["counted"], counted = total - counted, total
        runs.append(run)
    return {"terms": {"runs": runs}}


def bars(measurements: dict[str, Any]) -> list[dict[str, Any]]:
    """Everything accepted was answered; nothing failed before, and nothing but refusals after."""
    runs = measurements["terms"]["runs"]
    unfit = sum(count for run in runs for outcome, count in run["outcomes"].items() if outcome not in MAY_HAPPEN)
    return [
        bar("terms_answers", min(run["answers"] for run in runs), ">=", 100),
        bar("terms_wrong", sum(run["wrong"] for run in runs), "==", 0),
        bar("terms_failed_before", sum(run["failed_before"] for run in runs), "==", 0),
        bar("terms_other_outcomes", unfit, "==", 0),
        bar("terms_answered_without_a_caller", sum(abs(run["counted"] - run["answers"]) for run in runs), "==", 0),
        bar("terms_exit_status", max(abs(run["status"]) for run in runs), "==", 0),
    ]


def _round(folder: Path, requests: dict[str, list[Prepared]], judges: dict[str, Truth], cores: str, python: str) -> dict[str, Any]:
    settings = SETTINGS.format(state=folder / "state")
    with serving(folder, folder / "registry", settings, cores=cores, python=python) as gateway:
        groups = [Callers(name, gateway.address(name), requests[name], size).start(LONGEST_S) for name, size in SIZES.items()]
        time.sleep(BEFORE_S)
        failed_before = sum(group.failed for group in groups)
        start = time.monotonic()
        os.kill(gateway.server.pid, signal.SIGTERM)
        status = gateway.server.wait(EXIT_S)
        seconds = time.monotonic() - start
        for group in groups:
            group.stop()
        answers = [group.finish() for group in groups]
        errors = gateway.errors()
    judged = [judge(each, judges[each.protocol]) for each in answers]
    return {
        "answers": sum(each.ok for each in answers), "failed_before": failed_before, "outcomes": outcomes(answers),
        "wrong": sum(each.wrong_count for each in judged), "faults": [text for each in judged for text in each.wrong],
        "status": 255 if status is None else status, "stop_s": round(seconds, 3), "log_errors": errors[:5],
    }  # fmt: skip


def _kept(path: Path) -> int:
    """Requests answered OK, of all servers that had this state directory."""
    directory = StateDirectory.hold(path, now_s=time.time())
    try:
        found, _ = CheckpointFile(directory).load()
    finally:
        directory.close()
    assert found is not None, "a server that ends keeps its totals"
    return sum(count for row in found.rows for outcome, count in row.requests.items() if outcome.endswith("/OK"))
