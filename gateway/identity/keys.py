"""API keys: how one is made, what is kept of it, and whose a key is that somebody shows.

A key is `tidegate_`, its id, `_` and a secret of 256 random bits, so that scanners for leaked secrets can find it by its form. What is kept
is the id and the SHA-256 of the whole key: a secret that nobody can guess needs no slow hash, and the id is looked up so that the hash can
be compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable

import msgspec

PREFIX = "tidegate_"
FORM = re.compile(rb"tidegate_([0-9a-z]{8})_[0-9A-Za-z]{43}")
_SMALL_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ALL_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_SIZE, _SECRET_SIZE = 8, 43  # 62^43 > 2^256
_SECRET_BYTES, _ID_BYTES = 32, 8


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a key."""

    name: str
    id: str
    digest: bytes  # SHA-256 of the key
    scopes: tuple[str, ...]
    expires_s: float | None = None  # seconds since the Unix epoch


_NOBODY = ApiKey(name="", id="", digest=bytes(32), scopes=())


def mint(random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> tuple[str, str, bytes]:
    """A new key, its id, and the digest to keep of it."""
    identity = _written(random_bytes(_ID_BYTES), _SMALL_LETTERS, _ID_SIZE)
    key = f"{PREFIX}{identity}_{_written(random_bytes(_SECRET_BYTES), _ALL_LETTERS, _SECRET_SIZE)}"
    return key, identity, hashlib.sha256(key.encode()).digest()


class KeyTable:
    """The keys of a server."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._by_id = {key.id.encode(): key for key in keys}

    def find(self, shown: bytes) -> ApiKey | None:
        """Whose key this is, expired or not. An id that is not there costs the same comparison as one that is."""
        form = FORM.fullmatch(shown)
        if form is None:
            return None
        key = self._by_id.get(form[1], _NOBODY)
        is_same = hmac.compare_digest(hashlib.sha256(shown).digest(), key.digest)
        return key if is_same and key is not _NOBODY else None


def _written(octets: bytes, letters: str, size: int) -> str:
    """A number in so many digits; the lowest ones where it has more."""
    value, digits = int.from_bytes(octets, "big"), []
    for _ in range(size):
        value, digit = divmod(value, len(letters))
        digits.append(letters[digit])
    return "".join(digits)
