"""Models that are moved by hand: rows that can be told apart, texts, one without a batch dimension; each can be told to misbehave.

Every value that a caller sends carries its request's tag, so that a model knows whose rows it was given. `alone` is what the oracle
needs: how the runs ended that held rows of one request only.
"""

from __future__ import annotations

import numpy as np

from gateway.errors import Code
from gateway.protocol.tensors import Signature, TensorSpec
from gateway.serving.model import RunFault, RunOptions
from tests.gateway.serving.serving_fakes import FakeLoop

TAG = 64  # values of one request lie in tag * TAG … + TAG - 1
MOODS = ("good", "broken", "crowded", "crash", "short", "flat")
ROWS, TEXTS, WHOLE = KINDS = "rows", "texts", "whole"

Arrays = list[np.ndarray]


class MixedModel:
    """What all of them share: time, moods and the record of who failed alone."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    never_inline = False
    quarantine = None
    options = RunOptions

    def __init__(self, loop: FakeLoop, name: str, *, max_batch_size: int, per_run_s: float, per_row_s: float) -> None:
        self.signature = Signature(name, self.inputs, self.outputs, max_batch_size)
        self.loop = loop
        self.per_run_s, self.per_row_s = per_run_s, per_row_s
        self.mood = "good"
        self.poisoned: set[int] = set()
        self.alone: dict[int, Code] = {}
        self.runs = 0

    def run(self, arrays: Arrays, options: object = None) -> Arrays:
        """Compute, or do what the mood says. Runs without rows cannot be told apart and always succeed."""
        self.runs += 1
        self.loop.time += self.per_run_s + self.per_row_s * len(arrays[0])
        tags = self.tags(arrays)
        fault = self._fault(tags)
        if len(tags) == 1:
            self.alone[min(tags)] = Code.OK if fault is None else fault
        if fault is None:
            return self.compute(arrays)
        if self.mood == "crash":
            raise ZeroDivisionError("the path /srv/model is not safe to show")
        if fault == Code.INTERNAL and self.mood in ("short", "flat"):
            return [output[:-1] if self.mood == "short" else np.zeros((), output.dtype) for output in self.compute(arrays)]
        raise RunFault(fault, f"{self.mood} run")

    def _fault(self, tags: set[int]) -> Code | None:
        """How a run with rows of these requests ends; None: with their answers."""
        if not tags:
            return None
        if self.mood in ("broken", "crash") or (self.mood == "crowded" and len(tags) > 1):
            return Code.INTERNAL
        if tags & self.poisoned:
            return Code.INVALID_ARGUMENT
        return Code.INTERNAL if self.mood in ("short", "flat") and self.signature.max_batch_size else None

    def tags(self, arrays: Arrays) -> set[int]:
        """Whose rows these are."""
        return {int(value) // TAG for value in arrays[0].ravel()}

    def compute(self, arrays: Arrays) -> Arrays:
        raise NotImplementedError


class RowsModel(MixedModel):
    """x FP32 [-1, -1] → sum FP32 [-1], y FP32 [-1, -1] = -x."""

    inputs = (TensorSpec("x", "FP32", (-1, -1)),)
    outputs = (TensorSpec("sum", "FP32", (-1,)), TensorSpec("y", "FP32", (-1, -1)))

    def compute(self, arrays: Arrays) -> Arrays:
        (x,) = arrays
        return [x.sum(axis=1, dtype=np.float64).astype(np.float32), -x]


class TextsModel(MixedModel):
    """words BYTES [-1, -1] and n INT64 [-1, 1] → text BYTES [-1], m INT64 [-1, 1] = n + 1."""

    inputs = (TensorSpec("words", "BYTES", (-1, -1)), TensorSpec("n", "INT64", (-1, 1)))
    outputs = (TensorSpec("text", "BYTES", (-1,)), TensorSpec("m", "INT64", (-1, 1)))

    def tags(self, arrays: Arrays) -> set[int]:
        return {int(value) // TAG for value in arrays[1].ravel()}

    def compute(self, arrays: Arrays) -> Arrays:
        words, numbers = arrays
        text = np.empty(len(words), object)
        text[:] = ["".join([f"{word}," for word in row]) + str(n) for row, n in zip(words, numbers[:, 0], strict=True)]
        return [text, numbers + 1]


class WholeModel(MixedModel):
    """x FP64 [-1, -1] without a batch dimension → total FP64 [1], y FP64 [-1, -1] = 2 x."""

    inputs = (TensorSpec("x", "FP64", (-1, -1)),)
    outputs = (TensorSpec("total", "FP64", (1,)), TensorSpec("y", "FP64", (-1, -1)))

    def compute(self, arrays: Arrays) -> Arrays:
        (x,) = arrays
        return [np.array([x.sum()]), x + x]


MODELS: dict[str, type[MixedModel]] = {ROWS: RowsModel, TEXTS: TextsModel, WHOLE: WholeModel}


def built(kind: str, loop: FakeLoop, *, max_batch_size: int = 8, per_run_s: float = 1e-5, per_row_s: float = 1e-6) -> MixedModel:
    """A model of a kind, under its kind's name."""
    batch = 0 if kind == WHOLE else max_batch_size
    return MODELS[kind](loop, kind, max_batch_size=batch, per_run_s=per_run_s, per_row_s=per_row_s)
