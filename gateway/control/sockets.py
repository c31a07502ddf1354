"""The server's listening sockets: bound once, by the supervisor, and inherited by the workers, so that no worker's death loses a caller."""

from __future__ import annotations

import socket

from gateway.config import Server

SERVED = ("http_port", "grpc_port")  # by workers
PORTS = (*SERVED, "metrics_port", "admin_port")
_BACKLOG = 1024  # connections that the kernel holds until they are accepted


def bind(server: Server) -> dict[str, socket.socket]:
    """The sockets by the names of their settings, listening. Without SO_REUSEPORT, so that a second server on a port fails loudly.

    Raises `OSError` naming host and port.
    """
    bound: dict[str, socket.socket] = {}
    try:
        for name in PORTS:
            port = getattr(server, name)
            if port is not None:
                bound[name] = _bound(server.admin_host if name == "admin_port" else server.host, port)
    except OSError:
        for sock in bound.values():
            sock.close()
        raise
    return bound


def addresses(bound: dict[str, socket.socket]) -> dict[str, str]:
    """host:port of each."""
    return {name: "{}:{}".format(*sock.getsockname()[:2]) for name, sock in bound.items()}


def _bound(host: str, port: int) -> socket.socket:
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    sock = socket.socket(family, kind, proto)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(f"{host}:{port}: {error.strerror}") from None
    return sock
