"""Many rows through one model, as fast as the cores allow: pieces of a table in, their answers out in the same order.

Threads convert and run, each a piece at a time; whoever iterates reads and writes meanwhile. No more pieces are held than keep the threads
busy. A run that fails is halved until the rows that it fails for are known: they alone have no answer. Knows no file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from gateway.serving.model import RunFault, Runnable, check_rows
from registry.errors import Kind, RegistryError
from registry.row_stream import Layout, Piece

RUN_ROWS = (128, 256, 512, 1_024, 2_048, 4_096, 8_192)  # that are tried; fewer would be handed from thread to thread too often
MAX_RUN_ROWS = RUN_ROWS[-1]
AHEAD = 2  # pieces a thread has waiting
_TRIAL_S, _TRIAL_RUNS = 0.01, 3  # of each size, whichever takes longer
_WORSE, _ALIKE = 0.8, 0.97  # of the best rate so far: sizes beyond are not tried; as good

Arrays = list[np.ndarray]


class RowFault(Exception):
    """A row has no answer, and every row was to have one. `row` is its number from 0."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"row {row}: {reason}")
        self.row = row
        self.reason = reason


@dataclass(slots=True)
class Answered:
    """A piece with its answers."""

    piece: Piece
    outputs: list[Arrays] = field(default_factory=list)  # of one run after the other, of the rows that have an answer
    failures: dict[int, str] = field(default_factory=dict)  # number of the row in the piece → reason
    runs: int = 0

    @property
    def answered(self) -> np.ndarray | None:
        """[rows] whether each has an answer; None where all have."""
        if not self.failures:
            return None
        mask = np.ones(self.piece.rows, bool)
        mask[list(self.failures)] = False
        return mask


class Scorer:
    """One model and how its rows are made. `answer` may be called from as many threads at once as the model has instances."""

    def __init__(self, model: Runnable, layout: Layout, *, run_rows: int) -> None:
        self._model, self._layout = model, layout
        self._run_rows = run_rows

    def answer(self, piece: Piece) -> Answered:
        """Every row of a piece. Raises RunFault where the model does not answer row by row."""
        found = Answered(piece)
        if piece.rows:
            self._convert(found, 0, piece.rows)
        return found

    def _convert(self, found: Answered, start: int, rows: int) -> None:
        try:
            arrays = self._layout.arrays(found.piece.table.slice(start, rows))
        except RegistryError as error:
            if error.kind is not Kind.INVALID_MODEL:
                raise
            self._halve(self._convert, found, start, rows, error.message)
            return
        for at in range(0, rows, self._run_rows):
            self._run(found, start + at, [array[at : at + self._run_rows] for array in arrays])

    def _run(self, found: Answered, start: int, arrays: Arrays) -> None:
        found.runs += 1
        rows = len(arrays[0])
        try:
            outputs = self._model.run(arrays)
        except RunFault as fault:
            retry = lambda _, at, count: self._run(found, at, [array[at - start : at - start + count] for array in arrays])  # noqa: E731
            self._halve(retry, found, start, rows, fault.message)
            return
        check_rows(self._model.signature, outputs, rows)
        found.outputs.append(outputs)

    def _halve(self, again: Callable[[Answered, int, int], None], found: Answered, start: int, rows: int, reason: str) -> None:
        """Each half by itself; a single row is what fails."""
        if rows == 1:
            found.failures[start] = reason
            return
        half = rows // 2
        again(found, start, half)
        again(found, start + half, rows - half)


def score(pieces: Iterable[Piece], answer: Callable[[Piece], Answered], *, threads: int) -> Iterator[Answered]:
    """The answers to all pieces, in their order. Raises whatever `answer` and `pieces` raise, where it belongs in the order."""
    waiting: deque[Future[Answered]] = deque()
    pool = ThreadPoolExecutor(threads, "score")
    try:
        for piece in pieces:
            waiting.append(pool.submit(answer, piece))
            if len(waiting) > threads * (1 + AHEAD):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def first_fault(found: Answered) -> RowFault | None:
    """The first row that has no answer."""
    if not found.failures:
        return None
    row = min(found.failures)
    return RowFault(found.piece.start + row, found.failures[row])


def best_run_rows(model: Runnable, arrays: Sequence[np.ndarray], now: Callable[[], float], *, most: int) -> int:
    """The least number of rows a run at which this model is as good as at its best, tried with rows of its own. At most `most`.

    A model that fails on them is asked for `most`, or 256: nothing can be told of its speed.
    """
    sizes = [size for size in RUN_ROWS if size <= min(most, len(arrays[0]))]
    rates: dict[int, float] = {}
    try:
        model.run([array[:1] for array in arrays])
        for size in sizes:
            rates[size] = _rate(model, [array[:size] for array in arrays], now)
            if rates[size] < _WORSE * max(rates.values()):
                break
    except RunFault:
        return min(most, 256)
    if not rates:
        return min(most, RUN_ROWS[0])
    return min(size for size, rate in rates.items() if rate >= _ALIKE * max(rates.values()))


def _rate(model: Runnable, arrays: Arrays, now: Callable[[], float]) -> float:
    model.run(arrays)
    runs, began = 0, now()
    while runs < _TRIAL_RUNS or now() - began < _TRIAL_S:
        model.run(arrays)
        runs += 1
    return runs * len(arrays[0]) / max(now() - began, 1e-9)
