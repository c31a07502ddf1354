"""Every row that is served is counted once, however it comes: gathered, at once, or in the thread."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gateway.drift import watching
from gateway.drift.layout import BATCHES, ROWS
from gateway.drift.watching import Aside, Tick, Watch
from gateway.protocol.tensors import TensorSpec
from tests.gateway.drift.recorded import Recorded, categorical, numeric, profile

SPECS = [TensorSpec("x", "FP32", (-1, 2)), TensorSpec("t", "BYTES", (-1, 1))]
PROFILE = profile(numeric("a", "x"), numeric("b", "x", 1), categorical("t", "t", ["u", "v"]))


class Clock:
    """A loop whose time passes when a test says so."""

    def __init__(self) -> None:
        self.due: list[Any] = []

    def later(self, _seconds: float, job: Any) -> None:
        self.due.append(job)

    def pass_(self) -> None:
        due, self.due = self.due, []
        for job in due:
            job()


class Served:
    """A version that is watched."""

    def __init__(self, room: int = 16, segments: int = 1, aside: Aside | None = None) -> None:
        self.version, self.clock = Recorded(PROFILE, SPECS, segments=segments), Clock()
        divides = {"segments_of": self._segments} if segments > 1 else {}
        self.watch = Watch(
            self.version.views.head, aside or Aside(), recorder=self.version.recorder, tick=Tick(self.clock.later), room=room, **divides
        )  # fmt: skip

    @staticmethod
    def _segments(items: Any, inputs: Any) -> np.ndarray:
        return np.repeat([item.segment for item in items], [item.rows for item in items])

    def serve(self, rows: int, *, width: int = 2, segment: int = 0, size: int = 100) -> list[np.ndarray]:
        numbers = np.random.default_rng(rows).standard_normal((rows, width)).astype(np.float32)
        inputs = [numbers, np.array([["u"]] * rows, object)]
        items = [SimpleNamespace(rows=rows, segment=segment)]
        self.watch.served(SimpleNamespace(groups=[(items, [])], inputs=[inputs], size=size, rows=rows))  # type: ignore[arg-type]
        return inputs

    @property
    def rows(self) -> int:
        return int(self.version.views.head[ROWS])


def test_small_batches_are_counted_at_the_end_of_the_tick() -> None:
    """As if each had been counted alone, but for the last bits of sums; and nothing is left to count."""
    served, alone = Served(), Recorded(PROFILE, SPECS)
    for rows in (1, 2, 3):
        alone.record(served.serve(rows), [])
    assert (0, True, 1) == (served.rows, served.watch.counting, len(served.clock.due))
    served.clock.pass_()
    assert (6, 3, False) == (served.rows, served.version.views.head[BATCHES], served.watch.counting)
    assert np.array_equal(alone.views.counts[0], served.version.views.counts[0])
    assert np.array_equal(alone.views.categories[0], served.version.views.categories[0])
    np.testing.assert_allclose(served.version.views.sums[0], alone.views.sums[0], rtol=1e-12, atol=1e-12)


def test_a_full_room_is_counted_before_more_comes() -> None:
    """And what is too large for it at once."""
    served = Served(room=16)
    for _ in range(3):
        served.serve(7)
    assert 14 == served.rows
    served.serve(9)
    assert 23 == served.rows
    served.clock.pass_()
    assert (30, 4) == (served.rows, served.version.views.head[BATCHES])


def test_long_texts_are_not_gathered_and_other_shapes_are_counted_apart() -> None:
    """The former at once, beside what is gathered; the latter with it, batch by batch."""
    served = Served()
    served.serve(1)
    served.serve(2, size=watching.SMALL_BYTES + 1)
    served.serve(4, width=3)
    assert 2 == served.rows
    served.clock.pass_()
    assert 7 == served.rows


def test_a_version_without_room_gathers_nothing() -> None:
    """No timer is set for it."""
    served = Served(room=0)
    served.serve(1)
    assert (1, []) == (served.rows, served.clock.due)


def test_rows_keep_their_segments() -> None:
    """Of the requests that they came with."""
    served = Served(segments=3)
    for segment in (0, 2, 2, 1):
        served.serve(2, segment=segment)
    served.clock.pass_()
    assert [2, 2, 4] == served.version.views.segment_rows.tolist()


def test_what_comes_while_the_thread_counts_goes_there_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory of its own, though more is gathered meanwhile."""
    monkeypatch.setattr(watching, "INLINE_VALUES", 40)
    aside = Aside()
    served = Served(room=8, aside=aside)
    jobs: list[tuple[Any, int]] = []
    monkeypatch.setattr(aside, "put", lambda job, size: jobs.append((job, size)))
    served.serve(20)
    for _ in range(3):
        served.serve(4)
    served.clock.pass_()
    assert (0, 3, True) == (served.rows, len(jobs), served.watch.counting)
    for job, _ in jobs:
        job()
    assert (32, 4, False) == (served.rows, served.version.views.head[BATCHES], served.watch.counting)


def test_waiting_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound, who brings more waits for the thread; alone, anything may come."""
    monkeypatch.setattr(watching, "MAX_WAITING_BYTES", 10)
    aside, seen = Aside(), []
    for _ in range(5):
        aside.make_room(100)
        aside.put(lambda: seen.append(aside.waiting_bytes), 100)
    aside.settle(10)
    assert [100] * 5 == seen
