"""The shadows of a worker: begun and ended with its tables, and a real one beside a real worker, whose callers notice nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gateway.clock import SystemClock
from gateway.config import Config, ModelSettings, Repository, Versions
from gateway.control import shadows
from gateway.control.messages import Held, Table
from gateway.control.shadows import Meter
from gateway.rollout import crowd, shadow
from gateway.rollout.records import Flag, Kind
from gateway.rollout.usage import Usage
from gateway.serving.batch import Item
from gateway.serving.isolated import IsolatedModel
from gateway.serving.sources import BEHIND, open_repository, wish
from gateway.serving.splits import Arm, Split
from registry.niceness import NICEST
from tests.gateway.control.test_serving import Place, settled
from tests.gateway.rollout.mirrored import Known, outcomes
from tests.gateway.serving import graphs, isolation
from tests.gateway.serving.faulty_child import FAULTS, FIRST

__all__ = ["settled"]
SPLIT = Split(
    rollout="r", model="m", slot=1, step=0, mode="shadow", salt="0f" * 16, stable=1, arms=(Arm("canary", 2, 0),), shadow_percent=100.0,
    shadow_share=1.0,
)  # fmt: skip
REQUESTS = 40
PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop of these tests never rests, and is nobody's; nor is it looked at how busy the machine is."""
    monkeypatch.setattr(crowd, "CROWDED", 2.0)
    monkeypatch.setattr(shadow, "STARVED", 2.0)


class Sink:
    """Keeps answers by the request's id."""

    protocol = 0

    def __init__(self) -> None:
        self.answers: dict[bytes, bytes] = {}
        self.failures: list[str] = []

    def answer(self, items, starts, outputs) -> None:
        for item, start in zip(items, starts, strict=True):
            self.answers[item.id] = outputs[0][start : start + item.rows].tobytes()

    def fail(self, item, code, message) -> None:
        self.failures.append(message)


class Caller:
    cancelled = False


class Stage:
    """A worker with two versions of one model, the second of them in a process that gives way."""

    def __init__(self, root: Path, *, candidate_weight: float = 2.0, isolated: bool = True, timeout_s: float = 30.0) -> None:
        for number, weight in ((1, 2.0), (2, candidate_weight)):
            graphs.saved(root / "m" / str(number) / "model.onnx", graphs.twice(weight=weight))
        own = ModelSettings(versions=Versions(all=True), run_timeout_s=timeout_s, isolation_memory_bytes=1 << 30)
        self.config = Config(repository=Repository(path=root), models={"m": own})
        listing = open_repository(self.config.repository).listing()
        wanted = sorted(wish(self.config, listing).desired.versions)
        suffixes = {1: "", 2: BEHIND if isolated else ""}
        self.held = tuple([Held("m", one.version, one.identity + suffixes[one.version], 1 + one.version) for one in wanted])
        self.place = Place(self.config)
        self.serving, self.sink = self.place.serving, Sink()
        self.sent = 0

    async def begin(self, split: Split | None = SPLIT) -> None:
        reports = await self.place.hold(*self.held)
        assert ["READY"] * 2 == [one.state.value for one in reports], reports
        self.route(split)

    def route(self, split: Split | None) -> None:
        models = {one.version: one.identity for one in self.held}
        splits = () if split is None else (split,)
        self.serving.route(Table(generation=1, ready=True, models={"m": models}, defaults={"m": 1}, splits=splits))

    def version(self, number: int) -> Any:
        return self.serving.service.routes.versions["m"][number]

    async def ask(self, *values: float) -> None:
        """One request of a row for each, which come together."""
        for value in values:
            item = Item()
            item.caller, item.sink, item.id = Caller(), self.sink, b"%d" % self.sent
            item.data, item.rows, item.size = (np.array([[value, 1.0]], np.float32).tobytes(),), 1, 8
            item.whose = Known(1 + self.sent)
            item.arrival = SystemClock.now()
            item.deadline = item.arrival + 30.0
            self.sent += 1
            assert self.serving.service.batcher.submit(self.version(1).lane(((2,),)), item) is None
        await self.until(lambda: len(self.sink.answers) + len(self.sink.failures) == self.sent)

    def outcomes(self) -> dict[str, int]:
        return outcomes(self.serving.metrics.slab(self.version(2)).shadow)

    def records(self) -> np.ndarray:
        found = self.serving.crossings._ring.read(0)[0]
        return found[found["kind"] == Kind.PAIR]

    async def end(self) -> None:
        """Of both versions, and of the worker."""
        self.route(None)
        await self.place.hold()
        await self.place.close()

    @staticmethod
    async def until(done: Callable[[], bool]) -> None:
        until = SystemClock.now() + PATIENCE_S
        while not done():
            assert SystemClock.now() < until
            await asyncio.sleep(0)

    async def drained(self) -> None:
        """Every request has its outcome."""
        await self.until(lambda: sum(self.outcomes().values()) == self.sent)


def played(play: Callable[[], Any]) -> Any:
    return asyncio.run(play())


