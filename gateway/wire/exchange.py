"""One HTTP request and its one response, as both HTTP/1.1 and HTTP/2 hand it to the application. Knows no tensor."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

MAX_MESSAGE_BYTES = 512  # of a text that leaves in an error
JSON_TYPE = (b"content-type", b"application/json")

Headers = list[tuple[bytes, bytes]]  # names lower-case, in the order received; shared between requests, so never changed by who receives it


class HttpRefusal(Exception):
    """A request that is answered without reading its body; the transport decides whether the connection can live on."""

    def __init__(self, status: int, message: str, headers: Headers | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers: Headers = headers or []


def error_body(message: str) -> bytes:
    """`{"error": "…"}`, the text cut between characters to MAX_MESSAGE_BYTES, and ASCII: nothing can reach a terminal unescaped."""
    clipped = message.encode("utf-8", "replace")[:MAX_MESSAGE_BYTES].decode("utf-8", "ignore")
    return json.dumps({"error": clipped}).encode("ascii")


class HttpExchange:
    """One complete request. Exactly one `respond` follows, at once or later; after `cancelled` it is a no-op."""

    method: str  # "GET", "POST", …
    target: bytes  # raw path, percent-encoding intact, without the query
    query: bytes
    headers: Headers
    body: bytes  # whole, content-encoding already undone
    arrival: float  # clock.now() when its last byte was read
    cancelled: bool = False  # the peer went away; batching drops it before compute
    on_cancel: Callable[[], None] | None = None
    credential: Any = None  # whose it is, where the application asks for that
    account: Any = None  # what the application charges it to, while it does

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, by its lower-case name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def respond(self, status: int, headers: Headers, body: bytes, own: Headers | None = None) -> None:
        """Answer. `headers` without content-length, connection and date: the transport adds what its version needs. They are remembered,
        as few differ; `own` are this answer's alone, and vouched for by the caller."""
        raise NotImplementedError


HttpHandler = Callable[[HttpExchange], None]


class HttpApplication(Protocol):
    """What the wire asks of the program behind it. Both methods are called on the event loop and never block."""

    def open_http(self, method: str, target: bytes, headers: Headers) -> HttpHandler:
        """Route by method, raw path and headers, before the body is read. Raises `HttpRefusal` (404, 405, 415, …).

        The handler is remembered for later requests of the connection that have the same head, and may raise `HttpRefusal` too.
        """
        ...
