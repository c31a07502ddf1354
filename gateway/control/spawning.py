"""Processes: a worker's is a fresh interpreter, never a fork, with exactly the descriptors that it is given; and the end of any."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from dataclasses import dataclass

import msgspec

from gateway.control.inheritance import Inheritance

_QUIET = {"ORT_DISABLE_TELEMETRY": "1"}  # else ONNX Runtime opens a database in the home directory


@dataclass(slots=True)
class Spawned:
    """A worker's process, and this end of the channel to it."""

    child: subprocess.Popen[bytes]
    channel: socket.socket


def spawn(inheritance: Inheritance) -> Spawned:
    """Start a worker. `inheritance.channel` is set here. Raises `OSError`."""
    ours, theirs = socket.socketpair()
    with theirs:
        given = msgspec.structs.replace(inheritance, channel=theirs.fileno())
        command = [sys.executable, "-P", "-m", "gateway.control.worker", msgspec.json.encode(given).decode()]
        try:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=given.descriptors(), env=os.environ | _QUIET)
        except OSError:
            ours.close()
            raise
    return Spawned(child, ours)


async def ended(process: subprocess.Popen[bytes], patience_s: float) -> bool:
    """Wait until a process has ended; whether it did by itself. It is killed after a while."""
    try:
        await asyncio.to_thread(process.wait, patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        await asyncio.to_thread(process.wait)
        return False
    return True
