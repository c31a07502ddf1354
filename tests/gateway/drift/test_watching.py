"""Batches on their way into a block: on the event loop or in the thread beside it, one writer at a time, none lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.drift import watching
from gateway.drift.gathered import room_for
from gateway.drift.layout import BATCHES, ROWS, layout_of
from gateway.drift.learned import Learner, kept
from gateway.drift.watching import INLINE_VALUES, Aside, Tick, Watch, Watching
from gateway.protocol.tensors import Signature, TensorSpec
from gateway.serving.batch import Batch, Item
from tests.gateway.drift.recorded import Recorded, numeric, profile

WIDE, SMALL = INLINE_VALUES // 2 + 1, 2  # rows of two columns: beyond what is counted at once, and within
PROFILE = profile(numeric("a", "x"), numeric("b", "x", 1), numeric("c", "y", side="output"))


def batch_of(*arrays: np.ndarray, outputs: list[np.ndarray] | None = None) -> Batch:
    """One group for each array."""
    batch = Batch(SimpleNamespace(name="m", number=1), ((2,),), [], sum(map(len, arrays)), 1 << 20)
    for at, array in enumerate(arrays):
        item = Item()
        item.rows = len(array)
        batch.groups.append(([item], [array[:, :1].copy()] if outputs is None else [outputs[at]]))
        batch.inputs.append([array])
    return batch


def values(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, 2)).astype(np.float32)


class OneWriter:
    """A recorder that fails where two write at once, and may be held in the middle of a batch."""

    def __init__(self, recorder: Any) -> None:
        self.inner, self.writing, self.faults = recorder, threading.Lock(), 0
        self.threads: list[str] = []

    def record(self, *arguments: Any) -> None:
        if not self.writing.acquire(blocking=False):
            self.faults += 1
            return
        self.threads.append(threading.current_thread().name)
        self.inner.record(*arguments)
        self.writing.release()


class Bench:
    """A version that is watched, and the thread."""

    def __init__(self) -> None:
        self.recorded = Recorded(PROFILE, [TensorSpec("x", "FP32", (-1, 2))], [TensorSpec("y", "FP32", (-1, 1))])
        self.writer = OneWriter(self.recorded.recorder)
        self.aside = Aside()
        self.watch = Watch(self.recorded.views.head, self.aside, recorder=self.writer)  # type: ignore[arg-type]
        self.gates: list[threading.Event] = []

    def hold(self) -> threading.Event:
        """The thread is busy with another version until the event is set."""
        gate, begun = threading.Event(), threading.Event()

        def wait() -> None:
            begun.set()
            gate.wait(20)

        self.aside.put(wait, 0)
        assert begun.wait(20)
        self.gates.append(gate)
        return gate

    @property
    def counted(self) -> tuple[int, int]:
        head = self.recorded.views.head
        return int(head[ROWS]), int(head[BATCHES])


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Whose thread goes on in the end."""
    bench = Bench()
    yield bench
    for gate in bench.gates:
        gate.set()
    assert bench.aside.settle(20)


def test_a_small_batch_is_counted_at_once_and_a_wide_one_in_the_thread(bench: Bench) -> None:
    """Which is started by the first."""
    assert bench.aside._thread is None
    bench.watch.served(batch_of(values(SMALL)))
    assert ((SMALL, 1), None) == (bench.counted, bench.aside._thread)
    gate = bench.hold()
    bench.watch.served(batch_of(values(WIDE)))
    assert (SMALL, 1) == bench.counted
    gate.set()
    assert bench.aside.settle(20)
    assert ((SMALL + WIDE, 2), 0) == (bench.counted, bench.aside.waiting_bytes)
    assert ["MainThread", "drift"] == bench.writer.threads


def test_small_batches_wait_behind_a_wide_one_of_their_version(bench: Bench) -> None:
    """A block has one writer at a time; afterwards they are counted at once again. Other versions do not wait."""
    gate = bench.hold()
    bench.watch.served(batch_of(values(WIDE)))
    bench.watch.served(batch_of(values(SMALL)))
    other = Bench()
    other.watch._aside = bench.aside
    other.watch.served(batch_of(values(SMALL)))
    assert ((0, 0), (SMALL, 1)) == (bench.counted, other.counted)
    gate.set()
    assert bench.aside.settle(20)
    bench.watch.served(batch_of(values(SMALL)))
    assert (["drift", "drift", "MainThread"], 0) == (bench.writer.threads, bench.writer.faults)


