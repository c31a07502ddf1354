"""An issuer of tokens: keys of every kind, their public set, and tokens as they should be and as somebody might forge them."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from gateway.identity.keys import ApiKey, mint
from gateway.identity.settings import Auth, Jwt

ISSUER, AUDIENCE, NOW_S = "https://issuer.example", "tidegate", 1_000.0
ALGORITHMS = {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA"}
MAKE: dict[str, Callable[[], Any]] = {
    "rsa": lambda: rsa.generate_private_key(65_537, 2_048),
    "small": lambda: rsa.generate_private_key(65_537, 1_024),
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed": ed25519.Ed25519PrivateKey.generate,
}


@functools.cache
def private(name: str) -> Any:
    """A private key; `name` is its kind, maybe with a number behind it."""
    return MAKE[name.rstrip("0123456789") if name not in MAKE else name]()


def public(name: str, **more: object) -> dict[str, object]:
    """The public half of a key as a set lists it, its name as its id."""
    key = private(name).public_key()
    algorithm = {
        rsa.RSAPublicKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePublicKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PublicKey: jwt.algorithms.OKPAlgorithm,
    }
    kind = next(made for base, made in algorithm.items() if isinstance(key, base))
    return {**kind.to_jwk(key, as_dict=True), "kid": name, **more}


def key_set(*names: str) -> bytes:
    return json.dumps({"keys": [public(name) for name in names or ALGORITHMS]}).encode()


def pem(name: str) -> bytes:
    """The public half as PEM: what an attacker signs with who hopes that it is taken for a shared secret."""
    return private(name).public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def claims(**changes: object) -> dict[str, object]:
    """Those of a good token; None takes one away."""
    good = {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW_S + 600, "sub": "ann", "scope": "openid infer:rows meta"}
    return {name: value for name, value in (good | changes).items() if value is not None}


def token(name: str = "ec", *, key_id: str | None = "", header: dict[str, object] | None = None, **changes: object) -> bytes:
    """A token signed with a key; `key_id` None names none, "" its own."""
    head = {"kid": name if key_id == "" else key_id} if key_id is not None else {}
    return jwt.encode(claims(**changes), private(name), ALGORITHMS[name.rstrip("0123456789")], headers=head | (header or {})).encode()


def forged(header: dict[str, object], sign: Callable[[bytes], bytes] = lambda _: b"", **changes: object) -> bytes:
    """A token with any header at all, signed anyhow."""
    content = b".".join([_coded(json.dumps(part).encode()) for part in (header, claims(**changes))])
    return content + b"." + _coded(sign(content))


def confused() -> bytes:
    """HS256 with the issuer's public key as the secret."""
    return forged({"alg": "HS256", "kid": "rsa"}, lambda content: hmac.new(pem("rsa"), content, hashlib.sha256).digest())


def broken() -> bytes:
    """A good token whose claims were changed afterwards."""
    head, body, signature = token().split(b".")
    better = json.loads(base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4))) | {"scope": "admin"}
    return b".".join([head, _coded(json.dumps(better).encode()), signature])


BAD: dict[str, Callable[[], bytes]] = {  # whatever may be wrong with a token
    "alg none": lambda: forged({"alg": "none", "kid": "ec"}),
    "alg None": lambda: forged({"alg": "None", "kid": "ec"}),
    "alg missing": lambda: forged({"kid": "ec"}),
    "alg no text": lambda: forged({"alg": ["ES256"], "kid": "ec"}),
    "HS256 with the public key": confused,
    "HS256 without a key": lambda: forged({"alg": "HS256"}, lambda content: hmac.new(b"", content, hashlib.sha256).digest()),
    "alg of another key": lambda: forged({"alg": "RS256", "kid": "ec"}, lambda content: private("rsa").sign(content, *_pkcs1())),
    "unknown kid": lambda: token(key_id="nobody"),
    "kid that is a path": lambda: token(key_id="../../../../dev/null"),
    "kid of another key": lambda: token(key_id="rsa"),
    "kid no text": lambda: forged({"alg": "ES256", "kid": 7}),
    "no kid, several keys": lambda: token(key_id=None),
    "stranger's key": lambda: token("ec7", key_id="ec"),
    "claims changed": broken,
    "signature missing": lambda: token().rpartition(b".")[0] + b".",
    "signature cut": lambda: token()[:-8],
    "issuer": lambda: token(iss="https://issuer.example.evil"),
    "issuer missing": lambda: token(iss=None),
    "audience": lambda: token(aud="somebody else"),
    "audience missing": lambda: token(aud=None),
    "audience empty": lambda: token(aud=[]),
    "expired": lambda: token(exp=NOW_S - 61),
    "exp missing": lambda: token(exp=None),
    "exp a text": lambda: token(exp="tomorrow"),
    "exp true": lambda: token(exp=True),
    "exp NaN": lambda: token(exp=float("nan")),
    "not yet": lambda: token(nbf=NOW_S + 61),
    "nbf a text": lambda: token(nbf="soon"),
    "crit": lambda: token(header={"crit": ["exp"], "exp": NOW_S}),
    "crit unknown": lambda: token(header={"crit": ["https://x.example/y"], "https://x.example/y": True}),
    "b64": lambda: forged({"alg": "EdDSA", "kid": "ed", "b64": True}, private("ed").sign),
    "crit, well signed": lambda: forged({"alg": "EdDSA", "kid": "ed", "crit": ["b64"]}, private("ed").sign),
    "jwk in the header": lambda: token("ec7", key_id="ec7", header={"jwk": public("ec7")}),
    "address in the header": lambda: token("ec7", key_id="ec7", header={"jku": "http://127.0.0.1:1/keys"}),
    "300 scopes": lambda: token(scope=["meta"] * 300),
    "scopes a number": lambda: token(scope=7),
    "scopes of numbers": lambda: token(scope=[1, 2]),
    "too long": lambda: token(padding="x" * 7_000),
    "two parts": lambda: b"a.b",
    "four parts": lambda: token() + b".x",
    "no base64": lambda: b"$$$.$$$.$$$",
    "no JSON": lambda: b".".join([_coded(b"{"), _coded(b"{}"), b"x"]),
    "JSON of lists": lambda: b".".join([_coded(b"[]"), _coded(b"[]"), b"x"]),
    "deep JSON": lambda: b".".join([_coded(b"[" * 3_000), _coded(b"{}"), b"x"]),
    "not ASCII": "tökén.é.é".encode,
    "empty": lambda: b"",
}


def _pkcs1() -> tuple[Any, Any]:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    return padding.PKCS1v15(), hashes.SHA256()


def _coded(octets: bytes) -> bytes:
    return base64.urlsafe_b64encode(octets).rstrip(b"=")


SETTINGS = Jwt(issuer=ISSUER, audience=(AUDIENCE, "other"), keys=Path("jwks.json"))


def auth(**changes: Any) -> Auth:
    """The settings of a server that takes tokens and API keys."""
    return Auth(**({"jwt": SETTINGS, "keys": Path("keys.yaml")} | changes))


def api_key(name: str, *scopes: str, expires_s: float | None = None) -> tuple[str, ApiKey]:
    """A key, and what a server knows of it."""
    secret, identity, digest = mint()
    return secret, ApiKey(name=name, id=identity, digest=digest, scopes=scopes, expires_s=expires_s)
