"""SipHash-2-4 of byte strings that lie one after the other: a keyed hash of 64 bits that says nothing to who lacks the key.

The function of Aumasson and Bernstein (2012). Equal strings have equal hashes under one key.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.jit import kernel, part

__all__ = ["hash_strings"]

_V0, _V1 = np.uint64(0x736F6D6570736575), np.uint64(0x646F72616E646F6D)
_V2, _V3 = np.uint64(0x6C7967656E657261), np.uint64(0x7465646279746573)


@part()
def _turned(value: Any, bits: Any) -> Any:
    """Rotated to the left, 0 < bits < 64."""
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


@part()
def _round(v0: Any, v1: Any, v2: Any, v3: Any) -> Any:
    v0 += v1
    v1 = _turned(v1, 13) ^ v0
    v0 = _turned(v0, 32)
    v2 += v3
    v3 = _turned(v3, 16) ^ v2
    v0 += v3
    v3 = _turned(v3, 21) ^ v0
    v2 += v1
    v1 = _turned(v1, 17) ^ v2
    v2 = _turned(v2, 32)
    return v0, v1, v2, v3


@part()
def _mixed_in(v0: Any, v1: Any, v2: Any, v3: Any, word: Any) -> Any:
    v3 ^= word
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ word, v1, v2, v3


@kernel("void(uint8[::1], int64[::1], uint64, uint64, uint64[::1])")
def hash_strings(octets: np.ndarray, ends: np.ndarray, key_0: int, key_1: int, hashes: np.ndarray) -> None:
    """octets: [bytes] of all strings; ends: [strings], where each ends; key_0, key_1: the halves of the key, little-endian; hashes:
    [strings], written."""
    start = 0
    for i in range(ends.shape[0]):
        end = ends[i]
        v0, v1, v2, v3 = _V0 ^ key_0, _V1 ^ key_1, _V2 ^ key_0, _V3 ^ key_1
        word, at = np.uint64(0), np.uint64(0)
        for j in range(start, end):
            word |= np.uint64(octets[j]) << at
            at += np.uint64(8)
            if at == np.uint64(64):
                v0, v1, v2, v3 = _mixed_in(v0, v1, v2, v3, word)
                word, at = np.uint64(0), np.uint64(0)
        word |= np.uint64((end - start) & 0xFF) << np.uint64(56)
        v0, v1, v2, v3 = _mixed_in(v0, v1, v2, v3, word)
        v2 ^= np.uint64(0xFF)
        for _ in range(4):
            v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        hashes[i] = v0 ^ v1 ^ v2 ^ v3
        start = end