@settings(max_examples=40)
@given(st.lists(st.sampled_from([SMALL, WIDE, 0, 1]), max_size=12), st.booleans(), st.randoms(use_true_random=False))
def test_no_row_is_lost_and_order_does_not_matter(sizes: list[int], held: bool, random: Any) -> None:
    """The block is that of one recorder that counted all of it in another order."""
    bench, plain = Bench(), Bench()
    arrays = [values(size, seed) for seed, size in enumerate(sizes)]
    gate = bench.hold() if held else threading.Event()
    for array in arrays:
        bench.watch.served(batch_of(array))
    gate.set()
    assert bench.aside.settle(20)
    random.shuffle(arrays)
    for array in arrays:
        plain.recorded.record([array], [array[:, :1]])
    assert 0 == bench.writer.faults
    mine, other = bench.recorded.views, plain.recorded.views
    assert mine.head.tolist() == other.head.tolist()
    assert all(np.array_equal(a, b) for a, b in zip(mine.counts, other.counts, strict=True))
    assert all(np.allclose(a, b, rtol=1e-12, atol=1e-9) for a, b in zip(mine.sums, other.sums, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(mine.extremes, other.extremes, strict=True))


def test_every_group_of_a_batch_counts(bench: Bench) -> None:
    """A batch that failed ran again member by member."""
    bench.watch.served(batch_of(values(SMALL), values(1), values(3)))
    assert (SMALL + 4, 3) == bench.counted


def test_past_a_bound_the_event_loop_waits_for_the_thread(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than hold more, or lose a row."""
    array = values(WIDE)
    monkeypatch.setattr(watching, "MAX_WAITING_BYTES", 3 * array.nbytes)
    gate = bench.hold()
    make_room = bench.aside.make_room
    waits: list[int] = []

    def waited(size: int) -> None:
        if bench.aside.waiting_bytes + size > watching.MAX_WAITING_BYTES:
            waits.append(bench.aside.waiting_bytes)
            gate.set()
        make_room(size)
        assert bench.aside.waiting_bytes + size <= watching.MAX_WAITING_BYTES

    monkeypatch.setattr(bench.aside, "make_room", waited)
    for _ in range(3):
        bench.watch.served(batch_of(array))
    assert 1 == len(waits)
    assert waits[0] <= 3 * array.nbytes
    monkeypatch.undo()
    assert bench.aside.settle(20)
    assert (3 * WIDE, 3) == bench.counted


def test_a_fault_in_the_thread_costs_one_batch(bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The next one is counted, at once if it is small."""
    with monkeypatch.context() as broken:
        broken.setattr(bench.writer, "inner", None)
        bench.watch.served(batch_of(values(WIDE)))
        assert bench.aside.settle(20)
    bench.writer.writing.release()
    assert "counting failed" in caplog.text
    bench.watch.served(batch_of(values(SMALL)))
    assert ((SMALL, 1), 0) == (bench.counted, bench.aside.waiting_bytes)


def test_after_its_end_nothing_is_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that came before is. Where the thread is stuck, what it has not begun is given up: the block may be another version's now."""
    bench.watch.served(batch_of(values(WIDE)))
    bench.watch.end()
    assert (WIDE, 1) == bench.counted
    other = Bench()
    gate = other.hold()
    other.watch.served(batch_of(values(WIDE)))
    monkeypatch.setattr(watching, "_END_S", 0.01)
    other.watch.end()
    gate.set()
    assert other.aside.settle(20)
    assert (0, 0) == other.counted


def test_settling_says_whether_all_is_done(bench: Bench) -> None:
    """Time may be up."""
    gate = bench.hold()
    assert not bench.aside.settle(0.01)
    gate.set()
    assert bench.aside.settle(20)


def test_a_version_that_learns_keeps_its_rows_until_there_are_enough() -> None:
    """Rows are counted before and after."""
    signature = Signature("m", (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 1)),), 64)
    layout = layout_of(None, learn_bytes=1 << 20)
    views = layout.views(np.zeros(layout.block_words, np.int64))
    views.begin(layout.checksum)
    aside = Aside()
    watch = Watch(views.head, aside, learner=Learner(views, signature, rows=5))
    arrays = [values(3, seed) for seed in range(4)]
    for array in arrays:
        watch.served(batch_of(array))
    found = kept(views)
    assert found is not None
    assert np.array_equal(np.concatenate(arrays[:2]), found[1][0])
    assert (12, 4) == (views.head[ROWS], views.head[BATCHES])


