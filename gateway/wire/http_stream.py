"""HTTP requests over HTTP/2 streams: the same exchanges that HTTP/1.1 gives, on the same application."""

from __future__ import annotations

from typing import Literal

from gateway.limits import WireLimits
from gateway.wire.coding import decode_body
from gateway.wire.exchange import JSON_TYPE, Headers, HttpApplication, HttpExchange, HttpHandler, HttpRefusal, error_body
from gateway.wire.head import RequestHead
from gateway.wire.hpack import encode_headers
from gateway.wire.stream import Acceptor, Stream, WholeBody

_heads: dict[tuple[int, tuple[tuple[bytes, bytes], ...]], bytes] = {}
_HEADS_MAX = 256
_OF_CALLERS = frozenset((401, 403))  # refusals that depend on who asks and when: see `blocks`


class StreamExchange(HttpExchange):
    """One request on one stream."""

    def __init__(self, stream: Stream, body: bytes) -> None:
        head = stream.head
        target, _, query = head.path.partition(b"?")
        self.method, self.target, self.query = head.method.decode("latin-1"), target, query
        self.headers, self.body, self.arrival = stream.fields, body, stream.arrival
        self._stream = stream
        stream.on_cancel = self._cancel

    def respond(self, status: int, headers: Headers, body: bytes, own: Headers | None = None) -> None:
        """Answer; HEAD gets the length without the body."""
        stream = self._stream
        stream.on_cancel = None
        block = _response_head(status, headers) + encode_headers([*(own or ()), (b"content-length", b"%d" % len(body))])
        if self.method == "HEAD" or not body:
            stream.outbound.send_headers(stream, block, last=True)
        else:
            stream.outbound.respond(stream, block, body, None)

    def _cancel(self) -> None:
        self.cancelled = True
        if self.on_cancel is not None:
            self.on_cancel()


class HttpAcceptor(WholeBody):
    """Takes requests that the application has routed."""

    streaming: Literal[False] = False
    __slots__ = ("_handler", "_limits", "max_body_bytes")

    def __init__(self, handler: HttpHandler, limits: WireLimits) -> None:
        self._handler = handler
        self._limits = limits
        self.max_body_bytes = limits.max_body_bytes

    def complete(self, stream: Stream, body: bytes | memoryview) -> None:
        """The whole request is here."""
        assert isinstance(body, bytes)  # nothing else was expected
        if len(body) > self.max_body_bytes:  # it came in one frame
            self.too_large(stream)
            return
        exchange = StreamExchange(stream, body)
        try:
            exchange.body = decode_body(exchange.headers, body, self._limits)
            self._handler(exchange)
        except HttpRefusal as refusal:
            _refuse(exchange, refusal)

    def too_large(self, stream: Stream) -> None:
        """Answer 413; the rest of the body is discarded."""
        _refuse(StreamExchange(stream, b""), HttpRefusal(413, f"request body is over the limit of {self.max_body_bytes} bytes"))

    def timed_out(self, stream: Stream) -> None:
        """Answer 408."""
        _refuse(StreamExchange(stream, b""), HttpRefusal(408, "the request body did not arrive in time"))


class HttpRefusalAcceptor(WholeBody):
    """Answers with a refusal, as soon as the head is known where a body would follow."""

    streaming: Literal[False] = False
    max_body_bytes = 0
    __slots__ = ("_refusal", "momentary")

    def __init__(self, refusal: HttpRefusal) -> None:
        self._refusal = refusal
        self.momentary = refusal.status in _OF_CALLERS

    def complete(self, stream: Stream, body: bytes | memoryview) -> None:
        """Answer."""
        _refuse(StreamExchange(stream, b""), self._refusal)

    def too_large(self, stream: Stream) -> None:
        """The first body byte is here: answer."""
        self.complete(stream, b"")

    timed_out = too_large


def route_http(application: HttpApplication, head: RequestHead, limits: WireLimits) -> Acceptor:
    """Ask the application, before any body is read."""
    if head.oversized:
        return HttpRefusalAcceptor(HttpRefusal(431, "request headers are over the limit"))
    if len(head.path) > limits.max_target_bytes:
        return HttpRefusalAcceptor(HttpRefusal(414, "request target is too long"))
    if head.content_length > limits.max_body_bytes:
        return HttpRefusalAcceptor(HttpRefusal(413, f"request body is over the limit of {limits.max_body_bytes} bytes"))
    try:
        handler = application.open_http(head.method.decode("latin-1"), head.path.partition(b"?")[0], head.fields)
    except HttpRefusal as refusal:
        return HttpRefusalAcceptor(refusal)
    return HttpAcceptor(handler, limits)


def _refuse(exchange: StreamExchange, refusal: HttpRefusal) -> None:
    exchange.respond(refusal.status, [JSON_TYPE, *refusal.headers], error_body(refusal.message))


def _response_head(status: int, headers: Headers) -> bytes:
    """The header block but for its length; the few that a server sends are remembered."""
    key = status, tuple(headers)
    block = _heads.get(key)
    if block is None:
        if len(_heads) >= _HEADS_MAX:
            _heads.clear()
        block = _heads[key] = encode_headers([(b":status", b"%d" % status), *headers])
    return block
