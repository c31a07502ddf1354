"""What settings open, and to whom, in sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway import doctor
from gateway.config import Config, load
from gateway.doctor import State
from gateway.exposure import exposure, is_careless

TLS: dict[str, Any] = {"tls.certificate": "c", "tls.key": "k"}
PUBLIC: dict[str, Any] = {"server.host": "0.0.0.0"}


def config(**settings: Any) -> Config:
    return load(None, {"repository.path": "m"} | settings)


def test_a_server_as_it_starts_without_settings() -> None:
    """For this machine, and nobody is asked."""
    assert [
        "127.0.0.1 ports 8000 and 8001: open to this machine, not encrypted",
        "127.0.0.1 ports 8000 and 8001: inference and all else without a credential",
        "127.0.0.1 port 8002: health and metrics without a credential, not encrypted",
        "127.0.0.1 port 8003: rollouts without a credential, open to this machine, not encrypted",
    ] == exposure(config())
    assert not any("8003" in line for line in exposure(config(**{"server.admin_port": None}))[:-1])


def test_who_may_load_and_bring_what(tmp_path: Path) -> None:
    """A sentence where callers say what is loaded, and none elsewhere."""
    explicit: dict[str, Any] = {"repository.model_control": "explicit"}
    ports = "127.0.0.1 ports 8000 and 8001: loading and unloading of models"
    assert f"{ports}, without a credential" in exposure(config(**explicit))
    files = f"{ports}, with files that nobody has signed, without a credential"
    assert files in exposure(config(**explicit, **{"repository.load_files": True}))
    path = tmp_path / "tidegate.yaml"
    path.write_text("repository: {path: m, model_control: explicit}\nauth: {keys: keys.yaml}\n")
    assert f"{ports}, with the scope admin" in exposure(load(path))


def test_who_may_do_what_with_which_credential(tmp_path: Path) -> None:
    """Each kind has its sentence."""
    path = tmp_path / "tidegate.yaml"
    path.write_text("""
repository: {path: m}
server: {host: 10.0.0.1}
tls: {certificate: c, key: k, client_ca: ca, client_certificates: optional}
auth:
  keys: keys.yaml
  jwt: {issuer: https://i.example, audience: [a, b], keys: jwks.json}
  clients: {"cn:a": {scopes: ["infer:*", meta]}, "*": {scopes: []}}
  anonymous: [meta]
  metrics: true
""")
    ports = "10.0.0.1 ports 8000 and 8001"
    assert [
        f"{ports}: open to everybody who can reach it, encrypted, client certificates are taken",
        f"{ports}: health and server metadata without a credential",
        f"{ports}: meta without a credential",
        f"{ports}: API keys of {tmp_path}/keys.yaml, each by its scopes",
        f"{ports}: tokens of https://i.example for a or b, by their claim scope",
        f"{ports}: client certificates cn:a: infer:*, meta",
        f"{ports}: client certificates *: nothing",
        "10.0.0.1 port 8002: health and metrics with the scope meta, encrypted",
        "127.0.0.1 port 8003: rollouts with the scopes meta, operate, approve and audit, open to this machine, encrypted, "
        "client certificates are taken",
    ] == exposure(load(path))


@pytest.mark.parametrize(
    ("settings", "careless"),
    [
        ({}, False), (PUBLIC | TLS | {"auth.keys": "k"}, False), (PUBLIC | {"server.insecure": True}, True),
        (PUBLIC | TLS | {"server.insecure": True}, True), (PUBLIC | {"auth.keys": "k", "server.insecure": True}, True),
    ],
)  # fmt: skip
def test_the_doctor_warns_of_what_others_can_reach_without_both(settings: dict[str, Any], careless: bool) -> None:
    """Something in front of it may do both, so it is no failure."""
    found = doctor.access(config(**settings))
    assert (careless, State.WARN if careless else State.OK) == (is_careless(config(**settings)), found.state)
    assert bool(found.advice) == careless


def test_the_doctor_looks_into_the_files(tmp_path: Path) -> None:
    """Keys that others can read, a certificate that is none."""
    keys = tmp_path / "keys.yaml"
    keys.write_text("keys: {}\n")
    keys.chmod(0o600)
    found = doctor.credentials(config(**{"auth.keys": keys}))
    assert (State.OK, "0 API keys") == (found.state, found.detail)
    keys.chmod(0o644)
    assert State.FAIL is doctor.credentials(config(**{"auth.keys": keys})).state
    assert "cannot be read" in doctor.credentials(config(**TLS)).detail
