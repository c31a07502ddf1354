"""Tells the service manager how the server is, as systemd's sd_notify(3) has it. Silent where nobody listens."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(state: str, *, now_s: float = 0.0) -> None:
    """Send `state`, such as "READY=1", to the socket that the service manager named, if it named one.

    `now_s`, of the monotonic clock, is wanted with "RELOADING=1".
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    state += f"\nMONOTONIC_USEC={int(now_s * 1e6)}" if now_s else ""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
