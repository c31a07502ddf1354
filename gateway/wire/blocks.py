"""Header blocks to routed heads: fragments, HPACK, the request rules, and the blocks that were seen before.

A block may be remembered only while the dynamic table stands still, since the same bytes mean other headers after a change (another
tenant's credentials among them). A block that itself changes the table is never remembered: decoding it has an effect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gateway.limits import WireLimits
from gateway.wire.exchange import Headers
from gateway.wire.frames import ConnectionFault, ErrorCode, StreamFault
from gateway.wire.head import (
    ROUTING_FIELDS,
    MalformedHead,
    RequestHead,
    check_trailers,
    is_plain_value,
    oversized_head,
    parse_head,
    plain_names,
)
from gateway.wire.hpack import Decoder, HeaderListTooLarge, HpackError
from gateway.wire.stream import Acceptor

Router = Callable[[RequestHead], Acceptor]
Entry = tuple[RequestHead, Acceptor, Headers, float]  # head, who takes it, regular fields, seconds until the caller gives up

_REMEMBERED_MAX = 256
_ALIKE_MAX = 64


class TimedAcceptor(Protocol):
    """An acceptor of calls that differ in nothing but their timeout and their metadata."""

    def timeout_s(self, value: bytes) -> float | None:
        """Seconds of a `grpc-timeout` value, of the default for b""; None where it is malformed."""
        ...


class HeaderBlocks:
    """The receiving half of HPACK on one connection."""

    def __init__(self, limits: WireLimits, router: Router) -> None:
        self.known: dict[bytes, Entry] = {}  # for the dynamic table as it is now: one object for good, emptied when the table changes
        self._decoder = Decoder(
            max_table_bytes=limits.hpack_table_bytes, max_header_bytes=limits.max_header_bytes, max_headers=limits.max_headers
        )
        self.stream_id = 0  # of the block in progress, 0: none
        self.flags = 0
        self._limits = limits
        self._router = router
        self._alike: dict[tuple[tuple[bytes, bytes], ...], tuple[RequestHead, Any, int]] = {}  # by routing fields
        self._last: tuple[Headers, tuple[RequestHead, Any, int] | None] = [], None  # the last one whose metadata came behind
        self._seen: set[int] = set()  # hashes of blocks seen once: a block that never returns must not push out one that does
        self._fragments: list[bytes] = []
        self._size = 0

    def begin(self, stream_id: int, flags: int, fragment: bytes) -> None:
        """A block whose END_HEADERS is still to come."""
        self.stream_id, self.flags, self._fragments, self._size = stream_id, flags, [fragment], len(fragment)

    def extend(self, fragment: bytes) -> None:
        """A CONTINUATION frame (flood: CVE-2024-27316)."""
        self._fragments.append(fragment)
        self._size += len(fragment)
        if len(self._fragments) > self._limits.max_continuations or self._size > 4 * self._limits.max_header_bytes:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header block too long")

    def finish(self) -> bytes:
        """The whole block."""
        block, self._fragments, self.stream_id = b"".join(self._fragments), [], 0
        return block

    def request(self, stream_id: int, block: bytes) -> Entry:
        """A request's head and who takes it, for a block that is not in `known`.

        Raises ConnectionFault where HPACK breaks and StreamFault where the fields are no request (RFC 9113 §8.1.1).
        """
        decoder = self._decoder
        generation = decoder.generation
        try:
            fields = decoder.decode(block)
        except HeaderListTooLarge as error:
            self.known.clear()
            head = oversized_head(error.fields)
            return head, self._router(head), [], 0.0
        except HpackError as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, str(error)) from None
        changed = decoder.generation != generation
        if changed and self.known:
            self.known.clear()
        entry = self._like_before(fields) or self._parse(stream_id, fields)
        if not changed:
            self._remember(block, entry)
        return entry

    def _like_before(self, fields: Headers) -> Entry | None:
        """A call whose routing fields are as on an earlier call, and whose metadata needs no more than a look at its characters.

        Clients send metadata behind the routing fields, mostly; then one comparison of lists finds the call before.
        """
        last, known = self._last
        metadata = fields[len(last) :]
        if known is None or fields[: len(last)] != last:
            last = [field for field in fields if field[0] in ROUTING_FIELDS]
            known = self._alike.get(tuple(last))
            if known is None or any([field[0][:1] == b":" for field in fields[known[2] :]]):
                return None
            metadata = [field for field in fields if field[0] not in ROUTING_FIELDS]
        head, acceptor, pseudo = known
        timeout = b""
        for name, value in metadata:
            if name == b"grpc-timeout" and not timeout:
                timeout = value
            elif not (value.isalnum() or is_plain_value(value)) or name not in plain_names:
                return None
        timeout_s = acceptor.timeout_s(timeout)
        return None if timeout_s is None else (head, acceptor, fields[pseudo:], timeout_s)

    def _parse(self, stream_id: int, fields: Headers) -> Entry:
        try:
            head = parse_head(fields)
        except MalformedHead as error:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, str(error)) from None
        acceptor, regular = self._router(head), head.fields
        if not hasattr(acceptor, "timeout_s"):
            return head, acceptor, regular, 0.0
        if head.content_length < 0:
            if len(self._alike) >= _ALIKE_MAX:
                self._alike.clear()
            head.fields = []  # they are this request's own; the head is shared from now on
            routing = [field for field in fields if field[0] in ROUTING_FIELDS]
            known = self._alike[tuple(routing)] = head, acceptor, len(fields) - len(regular)
            if fields[: len(routing)] == routing:
                self._last = routing, known
        return head, acceptor, regular, acceptor.timeout_s(head.timeout) or 0.0

    def trailers(self, stream_id: int, block: bytes) -> None:
        """Trailers are checked and let go."""
        fields = self.decode(block)
        try:
            check_trailers(fields or [])
        except MalformedHead as error:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, str(error)) from None

    def decode(self, block: bytes) -> Headers | None:
        """A block that opens nothing, which may change the table; None when the list is over its limit (the table is in step then too)."""
        self.known.clear()
        try:
            return self._decoder.decode(block)
        except HeaderListTooLarge:
            return None
        except HpackError as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, str(error)) from None

    def _remember(self, block: bytes, entry: Entry) -> None:
        key = hash(block)
        if key in self._seen and len(self.known) < _REMEMBERED_MAX:
            self.known[block] = entry
            return
        if len(self._seen) >= _REMEMBERED_MAX:
            self._seen.clear()
            if len(self.known) >= _REMEMBERED_MAX:
                self.known.clear()
        self._seen.add(key)
