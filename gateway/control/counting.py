"""What the supervisor shows of its workers: the metrics page over the arena, with gauges of processes and versions beside the counters."""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Mapping, Sequence

from gateway import runtimes
from gateway.clock import Clock
from gateway.control.board import Board
from gateway.control.fleet import Fleet, Member
from gateway.control.placements import Placements
from gateway.control.state import ServerState
from gateway.control.steering import Steering
from gateway.errors import Code
from gateway.identity.quota import OUTCOMES
from gateway.limits import ObserveLimits
from gateway.observe.arena import Arena
from gateway.observe.page import Page, Values
from gateway.observe.statistics import ModelStats, stats_of
from gateway.observe.totals import OVERFLOW, SERIES_PER_VERSION, UNKNOWN, Totals
from gateway.observe.triton_names import SERIES


class Counting:
    """The page of one server."""

    def __init__(
        self, arena: Arena, totals: Totals, limits: ObserveLimits,
        *, triton_names: bool, more: Sequence[Callable[[], Mapping[str, Values]]], state: ServerState, fleet: Fleet, steering: Steering,
        placements: Placements, board: Board, clock: Clock,
    ) -> None:  # fmt: skip
        """`more`: what others show."""
        self._arena, self._placements, self._more = arena, placements, more
        self._totals, self._state, self._fleet, self._steering, self._board, self._clock = totals, state, fleet, steering, board, clock
        self.tenants: Collection[str] | None = None  # whose requests are shown by name; None: nobody has a quota
        page = Page(
            totals, build=_build(state), gauges=self._gauges, max_labelled=limits.max_labelled,
            now=clock.now, triton_names=triton_names,
        )  # fmt: skip
        self.page = page.page

    def statistics(self, model: str) -> tuple[ModelStats, ...]:
        """Of every version of a model that was ever counted; "" is all models."""
        rows = self._totals.snapshot().items()
        return tuple([stats_of(*key, slab) for key, slab in rows if key not in (UNKNOWN, OVERFLOW) and model in ("", key[0])])

    def _gauges(self) -> Mapping[str, Values]:
        totals, snapshot = self._totals, self._steering.snapshot
        routed, counters = self._steering.table.models, totals.counters()
        return {
            "tidegate_model_loaded": {(model, str(number)): 1.0 for model, numbers in routed.items() for number in numbers},
            "tidegate_model_state": {(one.model, str(one.version), snapshot.known[one].state.value): 1.0 for one in sorted(snapshot.known)},
            "tidegate_model_provider": self._placements.running,
            "tidegate_provider_fallbacks_total": self._placements.fallbacks,
            "tidegate_inflight_requests": totals.gauge("inflight_requests"),
            "tidegate_inflight_bytes": totals.gauge("inflight_bytes"),
            "tidegate_connections": totals.gauge("connections"),
            "tidegate_connections_refused": counters["refused_connections"],
            "tidegate_denied_total": {(code.name,): counters[code.name.lower()] for code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)},
            "tidegate_ready": float(self._state.ready),
            **self._of_tenants(),
            **{name: values for gauges in self._more for name, values in gauges().items()},
            **self._workers(),
        }

    def _of_tenants(self) -> Mapping[str, Values]:
        """Of those that the settings name, and of all others together; nothing where nobody has a quota."""
        return {"tidegate_tenant_requests_total": self._totals.tenants.of(self.tenants, OUTCOMES)} if self.tenants is not None else {}

    def _workers(self) -> Mapping[str, Values]:
        serving, now = self._steering.snapshot.serving, self._clock.now()
        workers = {(str(member.place),): member for member in self._fleet.workers}
        return {
            "tidegate_worker_ready": {key: float(member.number in serving) for key, member in workers.items()},
            "tidegate_worker_connections": self._of_region("connections", workers),
            "tidegate_worker_inflight_requests": self._of_region("inflight_requests", workers),
            "tidegate_worker_inflight_bytes": self._of_region("inflight_bytes", workers),
            "tidegate_worker_heartbeat_age_seconds": {
                key: max(0.0, now - beat)
                for key, member in workers.items()
                if (beat := self._board.heartbeat(member.place)) > member.started_s
            },
            "tidegate_worker_exits_total": {(reason,): float(count) for reason, count in self._fleet.exits.items()},
        }

    def _of_region(self, name: str, workers: Mapping[tuple[str], Member]) -> Values:
        return {key: self._arena.region(member.place)[name] for key, member in workers.items()}


def _build(state: ServerState) -> dict[str, str]:
    return {"version": state.version, "python": platform.python_version(), "onnxruntime": runtimes.shown()}


def series_of(*, triton_names: bool) -> int:
    """Series of one version on the page, at most."""
    return SERIES_PER_VERSION + (SERIES if triton_names else 0)
