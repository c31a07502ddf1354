"""The `auth` section as people write it, and its mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config, ConfigError, decode, encode, load
from gateway.identity.settings import Client

JWT = "jwt: {issuer: i, audience: [a], keys: jwks.json}"
WHOLE = """
repository: {path: m}
tls: {certificate: c, key: k, client_ca: ca, client_certificates: optional}
auth:
  keys: keys.yaml
  jwt:
    issuer: https://issuer.example
    audience: [tidegate]
    keys: https://issuer.example/jwks?app=1
    keys_ca: issuer.pem
    algorithms: [ES256]
    scopes_claim: roles
  clients:
    uri:spiffe://example.org/scoring: {scopes: ["infer:*", meta]}
    "*": {scopes: []}
  anonymous: [meta]
  metrics: true
"""


def loaded(folder: Path, text: str) -> Config:
    path = folder / "tidegate.yaml"
    path.write_text(text)
    return load(path)


def mistakes(folder: Path, auth: str, more: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, f"repository: {{path: m}}\n{more}\nauth: {{{auth}}}\n")
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def test_everything_can_be_said_and_survives_the_way_to_a_worker(tmp_path: Path) -> None:
    """Paths are taken from the file's folder, URLs stay as they are."""
    auth = loaded(tmp_path, WHOLE).auth
    assert auth is not None
    assert auth.jwt is not None
    assert (tmp_path / "keys.yaml", tmp_path / "issuer.pem") == (auth.keys, auth.jwt.keys_ca)
    assert "https://issuer.example/jwks?app=1" == auth.jwt.keys == auth.jwt.url
    assert {"uri:spiffe://example.org/scoring": Client(scopes=("infer:*", "meta")), "*": Client(scopes=())} == auth.clients
    config = loaded(tmp_path, WHOLE)
    assert config == decode(encode(config))


def test_without_the_section_nobody_is_asked(tmp_path: Path) -> None:
    """As before there was one."""
    assert loaded(tmp_path, "repository: {path: m}\n").auth is None


@pytest.mark.parametrize(
    ("auth", "complaint"),
    [
        ("", "auth.keys: nobody could show a credential: set keys, jwt or clients"),
        ("anonymous: [meta]", "auth.keys: nobody could show a credential: set keys, jwt or clients"),
        ("keys: k, anonymous: [root]",
         "auth.anonymous: unknown scope; known: infer:MODEL, labels:MODEL, meta, admin, publish, operate, approve, audit"),
        ("keys: k, realm: 'a\"b'", "auth.realm: expected 1 to 64 printable ASCII characters without quotes and backslashes"),
        ("keys: k, realm: ''", "auth.realm: expected 1 to 64 printable ASCII characters without quotes and backslashes"),
        ("clients: {}", "auth.keys: nobody could show a credential: set keys, jwt or clients"),
        ("clients: {a: {scopes: []}}", "auth.clients.a: expected dns:NAME, uri:NAME, email:NAME, ip:NAME, cn:NAME or *"),
        ("clients: {'dns:': {scopes: []}}", "auth.clients.dns:: expected dns:NAME, uri:NAME, email:NAME, ip:NAME, cn:NAME or *"),
        ("clients: {'cn:a': {scopes: [infer]}}", "auth.clients.cn:a.scopes: infer is of a model: write infer:MODEL, or infer:* for all"),
        ("clients: {'cn:a': {scopes: [meta]}}", "auth.clients: needs tls.client_certificates: optional, or required"),
        ("jwt: {issuer: i, audience: [], keys: k}",
         "auth.jwt.audience: name at least one: a token for somebody else must not be good here"),
        ("jwt: {issuer: i, audience: [a], keys: k, algorithms: []}", "auth.jwt.algorithms: name at least one"),
        ("jwt: {issuer: i, audience: [a], keys: k, algorithms: [none]}",
         "auth.jwt.algorithms.0: expected one of RS256, ES256, EdDSA, got the text 'none'"),
        ("jwt: {issuer: i, audience: [a], keys: k, algorithms: [HS256]}",
         "auth.jwt.algorithms.0: expected one of RS256, ES256, EdDSA, got the text 'HS256'; did you mean 'RS256'?"),
        ("jwt: {issuer: i, audience: [a], keys: k, keys_ca: c}", "auth.jwt.keys_ca: belongs to a URL, and keys is a file"),
        ("jwt: {issuer: i, audience: [a], keys: 'http://issuer.example/k'}",
         "auth.jwt.keys: keys that anybody on the way could change are no keys: use https"),
        ("jwt: {issuer: i, audience: [a], keys: 'https://u:secret@issuer.example/k'}",
         "auth.jwt.keys: a URL holds no user, password or fragment"),
        ("jwt: {issuer: i, audience: [a], keys: 'ftp://issuer.example/k'}", "auth.jwt.keys: a URL begins with https:// and names a host"),
        ("jwt: {issuer: i, audience: [a], keys: 'file:///etc/passwd'}", "auth.jwt.keys: a URL begins with https:// and names a host"),
        ("jwt: {issuer: i, audience: [a], keys: 'https://[x/k'}", "auth.jwt.keys: expected a file or a URL"),
        ("jwt: {issuer: i, keys: k}", "auth.jwt.audience: required: a list of texts"),
        ("keys: k, roles: x", "auth.roles: unknown setting; known here: keys, jwt, clients, anonymous, metrics, realm"),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path: Path, auth: str, complaint: str) -> None:
    """With the setting and what to write instead; no URL is repeated, because it may hold a secret."""
    found = mistakes(tmp_path, auth)
    assert [complaint] == found
    assert "secret@" not in "".join(found)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_an_issuer_on_this_machine_needs_no_certificate(tmp_path: Path, host: str) -> None:
    """Nobody is on the way."""
    text = f"repository: {{path: m}}\nauth: {{jwt: {{issuer: i, audience: [a], keys: 'http://{host}:8080/k'}}}}\n"
    assert loaded(tmp_path, text).auth


PUBLIC: dict[str, Any] = {"server.host": "0.0.0.0", "repository.path": "m"}
TLS: dict[str, Any] = {"tls.certificate": "c", "tls.key": "k"}
KEYS: dict[str, Any] = {"auth.keys": "keys.yaml"}


@pytest.mark.parametrize(("settings", "missing"), [({}, "`tls` and `auth`"), (TLS, "`auth`"), (KEYS, "`tls`")])
def test_a_public_address_needs_encryption_and_credentials(settings: dict[str, Any], missing: str) -> None:
    """Each is asked for by its name; one word lets in everybody."""
    with pytest.raises(ConfigError) as caught:
        load(None, PUBLIC | settings)
    (problem,) = caught.value.problems
    expected = f"'0.0.0.0' can be reached by others: add {missing}, or set server.insecure to true to let in everybody"
    assert ("server.host", expected) == (problem.path, problem.message)
    assert load(None, PUBLIC | settings | {"server.insecure": True})
    assert load(None, PUBLIC | TLS | KEYS)


def test_credentials_for_metrics_are_not_sent_in_the_clear() -> None:
    """Unless somebody says that this is wanted."""
    settings = PUBLIC | TLS | KEYS | {"auth.metrics": True}
    assert load(None, settings)
    with pytest.raises(ConfigError, match=r"auth\.metrics: credentials would be sent in the clear"):
        load(None, settings | {"tls.metrics": False})
    assert load(None, settings | {"tls.metrics": False, "server.insecure": True})
    assert load(None, KEYS | {"auth.metrics": True, "repository.path": "m"})
