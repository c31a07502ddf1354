"""The head of one HTTP/1.1 request: found in the stream, read by three small grammars, and held against RFC 9112 and the limits.

Rule 1: what is decided depends on the bytes alone, never on how they were cut: a head that is refused early is refused alike when whole.
Rule 2: whatever two parsers could frame differently is refused, and the connection closed: repeated or odd lengths, codings and hosts.
Rule 3: a line is read once. Request lines, fields and the set of fields that steer the connection are remembered by their bytes, since
callers repeat all but a request id (benchmarks/http1.py).
Bounds: the request line, the bytes and the number of fields; `Memo` for what is remembered, no line over `_MEMO_LINE_BYTES`.
"""

from __future__ import annotations

import re
from typing import Generic, TypeVar

import msgspec

from gateway.limits import WireLimits
from gateway.wire.exchange import Headers, HttpHandler, HttpRefusal

CHUNKED = -1  # a Steering.length
KEEP, CLOSE, KEEP_HTTP10 = 0, 1, 2  # a Steering.persistence; HTTP/1.0 has to be told that the connection stays
_LINE = re.compile(rb"([A-Z][A-Z-]*) ([!-~]+) HTTP/([0-9])\.([0-9])\r\n")
_LINE_SLACK = 64  # method, version and blanks beside the target
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TEXT = bytes([byte for byte in range(256) if byte == 0x09 or (byte >= 0x20 and byte != 0x7F)])  # RFC 9110 §5.5
_FIELD_SLACK = 4  # colon, blank and line end of a field
_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE)
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_STEERING = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"content-encoding"))
_MEMO_LINE_BYTES = 256
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Memo(Generic[_Key, _Value]):
    """Remembers the first values it is given. Full, it takes no more, until so many were turned away that it starts afresh: callers who
    change one line in every request neither push out the others nor pay for being remembered.
    """

    __slots__ = ("_most", "_turned_away", "known")

    def __init__(self, most: int) -> None:
        self.known: dict[_Key, _Value] = {}
        self._most = most
        self._turned_away = 0

    def put(self, key: _Key, value: _Value) -> _Value:
        """Remember, if there is room."""
        if len(self.known) < self._most:
            self.known[key] = value
            return value
        self._turned_away += 1
        if self._turned_away >= 64 * self._most:
            self._turned_away = 0
            self.known.clear()
        return value


class Line(msgspec.Struct, frozen=True, gc=False):
    """A request line."""

    method: str
    target: bytes  # path as sent, or b"*"
    query: bytes
    is_http10: bool


class Steering(msgspec.Struct, frozen=True, gc=False):
    """What the fields say about the body and the connection."""

    length: int  # of the body: 0 for none, CHUNKED
    persistence: int
    expectation: bytes  # of an HTTP/1.1 request, lower-case
    content_encoding: bytes
    is_plain: bool  # framed by a length within the limit, nothing to expect or to decode: what nearly every request is


class Head(msgspec.Struct, frozen=True, gc=False):
    """What a head says. Immutable, so that one object can serve every request that repeats the same bytes."""

    size: int  # bytes up to and with the blank line
    line: Line
    headers: Headers
    steering: Steering


class Known:
    """A head that was seen, and who answers it once somebody was found."""

    __slots__ = ("handler", "head")

    def __init__(self, head: Head) -> None:
        self.head = head
        self.handler: HttpHandler | None = None


