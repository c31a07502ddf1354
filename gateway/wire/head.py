"""The head of one HTTP/2 request: pseudo-header and field rules of RFC 9113 §8.2–8.3, held once per header block."""

from __future__ import annotations

from gateway.wire.exchange import Headers
from kernels.request_fields import ABSENT, CONNECTION_FIELDS, NAME_OCTETS, timeout_of

PSEUDO = {b":method": 0, b":scheme": 1, b":path": 2, b":authority": 3}
_known_names: set[bytes] = {b"te", b"content-type", b"content-length", b"user-agent", b"grpc-timeout", b"grpc-accept-encoding"}
_KNOWN_NAMES_MAX = 512


class MalformedHead(Exception):
    """A block that is no request (RFC 9113 §8.1.1): the stream is reset with PROTOCOL_ERROR."""


class RequestHead:
    """What a header block says. Immutable after parsing, so one object serves every request with the same block."""

    method: bytes
    path: bytes
    scheme: bytes
    authority: bytes
    content_type: bytes
    content_length: int  # -1 when absent
    timeout_s: float  # grpc-timeout; ABSENT or MALFORMED of kernels.request_fields where it is not there or none
    encoding: bytes  # grpc-encoding, b"" when absent
    fields: Headers  # the regular fields; of a gRPC call only those that decide its way, the rest is `Stream.metadata`
    oversized: bool  # the header list was over its limit: to be refused, whatever it asks for
    _by_name: dict[bytes, bytes]  # of each of `fields` the first value; made when it is first asked for

    __slots__ = (
        "_by_name", "authority", "content_length", "content_type", "encoding", "fields", "method", "oversized", "path", "scheme",
        "timeout_s",
    )  # fmt: skip

    def field(self, name: bytes) -> bytes | None:
        """The first value of one of `fields`, by its lower-case name."""
        try:
            return self._by_name.get(name)
        except AttributeError:
            self._by_name = dict(reversed(self.fields))
            return self._by_name.get(name)

    def share(self, fields: Headers) -> None:
        """From now on it is others' too, who have only these fields in common."""
        self.fields, self._by_name = fields, dict(reversed(fields))


def oversized_head(fields: Headers) -> RequestHead:
    """Stands for a request whose header list was over its limit, of which the first fields tell the content type at most."""
    head = RequestHead()
    head.oversized = True
    _set_target(head, [b"", b"", b"/", b""])
    _set_fields(head, [])
    head.content_type = next((value for name, value in fields if name == b"content-type"), b"")
    head.fields = []
    return head


def parse_head(fields: Headers) -> RequestHead:
    """Hold a decoded block against the rules.

    Raises MalformedHead for: unknown, repeated, late or missing pseudo-headers, upper-case or otherwise invalid names, NUL/CR/LF or
    outer white space in a value, connection-specific fields, `te` other than trailers, a bad content-length.
    """
    pseudo: list[bytes | None] = [None, None, None, None]
    position = 0
    for name, value in fields:
        slot = PSEUDO.get(name)
        if slot is None:
            break
        if pseudo[slot] is not None:
            raise MalformedHead("repeated pseudo-header")
        pseudo[slot] = value
        position += 1
    head = RequestHead()
    head.oversized = False
    regular = fields[position:]
    head.fields = regular
    _check_values(fields)
    _set_target(head, pseudo)
    _set_fields(head, regular)
    return head


def check_trailers(fields: Headers) -> None:
    """Trailers carry no pseudo-header and no connection-specific field (RFC 9113 §8.1)."""
    _check_values(fields)
    _set_fields(RequestHead(), fields)


def _check_values(fields: Headers) -> None:
    values = b"".join([value for _, value in fields])
    if b"\n" in values or b"\r" in values or b"\x00" in values:
        raise MalformedHead("control character in a field value")


def _set_target(head: RequestHead, pseudo: list[bytes | None]) -> None:
    method, scheme, path, authority = pseudo
    if method is None or scheme is None or path is None:
        raise MalformedHead("missing pseudo-header")
    if not path or (path[0] != 0x2F and not (path == b"*" and method == b"OPTIONS")):
        raise MalformedHead("bad :path")
    head.method, head.scheme, head.path, head.authority = method, scheme, path, authority or b""


def _set_fields(head: RequestHead, regular: Headers) -> None:
    head.content_type = head.encoding = b""
    head.timeout_s = ABSENT
    head.content_length = -1
    for name, value in regular:
        if name not in _known_names:
            _check_name(name)
        if value.strip() != value:
            raise MalformedHead("white space around a field value")
        if name == b"content-type":
            head.content_type = value
        elif name == b"grpc-timeout":
            head.timeout_s = timeout_of(value)
        elif name == b"te":
            if value != b"trailers":
                raise MalformedHead("te other than trailers")
        elif name == b"content-length":
            head.content_length = _length(head, value)
        elif name == b"grpc-encoding":
            head.encoding = value


def _length(head: RequestHead, value: bytes) -> int:
    if not value.isdigit() or len(value) > 18 or head.content_length not in (-1, int(value)):
        raise MalformedHead("bad content-length")
    return int(value)


def _check_name(name: bytes) -> None:
    """A regular field's name; good ones are remembered, boundedly, since every request repeats them."""
    if name in CONNECTION_FIELDS:
        raise MalformedHead("connection-specific field")
    if not name or name.translate(None, NAME_OCTETS):
        raise MalformedHead("bad field name")
    if len(_known_names) < _KNOWN_NAMES_MAX and len(name) <= 64:
        _known_names.add(name)
