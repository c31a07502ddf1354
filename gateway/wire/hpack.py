"""HPACK (RFC 7541): header blocks to fields, and response fields to blocks. Knows no frame and no meaning of a field.

The work is done by one kernel call a block (kernels/hpack.py), because most clients send blocks that differ in every request: it costs
about the same whether fields are indexed, literal, Huffman-coded or inserted. benchmarks/hpack.py compares it with the `hpack` library.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np

from kernels import hpack as kernel
from kernels.hpack_static import STATIC, Field
from kernels.jit import direct
from kernels.request_fields import read_request

DEFAULT_LIMIT_BYTES = 4096  # what an encoder may use before it has seen our settings (RFC 9113 §6.5.2)

_decode_fields = direct(kernel.decode_fields)
_read_request = direct(read_request)
_SIZES = struct.Struct("<II")
_USUAL_BYTES = 1024  # blocks up to here, which is most, need no allocation
_ERRORS = {
    kernel.TRUNCATED: "truncated block",
    kernel.TRUNCATED_STRING: "truncated string",
    kernel.MALFORMED_STRING: "malformed string",
    kernel.LONG_INTEGER: "integer too long",
    kernel.INDEX_ZERO: "index 0",
    kernel.BEYOND_TABLES: "index beyond the tables",
    kernel.LATE_UPDATE: "table size update behind a field",
    kernel.LARGE_UPDATE: "table size update above the limit",
    kernel.MISSING_UPDATE: "table size update missing",
}


class HpackError(Exception):
    """A block that cannot be decoded: a connection error, COMPRESSION_ERROR (RFC 9113 §4.3)."""


class HeaderListTooLarge(Exception):
    """A valid block whose fields are over a limit. The dynamic table is up to date; the connection can go on (RFC 9113 §10.5.1).

    `fields` are the first ones, by which a caller may tell in what form to refuse.
    """

    def __init__(self, message: str, fields: list[Field]) -> None:
        super().__init__(message)
        self.fields = fields


class Decoder:
    """The receiving half of one connection. `generation` moves whenever the same block could mean other fields than before."""

    def __init__(self, *, max_table_bytes: int, max_header_bytes: int, max_headers: int) -> None:
        """`max_table_bytes`: our SETTINGS_HEADER_TABLE_SIZE. The other two bound one header list: bytes by RFC 9113 §6.5.2, and fields."""
        self._largest = max(max_table_bytes, DEFAULT_LIMIT_BYTES)
        self._header_bytes, self._headers = max_header_bytes, max_headers
        self._table, self._store = kernel.new_table(largest=self._largest, header_bytes=max_header_bytes, headers=max_headers)
        self._table[kernel.LIMIT] = min(max_table_bytes, DEFAULT_LIMIT_BYTES)
        self._table[kernel.CEILING] = max_table_bytes
        self._numbers = self._table.data
        self._usual = np.empty(self._room(_USUAL_BYTES), np.uint8)
        self._usual_text = self._usual.data
        self.text = self._usual_text  # the fields that were decoded last, until the next call

    @property
    def generation(self) -> int:
        """Counts changes of the dynamic table."""
        return self._numbers[kernel.GENERATION]

    @property
    def limit(self) -> int:
        """Bytes that the dynamic table may have now."""
        return self._numbers[kernel.LIMIT]

    @property
    def size(self) -> int:
        """Bytes of the dynamic table, by the count of RFC 7541 §4.1."""
        return self._numbers[kernel.SIZE]

    @property
    def entries(self) -> list[Field]:
        """The dynamic entries, newest (index 62) first."""
        found = []
        for back in range(self._numbers[kernel.COUNT]):
            slot = kernel.slot_of(self._table, back)
            start, name, value = self._numbers[slot : slot + kernel.SLOT]
            text = self._store[start : start + name + value].tobytes()
            found.append((text[:name], text[name:]))
        return found

    def set_max_table_bytes(self, size: int) -> None:
        """Our SETTINGS_HEADER_TABLE_SIZE, lower than the one before, once the peer has acknowledged it.

        Where that is less than the table's limit, the next block must begin with a size update (RFC 7541 §4.2).
        """
        self._numbers[kernel.CEILING] = size

    def decode(self, block: bytes) -> list[Field]:
        """The fields of one whole header block, in order. Fields that must never be indexed are like the others: we forward none.

        Raises HpackError, and HeaderListTooLarge after the whole block has been decoded.
        """
        size = _decode_fields(block, self._table, self._store, self._out(len(block)))
        if size < 0:
            self._fail(size)
        return unpack_fields(self.text[:size].tobytes())

    def read_request(self, block: bytes) -> tuple[int, int, float, bool]:
        """Decode a request's block into `text`: (bytes of fields, of routing fields in front, timeout, whether the
        table changed), see `kernels.request_fields`.

        Raises as `decode` does.
        """
        out = self._usual if len(block) <= _USUAL_BYTES and self.text is self._usual_text else self._out(len(block))
        found: tuple[int, int, float, bool] = _read_request(block, self._table, self._store, out)
        if found[0] < 0:
            self._fail(found[0])
        return found

    def _room(self, block_size: int) -> int:
        return kernel.room_for(block_size, largest=self._largest, header_bytes=self._header_bytes)

    def _out(self, block_size: int) -> np.ndarray:
        if block_size <= _USUAL_BYTES:
            self.text = self._usual_text
            return self._usual
        out = np.empty(self._room(block_size), np.uint8)
        self.text = out.data
        return out

    def _fail(self, error: int) -> None:
        if error <= kernel.TOO_LARGE:
            first = unpack_fields(self.text[: kernel.TOO_LARGE - error].tobytes())
            raise HeaderListTooLarge(f"more than {self._header_bytes} bytes or {self._headers} header fields", first)
        raise HpackError(_ERRORS[error])


def unpack_fields(text: bytes) -> list[Field]:
    """Fields that a kernel decoded."""
    fields = []
    sizes, at, end = _SIZES.unpack_from, 0, len(text)
    while at < end:
        name, value = sizes(text, at)
        middle = at + kernel.FIELD_HEAD + name
        fields.append((text[middle - name : middle], text[middle : middle + value]))
        at = middle + value
    return fields


def field_of(text: bytes, name: bytes) -> bytes | None:
    """The first value of one of the fields that a kernel decoded."""
    sizes, at, end, wanted = _SIZES.unpack_from, 0, len(text), len(name)
    while at < end:
        size, value = sizes(text, at)
        middle = at + kernel.FIELD_HEAD + size
        if size == wanted and text.startswith(name, middle - size):
            return text[middle : middle + value]
        at = middle + value
    return None


def encode_headers(fields: Iterable[Field]) -> bytes:
    """A header block that uses the static table only, so that it is the same on every connection and at every time."""
    return b"".join([_INDEXED.get(field) or encode_literal(*field) for field in fields])


def encode_literal(name: bytes, value: bytes) -> bytes:
    """One field as a literal without indexing (RFC 7541 §6.2.2), its name from the static table where it is there."""
    index = _NAMES.get(name)
    if index is None:
        return b"\x00" + _encoded_integer(len(name), 0x7F) + name + _encoded_integer(len(value), 0x7F) + value
    return _encoded_integer(index, 0x0F) + _encoded_integer(len(value), 0x7F) + value


def _encoded_integer(value: int, prefix: int) -> bytes:
    if value < prefix:
        return bytes((value,))
    octets = [prefix]
    value -= prefix
    while value >= 0x80:
        octets.append(0x80 | value & 0x7F)
        value >>= 7
    return bytes((*octets, value))


_INDEXED = {field: bytes((0x80 | index,)) for index, field in enumerate(STATIC, 1)}
_NAMES = {name: index for index, (name, _) in reversed([*enumerate(STATIC, 1)])}
