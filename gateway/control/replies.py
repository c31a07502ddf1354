"""JSON answers of the HTTP surfaces that are no tensors: a value, or an error with its status."""

from __future__ import annotations

import json

from gateway.errors import Code, TidegateError
from gateway.wire.exchange import JSON_TYPE, Headers, HttpExchange, HttpHandler, error_body
from gateway.wire.status import http_status, retry_headers


def json_text(value: object) -> bytes:
    """A value as it is written."""
    return json.dumps(value, separators=(",", ":")).encode()


def reply(exchange: HttpExchange, value: object, *, status: int = 200) -> None:
    """A value."""
    exchange.respond(status, [JSON_TYPE], json_text(value))


def fail(exchange: HttpExchange, code: Code, message: str, *, wait_s: float | None = None, fields: Headers | None = None) -> None:
    """An error. `wait_s`: when to come again, where that is known better than by the code; `fields` are further headers."""
    exchange.respond(http_status(code), [JSON_TYPE, *retry_headers(code, wait_s), *(fields or ())], error_body(message))


def telling(handler: HttpHandler) -> HttpHandler:
    """A handler that may raise TidegateError, which becomes its answer."""

    def handle(exchange: HttpExchange) -> None:
        try:
            handler(exchange)
        except TidegateError as error:
            fail(exchange, error.code, error.message)

    return handle
