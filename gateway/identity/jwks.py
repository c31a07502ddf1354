"""An issuer's public keys (JWKS, RFC 7517) by their ids. Whoever has fetched them hands them over as bytes.

Only keys that may sign with an allowed algorithm are taken: of RSA at least 2,048 bits, of P-256, of Ed25519. A set may hold others, which
are passed over, and symmetric ones, which would be no public keys at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

MAX_BYTES = 256 << 10
MAX_KEYS = 64
_MIN_RSA_BITS = 2_048
_KINDS = {"RS256": rsa.RSAPublicKey, "ES256": ec.EllipticCurvePublicKey, "EdDSA": ed25519.Ed25519PublicKey}


class JwksError(ValueError):
    """What is no set of keys, or has none that could be used; the text says why."""


class _Set(msgspec.Struct):
    """The document, as far as it matters here."""

    keys: list[dict[str, object]]


class Jwks:
    """Keys by id, "" for a key without one."""

    def __init__(self, content: bytes, algorithms: Sequence[str]) -> None:
        """Raises JwksError."""
        if len(content) > MAX_BYTES:
            raise JwksError(f"more than {MAX_BYTES} bytes")
        try:
            listed = msgspec.json.decode(content, type=_Set).keys
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise JwksError("no JSON Web Key Set") from None
        if len(listed) > MAX_KEYS:
            raise JwksError(f"more than {MAX_KEYS} keys")
        self.keys: dict[str, jwt.PyJWK] = {}
        for described in listed:
            key = _usable(described, algorithms)
            if key is not None:
                self.keys.setdefault(key.key_id or "", key)
        if not self.keys:
            raise JwksError(f"no key in it can be used with {', '.join(sorted(algorithms))}")

    def find(self, key_id: str | None) -> jwt.PyJWK | None:
        """The key that a token names; the only one for a token that names none."""
        if key_id is not None:
            return self.keys.get(key_id)
        return next(iter(self.keys.values())) if len(self.keys) == 1 else None


def _usable(described: dict[str, object], algorithms: Sequence[str]) -> jwt.PyJWK | None:
    if described.get("use", "sig") != "sig" or "d" in described or described.get("alg", algorithms[0]) not in algorithms:
        return None
    try:
        found = jwt.PyJWK(described)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    key = found.key
    if found.algorithm_name not in algorithms or not isinstance(key, _KINDS[found.algorithm_name]):
        return None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
        return None
    if isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(key.curve, ec.SECP256R1):
        return None
    return found
