"""On which providers the versions of all workers run, and how often one could not be had, for the metrics page."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.control.messages import Key, Report, Reports
from gateway.serving.lifecycle import State

Labels = tuple[str, ...]  # model, version, provider


class Placements:
    """What workers report. Runs on the supervisor's event loop."""

    def __init__(self) -> None:
        self.fallbacks: dict[Labels, float] = {}  # loads, by the provider that was missed
        self._by_worker: dict[int, dict[Key, Report]] = {}

    def reported(self, worker: int, reports: Reports) -> None:
        """A worker's whole list. A version that it has loaded since the list before counts its misses."""
        ready = {(one.model, one.version, one.identity): one for one in reports.versions if one.state is State.READY}
        before = self._by_worker.get(worker, {})
        self._by_worker[worker] = ready
        for key, report in ready.items():
            if key not in before:
                self._count(report)

    def left(self, worker: int) -> None:
        """It is gone, and what it held."""
        self._by_worker.pop(worker, None)

    @property
    def running(self) -> Mapping[Labels, float]:
        """Workers in which a version runs on a provider."""
        found: dict[Labels, float] = {}
        for ready in self._by_worker.values():
            for report in ready.values():
                labels = report.model, str(report.version), report.provider
                found[labels] = found.get(labels, 0.0) + 1.0
        return dict(sorted(found.items()))

    def _count(self, report: Report) -> None:
        for provider in report.missed:
            labels = report.model, str(report.version), provider
            self.fallbacks[labels] = self.fallbacks.get(labels, 0.0) + 1.0