def test_counters_come_first_and_versions_without_a_watch_have_only_those() -> None:
    """Whatever is told of batches and drops."""
    told: list[Any] = []
    inner = SimpleNamespace(batch_done=lambda batch: told.append("counters"), dropped=lambda *dropped: told.append(dropped))
    observer = Watching(inner)  # type: ignore[arg-type]
    batch = batch_of(values(SMALL))
    batch.version.watch = None
    observer.batch_done(batch)
    batch.version.watch = SimpleNamespace(served=lambda batch: told.append("watch"))
    observer.batch_done(batch)
    observer.dropped(batch.version, batch.groups[0][0][0], 4)  # type: ignore[arg-type]
    assert ["counters", "counters", "watch", (batch.version, batch.groups[0][0][0], 4)] == told


# --- small batches, gathered --------------------------------------------------------------------------------------------------------------

COLUMNS = 200


class Gathering(Bench):
    """One byte an element: what is gathered is more than is counted at once."""

    def __init__(self) -> None:
        super().__init__()
        spec = TensorSpec("x", "INT8", (-1, COLUMNS))
        features = profile(numeric("a", "x", edges=(-200.0, -1.0, 1.0, 200.0)), numeric("b", "x", COLUMNS - 1, edges=(-200.0, 0.0, 200.0)))
        self.recorded = Recorded(features, [spec], [])
        self.writer = OneWriter(self.recorded.recorder)
        self.ticks: list[Any] = []
        room = room_for(self.recorded.signature)
        assert room * COLUMNS > INLINE_VALUES
        self.watch = Watch(
            self.recorded.views.head,
            self.aside,
            recorder=self.writer,  # type: ignore[arg-type]
            tick=Tick(lambda seconds, job: self.ticks.append(job)),
            room=room,
        )

    def serve(self, array: np.ndarray) -> None:
        batch = batch_of(array, outputs=[array[:, :0]])
        batch.groups = [(batch.groups[0][0], [])]
        batch.size = array.nbytes
        self.watch.served(batch)

    def tick(self) -> None:
        ticks, self.ticks = self.ticks, []
        for job in ticks:
            job()


@settings(max_examples=40)
@example(["hold", 230, 230, 230, "go"])
@given(st.lists(st.sampled_from([1, 2, 40, 100, 230, 400, "tick", "hold", "go"]), max_size=25))
def test_gathered_rows_are_counted_once_as_they_were(steps: list[Any]) -> None:
    """Whether the loop counts them or the thread does, which reads them while others are gathered."""
    bench, expected = Gathering(), Gathering()
    random = np.random.default_rng(0)
    for step in steps:
        if step == "tick":
            bench.tick()
        elif step == "hold":
            if not any(not gate.is_set() for gate in bench.gates):
                bench.hold()
        elif step == "go":
            for gate in bench.gates:
                gate.set()
        else:
            array = random.integers(-128, 128, size=(step, COLUMNS)).astype(np.int8)
            expected.recorded.record([array], [])
            bench.serve(array)
            assert bench.watch.counting or bench.counted == expected.counted
    for gate in bench.gates:
        gate.set()
    bench.tick()
    assert bench.aside.settle(20)
    assert ((0, False), expected.counted) == ((bench.writer.faults, bench.watch.counting), bench.counted)
    assert expected.recorded.counts() == bench.recorded.counts()


def test_what_the_thread_reads_is_not_overwritten() -> None:
    """It is handed over with its memory; what comes next is gathered elsewhere."""
    bench = Gathering()
    gate = bench.hold()
    for value in (-5, -5, 5):  # the third finds no room
        bench.serve(np.full((230, COLUMNS), value, np.int8))
    gate.set()
    bench.tick()
    assert bench.aside.settle(20)
    assert (690, 3) == bench.counted
    assert [460, 230] == [count for count in bench.recorded.counts()[0] if count]
