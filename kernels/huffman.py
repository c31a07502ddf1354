"""The Huffman code of HPACK (RFC 7541 §5.2 and Appendix B): strings encoded and decoded. Knows no header block.

The code is canonical (codes ascend by length, then by symbol), so the 257 lengths of Appendix B say everything.
Bounds: a decoded string is at most 8/5 of its encoded size.
"""

from __future__ import annotations

import numpy as np
from numba import types

from kernels.jit import kernel

_int = types.int64
_octets = types.Bytes(types.uint8, 1, "C", readonly=True)
_buffer = types.uint8[::1]

# Appendix B, lengths in bits of the codes of the octets 0 to 255, then of EOS.
CODE_LENGTHS = np.array(
    [
        *(13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28),
        *(6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10),
        *(13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6),
        *(15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28),
        *(20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24),
        *(22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23),
        *(26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27),
        *(20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26),
        30,
    ],
    dtype=np.int64,
)
EOS = 256
_LONGEST = 30
MAX_EXPANSION = 2  # octets of output for one of input: 8/5, rounded up
_PEEK = 10  # bits of the first lookup: every code of printable ASCII but ten fits


def encode(data: bytes) -> bytes:
    """One string, Huffman-coded and padded with ones. For tests and load generators: no faster than it is short."""
    bits = "".join([_BITS[octet] for octet in data])
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big") if bits else b""


def decode(data: bytes) -> bytes:
    """One string. Raises ValueError for EOS in it, padding longer than 7 bits, or padding that is not all ones (RFC 7541 §5.2)."""
    out = np.empty(MAX_EXPANSION * len(data), np.uint8)
    length = decode_string(data, 0, len(data), out, 0)
    if length < 0:
        raise ValueError("malformed Huffman code")
    return out[:length].tobytes()


def _canonical_codes() -> tuple[np.ndarray, np.ndarray]:
    """Symbols in the order of their codes, and those codes, left-justified in 30 bits."""
    symbols = np.argsort(CODE_LENGTHS, kind="stable")
    widths = 1 << (_LONGEST - CODE_LENGTHS[symbols])
    return symbols, np.cumsum(widths) - widths


_SYMBOLS, _CODES = _canonical_codes()
_LENGTHS = CODE_LENGTHS[_SYMBOLS]
_BITS = [format(code, "030b")[:length] for code, length in zip(_CODES[np.argsort(_SYMBOLS)], CODE_LENGTHS, strict=True)]

# By the first _PEEK bits: 32 * symbol + length, or 0 where the code is longer.
_SHORT = int(np.searchsorted(_LENGTHS, _PEEK, side="right"))
_FIRST_LOOK = np.repeat(32 * _SYMBOLS[:_SHORT] + _LENGTHS[:_SHORT], 1 << (_PEEK - _LENGTHS[:_SHORT]))
_FIRST_LOOK = np.append(_FIRST_LOOK, np.zeros((1 << _PEEK) - len(_FIRST_LOOK), np.int64))

# By length: the rank of its first symbol, that symbol's code, and the first code of the next longer length.
_RANK = np.searchsorted(_LENGTHS, np.arange(_LONGEST + 2))
_FROM = np.append(_CODES, 1 << _LONGEST)[_RANK]


@kernel(_int(_octets, _int, _int, _buffer, _int), releases_gil=False)
def decode_string(block: bytes, start: int, stop: int, out: np.ndarray, at: int) -> int:
    """Decode `block[start:stop]` to `out[at:]`; returns the end of the output, or -1 where the code is malformed (RFC 7541 §5.2)."""
    bits = 0  # not decoded yet, right-justified
    count = 0
    while True:
        while count < _LONGEST and start < stop:
            bits = bits << 8 | block[start]
            count += 8
            start += 1
        look = _FIRST_LOOK[bits >> (count - _PEEK) if count >= _PEEK else bits << (_PEEK - count)]
        symbol = look >> 5
        length = look & 31
        if length == 0:
            code = bits >> (count - _LONGEST) if count >= _LONGEST else bits << (_LONGEST - count)
            length = _PEEK + 1
            while code >= _FROM[length + 1]:
                length += 1
            symbol = _SYMBOLS[_RANK[length] + ((code - _FROM[length]) >> (_LONGEST - length))]
        if length > count:  # what remains is padding
            break
        if symbol == EOS:
            return -1
        count -= length
        bits &= (1 << count) - 1
        out[at] = symbol
        at += 1
    return at if count < 8 and bits == (1 << count) - 1 else -1
