"""What stands behind a port that speaks both protocols: gRPC by content type, all else is HTTP; through a gate where there is one."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.control.guard import GuardedHttp
from gateway.control.guarded_calls import GuardedCalls, Personal
from gateway.control.routes import Application
from gateway.identity.certificates import Certificate
from gateway.identity.gate import Gate
from gateway.limits import WireLimits
from gateway.wire.blocks import Router
from gateway.wire.exchange import HttpApplication
from gateway.wire.grpc import GrpcRouter
from gateway.wire.head import RequestHead
from gateway.wire.http_stream import route_http
from gateway.wire.listener import Behind
from gateway.wire.stream import Acceptor
from gateway.wire.timeouts import TimedHttp2


def behind_of(calls: GrpcRouter, rest: Application, limits: WireLimits, gate: Gate | None, personal: Mapping[bytes, Personal]) -> Behind:
    """What stands behind the ports: everything for everybody, or through a gate, for callers with a certificate of their own too."""
    if gate is None:
        return Behind(rest, _router(calls, rest, limits), TimedHttp2)

    def guarded(certificate: Certificate | None = None) -> Behind:
        calls_of = GuardedCalls(calls, gate, personal, certificate)
        route = _router(calls_of, GuardedHttp(rest, gate, certificate), limits)
        return Behind(GuardedHttp(rest, gate, certificate), route, TimedHttp2, known=guarded)

    return guarded()


def _router(calls: GrpcRouter | GuardedCalls, rest: HttpApplication, limits: WireLimits) -> Router:
    """gRPC by content type, everything else is HTTP: on either port."""

    def route(head: RequestHead) -> Acceptor:
        if head.content_type.startswith(b"application/grpc") and head.content_type[16:17] in (b"", b"+", b";"):
            return calls.route(head)
        return route_http(rest, head, limits)

    return route
