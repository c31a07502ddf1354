"""Which TCP ports can be listened on right now. Holds none of them: another process may take one a moment later."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence


def is_free(host: str, port: int) -> bool:
    """Whether a listener could be opened on `host`:`port`. Raises `OSError` for a host that this machine does not have."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except PermissionError:
            return False  # a port below 1024
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def choose(host: str, wanted: Sequence[int]) -> list[int]:
    """`wanted` with every port that is taken replaced by a free one, all different."""
    held: list[socket.socket] = []
    try:
        chosen = []
        for port in wanted:
            if not is_free(host, port):
                probe = socket.create_server((host, 0))
                held.append(probe)
                port = probe.getsockname()[1]  # noqa: PLW2901
            chosen.append(port)
        return chosen
    finally:
        for probe in held:
            probe.close()
