"""Where the access table is enforced: behind the routers and before everything else, for every call of every transport.

What was routed is judged, never what was written. Over HTTP the model is in the path and nothing of a body is read for who may not send
it; calls over gRPC are in `guarded_calls`. Handlers that are remembered for a head ask again at each request, so a credential ends
when it expires or is withdrawn.
"""

from __future__ import annotations

from gateway.control.routes import Surface
from gateway.errors import Code, TidegateError
from gateway.identity.access import IN_BODY, is_open
from gateway.identity.callers import Caller
from gateway.identity.certificates import Certificate
from gateway.identity.gate import Gate
from gateway.wire.exchange import Headers, HttpExchange, HttpHandler, HttpRefusal
from gateway.wire.status import http_status


def credential_of(headers: Headers) -> bytes | None:
    """The value of the Authorization field; b"", which is no credential, for several of them."""
    found = [value for name, value in headers if name == b"authorization"]
    return None if not found else found[0] if len(found) == 1 else b""


class GuardedHttp:
    """`HttpApplication`: a surface whose callers must show who they are."""

    def __init__(self, surface: Surface, gate: Gate, certificate: Certificate | None = None) -> None:
        """`certificate`: what the callers of one connection have shown."""
        self._surface = surface
        self._gate = gate
        self._certificate = certificate

    def open_http(self, method: str, target: bytes, headers: Headers) -> HttpHandler:
        """Who answers. Raises HttpRefusal: that of the surface, 401 and 403."""
        route, model, handler = self._surface.find(method, target, headers)
        if is_open(route):
            return handler
        caller, now = self._gate.caller(credential_of(headers), self._certificate), self._gate.now()
        if now >= caller.until or (route, model) not in caller.passes:
            refusal = _refusal(caller, route, model, now)
            if refusal is not None:
                raise self._refused(refusal, headers)
        return self._lasting(route, model, handler, caller, headers)

    def _lasting(self, route: str, model: str | None, handler: HttpHandler, caller: Caller, headers: Headers) -> HttpHandler:
        """A handler that asks again once the caller is another, or has to be looked at."""
        principal = caller.principal

        def handle(exchange: HttpExchange) -> None:
            if exchange.arrival >= caller.until or caller.principal is not principal:
                refusal = _refusal(caller, route, model, exchange.arrival)
                if refusal is not None:
                    raise self._refused(refusal, headers)
            exchange.credential = caller
            handler(exchange)

        return handle

    def _refused(self, error: TidegateError, headers: Headers) -> HttpRefusal:
        """401 with its challenge (RFC 6750 §3), or 403."""
        challenge = f'Bearer realm="{self._gate.realm}"'
        if credential_of(headers) is not None:
            challenge += ', error="invalid_token"'
        more = [(b"www-authenticate", challenge.encode())] if error.code is Code.UNAUTHENTICATED else []
        return HttpRefusal(http_status(error.code), error.message, more)


def _refusal(caller: Caller, route: str, model: str | None, now: float) -> TidegateError | None:
    """Why a caller may not send this, or None; whoever is somebody may go on where the body says of which models it is."""
    return caller.refusal_at_head(route, now) if route in IN_BODY else caller.refusal(route, model, now)
