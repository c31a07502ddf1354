"""Ids of requests: UUIDs of version 7 (RFC 9562 §5.7) in bytes and as they are written, many at a time.

What is random in them comes from two counters that are mixed as SplitMix64 does (Steele, Lea, Flood 2014): whoever starts them at random
makes ids that nobody else makes. They tell apart, and are no secret.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.jit import kernel, part

__all__ = ["TEXT_BYTES", "identify"]

TEXT_BYTES = 36
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_BEFORE = 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10  # these octets stands a hyphen
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


@part()
def _mixed(word: Any) -> Any:
    word = (word ^ (word >> np.uint64(30))) * _FIRST
    word = (word ^ (word >> np.uint64(27))) * _SECOND
    return word ^ (word >> np.uint64(31))


@kernel("void(uint8[:,::1], uint8[:,::1], uint64, uint64[::1])", releases_gil=False)
def identify(ids: np.ndarray, texts: np.ndarray, milliseconds: int, counters: np.ndarray) -> None:
    """Fill `ids` [n, 16] and `texts` [n, 36], of one time since the Unix epoch. counters: uint64 [2], which go on."""
    for row in range(ids.shape[0]):
        counters[0] += _STEP
        counters[1] += _STEP
        words = (
            (np.uint64(milliseconds) << np.uint64(16)) | np.uint64(0x7000) | (_mixed(counters[0]) >> np.uint64(52)),
            np.uint64(1 << 63) | (_mixed(counters[1]) >> np.uint64(2)),
        )
        at = 0
        for octet in range(16):
            value = np.uint8((words[octet >> 3] >> np.uint64(56 - 8 * (octet & 7))) & np.uint64(255))
            ids[row, octet] = value
            if (_BEFORE >> octet) & 1:
                texts[row, at] = 45
                at += 1
            texts[row, at] = _DIGITS[value >> 4]
            texts[row, at + 1] = _DIGITS[value & 15]
            at += 2
