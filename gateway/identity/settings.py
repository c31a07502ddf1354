"""The `auth` section of the settings: where credentials come from, and what callers without one may do."""

from __future__ import annotations

import urllib.parse
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from gateway.hosts import is_loopback
from gateway.identity.certificates import problem_of_name
from gateway.identity.scopes import problem_among
from gateway.typed_yaml import MisfitError


class Jwt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tokens of an issuer (JWT), as bearer tokens. Each needs `iss`, `aud` and `exp`; `nbf` holds where it is there."""

    issuer: str  # what `iss` must be, to the letter
    audience: tuple[str, ...]  # one of these must be in `aud`
    keys: Path | str  # the issuer's public keys (JWKS): a file, or a URL, https except on this machine
    keys_ca: Path | None = None  # PEM: the authorities that the URL's certificate is checked against, instead of the system's
    algorithms: tuple[Literal["RS256", "ES256", "EdDSA"], ...] = ("RS256", "ES256", "EdDSA")  # of signatures; there are no others
    scopes_claim: str = "scope"  # where the scopes stand: a text with blanks between them, or a list; words that are no scopes do nothing
    leeway_s: Annotated[float, msgspec.Meta(ge=0, le=300)] = 60.0  # that clocks may differ
    refresh_s: Annotated[float, msgspec.Meta(ge=10, le=86_400)] = 600.0  # between two looks at the URL; a key that is unknown asks sooner
    stale_s: Annotated[float, msgspec.Meta(ge=0, le=604_800)] = 3_600.0  # past refresh_s, how long its keys hold while it is away
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 5.0  # of one look

    def __post_init__(self) -> None:
        if not self.audience:
            raise MisfitError("audience", "name at least one: a token for somebody else must not be good here")
        if not self.algorithms:
            raise MisfitError("algorithms", "name at least one")
        if self.url:
            _check_url(self.url)
        elif self.keys_ca is not None:
            raise MisfitError("keys_ca", "belongs to a URL, and keys is a file")

    @property
    def url(self) -> str:
        """Where the keys are fetched; "" where they are in a file."""
        return str(self.keys) if "://" in str(self.keys) and isinstance(self.keys, str) else ""


class Client(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client certificate, by a name in it: `dns:…`, `uri:…`, `email:…`, `ip:…`, `cn:…`, or `*` for any that `tls.client_ca` vouches for.
    Several names of one certificate have the scopes of all of them."""

    scopes: tuple[str, ...]  # what its holder may do

    def __post_init__(self) -> None:
        _check_scopes("scopes", self.scopes)


class Auth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may call. Leave the section out, and everybody who reaches a port may do all that it offers. With it, every call but health and
    server metadata needs a credential: an API key or a token as `Authorization: Bearer …`, or a client certificate. A request that has a
    header is judged by it alone."""

    keys: Path | None = None  # a file of API keys, as `tidegate key new` writes them; other users must not be able to read it
    jwt: Jwt | None = None
    clients: dict[str, Client] = {}
    anonymous: tuple[str, ...] = ()  # scopes of callers that show nothing, e.g. [meta]
    metrics: bool = False  # whether /metrics needs the scope meta; health needs nothing on any port
    realm: str = "tidegate"  # of the challenge in a 401

    def __post_init__(self) -> None:
        if not (self.keys or self.jwt or self.clients):
            raise MisfitError("keys", "nobody could show a credential: set keys, jwt or clients")
        _check_scopes("anonymous", self.anonymous)
        for name in self.clients:
            if problem := problem_of_name(name):
                raise MisfitError(f"clients.{name}", problem)
        if not (0 < len(self.realm) <= 64 and self.realm.isascii() and self.realm.isprintable()) or set(self.realm) & set('"\\'):
            raise MisfitError("realm", "expected 1 to 64 printable ASCII characters without quotes and backslashes")


def _check_scopes(path: str, scopes: tuple[str, ...]) -> None:
    if problem := problem_among(scopes):
        raise MisfitError(path, problem)


def _check_url(url: str) -> None:
    """Not repeated in a message: it may hold a secret."""
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise MisfitError("keys", "expected a file or a URL") from None
    if parts.scheme not in ("https", "http") or not host:
        raise MisfitError("keys", "a URL begins with https:// and names a host")
    if "@" in parts.netloc or parts.fragment:
        raise MisfitError("keys", "a URL holds no user, password or fragment")
    if parts.scheme == "http" and not is_loopback(host):
        raise MisfitError("keys", "keys that anybody on the way could change are no keys: use https")
