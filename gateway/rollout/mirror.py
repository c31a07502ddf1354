"""Copies of what stable answered, run on the candidate and held against what stable said. Blocks; knows no queue and no event loop.

Copies are joined before they run, since what a run costs beside computing is the same for many rows. The first of them runs by itself, as
it did in stable, and is timed: runs of different sizes say nothing about each other, so latencies of the others are not told. What fails
together is run copy by copy, and then request by request, so that each request has its own result. A process that ended costs a second
at least: few of them are lost for one set of copies, and what is left then is given up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import numpy as np

from gateway.errors import Code
from gateway.observe.slabs import CANDIDATE_FAILED, CROWDED, MIRRORED, PERCENT, QPS, SHADOW
from gateway.rollout.copies import Copy, Stack, stacked
from gateway.rollout.fitting import Fit
from gateway.rollout.pairing import Pairing
from gateway.rollout.recorder import flag_of, mixed_units
from gateway.rollout.records import Flag
from gateway.serving.batch import Item
from gateway.serving.model import Arrays, RunFault, RunLost, Terminable
from gateway.serving.splits import CANDIDATE, Split, limit_of
from gateway.serving.versions import Version

MAX_LOST = 4  # processes, for one set of copies: joined, as a copy, alone, and one more
_EVERYBODY = limit_of(1.0)
_UNLIMITED = 1 << 30
_STREAM = 2  # of hashes of units: another one than of the sample
_FAILURES = Flag.SERVER_ERROR | Flag.REJECTED_INPUT


Made = tuple[int, int, Arrays]  # the first request, the last one and one more, and the candidate's outputs for them


class Apart(Protocol):
    """A model in a process of its own: `serving.isolated.IsolatedModel`."""

    def options(self) -> Terminable:
        """For one call of `timed`."""
        ...

    def timed(self, arrays: Sequence[np.ndarray], options: Terminable | None = None) -> tuple[Arrays, float]:
        """All outputs, and the seconds that the run took in its process. Raises RunFault."""
        ...


@dataclass(slots=True)
class Found:
    """What came of copies: records of pairs, and requests by outcome (places of `slabs.SHADOW`)."""

    records: list[np.ndarray] = field(default_factory=list)
    counts: list[int] = field(default_factory=lambda: [0] * len(SHADOW))


class Limiter:
    """A rate, and a second's worth of it at once."""

    def __init__(self, rate: float | None) -> None:
        """None: as many as there are."""
        self.rate = rate
        self._saved = rate or 0.0
        self._last_s = -np.inf

    def take(self, count: int, now_s: float) -> int:
        """How many of so many may go now."""
        if self.rate is None:
            return count
        most = max(self.rate, 1.0)
        self._saved = min(self._saved + max(min(now_s - self._last_s, 1e6), 0.0) * self.rate, most)
        self._last_s = now_s
        taken = min(count, int(self._saved))
        self._saved -= taken
        return taken

    @property
    def wait_s(self) -> float:
        """Until one may go, as of the last call."""
        return 0.0 if self.rate is None else max(1.0 - self._saved, 0.0) / self.rate


