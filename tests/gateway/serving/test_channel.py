"""Channels over a real socketpair: regions travel once, time limits hold, ends are noticed, nothing stays open."""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import threading

import numpy as np
import pytest

from gateway.clock import SystemClock
from gateway.serving.channel import Broken, Channel, Closed, Late
from gateway.serving.frames import Frame, Kind
from gateway.serving.region import Region, RegionFault, opened
from tests.gateway.serving.isolation import descriptors

MAX_BYTES = 8 << 20


@pytest.fixture
def ends():
    """Two channels that face each other; nothing is open afterwards."""
    before = descriptors()
    left, right = socket.socketpair()
    pair = [Channel(sock, max_bytes=MAX_BYTES, now=SystemClock.now, copy=copy) for sock, copy in ((left, True), (right, False))]
    yield pair
    for channel in pair:
        channel.close()
    assert before == descriptors()


def floats(count: int, value: float = 1.0) -> Frame:
    return Frame(Kind.RUN, 1, datatypes=["FP32"], tensors=[np.full(count, value, np.float32)])


def test_a_region_is_sent_once_and_again_when_it_has_grown(ends) -> None:
    """Both sides hold one region each way, however many frames go through it."""
    left, right = ends
    start = len(descriptors())
    for count, held in ((100_000, 2), (100_000, 2), (1_000_000, 2), (10, 2)):
        left.send(floats(count, count))
        got = right.receive()
        assert (got.tensors[0] == count).all()
        assert count == got.tensors[0].size
        del got
        assert held == len(descriptors()) - start


def test_more_than_the_socket_holds_goes_through(ends) -> None:
    """Many tensors that are each too small for the region."""
    left, right = ends
    frame = Frame(Kind.RUN, 1, datatypes=["UINT8"] * 250, tensors=[np.full(16_000, index, np.uint8) for index in range(250)])
    sender = threading.Thread(target=left.send, args=(frame,))
    sender.start()
    got = right.receive(SystemClock.now() + 30)
    sender.join()
    assert [(index, index) for index in range(250)] == [(int(tensor.min()), int(tensor.max())) for tensor in got.tensors]


def test_a_side_that_says_nothing_or_takes_nothing_is_late(ends) -> None:
    """In both directions."""
    left, right = ends
    with pytest.raises(Late):
        left.receive(SystemClock.now() + 0.01)
    frame = Frame(Kind.RUN, 1, datatypes=["UINT8"] * 250, tensors=[np.zeros(16_000, np.uint8)] * 250)
    with pytest.raises(Late):
        left.send(frame, SystemClock.now() + 0.01)
    assert not right.idle()


def test_a_side_that_is_gone_is_noticed(ends) -> None:
    """By reading, by writing and by looking."""
    left, right = ends
    assert left.idle()
    right.close()
    assert not left.idle()
    with pytest.raises(Closed):
        left.receive()
    with pytest.raises(Closed):
        left.send(floats(3))


def test_a_time_limit_that_is_over_takes_what_has_come(ends) -> None:
    """An answer that waits is an answer, whenever it is looked at."""
    left, right = ends
    right.send(floats(3))
    assert [1, 1, 1] == left.receive(SystemClock.now() - 1).tensors[0].tolist()


def test_a_region_without_its_flag_and_a_flag_without_its_region_are_refused(ends) -> None:
    """Descriptors that nobody announced are closed."""
    left, right = ends
    octets = bytearray(b"TgF1" + bytes([Kind.FAULT, 0]) + bytes(26))
    socket.send_fds(left._sock, [octets], [0])
    with pytest.raises(Broken, match="other descriptors"):
        right.receive()
    octets[5] = 2
    left._sock.send(octets)
    with pytest.raises(Broken, match="other descriptors"):
        right.receive()


def sized(size: int, seals: int | None = None) -> int:
    fd = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    if seals is not None:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


SHRINK, GROW, WRITE = 2, 4, 8  # linux/fcntl.h: F_SEAL_*


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: os.pipe()[0], "no memory file"),
        (lambda: sized(4096), "not sealed"),
        (lambda: sized(4096, SHRINK | GROW), "not sealed"),
        (lambda: sized(4096, GROW | WRITE), "not sealed"),
        (lambda: sized(4096, SHRINK | WRITE), "not sealed"),
        (lambda: sized(0, SHRINK | GROW | WRITE), "0 bytes"),
        (lambda: sized(4097, SHRINK | GROW | WRITE), "4097 bytes"),
    ],
    ids=["pipe", "none", "writable", "shrinks", "grows", "empty", "large"],
)
def test_only_sealed_memory_of_a_bounded_size_is_mapped(make, reason: str) -> None:
    """A file that could be cut short would end its reader with SIGBUS."""
    fd = make()
    with pytest.raises(RegionFault, match=reason):
        opened(fd, 4096)
    os.close(fd)


def test_nobody_but_its_writer_writes_to_a_region() -> None:
    """Not by a call, not by a map, and its size is fixed."""
    region = Region(10)
    region.octets[:3] = [1, 2, 3]
    seen = opened(region.fd, 1 << 20)
    assert [1, 2, 3] == seen[:3].tolist()
    assert not seen.flags.writeable
    for attempt in (
        lambda: os.pwrite(region.fd, b"x", 0),
        lambda: os.ftruncate(region.fd, 10),
        lambda: mmap.mmap(region.fd, 10),
    ):
        with pytest.raises(OSError):
            attempt()
    region.close()
    region.close()
