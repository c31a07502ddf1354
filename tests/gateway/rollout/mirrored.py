"""Two versions side by side for tests: stable batches as they are after their answers, and a candidate that is moved by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gateway.errors import Code
from gateway.limits import ServingLimits
from gateway.observe.slabs import SHADOW
from gateway.protocol.tensors import Signature, TensorSpec
from gateway.rollout.mirror import Found, Mirror
from gateway.serving.batch import Batch, Item, Shapes, execute
from gateway.serving.model import RunFault, RunLost
from gateway.serving.splits import Arm, Split
from gateway.serving.versions import Version
from tests.gateway.serving.serving_fakes import FakeLoop

POISON, POISON_KILLS = 666.0, 667.0  # values that fail the run that they are in, or end its process
RUN_S = 0.004
INPUTS = (TensorSpec("x", "FP32", (-1, 2)),)
OUTPUTS = (TensorSpec("scores", "FP32", (-1, 2)),)


class Known:
    """Knows the unit of a request."""

    def __init__(self, unit: int) -> None:
        self._unit = unit

    def unit(self, caller: object) -> int:
        del caller
        return self._unit


class Handle:
    terminate = False


class Double:
    """y = x times a weight, for stable and for the candidate; what else it does is set by the test."""

    never_inline = False
    quarantine = None

    def __init__(self, loop: FakeLoop, weight: float = 1.0, *, inputs=INPUTS, outputs=OUTPUTS, most: int = 64) -> None:
        self.signature = Signature("m", inputs, outputs, most)
        self.loop, self.weight = loop, weight
        self.runs: list[int] = []  # rows of each
        self.answers: Callable[[Sequence[np.ndarray]], list[np.ndarray]] | None = None
        self.alive = True
        self.handles: list[Handle] = []

    def options(self) -> Handle:
        self.handles.append(Handle())
        return self.handles[-1]

    def run(self, arrays: Sequence[np.ndarray], options: Any = None) -> list[np.ndarray]:
        return self.timed(arrays, options)[0]

    def timed(self, arrays: Sequence[np.ndarray], options: Any = None) -> tuple[list[np.ndarray], float]:
        self.runs.append(len(arrays[0]))
        self.loop.time += RUN_S
        if not self.alive:
            raise RunFault(Code.UNAVAILABLE, "no process")
        if (arrays[0] == POISON_KILLS).any():
            raise RunLost(Code.INTERNAL, "its process ended")
        if (arrays[0] == POISON).any():
            raise RunFault(Code.INVALID_ARGUMENT, "no")
        return (self.answers or self._weighed)(arrays), RUN_S

    def _weighed(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [arrays[0] * np.float32(self.weight)]

    def zeros(self, rows: int) -> list[np.ndarray]:
        return [np.zeros((rows, 2), np.float32)]

    def close(self) -> None:
        pass


class Stage:
    """A stable version, its candidate, and the mirror between them."""

    def __init__(self, candidate: Double | None = None, *, stable: Double | None = None, **more: Any) -> None:
        self.loop = (candidate or stable).loop if candidate or stable else FakeLoop()
        self.stable, self.candidate = stable or Double(self.loop), candidate or Double(self.loop)
        self.versions = [
            Version(number, model, ServingLimits(), release=lambda *args: None)  # type: ignore[arg-type]
            for number, model in ((1, self.stable), (2, self.candidate))
        ]
        settings: dict[str, Any] = {"shadow_percent": 100.0, **more}
        self.split = Split(
            rollout="r", model="m", slot=3, step=2, mode="shadow", salt="0f" * 16, stable=1, arms=(Arm("canary", 2, 0),), **settings
        )  # fmt: skip
        self.yields = False
        self.mirror = Mirror(
            self.split, *self.versions, self.candidate, now=self.loop.now, wall=lambda: self.loop.time + 1e9, yields=lambda: self.yields
        )  # fmt: skip

    def batch(self, *requests: np.ndarray, units: Sequence[int] | None = None, shapes: Shapes = ((2,),)) -> Batch:
        """A batch that stable has run."""
        items = []
        for index, rows in enumerate(requests):
            item = Item()
            item.data, item.rows, item.size = (np.ascontiguousarray(rows, np.float32).tobytes(),) * len(shapes), len(rows), 4 * rows.size
            item.whose, item.caller = Known(1 + index if units is None else units[index]), None  # type: ignore[assignment]
            item.deadline, item.arrival = self.loop.time + 9.0, self.loop.time
            items.append(item)
        made = Batch(self.versions[0], shapes, items, sum(map(len, requests)), 64)
        made.started = self.loop.time
        execute(made, self.stable, self.loop.now)  # type: ignore[arg-type]
        made.ended = self.loop.time
        return made


def rows(*values: float) -> np.ndarray:
    """One request: a row [value, 1] for each."""
    return np.array([[value, 1.0] for value in values], np.float32)


def outcomes(counts: Any) -> dict[str, int]:
    """Those that there were, by name."""
    return {name: int(count) for name, count in zip(SHADOW, counts, strict=True) if count}


def records_of(found: Found) -> np.ndarray:
    """All of them."""
    return np.concatenate(found.records)
