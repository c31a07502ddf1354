"""Workers that are killed in the middle of an update, in processes of their own: no count negative, doubled or gone; no page falls."""

from __future__ import annotations

import mmap
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gateway.limits import ObserveLimits
from gateway.observe.arena import Arena
from gateway.observe.page import Page
from gateway.observe.slabs import COMPUTE, QUEUE, REQUEST, ROWS, Slab, empty
from gateway.observe.totals import Totals
from tests.gateway.observe.witness import Samples, read
from tests.gateway.observe.writer_child import REQUESTS

KILLS = 100
KEY = ("m", "1")
ROOT = Path(__file__).resolve().parents[3]


class Writers:
    """The process that starts writers, and how far the present one has come."""

    def __init__(self, arena: Arena) -> None:
        fd = os.memfd_create("progress", os.MFD_CLOEXEC)
        os.ftruncate(fd, 16)
        self.progress = np.frombuffer(mmap.mmap(fd, 16), np.int64)
        command = [sys.executable, "-m", "tests.gateway.observe.writer_child", str(arena.fd), str(fd)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=(arena.fd, fd), cwd=ROOT
        )
        os.close(fd)

    def start(self, worker: int, slot: int) -> int:
        assert self.process.stdin
        self.progress[:] = 0
        self.process.stdin.write(f"{worker} {slot}\n")
        self.process.stdin.flush()
        return int(self._line())

    def kill(self, writer: int) -> tuple[int, int]:
        """How many batches it began and ended."""
        os.kill(writer, signal.SIGKILL)
        assert "dead" == self._line()
        return int(self.progress[0]), int(self.progress[1])

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()


@pytest.fixture
def counting() -> Iterator[tuple[Arena, Totals, Writers]]:
    """An arena of two workers, and writers for it."""
    arena = Arena.create(workers=2, slots=8)
    writers = Writers(arena)
    yield arena, Totals(arena, ObserveLimits()), writers
    writers.process.communicate()
    arena.close()


def counted(slab: Slab) -> list[int]:
    """Of everything that an update adds to: by how many batches."""
    requests = [slab.requests.sum(), *slab.counts[[REQUEST, QUEUE]].sum(axis=1)]
    batches = [*slab.counts[[COMPUTE, ROWS]].sum(axis=1), slab.sums[ROWS] / REQUESTS, slab.sums[COMPUTE] / 0.5]
    return [-(-int(count) // REQUESTS) for count in requests] + [int(count) for count in batches]


def test_a_killed_writer_costs_at_most_the_update_that_it_was_in(counting: tuple[Arena, Totals, Writers]) -> None:
    """After every kill each count is what was ended, or that and the batch that was begun; folding twice adds nothing."""
    arena, totals, writers = counting
    slot = totals.open(KEY)
    rng, torn = random.Random(1), 0
    lowest = highest = 0
    before = empty()
    for _ in range(KILLS):
        worker = rng.randrange(2)
        writer = writers.start(worker, slot)
        enough = rng.randrange(1, 200)
        while writers.progress[1] < enough:
            assert writers.process.poll() is None
        begun, ended = writers.kill(writer)
        torn += begun != ended
        lowest, highest = lowest + ended, highest + begun
        for deed in (lambda: None, lambda worker=worker: totals.fold(worker), lambda worker=worker: totals.fold(worker)):
            deed()
            slab = dict(totals.snapshot().items())[KEY]
            assert all(lowest <= count <= highest for count in counted(slab))
            assert all((getattr(slab, name) >= getattr(before, name)).all() for name in Slab.__slots__)
            before = slab
        assert not arena.region(worker).slabs.any()
    assert torn > KILLS / 2, "writers must have been killed in the middle of updates"


def test_the_page_never_falls_while_it_is_written_to(counting: tuple[Arena, Totals, Writers]) -> None:
    """Read as fast as it goes, beside a writer that never stops; a histogram's count is its last bucket, and buckets do not fall."""
    _, totals, writers = counting
    page = Page(totals, build={}, gauges=dict, max_labelled=10, now=lambda: 0.0)
    writer = writers.start(1, totals.open(KEY))
    before: Samples = {}
    grown = 0
    for index in range(300):
        samples = read(page.written(openmetrics=index % 2 == 0))
        grown += samples != before
        assert [] == [key for key, value in before.items() if samples[key] < value]
        before = samples
    writers.kill(writer)
    assert grown > 100
