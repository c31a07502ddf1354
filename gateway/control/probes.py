"""Health over HTTP: liveness never depends on models or load; readiness and the end of the start are the state's."""

from __future__ import annotations

from gateway.control.state import ServerState
from gateway.wire.exchange import JSON_TYPE, HttpExchange, HttpHandler


def live(exchange: HttpExchange) -> None:
    """The event loop answers, so it is alive. KServe's client reads the body, Triton's the status."""
    exchange.respond(200, [JSON_TYPE], b'{"live":true}')


def alive(exchange: HttpExchange) -> None:
    """The same, as clients of KServe's protocol v1 ask at the root."""
    exchange.respond(200, [JSON_TYPE], b'{"status":"alive"}')


def ready(state: ServerState) -> HttpHandler:
    """200 while the server takes traffic, else 503."""

    def answer(exchange: HttpExchange) -> None:
        if state.ready:
            exchange.respond(200, [JSON_TYPE], b'{"ready":true}')
        else:
            exchange.respond(503, [JSON_TYPE], b'{"ready":false}')

    return answer


def started(state: ServerState) -> HttpHandler:
    """200 once the server was ready for the first time, for a probe that others wait for."""

    def answer(exchange: HttpExchange) -> None:
        word, status = (b"true", 200) if state.started else (b"false", 503)
        exchange.respond(status, [JSON_TYPE], b'{"started":%b}' % word)

    return answer
