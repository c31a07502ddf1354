"""Header blocks to routed heads: fragments, HPACK, the request rules, and the blocks that were seen before.

A block may be remembered only while the dynamic table stands still, since the same bytes mean other headers after a change (another
tenant's credentials among them). A block that itself changes the table is never remembered: decoding it has an effect. Nor is one whose
acceptor says that it is `momentary`: what is refused now may be let in the next time.

An Authorization field is among the fields by which calls are recognised, so an acceptor is of one credential and never taken for another's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gateway.limits import WireLimits
from gateway.wire.exchange import Headers
from gateway.wire.frames import ConnectionFault, ErrorCode, StreamFault
from gateway.wire.head import MalformedHead, RequestHead, check_trailers, oversized_head, parse_head
from gateway.wire.hpack import DEFAULT_LIMIT_BYTES, Decoder, HeaderListTooLarge, HpackError, unpack_fields
from gateway.wire.stream import Acceptor

Router = Callable[[RequestHead], Acceptor]
Entry = tuple[RequestHead, Acceptor, bytes, float]  # head, who takes it, fields that are not in the head, seconds until the caller gives up

_REMEMBERED_MAX = 256
_ALIKE_MAX = 64
_STRANGERS = 64  # blocks in a row that never came before, from which on only each _LOOK-th is looked out for
_LOOK = 16


class TimedAcceptor(Protocol):
    """An acceptor of calls that differ in nothing but their timeout and their metadata."""

    default_s: float  # seconds for a caller that names no timeout
    longest_s: float  # at most so many for one that does


class HeaderBlocks:
    """The receiving half of HPACK on one connection."""

    def __init__(self, limits: WireLimits, router: Router) -> None:
        self.known: dict[bytes, Entry] = {}  # for the dynamic table as it is now: one object for good, emptied when the table changes
        self._decoder = Decoder(
            max_table_bytes=max(limits.hpack_table_bytes, DEFAULT_LIMIT_BYTES),
            max_header_bytes=limits.max_header_bytes,
            max_headers=limits.max_headers,
        )
        self.stream_id = 0  # of the block in progress, 0: none
        self.flags = 0
        self._limits = limits
        self._router = router
        self._alike: dict[bytes, tuple[RequestHead, Any]] = {}  # by routing fields
        self._seen: set[int] = set()  # hashes of blocks seen once: a block that never returns must not push out one that does
        self._strangers = 0  # blocks since one came back
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
        try:
            size, front, timeout_s, changed = decoder.read_request(block)
        except HeaderListTooLarge as error:
            self.known.clear()
            head = oversized_head(error.fields)
            return head, self._router(head), b"", 0.0
        except HpackError as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, str(error)) from None
        if changed and self.known:
            self.known.clear()
        text = decoder.text
        alike = self._alike.get(text[:front].tobytes()) if front > 0 else None
        if alike is None:
            entry = self._parse(stream_id, text[:size].tobytes(), front)
        else:
            head, acceptor = alike
            entry = head, acceptor, text[front:size].tobytes(), _within(acceptor, timeout_s)
        if not changed and not getattr(entry[1], "momentary", False):
            if self._strangers < _STRANGERS or not self._strangers % _LOOK:
                self._remember(block, entry)
            else:
                self._strangers += 1
        return entry

    def _parse(self, stream_id: int, text: bytes, front: int) -> Entry:
        """A request that goes a way of its own, or goes it for the first time."""
        try:
            head = parse_head(unpack_fields(text))
        except MalformedHead as error:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, str(error)) from None
        acceptor: Any = self._router(head)
        if not hasattr(acceptor, "default_s"):
            return head, acceptor, b"", 0.0
        timeout_s = _within(acceptor, head.timeout_s)
        if front <= 0 or head.content_length >= 0:
            return head, acceptor, b"", timeout_s
        if len(self._alike) >= _ALIKE_MAX:
            self._alike.clear()
        self._alike[text[:front]] = head, acceptor
        head.share([field for field in unpack_fields(text[:front]) if field[0][:1] != b":"])  # metadata is not
        return head, acceptor, text[front:], timeout_s

    def acknowledged(self) -> None:
        """The peer knows our settings: a table of the default size may be too large from now on (RFC 7541 §4.2)."""
        self._decoder.set_max_table_bytes(self._limits.hpack_table_bytes)

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
            self._strangers = 0
            return
        self._strangers += 1
        if len(self._seen) >= _REMEMBERED_MAX:
            self._seen.clear()
            if len(self.known) >= _REMEMBERED_MAX:
                self.known.clear()
        self._seen.add(key)


def _within(acceptor: TimedAcceptor, timeout_s: float) -> float:
    """Seconds that a call has, for the timeout that its caller named; below 0: none."""
    if timeout_s < 0.0:
        return acceptor.default_s
    return timeout_s if timeout_s < acceptor.longest_s else acceptor.longest_s
