"""The read-only port: metrics and health, in the supervisor, so that probes and scrapes never queue behind inference.

Speaks HTTP/1.1 only, so that the supervisor does without the kernels of HTTP/2.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from gateway.clock import Clock
from gateway.control.probes import live, ready, started
from gateway.control.state import ServerState
from gateway.limits import WireLimits
from gateway.wire.exchange import Headers, HttpExchange, HttpHandler, HttpRefusal
from gateway.wire.listener import Behind, Listener


class Monitor:
    """GET /metrics, /v2/health/{live,ready,startup}; `listener` holds its connections."""

    def __init__(
        self, page: Callable[[str], tuple[bytes, str]], state: ServerState, limits: WireLimits, *, clock: Clock, rng: random.Random
    ) -> None:
        """`page(accept)` gives the metrics and their content type."""
        self._page = page
        self._handlers: dict[bytes, HttpHandler] = {
            b"/metrics": self._metrics, b"/v2/health/live": live, b"/v2/health/ready": ready(state),
            b"/v2/health/startup": started(state),
        }  # fmt: skip
        self.listener = Listener(limits, Behind(self), clock=clock, rng=rng)

    def open_http(self, method: str, target: bytes, headers: Headers) -> HttpHandler:
        """GET and HEAD only."""
        handler = self._handlers.get(target)
        if handler is None:
            raise HttpRefusal(404, "Not Found")
        if method not in ("GET", "HEAD"):
            raise HttpRefusal(405, "Method Not Allowed", [(b"allow", b"GET, HEAD")])
        return handler

    def _metrics(self, exchange: HttpExchange) -> None:
        accept = (exchange.header(b"accept") or b"").decode("latin-1")
        body, content_type = self._page(accept)
        exchange.respond(200, [(b"content-type", content_type.encode())], body)
