"""What a server opens, and to whom, in sentences: for whoever checks settings before they are used. Pure."""

from __future__ import annotations

from gateway.config import Config
from gateway.hosts import is_loopback
from gateway.identity.settings import Auth

_HEALTH = "health and server metadata"


def exposure(config: Config) -> list[str]:
    """A sentence for each thing that a port offers, the most open first."""
    server = config.server
    reach = "this machine" if is_loopback(server.host) else "everybody who can reach it"
    ports = f"{server.host} ports {server.http_port} and {server.grpc_port}"
    found = [f"{ports}: open to {reach}, {_encryption(config)}"]
    if config.auth is None:
        found.append(f"{ports}: inference and all else without a credential")
    else:
        found += [f"{ports}: {line}" for line in _allowed(config.auth)]
    if config.repository.model_control == "explicit":
        found.append(f"{ports}: {_loading(config)}")
    found.append(f"{server.host} port {server.metrics_port}: {_monitor(config)}")
    if server.admin_port is not None:
        found.append(f"{server.admin_host} port {server.admin_port}: {_administration(config)}")
    return found


def is_careless(config: Config) -> bool:
    """Whether somebody who can reach a port from elsewhere may do everything, or can be listened to."""
    server = config.server
    hosts = [server.host, *([] if server.admin_port is None else [server.admin_host])]
    return not all(map(is_loopback, hosts)) and (config.auth is None or config.tls is None)


def _encryption(config: Config) -> str:
    if config.tls is None:
        return "not encrypted"
    shown = {"none": "", "optional": ", client certificates are taken", "required": ", client certificates are demanded"}
    return f"encrypted{shown[config.tls.client_certificates]}"


def _allowed(auth: Auth) -> list[str]:
    """Who may do what, where callers must show a credential."""
    lines = [f"{_HEALTH} without a credential"]
    if auth.anonymous:
        lines.append(f"{', '.join(auth.anonymous)} without a credential")
    if auth.keys:
        lines.append(f"API keys of {auth.keys}, each by its scopes")
    if auth.jwt:
        lines.append(f"tokens of {auth.jwt.issuer} for {' or '.join(auth.jwt.audience)}, by their claim {auth.jwt.scopes_claim}")
    lines += [f"client certificates {name}: {', '.join(client.scopes) or 'nothing'}" for name, client in auth.clients.items()]
    return lines


def _loading(config: Config) -> str:
    files = ", with files that nobody has signed" if config.repository.load_files else ""
    return f"loading and unloading of models{files}, {'without a credential' if config.auth is None else 'with the scope admin'}"


def _administration(config: Config) -> str:
    reach = "this machine" if is_loopback(config.server.admin_host) else "everybody who can reach it"
    needs = "without a credential" if config.auth is None else "with the scopes meta, operate, approve and audit"
    return f"rollouts {needs}, open to {reach}, {_encryption(config)}"


def _monitor(config: Config) -> str:
    encrypted = "encrypted" if config.tls is not None and config.tls.metrics else "not encrypted"
    needs = "metrics with the scope meta" if config.auth is not None and config.auth.metrics else "metrics without a credential"
    return f"health and {needs}, {encrypted}"
