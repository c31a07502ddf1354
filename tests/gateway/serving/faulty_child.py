"""The program of an isolated model, broken: a first value that names a fault makes it commit that fault. Stands in the program's place."""

from __future__ import annotations

import array
import os
import signal
import socket
import struct
import sys

import numpy as np

from gateway.serving import isolated_child
from gateway.serving.frames import Frame, Kind, encode
from gateway.serving.region import SEALS, Region

FAULTS = (
    "crash", "abort", "hang", "deaf", "exit", "garbage", "oversize", "half", "more", "rows", "datatype", "fewer", "number", "text", "code",
    "unsealed", "outside", "descriptors", "leak",
)  # fmt: skip
FIRST = 1001.0  # the value that names the first of them


class FaultyHost(isolated_child.Host):
    """Right, but for those values."""

    def answer(self, model, request) -> bool:
        first = float(request.tensors[0].reshape(-1)[0])
        poison = first if first >= FIRST else float(np.max(request.tensors[0]))
        if poison < FIRST:
            return super().answer(model, request)
        return bool(getattr(self, FAULTS[int(poison - FIRST)])(model, request))

    def crash(self, model, request) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    def abort(self, model, request) -> None:
        os.abort()

    def hang(self, model, request) -> None:
        signal.pause()

    def deaf(self, model, request) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pause()

    def exit(self, model, request) -> None:
        os._exit(0)

    def garbage(self, model, request) -> None:
        self.raw(b"\xa5" * 4096)

    def oversize(self, model, request) -> None:
        self.raw(struct.pack("<4sBBHQII8x", b"TgF1", Kind.OUTPUTS, 0, 1, request.number, 32, 0xFFFFFFFF))

    def half(self, model, request) -> None:
        self.raw(self.right(model, request)[:50], then=os._exit)

    def more(self, model, request) -> None:
        self.raw(self.right(model, request) + b"more")

    def rows(self, model, request) -> None:
        self.give(request, [np.zeros((len(request.tensors[0]) + 1, 2), np.float32)])

    def datatype(self, model, request) -> None:
        self.give(request, [np.zeros(request.tensors[0].shape, np.float64)], ["FP64"])

    def fewer(self, model, request) -> None:
        self.give(request, [np.zeros(request.tensors[0].shape, np.float32)] * 2, ["FP32"] * 2)

    def number(self, model, request) -> None:
        request.number -= 1
        self.give(request, [np.zeros(request.tensors[0].shape, np.float32)])

    def text(self, model, request) -> None:
        self._channel.send(Frame(Kind.FAULT, request.number, text=b"{'no': JSON"))
        signal.pause()

    def code(self, model, request) -> None:
        self._channel.send(Frame(Kind.FAULT, request.number, text=b'{"code":0,"message":"all is well"}'))
        signal.pause()

    def unsealed(self, model, request) -> None:
        fd = os.memfd_create("x", os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, 1 << 20)
        self.shared(request, fd, at=0)

    def outside(self, model, request) -> None:
        self.shared(request, Region(1 << 20).fd, at=(1 << 20) - 4)

    def descriptors(self, model, request) -> None:
        self.raw(self.right(model, request), fds=[0, 1, 2])

    def leak(self, model, request) -> None:
        kept = []
        while True:
            kept.append(bytearray(8 << 20))

    # --- how -------------------------------------------------------------------------------------------------------------------

    def right(self, model, request) -> bytes:
        return encode(self.run(model, request), lambda size: (np.zeros(size, np.uint8), False), 1 << 30)

    def give(self, request, tensors, datatypes=("FP32",)) -> None:
        self._channel.send(Frame(Kind.OUTPUTS, request.number, datatypes=datatypes, tensors=tensors))
        signal.pause()

    def shared(self, request, fd: int, *, at: int) -> None:
        assert SEALS
        rows = len(request.tensors[0])
        described = struct.pack("<BBB5xQQQQ", 10, 2, 1, at, rows * 8, rows, 2)
        head = struct.pack("<4sBBHQII8x", b"TgF1", Kind.OUTPUTS, 2, 1, request.number, len(described), 0)
        self.raw(head + described, fds=[fd])

    def raw(self, octets: bytes, *, fds=(), then=lambda status: signal.pause()) -> None:
        with socket.socket(fileno=os.dup(self._task.frames_fd)) as sock:
            sock.setblocking(True)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            sock.sendmsg([octets], rights)
        then(3)


if __name__ == "__main__":
    isolated_child.main(sys.argv[1], FaultyHost)
