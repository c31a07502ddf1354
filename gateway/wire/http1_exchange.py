"""One HTTP/1.1 request in the order of its connection, and the bytes of its answer. Knows no parsing.

Answer heads that repeat are remembered up to their length. Bound: `_PREFIXES_MAX` of them, all forgotten together when it is reached.
"""

from __future__ import annotations

import logging
import re
from typing import Protocol

from gateway.wire.coding import MAX_COMPRESSED_ANSWER_BYTES, answer_coding, compress
from gateway.wire.exchange import JSON_TYPE, Headers, HttpExchange, HttpRefusal, error_body
from gateway.wire.http1_head import CLOSE, KEEP, KEEP_HTTP10, Head
from gateway.wire.status import REASONS

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CONNECTION = {KEEP: b"", CLOSE: b"connection: close\r\n", KEEP_HTTP10: b"connection: keep-alive\r\n"}
_BODILESS = frozenset((204, 304))  # RFC 9110 §8.6: neither body nor length
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_PREFIXES_MAX = 1_024
_prefixes: dict[tuple[int, int, tuple[tuple[bytes, bytes], ...]], bytes] = {}
_last: list[tuple[int, int, Headers, bytes]] = [(0, 0, [], b"")]  # the head used last, found by comparing instead of hashing
_log = logging.getLogger(__name__)


class Owner(Protocol):
    """The connection, as its exchanges see it."""

    compress_over_bytes: int

    def release(self, exchange: Http1Exchange) -> None:
        """The exchange has its answer."""
        ...


class Http1Exchange(HttpExchange):
    """One request."""

    answer: bytes | None = None  # ready to be written

    def __init__(self, owner: Owner, head: Head, body: bytes, arrival: float) -> None:
        line = head.line
        self.method = line.method
        self.target = line.target
        self.query = line.query
        self.headers = head.headers
        self.body = body
        self.arrival = arrival
        self.size = len(body)  # kept where the application lets go of the body early
        self.persistence = head.steering.persistence  # CLOSE: nothing follows the answer
        self._owner = owner

    def respond(self, status: int, headers: Headers, body: bytes, own: Headers | None = None) -> None:
        """Answer once; later calls and calls after `cancelled` do nothing. HEAD gets the length without the body."""
        if self.answer is not None or self.cancelled:
            return
        owner = self._owner
        if len(body) > owner.compress_over_bytes:
            headers, body = self._compressed(headers, body)
        try:
            self.answer = encode_answer(status, headers, body, persistence=self.persistence, is_head=self.method == "HEAD", own=own)
        except ValueError:
            _log.exception("an answer could not be written")
            self.answer = encode_answer(500, [JSON_TYPE], error_body("internal error"), persistence=self.persistence, is_head=False)
        owner.release(self)

    def refuse(self, refusal: HttpRefusal) -> None:
        """Answer with an error."""
        self.respond(refusal.status, [JSON_TYPE, *refusal.headers], error_body(refusal.message))

    def _compressed(self, headers: Headers, body: bytes) -> tuple[Headers, bytes]:
        coding = answer_coding(self.header(b"accept-encoding") or b"")
        if not coding or len(body) > MAX_COMPRESSED_ANSWER_BYTES:
            return [*headers, (b"vary", b"accept-encoding")], body
        return [*headers, (b"vary", b"accept-encoding"), (b"content-encoding", coding)], compress(body, coding)

    def cancel(self) -> None:
        """The peer is gone: whoever works on the request is told once."""
        self.cancelled = True
        self.body = b""
        callback, self.on_cancel = self.on_cancel, None
        if callback is not None:
            try:
                callback()
            except Exception:
                _log.exception("a cancelled request could not be dropped")


def encode_answer(
    status: int, headers: Headers, body: bytes, *, persistence: int, is_head: bool, own: Headers | None = None
) -> bytes:  # fmt: skip
    """One answer, whole. `is_head`: the length is told, the body kept back. Raises ValueError for a header that would split it."""
    last_status, last_persistence, last_headers, prefix = _last[0]
    if status != last_status or headers != last_headers or persistence != last_persistence:
        key = (status, persistence, tuple(headers))
        prefix = _prefixes.get(key) or _remember(key)
        _last[0] = status, persistence, list(headers), prefix
    if status in _BODILESS:
        return prefix + b"\r\n"
    if own:
        prefix += b"".join([b"%b: %b\r\n" % field for field in own])
    return b"%bcontent-length: %d\r\n\r\n%b" % (prefix, len(body), b"" if is_head else body)


def _remember(key: tuple[int, int, tuple[tuple[bytes, bytes], ...]]) -> bytes:
    status, persistence, headers = key
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, REASONS.get(status, b"Unknown"))]
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError("answer header with characters that HTTP does not allow")
        lines.append(b"%b: %b\r\n" % (name, value))
    prefix = b"".join([*lines, _CONNECTION[persistence]])
    if len(_prefixes) >= _PREFIXES_MAX:
        _prefixes.clear()
    _prefixes[key] = prefix
    return prefix