class Mirror:
    """Of one candidate. Used by one thread; `stop` from any."""

    def __init__(
        self, split: Split, stable: Version, candidate: Version, model: Apart, *,
        now: Callable[[], float], wall: Callable[[], float], yields: Callable[[], bool],
    ) -> None:  # fmt: skip
        """`yields()`: whether to leave off now, because others need the time."""
        self.limiter = Limiter(split.shadow_qps)
        self._step, self._slot = split.step, split.slot
        self._limit = limit_of(split.shadow_percent / 100)
        self._candidate, self._model = candidate, model
        self._fit = Fit(stable.signature, candidate.signature)
        self._pairing = Pairing(stable.signature, candidate.signature, atol=split.atol, rtol=split.rtol, score=split.score)
        self._now, self._wall, self._yields = now, wall, yields
        self._joint = _UNLIMITED  # rows of one run at most, besides the candidate's own limit
        self._lost = 0
        self._made: list[Made] = []
        self._handle: Terminable | None = None
        self._stopped = False

    def run(self, copies: Sequence[Copy]) -> Found:
        """Run them all, or as many as may be."""
        found, self._lost = Found(), 0
        since = self._wall() - self._now()
        alone = True
        for stack in stacked(copies, self._chosen, lambda ended: since + ended, join=self._fit.joins):
            found.counts[PERCENT] += stack.left_out
            allowed = self.limiter.take(len(stack), self._now())
            found.counts[QPS] += len(stack) - allowed
            stack.records["step"], stack.records["slot"], stack.records["arm"] = self._step, self._slot, CANDIDATE
            if allowed:
                self._stack(stack, allowed, found, alone=alone)
                alone = False
        return found

    def stop(self) -> None:
        """Nobody waits for it any more: leave off as soon as may be."""
        self._stopped = True
        handle = self._handle
        if handle is not None:
            handle.terminate = True

    def _chosen(self, units: np.ndarray) -> np.ndarray | None:
        """By the unit, and so before anything is known of its request."""
        if self._limit >= _EVERYBODY:
            return None
        return np.asarray(mixed_units(units, _STREAM) < np.uint64(self._limit))

    def _stack(self, stack: Stack, requests: int, found: Found, *, alone: bool) -> None:
        limit = 1
        if self._fit.joins:
            inputs = self._fit.given(stack.inputs)
            if inputs is None:
                self._fail(stack, 0, requests, Flag.REJECTED_INPUT, found)
                return
            limit = self._candidate.batch_limit(tuple([array.shape[1:] for array in inputs]))
        first = min(stack.seams[1], requests) if alone else 0
        if first:
            self._part(stack, 0, first, limit, found, timed=True)
        self._rest(stack, first, requests, limit, found)
        self._compare(stack, found)

    def _rest(self, stack: Stack, start: int, end: int, limit: int, found: Found) -> None:
        """As few runs as they take."""
        starts = stack.starts
        while start < end:
            rows = max(1, min(limit, self._joint))
            until = int(np.searchsorted(starts, starts[start] + rows, "right")) - 1 if self._fit.joins else start + 1
            until = min(max(until, start + 1), end)
            good = self._part(stack, start, until, limit, found)
            self._joint = min(2 * rows, _UNLIMITED) if good else max(rows // 2, 1)
            start = until

    def _part(self, stack: Stack, start: int, end: int, limit: int, found: Found, *, timed: bool = False) -> bool:
        """Run some requests together, or where that fails, in smaller parts. Whether all went well together."""
        if self._lost >= MAX_LOST or self._stopped or self._yields():
            found.counts[CANDIDATE_FAILED if self._lost >= MAX_LOST else CROWDED] += end - start
            return True
        single = end - start == 1
        inputs = self._fit.given([array[stack.starts[start] : stack.starts[end]] for array in stack.inputs])
        if inputs is None or self._is_refused(inputs) or not (single or self._fit.joins):
            if single:
                self._fail(stack, start, end, Flag.REJECTED_INPUT, found)
            else:
                self._apart(stack, start, end, limit, found)
            return False
        try:
            outputs, seconds = self._ask(inputs, limit)
        except RunFault as fault:
            self._lost += isinstance(fault, RunLost)
            if fault.code == Code.UNAVAILABLE or self._stopped:  # there is no process: that is nobody's result
                found.counts[CANDIDATE_FAILED] += end - start
            elif single:
                self._fail(stack, start, end, flag_of(fault.code) | (Flag.CRASHED if isinstance(fault, RunLost) else 0), found)
            else:
                self._apart(stack, start, end, limit, found)
            return False
        if timed and seconds == seconds:  # noqa: PLR0124 - only NaN differs from itself
            records = stack.records[start:end]
            records["latency_s"], records["other_latency_s"] = seconds, stack.seconds[start:end]
        self._made.append((start, end, outputs))
        return True

    def _apart(self, stack: Stack, start: int, end: int, limit: int, found: Found) -> None:
        """Copy by copy, and one copy request by request."""
        seams = [seam for seam in stack.seams if start < seam < end]
        parts = [start, *seams, end] if seams else list(range(start, end + 1))
        for first, last in pairwise(parts):
            self._part(stack, first, last, limit, found)

    def _is_refused(self, inputs: Arrays) -> bool:
        """Whether the candidate's contract turns any of them away."""
        door = self._candidate.door
        if door is None or not inputs:
            return False
        whole = Item()
        whole.rows = len(inputs[0]) if self._fit.joins else 1
        return bool(door.refused([whole], inputs))

    def _ask(self, inputs: Arrays, limit: int) -> tuple[Arrays, float]:
        """All outputs; of more rows than one run takes, in pieces, which are not timed. Raises RunFault."""
        if not self._fit.joins or len(inputs[0]) <= limit:
            return self._model.timed(inputs, self._options())
        pieces = [self._model.timed(piece, self._options())[0] for piece in _pieces(inputs, limit)]
        try:
            return [np.concatenate(of) for of in zip(*pieces, strict=True)], np.nan
        except ValueError:
            raise RunFault(Code.INTERNAL, "the pieces of a split request have outputs of different shapes") from None

    def _options(self) -> Terminable:
        self._handle = handle = self._model.options()
        handle.terminate = self._stopped
        return handle

    def _compare(self, stack: Stack, found: Found) -> None:
        """All that was made of a stack at once: most of what comparing costs is the same for many rows."""
        made, self._made = self._made, []
        for run in _alike(made) if self._fit.joins else [[one] for one in made]:
            start, end = run[0][0], run[-1][1]
            records, starts = stack.records[start:end], stack.starts[start : end + 1]
            records["flags"] = Flag.SAMPLED
            if stack.outputs:
                outputs = [np.concatenate(of) if len(of) > 1 else of[0] for of in zip(*[outputs for _, _, outputs in run], strict=True)]
                others = [array[starts[0] : starts[-1]] for array in stack.outputs]
                self._pairing.judge(outputs, others, starts[:-1] - starts[0]).write(records)
            self._leave(records, found)

    def _fail(self, stack: Stack, start: int, end: int, flag: int, found: Found) -> None:
        """The candidate had no answer. Where stable had none either, for the same reason, they agree."""
        records = stack.records[start:end]
        agrees = (records["other_flags"] & _FAILURES) == (flag & _FAILURES)
        records["flags"] = np.where(agrees, Flag.AGREES, 0) | Flag.SAMPLED | flag
        self._leave(records, found)

    @staticmethod
    def _leave(records: np.ndarray, found: Found) -> None:
        found.records.append(records)
        found.counts[MIRRORED] += len(records)


def _alike(made: list[Made]) -> Iterator[list[Made]]:
    """Results of requests that follow each other, put together where their outputs have the same shapes."""
    group: list[Made] = []
    shapes: object = None
    for one in made:
        form = [(array.shape[1:], array.dtype.str, array.ndim) for array in one[2]]
        if group and (form != shapes or group[-1][1] != one[0] or not all([array.ndim for array in one[2]])):
            yield group
            group = []
        group.append(one)
        shapes = form
    if group:
        yield group


def _pieces(inputs: Arrays, limit: int) -> Iterator[Arrays]:
    for at in range(0, len(inputs[0]), limit):
        yield [array[at : at + limit] for array in inputs]
