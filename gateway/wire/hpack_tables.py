"""The static and the dynamic table of HPACK (RFC 7541 §2.3, §4, Appendix A). Knows no representation and no Huffman code.

Bounds: the dynamic table holds at most `limit` bytes by the RFC's count (name + value + 32 each), so at most limit / 32 entries.
"""

from __future__ import annotations

from collections import deque

Field = tuple[bytes, bytes]

ENTRY_OVERHEAD = 32  # RFC 7541 §4.1, counted for each entry and by RFC 9113 §6.5.2 for each field of a header list
DEFAULT_LIMIT_BYTES = 4096  # what an encoder may use before it has seen our settings (RFC 9113 §6.5.2)

STATIC: tuple[Field, ...] = (
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
)

_FIRST_DYNAMIC = len(STATIC) + 1
_INDEXED = 0x80  # the bit of an indexed field; `by_octet[_INDEXED + index]` is the entry
_CONTINUED = 0xFF  # the octet of an index of 127 and more
_NEAR = _CONTINUED - _INDEXED - _FIRST_DYNAMIC  # how many dynamic entries have an index of one octet
_TOP = _INDEXED + _FIRST_DYNAMIC
_LARGEST_STATIC = max(len(name) + len(value) + ENTRY_OVERHEAD for name, value in STATIC)


class DynamicTable:
    """The dynamic table of one connection's one direction, together with the static one.

    `by_octet` is what makes decoding fast: by the octet that stands for it in a block, each field whose index takes one octet; None for
    octets that stand for something else. An insertion shifts at most 65 pointers in it.
    """

    __slots__ = ("_entries", "by_octet", "largest", "limit", "size")

    def __init__(self, limit: int) -> None:
        self.by_octet: list[Field | None] = [None] * (_INDEXED + 1) + [*STATIC] + [None] * (_NEAR + 1)
        self.limit = limit  # bytes
        self.size = 0  # bytes
        self.largest = _LARGEST_STATIC  # bytes; no entry is or was larger
        self._entries: deque[Field] = deque()  # newest first

    @property
    def entries(self) -> list[Field]:
        """The dynamic entries, newest (index 62) first."""
        return list(self._entries)

    def get(self, index: int) -> Field | None:
        """The field at any index (RFC 7541 §2.3.3), None at 0 and beyond the last."""
        if index < _CONTINUED - _INDEXED:
            return self.by_octet[_INDEXED + index]
        index -= _FIRST_DYNAMIC
        return self._entries[index] if index < len(self._entries) else None

    def insert(self, field: Field) -> None:
        """Add an entry in front, evicting from the back what must go (RFC 7541 §4.4); one larger than the table empties it."""
        cost = len(field[0]) + len(field[1]) + ENTRY_OVERHEAD
        size = self.size + cost
        if size > self.limit:
            self._evict(cost)
            if cost > self.limit:
                return
            size = self.size + cost
        self.size = size
        if cost > self.largest:  # noqa: PLR1730 - a call of max costs as much as the whole insertion into `by_octet`
            self.largest = cost
        self._entries.appendleft(field)
        by_octet = self.by_octet
        by_octet.insert(_TOP, field)
        del by_octet[_CONTINUED]  # what moved there has an index of two octets now; the None behind it moves back

    def resize(self, limit: int) -> None:
        """Change the limit in bytes (RFC 7541 §4.3)."""
        self.limit = limit
        self._evict(0)

    def _evict(self, room: int) -> None:
        entries = self._entries
        size, target = self.size, self.limit - room
        while size > target and entries:
            name, value = entries.pop()
            size -= len(name) + len(value) + ENTRY_OVERHEAD
            if len(entries) < _NEAR:
                self.by_octet[_TOP + len(entries)] = None
        self.size = size