class HeadParser:
    """Reads the heads of one connection. Holds lines that it may see again, never a part of a request."""

    def __init__(self, limits: WireLimits) -> None:
        self._limits = limits
        self._line_bound = limits.max_target_bytes + _LINE_SLACK
        self._fields_bound = limits.max_header_bytes + _FIELD_SLACK * limits.max_headers + 4
        self._lines: Memo[bytes, Line] = Memo(16)
        self._names: Memo[bytes, bytes] = Memo(64)
        self._fields: Memo[bytes, tuple[bytes, bytes]] = Memo(64)
        self._steerings: Memo[tuple[object, ...], Steering] = Memo(64)
        self.bound = self._line_bound + self._fields_bound  # no head is longer

    def read(self, data: bytes, start: int) -> Head | None:
        """The head that begins at `start`; None while it is not whole.

        Raises HttpRefusal, after which the stream cannot be read on: 400, 405 for CONNECT and TRACE, 414, 431, 501 for a transfer
        coding other than chunked, 505.
        """
        fields_start = data.find(b"\n", start, start + self._line_bound) + 1
        if not fields_start:
            self._check_open_line(data, start)
            return None
        raw = data[start:fields_start]
        line = self._lines.known.get(raw)
        if line is None:
            line = self._lines.put(raw, read_line(raw, self._limits.max_target_bytes))
        end = data.find(b"\r\n\r\n", fields_start - 2, fields_start + self._fields_bound)
        if end < 0:
            self._check_open_fields(data, fields_start)
            return None
        known = self._fields.known.get
        raws = data[fields_start:end].split(b"\r\n") if end > fields_start else []
        headers = [known(raw) or self._read_field(raw) for raw in raws]
        if len(headers) > self._limits.max_headers:
            raise HttpRefusal(431, f"more than {self._limits.max_headers} header fields")
        if end - fields_start > self._limits.max_header_bytes:
            self._check_bytes(headers)
        key = (line.is_http10, *[field for field in headers if field[0] in _STEERING])
        steering = self._steerings.known.get(key)
        if steering is None:
            steering = self._steerings.put(key, self._steer(headers, is_http10=line.is_http10))
        return Head(end + 4 - start, line, headers, steering)

    def _check_open_line(self, data: bytes, start: int) -> None:
        if start < len(data) and not 0x41 <= data[start] <= 0x5A:
            raise _malformed("request line")
        if len(data) - start >= self._line_bound:
            raise _target_too_long()

    def _check_open_fields(self, data: bytes, start: int) -> None:
        fields = data[start : start + self._fields_bound]
        if fields.count(b"\n") != fields.count(b"\r\n"):
            raise _malformed("header field")
        if len(fields) >= self._fields_bound:
            raise _fields_too_large()

    def _check_bytes(self, headers: Headers) -> None:
        if sum([len(name) + len(value) for name, value in headers]) > self._limits.max_header_bytes:
            raise _fields_too_large()

    def _read_field(self, raw: bytes) -> tuple[bytes, bytes]:
        raw_name, colon, value = raw.partition(b":")
        if not colon or value.translate(None, _TEXT):
            raise _malformed("header field")
        name = self._names.known.get(raw_name) or self._names.put(raw_name, _read_name(raw_name))
        field = name, value.strip(b" \t")
        return field if len(raw) > _MEMO_LINE_BYTES else self._fields.put(raw, field)

    def _steer(self, headers: Headers, *, is_http10: bool) -> Steering:
        """Read the fields that steer the connection, repeated ones joined as RFC 9110 §5.3 has it."""
        special: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in _STEERING:
                if name == b"host" and name in special:
                    raise HttpRefusal(400, "Host is sent twice")
                special[name] = special[name] + b", " + value if name in special else value
        _check_host(special.get(b"host"), is_http10=is_http10)
        length = _body_length(special, is_http10=is_http10)
        expectation = b"" if is_http10 else special.get(b"expect", b"").lower()
        encoding = special.get(b"content-encoding", b"")
        return Steering(
            length=length,
            persistence=_persistence(special.get(b"connection", b""), is_http10=is_http10),
            expectation=expectation,
            content_encoding=encoding,
            is_plain=0 <= length <= self._limits.max_body_bytes and not expectation and not encoding,
        )


def _read_name(raw: bytes) -> bytes:
    if not _NAME.fullmatch(raw):
        raise _malformed("header field")
    return raw.lower()


def read_line(raw: bytes, max_target_bytes: int) -> Line:
    """A whole request line, its line end included. Raises HttpRefusal 400, 405, 414, 505."""
    match = _LINE.fullmatch(raw)
    if match is None:
        raise _malformed("request line")
    method, target, major, minor = match.groups()
    if method == b"PRI":
        raise HttpRefusal(400, "HTTP/2 has to begin with the first byte of a connection")
    if major == b"0":
        raise _malformed("request line")
    if major != b"1" or minor not in b"01":
        raise HttpRefusal(505, "only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here")
    if len(target) > max_target_bytes:
        raise _target_too_long()
    if method in (b"CONNECT", b"TRACE"):
        raise HttpRefusal(405, "method is not supported", [(b"allow", b"GET, HEAD, POST, OPTIONS")])
    path, _, query = _origin_form(method, target).partition(b"?")
    return Line(method=method.decode("ascii"), target=path, query=query, is_http10=minor == b"0")


def _origin_form(method: bytes, target: bytes) -> bytes:
    """Path and query of any form of target; an absolute one is held against the same rules for its host."""
    if b"#" in target:
        raise _malformed("request target")
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise _malformed("request target")
    host, path = absolute.groups()
    if not _HOST.fullmatch(host):
        raise _malformed("host of the request target")
    return path if path.startswith(b"/") else b"/" + path


def _check_host(host: bytes | None, *, is_http10: bool) -> None:
    """Exactly one in HTTP/1.1, and never empty: RFC 9110 §4.2.1 has no http URI without a host."""
    if host is None:
        if not is_http10:
            raise HttpRefusal(400, "Host is missing")
    elif not _HOST.fullmatch(host):
        raise _malformed("Host")


def _body_length(special: dict[bytes, bytes], *, is_http10: bool) -> int:
    """How the body is framed (RFC 9112 §6.3); a repeated Content-Length is no number, even where both say the same."""
    coding = special.get(b"transfer-encoding")
    length = special.get(b"content-length", b"0")
    if coding is not None:
        if is_http10 or b"content-length" in special:
            raise HttpRefusal(400, "Transfer-Encoding with Content-Length or in HTTP/1.0")
        if coding.lower() != b"chunked":
            raise HttpRefusal(501, "the only transfer coding is chunked")
        return CHUNKED
    if not length.isdigit():
        raise _malformed("Content-Length")
    if len(length) > 18:  # more digits than any body has bytes, and maybe than int() takes
        raise HttpRefusal(413, "request body is too large")
    return int(length)


def _persistence(connection: bytes, *, is_http10: bool) -> int:
    tokens = [token.strip().lower() for token in connection.split(b",")]
    if b"close" in tokens or (is_http10 and b"keep-alive" not in tokens):
        return CLOSE
    return KEEP_HTTP10 if is_http10 else KEEP


def _malformed(what: str) -> HttpRefusal:
    return HttpRefusal(400, f"malformed {what}")


def _target_too_long() -> HttpRefusal:
    return HttpRefusal(414, "request target is too long")


def _fields_too_large() -> HttpRefusal:
    return HttpRefusal(431, "header fields are too large")
