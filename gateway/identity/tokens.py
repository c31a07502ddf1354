"""Bearer tokens of an issuer (JWT, RFC 7519 and RFC 8725) to principals.

The library checks the signature, `iss` and `aud`; times are held against the clock that is passed in. The algorithm is the key's, and the
key is found by its id among the issuer's: nothing that a token says of keys or addresses is followed. What was found of a token is kept
under its SHA-256, good and bad apart, so that a flood of bad ones pushes out no good one.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import jwt

from gateway.identity.jwks import Jwks
from gateway.identity.principals import Principal
from gateway.identity.scopes import MAX_SCOPES, problem_of
from gateway.identity.settings import Jwt

MAX_TOKEN_BYTES = 8_192
MAX_KEPT = 4_096  # tokens of each kind
_MAX_NAME = 255  # OpenID Connect Core 1.0 §2 bounds `sub` to this
_REQUIRED = ["iss", "aud", "exp"]
_CHECKED: Any = {
    "require": _REQUIRED,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_sub": False,
    "verify_jti": False,
}


class UnknownKeyError(Exception):
    """The token names a key that the issuer did not have when it was last asked."""


class _BadTokenError(Exception):
    """For any reason that no time will mend."""


class Tokens:
    """The tokens of one issuer. `jwks` None: its keys are not known, so none is good."""

    def __init__(self, settings: Jwt, jwks: Jwks | None) -> None:
        self._settings = settings
        self._jwks = jwks
        self._good: dict[bytes, Principal] = {}
        self._bad: set[bytes] = set()

    def find(self, token: bytes) -> Principal | None:
        """Whose token this is, expired or not; None for one that is not good. Raises UnknownKeyError."""
        if len(token) > MAX_TOKEN_BYTES:
            return None
        digest = hashlib.sha256(token).digest()
        found = self._good.get(digest)
        if found is not None or digest in self._bad:
            return found
        try:
            found = self._read(token)
        except (jwt.PyJWTError, _BadTokenError, ValueError, TypeError, OverflowError, RecursionError):
            self._keep_bad(digest)
            return None
        if len(self._good) >= MAX_KEPT:
            self._good.clear()
        self._good[digest] = found
        return found

    def _keep_bad(self, digest: bytes) -> None:
        if len(self._bad) >= MAX_KEPT:
            self._bad.clear()
        self._bad.add(digest)

    def _read(self, token: bytes) -> Principal:
        key = self._key_of(jwt.get_unverified_header(token))
        settings = self._settings
        claims = jwt.decode(
            token, key, algorithms=[key.algorithm_name], audience=settings.audience, issuer=settings.issuer, options=_CHECKED
        )
        return Principal(
            name=_name(claims),
            scopes=_scopes(claims.get(settings.scopes_claim, "")),
            begins_s=_time(claims, "nbf", -math.inf) - settings.leeway_s,
            expires_s=_time(claims, "exp", -math.inf) + settings.leeway_s,
        )

    def _key_of(self, header: dict[str, object]) -> jwt.PyJWK:
        """Extensions that a token demands to be understood (`crit`, `b64`) are none of those that are understood here."""
        if "crit" in header or "b64" in header or header.get("alg") not in self._settings.algorithms:
            raise _BadTokenError
        key_id = header.get("kid")
        key = None if self._jwks is None else self._jwks.find(key_id if isinstance(key_id, str) else None)
        if key is None:
            raise UnknownKeyError
        return key


def _name(claims: dict[str, object]) -> str:
    subject = claims.get("sub")
    return f"token of {subject[:_MAX_NAME] if isinstance(subject, str) else '?'}"


def _scopes(claim: object) -> frozenset[str]:
    """Those of ours; an issuer has scopes for others too."""
    words = claim.split() if isinstance(claim, str) else claim
    if not isinstance(words, list) or len(words) > MAX_SCOPES or not all(isinstance(word, str) for word in words):
        raise _BadTokenError
    return frozenset(word for word in words if not problem_of(word))


def _time(claims: dict[str, object], name: str, default: float) -> float:
    value = claims.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _BadTokenError
    return float(value)
