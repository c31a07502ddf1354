"""The read-only port: metrics and health, in the supervisor, so that probes and scrapes never queue behind inference.

Speaks HTTP/1.1 only, so that the supervisor does without the kernels of HTTP/2. Metrics ask for a credential where the settings say so.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from gateway.clock import Clock
from gateway.control.guard import GuardedHttp
from gateway.control.probes import live, ready, started
from gateway.control.routes import READ, Found, Route
from gateway.control.state import ServerState
from gateway.identity.gate import Gate
from gateway.limits import WireLimits
from gateway.wire.exchange import Headers, HttpExchange, HttpHandler, HttpRefusal
from gateway.wire.listener import Behind, Listener


class Monitor:
    """GET /metrics, /v2/health/{live,ready,startup}; `listener` holds its connections."""

    def __init__(
        self,
        page: Callable[[str], tuple[bytes, str]],
        state: ServerState,
        limits: WireLimits,
        *,
        clock: Clock,
        rng: random.Random,
        gate: Gate | None = None,
    ) -> None:
        """`page(accept)` gives the metrics and their content type. With a gate, callers must be let in by it."""
        self._page = page
        handlers: dict[str, HttpHandler] = {
            "/metrics": self._metrics, "/v2/health/live": live, "/v2/health/ready": ready(state), "/v2/health/startup": started(state),
        }  # fmt: skip
        self._routes = {target.encode(): (Route(READ, target), handler) for target, handler in handlers.items()}
        behind = Behind(self)
        if gate is not None:
            behind = Behind(GuardedHttp(self, gate), known=lambda certificate: Behind(GuardedHttp(self, gate, certificate)))
        self.listener = Listener(limits, behind, clock=clock, rng=rng)

    @property
    def routes(self) -> list[Route]:
        """All that there is."""
        return [route for route, _ in self._routes.values()]

    def open_http(self, method: str, target: bytes, headers: Headers) -> HttpHandler:
        """As `find`, for callers that need not show who they are."""
        return self.find(method, target, headers)[2]

    def find(self, method: str, target: bytes, headers: Headers) -> Found:
        """GET and HEAD only."""
        found = self._routes.get(target)
        if found is None:
            raise HttpRefusal(404, "Not Found")
        return found[0].check(method, headers), None, found[1]

    def _metrics(self, exchange: HttpExchange) -> None:
        accept = (exchange.header(b"accept") or b"").decode("latin-1")
        body, content_type = self._page(accept)
        exchange.respond(200, [(b"content-type", content_type.encode())], body)
