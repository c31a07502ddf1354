"""The read-only port: metrics and health, on connections of their own so that probes never queue behind inference."""

from __future__ import annotations

import platform
import random
from collections.abc import Mapping

from gateway.clock import Clock
from gateway.control.probes import live, ready
from gateway.control.service import Service
from gateway.control.state import ServerState
from gateway.observe.page import Page, Values
from gateway.observe.totals import SERIES_PER_VERSION, Totals
from gateway.serving.model import RUNTIME_VERSION
from gateway.wire.exchange import Headers, HttpExchange, HttpHandler, HttpRefusal
from gateway.wire.head import RequestHead
from gateway.wire.http_stream import route_http
from gateway.wire.listener import Behind, Listener
from gateway.wire.stream import Acceptor


class Monitor:
    """GET /metrics, /v2/health/live, /v2/health/ready; `listener` holds its connections."""

    def __init__(
        self, totals: Totals, state: ServerState, service: Service, serving: Listener, *, clock: Clock, rng: random.Random
    ) -> None:
        self._service = service
        self._state = state
        self._serving = serving
        most = service.limits.observe.max_series // SERIES_PER_VERSION
        self._metrics = Page(totals, build=_build(state), gauges=self._gauges, max_labelled=most, now=clock.now)
        self._handlers: dict[bytes, HttpHandler] = {
            b"/metrics": self._page, b"/v2/health/live": live, b"/v2/health/ready": ready(state),
        }  # fmt: skip
        self.listener = Listener(serving.limits, Behind(self._route, self), clock=clock, rng=rng)

    def open_http(self, method: str, target: bytes, headers: Headers) -> HttpHandler:
        """GET and HEAD only."""
        handler = self._handlers.get(target)
        if handler is None:
            raise HttpRefusal(404, "Not Found")
        if method not in ("GET", "HEAD"):
            raise HttpRefusal(405, "Method Not Allowed", [(b"allow", b"GET, HEAD")])
        return handler

    def _route(self, head: RequestHead) -> Acceptor:
        return route_http(self, head, self.listener.limits)

    def _page(self, exchange: HttpExchange) -> None:
        accept = (exchange.header(b"accept") or b"").decode("latin-1")
        body, content_type = self._metrics.page(accept)
        exchange.respond(200, [(b"content-type", content_type.encode())], body)

    def _gauges(self) -> Mapping[str, Values]:
        budget = self._service.batcher.budget
        return {
            "tidegate_model_loaded": {(version.name, str(version.number)): 1.0 for version in self._service.routes.all()},
            "tidegate_inflight_requests": budget.requests, "tidegate_inflight_bytes": budget.bytes,
            "tidegate_connections": len(self._serving.peers), "tidegate_connections_refused": self._serving.refused,
            "tidegate_ready": float(self._state.ready),
        }  # fmt: skip


def _build(state: ServerState) -> dict[str, str]:
    return {"version": state.version, "python": platform.python_version(), "onnxruntime": RUNTIME_VERSION}
