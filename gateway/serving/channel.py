"""One end of a socketpair that carries frames, one at a time in each direction. Waits without the interpreter's lock.

Never pickle, never JSON for tensors. Large tensors lie in a region; its descriptor travels once, with the first frame that uses it.
"""

from __future__ import annotations

import array
import math
import os
import select
import socket
from collections.abc import Callable

import numpy as np

from gateway.serving.frames import HEADER_BYTES, Frame, FrameFault, Head, decode, decode_head, encode
from gateway.serving.region import Region, RegionFault, opened

_FIRST_BYTES = 128 << 10  # of one read: nearly every frame comes whole
_LONGEST_POLL_S = 60.0
_NOSIGNAL, _CLOEXEC, _CTRUNC = int(socket.MSG_NOSIGNAL), int(socket.MSG_CMSG_CLOEXEC), int(socket.MSG_CTRUNC)  # flags are slow to combine
_RIGHTS_BYTES = socket.CMSG_SPACE(4)  # one descriptor; the kernel closes what has no place


class ChannelFault(Exception):
    """Nothing more can come over this channel. The text says what the other side did."""


class Closed(ChannelFault):
    """The other side is gone."""


class Late(ChannelFault):
    """The time was up."""


class Broken(ChannelFault):
    """The other side sent what is no frame."""


class Channel:
    """Owns its socket. `max_bytes` bounds the tensors of one frame."""

    def __init__(self, sock: socket.socket, *, max_bytes: int, now: Callable[[], float], copy: bool) -> None:
        """`copy`: large tensors that are received stay valid; otherwise only until the other side sends again."""
        sock.setblocking(False)
        self._sock = sock
        self._max_bytes = max_bytes
        self._max_region = 2 << max_bytes.bit_length()
        self._now = now
        self._copy = copy
        self._buffer = bytearray(_FIRST_BYTES)
        self._own: Region | None = None
        self._other: np.ndarray | None = None
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(sock, select.POLLIN)
        self._writable.register(sock, select.POLLOUT)

    def idle(self) -> bool:
        """Whether the other side is there and says nothing, as it should between two runs."""
        return not self._readable.poll(0)

    def send(self, frame: Frame, until: float = math.inf) -> None:
        """All of a frame. Raises Closed, Late and, before anything is sent, TooLargeFault."""
        left = memoryview(encode(frame, self._reserve, self._max_bytes))
        rights = self._rights()
        try:
            while left:
                try:
                    sent = self._sock.sendmsg([left], rights, _NOSIGNAL)
                except BlockingIOError:
                    self._wait(self._writable, until)
                    continue
                rights = []
                left = left[sent:]
        except OSError as error:
            raise Closed(f"closed its socket ({error.strerror})") from None
        if self._own is not None:
            self._own.close()

    def receive(self, until: float = math.inf) -> Frame:
        """The next frame. Raises Closed, Late and Broken."""
        rights: list[int] = []
        try:
            head, octets = self._whole(rights, until)
            if head.brings_region != (len(rights) == 1):
                raise FrameFault("it has other descriptors than it announces")
            if rights:
                self._other = opened(rights[0], self._max_region)
            return decode(head, octets, self._other, copy=self._copy)
        except (FrameFault, RegionFault) as fault:
            raise Broken(f"sent no valid frame: {fault}") from None
        except OSError as error:
            raise Closed(f"closed its socket ({error.strerror})") from None
        finally:
            for fd in rights:
                os.close(fd)

    def close(self) -> None:
        """A second call does nothing."""
        self._sock.close()
        if self._own is not None:
            self._own.close()
        self._own = self._other = None

    def _whole(self, rights: list[int], until: float) -> tuple[Head, bytes]:
        """The next frame's header and all its bytes. Nothing else may follow."""
        buffer = memoryview(self._buffer)
        got = 0
        while got < HEADER_BYTES:
            got += self._some(buffer[got:], rights, until)
        head = decode_head(buffer)
        size = head.size
        if got > size:
            raise FrameFault(f"{got - size} bytes follow it")
        if size > len(buffer):
            larger = memoryview(bytearray(size))
            larger[:got] = buffer[:got]
            buffer = larger
        while got < size:
            got += self._some(buffer[got:size], rights, until)
        return head, bytes(buffer[:size])

    def _some(self, buffer: memoryview, rights: list[int], until: float) -> int:
        self._wait(self._readable, until)
        count, ancillary, flags, _ = self._sock.recvmsg_into([buffer], _RIGHTS_BYTES, _CLOEXEC)
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                rights += array.array("i", data[: len(data) // 4 * 4])
        if flags & _CTRUNC:
            raise FrameFault("it has more than one descriptor")
        if not count:
            raise Closed("closed its socket")
        return count

    def _wait(self, poll: select.poll, until: float) -> None:
        if until == math.inf:
            poll.poll()
            return
        while not poll.poll(max(math.ceil(min(until - self._now(), _LONGEST_POLL_S) * 1e3), 0)):
            if self._now() >= until:
                raise Late("took too long")

    def _reserve(self, size: int) -> tuple[np.ndarray, bool]:
        """The own region, and whether it still has to be sent."""
        if self._own is None or self._own.size < size:
            self._own = Region(size)
        return self._own.octets, self._own.fd >= 0

    def _rights(self) -> list[tuple[int, int, array.array[int]]]:
        if self._own is None or self._own.fd < 0:
            return []
        return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [self._own.fd]))]
