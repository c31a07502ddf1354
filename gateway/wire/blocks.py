"""Header blocks to routed heads: fragments, HPACK, the request rules, and the blocks that were seen before.

A block may be remembered only while the dynamic table stands still, since the same bytes mean other headers after a change (another
tenant's credentials among them). A block that itself changes the table is never remembered: decoding it has an effect.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.limits import WireLimits
from gateway.wire.exchange import Headers
from gateway.wire.frames import ConnectionFault, ErrorCode, StreamFault
from gateway.wire.head import MalformedHead, RequestHead, check_trailers, oversized_head, parse_head
from gateway.wire.hpack import Decoder, HeaderListTooLarge, HpackError
from gateway.wire.stream import Acceptor

Router = Callable[[RequestHead | None], Acceptor]  # None: the header list was over its limit
Entry = tuple[RequestHead, Acceptor]

_REMEMBERED_MAX = 256


class HeaderBlocks:
    """The receiving half of HPACK on one connection."""

    def __init__(self, limits: WireLimits, router: Router) -> None:
        self.known: dict[bytes, Entry] = {}  # for `generation` of the decoder only
        self.generation = 0
        self.decoder = Decoder(
            max_table_bytes=limits.hpack_table_bytes, max_header_bytes=limits.max_header_bytes, max_headers=limits.max_headers
        )
        self.generation = self.decoder.generation
        self.stream_id = 0  # of the block in progress, 0: none
        self.flags = 0
        self._limits = limits
        self._router = router
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
        """A request's head and who takes it.

        Raises ConnectionFault where HPACK breaks and StreamFault where the fields are no request (RFC 9113 §8.1.1).
        """
        if self.decoder.generation == self.generation:
            entry = self.known.get(block)
            if entry is not None:
                return entry
        fields = self.decode(block)
        if fields is None:
            return oversized_head(), self._router(None)
        try:
            head = parse_head(fields)
        except MalformedHead as error:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, str(error)) from None
        entry = head, self._router(head)
        self._remember(block, entry)
        return entry

    def trailers(self, stream_id: int, block: bytes) -> None:
        """Trailers are checked and let go."""
        fields = self.decode(block)
        try:
            check_trailers(fields or [])
        except MalformedHead as error:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, str(error)) from None

    def decode(self, block: bytes) -> Headers | None:
        """HPACK; None when the list is over its limit (the dynamic table is in step all the same)."""
        try:
            return self.decoder.decode(block)
        except HeaderListTooLarge:
            return None
        except HpackError as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, str(error)) from None

    def _remember(self, block: bytes, entry: Entry) -> None:
        if self.decoder.generation != self.generation:
            self.known.clear()
            self.generation = self.decoder.generation
            return
        key = hash(block)
        if key in self._seen and len(self.known) < _REMEMBERED_MAX:
            self.known[block] = entry
            return
        if len(self._seen) >= _REMEMBERED_MAX:
            self._seen.clear()
            if len(self.known) >= _REMEMBERED_MAX:
                self.known.clear()
        self._seen.add(key)
