"""Credentials to callers, in one process: API keys, tokens and client certificates, against what is known now. Decides who, not what.

What a server knows comes as `Known` from whoever reads files and asks issuers, and is replaced whole: from that moment on nobody is let in
by what was known before. What is kept of callers is bounded, and only good ones are kept.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from gateway.clock import Clock
from gateway.errors import Code
from gateway.identity.callers import Caller
from gateway.identity.certificates import ANY, Certificate
from gateway.identity.keys import PREFIX, ApiKey, KeyTable
from gateway.identity.principals import Principal
from gateway.identity.settings import Auth, Client

if TYPE_CHECKING:
    from gateway.identity.tokens import Tokens

_CALLERS_MAX = 1_024
_LOOK_S = 30.0  # the longest time without another look: the wall clock, which says when credentials expire, may jump
_BRIEFLY_S = 1e-3  # the same where the last look found nobody
_ASK_S = 1.0  # between two questions for newer keys of the issuer
_SCHEME = b"bearer"
_FOREVER = float("inf")

Shown = tuple[bytes | None, Certificate | None]  # the value of the Authorization field, and what TLS was shown


class Known(msgspec.Struct, frozen=True, tag=True):
    """What credentials are held against. No secrets: digests of keys, public keys of the issuer."""

    keys: tuple[ApiKey, ...] = ()
    jwks: bytes | None = None  # as the issuer has them; None while they are not known


class Gate:
    """Who may pass, for one event loop."""

    def __init__(self, auth: Auth, clock: Clock, *, ask: Callable[[], None] = lambda: None) -> None:
        """`ask` is called when a token names a key of the issuer that is not known."""
        self._auth = auth
        self._clock = clock
        self.now = clock.now
        self._ask = ask
        self._asked_at = -_FOREVER
        self._known = Known()
        self._keys = KeyTable(())
        self._tokens: Tokens | None = None
        self._callers: dict[Shown, Caller] = {}
        self._alive: weakref.WeakSet[Caller] = weakref.WeakSet()
        self.denials: Counter[Code] = Counter()  # requests that were refused, for whoever counts
        self._prepare()

    @property
    def realm(self) -> str:
        """Of the challenge that goes with a refusal."""
        return self._auth.realm

    def configure(self, auth: Auth) -> None:
        """Other settings."""
        self._auth = auth
        self._prepare()

    def renew(self, known: Known) -> None:
        """Hold credentials against this from now on, those of callers that are here already too."""
        self._known = known
        self._prepare()

    def _prepare(self) -> None:
        self._keys = KeyTable(self._known.keys)
        self._tokens = None if self._auth.jwt is None else _tokens(self._auth, self._known.jwks)
        self._callers.clear()
        for caller in self._alive:
            caller.until = 0.0

    def caller(self, value: bytes | None, certificate: Certificate | None = None) -> Caller:
        """Who comes with an Authorization field, b"" for several of them, or without one; over TLS maybe with a certificate."""
        shown = value, certificate
        found = self._callers.get(shown)
        if found is None:
            found = Caller(lambda: self._look(shown), self.denials)
            self._alive.add(found)
            if found.principal is not None:
                if len(self._callers) >= _CALLERS_MAX:
                    self._callers.clear()
                self._callers[shown] = found
        return found

    def _look(self, shown: Shown) -> tuple[Principal | None, float]:
        now, wall = self._clock.now(), self._clock.wall()
        principal = self._identify(*shown)
        if principal is None or not principal.is_good(wall):
            return None, now + _BRIEFLY_S
        return principal, now + min(_LOOK_S, principal.expires_s - wall)

    def _identify(self, value: bytes | None, certificate: Certificate | None) -> Principal | None:
        """A field is judged by itself: a bad one is not made good by a certificate."""
        if value is None:
            found = None if certificate is None else _of_certificate(certificate, self._auth.clients)
            return found or _anonymous(self._auth)
        scheme, _, token = value.partition(b" ")
        if scheme.lower() != _SCHEME:
            return None
        token = token.strip(b" ")
        if token.startswith(PREFIX.encode()):
            key = self._keys.find(token)
            return None if key is None else _of_key(key)
        return None if self._tokens is None else self._of_token(self._tokens, token)

    def _of_token(self, tokens: Tokens, token: bytes) -> Principal | None:
        from gateway.identity.tokens import UnknownKeyError

        try:
            return tokens.find(token)
        except UnknownKeyError:
            now = self._clock.now()
            if now - self._asked_at >= _ASK_S:
                self._asked_at = now
                self._ask()
            return None


def _tokens(auth: Auth, content: bytes | None) -> Tokens:
    """The library is imported where tokens are wanted only."""
    from gateway.identity.jwks import Jwks, JwksError
    from gateway.identity.tokens import Tokens

    assert auth.jwt is not None
    try:
        jwks = None if content is None else Jwks(content, auth.jwt.algorithms)
    except JwksError:  # whoever fetched them has said so
        jwks = None
    return Tokens(auth.jwt, jwks)


def _of_key(key: ApiKey) -> Principal:
    expires_s = _FOREVER if key.expires_s is None else key.expires_s
    return Principal(name=f"key {key.name}", scopes=frozenset(key.scopes), expires_s=expires_s)


def _of_certificate(certificate: Certificate, clients: Mapping[str, Client]) -> Principal | None:
    named = [name for name in (*certificate.names, ANY) if name in clients]
    if not named:
        return None
    scopes = frozenset(scope for name in named for scope in clients[name].scopes)
    return Principal(name=f"certificate {named[0]}", scopes=scopes, expires_s=certificate.expires_s)


def _anonymous(auth: Auth) -> Principal | None:
    return Principal(name="anonymous", scopes=frozenset(auth.anonymous), anonymous=True) if auth.anonymous else None