def test_answers_are_the_same_with_a_shadow_and_pairs_are_told(tmp_path: Path, settled: None) -> None:
    """Byte by byte; the process of the shadow has what others leave."""

    async def ask(split: Split | None) -> tuple[dict[bytes, bytes], np.ndarray, dict[str, int], int]:
        stage = Stage(tmp_path)
        await stage.begin(split)
        for start in range(0, REQUESTS, 8):
            await stage.ask(*range(start, start + 8))
        if split is not None:
            await stage.drained()
        model = stage.version(2).model
        assert isinstance(model, IsolatedModel)
        nice = os.getpriority(os.PRIO_PROCESS, model.status.pid or 0)
        result = stage.sink.answers, stage.records(), stage.outcomes(), nice
        await stage.end()
        return result

    plain, shadowed = played(lambda: ask(None)), played(lambda: ask(SPLIT))
    assert plain[0] == shadowed[0]
    assert (0, {}, NICEST) == (len(plain[1]), plain[2], shadowed[3])
    assert ({"mirrored": REQUESTS}, [Flag.SAMPLED | Flag.AGREES] * REQUESTS) == (shadowed[2], shadowed[1]["flags"].tolist())
    assert list(range(1, 1 + REQUESTS)) == sorted(shadowed[1]["unit"].tolist())
    assert np.isfinite(shadowed[1]["latency_s"]).any()


@pytest.mark.parametrize("fault", ["crash", "abort", "hang", "exit", "garbage", "rows", "datatype", "leak"])
def test_a_candidate_may_do_what_it_likes(fault: str, tmp_path: Path, settled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers have their answers, the bad request is found, and its neighbours have theirs in the shadow too."""
    from gateway.control import serving

    start = isolation.Starter(isolation.FAULTY)
    monkeypatch.setattr(serving, "start_model_child_behind", start)
    bad = FIRST + FAULTS.index(fault)

    async def play() -> tuple[Sink, np.ndarray, dict[str, int]]:
        stage = Stage(tmp_path, timeout_s=1.0 if fault == "hang" else 30.0)
        await stage.begin()
        await stage.ask(1, 2, bad, 3)
        await stage.drained()
        await stage.ask(4, 5)
        await stage.drained()
        result = stage.sink, stage.records(), stage.outcomes()
        await stage.end()
        return result

    sink, records, counted = played(play)
    assert (6, []) == (len(sink.answers), sink.failures)
    assert np.float32([[2 * bad, 2]]).tobytes() == sink.answers[b"2"]
    flags = dict(zip(records["unit"].tolist(), records["flags"].tolist(), strict=True))
    good = Flag.SAMPLED | Flag.AGREES
    assert ({"mirrored": 6}, Flag.SAMPLED | Flag.SERVER_ERROR | Flag.CRASHED) == (counted, flags[3])
    assert dict.fromkeys((1, 2, 4, 5, 6), good) == {unit: flag for unit, flag in flags.items() if unit != 3}
    for process in start.started:
        assert process.wait(PATIENCE_S) is not None


def test_a_candidate_within_the_worker_is_no_shadow(tmp_path: Path, settled: None, caplog: pytest.LogCaptureFixture) -> None:
    """It could do harm: it is not run, and somebody is told."""

    async def play() -> dict[str, int]:
        stage = Stage(tmp_path, isolated=False)
        await stage.begin()
        await stage.ask(1, 2)
        found = stage.outcomes()
        assert stage.version(1).shadow is None
        await stage.end()
        return found

    assert {} == played(play)
    assert "version 2 of model 'm' is no shadow: it has no process of its own" in caplog.text


def test_a_shadow_goes_on_over_tables_that_say_the_same_and_ends_with_one_that_does_not(tmp_path: Path, settled: None) -> None:
    """Another step is another shadow; a canary is none."""

    async def play() -> None:
        stage = Stage(tmp_path)
        await stage.begin()
        first = stage.version(1).shadow
        stage.route(SPLIT)
        assert first is stage.version(1).shadow is not None
        stage.route(msgspec.structs.replace(SPLIT, step=1))
        assert first is not stage.version(1).shadow is not None
        assert first._over.is_set()
        stage.route(msgspec.structs.replace(SPLIT, mode="canary", arms=(Arm("canary", 2, 500),)))
        assert stage.version(1).shadow is None
        stage.route(SPLIT)
        stage.route(None)
        assert stage.version(1).shadow is None
        await stage.end()

    played(play)


def test_the_one_in_a_process_is_there_before_the_one_within_the_worker_goes(tmp_path: Path, settled: None) -> None:
    """And the other way round: both are held under one number for a while."""

    async def play() -> tuple[type, type]:
        stage = Stage(tmp_path)
        await stage.begin(None)
        one = stage.held[1]
        inline = Held("m", 2, f"{one.identity.removesuffix(BEHIND)}", one.slot)
        before = stage.version(2)
        await stage.place.hold(*stage.held, inline)
        stage.held = (stage.held[0], inline)
        stage.route(None)
        after = stage.version(2)
        await stage.place.hold(*stage.held)
        kinds = type(before.model), type(after.model)
        await stage.end()
        return kinds

    before, after = played(play)
    assert (True, False) == (before is IsolatedModel, after is IsolatedModel)


def test_a_meter_adds_up_all_processes_that_a_candidate_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one used that is gone stays; nothing falls. Each new one has to give way once more, now that it is loaded."""
    given: list[int] = []
    monkeypatch.setattr(shadows, "stand_aside", given.append)
    pid, used = [7], {7: (1.0, 0.5), 8: (0.5, 4.0)}
    meter = Meter(lambda: pid[0] or None, lambda number: used.get(number, (0.0, 0.0)), lambda: 0.25)
    seen = [meter.usage()]
    used[7] = (3.0, 1.0)
    seen.append(meter.usage())
    del used[7]
    seen.append(meter.usage())
    pid[0] = 8
    seen.append(meter.usage())
    pid[0] = 0
    seen.append(meter.usage())
    assert [Usage(1.25, 0.5), Usage(3.25, 1.0), Usage(3.25, 1.0), Usage(3.75, 5.0), Usage(3.75, 5.0)] == seen
    assert [7, 8] == given
    assert Usage(0.0, 4.0) == Usage(1.0, 5.0).since(Usage(2.0, 1.0))
