"""What two versions make of the same rows, side by side: outputs by name, one verdict a request. Knows no traffic.

Numbers agree within a tolerance, everything else is the same or is not. What cannot be compared (an output that is missing, of another
datatype or shape) disagrees, whatever is in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gateway.drift.recorder import as_floats
from gateway.drift.tables import FLOATS
from gateway.protocol.tensors import Signature
from gateway.rollout.recorder import Reading
from gateway.rollout.records import Flag
from gateway.serving.model import Arrays
from kernels.compare import BAD, DIFFERS, OTHER_BAD, compare, compare_integers, largest

_UINT64_MIDDLE = np.uint64(1 << 63)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Of requests, in their order; arrays [requests]. `other_` is stable's side."""

    flags: np.ndarray  # uint16: `Flag.AGREES`, `CLASS_CHANGED`, `BAD_OUTPUT`
    other_flags: np.ndarray  # uint16: `Flag.BAD_OUTPUT`
    differences: np.ndarray  # float32: the largest absolute difference of a number
    values: np.ndarray  # float32: class or score of the first row; NaN where there is none
    other_values: np.ndarray

    def write(self, records: np.ndarray) -> None:
        """Into records [requests] of these requests, beside the flags that they have."""
        records["flags"] |= self.flags
        records["other_flags"] |= self.other_flags
        records["difference"] = self.differences
        records["value"], records["other_value"] = self.values, self.other_values


class Pairing:
    """Of one candidate with one stable version."""

    def __init__(self, stable: Signature, candidate: Signature, *, atol: float, rtol: float, score: bool) -> None:
        """Outputs agree within atol + rtol · |stable|. `score`: values are scores rather than classes."""
        self._tolerance = atol, rtol
        self._batched = stable.max_batch_size > 0 and candidate.max_batch_size > 0
        places = {spec.name: (place, spec.datatype) for place, spec in enumerate(candidate.outputs)}
        self._outputs = [(spec.name, spec.datatype, *places.get(spec.name, (-1, ""))) for spec in stable.outputs]
        self._spare = [(place, kind) for name, (place, kind) in places.items() if name not in {spec.name for spec in stable.outputs}]
        kinds = [datatype in FLOATS for _, datatype, _, _ in self._outputs]
        self._class = kinds.index(False) if False in kinds else 0 if kinds else -1  # of the outputs, the one that names a class
        self._reading, self._other_reading = Reading(candidate, score=score), Reading(stable, score=score)

    def judge(self, outputs: Arrays, others: Arrays, starts: np.ndarray) -> Verdicts:
        """`outputs` are the candidate's, `others` stable's, for the same requests; `starts` [requests] are their first rows.

        Where one of the two has no rows, there is one request: `starts` is [0].
        """
        with np.errstate(over="ignore"):  # a number beyond float32 is told as an infinite one
            return self._judged(outputs, others, starts)

    def _judged(self, outputs: Arrays, others: Arrays, starts: np.ndarray) -> Verdicts:
        rows = len(others[0]) if self._batched and others else 1
        flags, differences = np.zeros(rows, np.uint8), np.zeros(rows)
        for place, (_, datatype, mine, kind) in enumerate(self._outputs):
            other = others[place]
            output = outputs[mine] if mine >= 0 else None
            if output is None or kind != datatype or output.shape != other.shape:
                self._strange(other, datatype, flags, OTHER_BAD)
                if output is not None:
                    self._strange(output, kind, flags, BAD)
                flags |= np.uint8(DIFFERS)
            else:
                self._hold(output, other, datatype, flags, differences)
        for mine, kind in self._spare:
            self._strange(outputs[mine], kind, flags, BAD)
        return self._verdicts(outputs, others, starts, flags, differences)

    def _verdicts(self, outputs: Arrays, others: Arrays, starts: np.ndarray, flags: np.ndarray, differences: np.ndarray) -> Verdicts:
        """From rows to requests."""
        marks = np.bitwise_or.reduceat(flags, starts)
        changed = np.logical_or.reduceat(self._changed(outputs, others, len(flags)), starts)
        agrees = ~(changed | (marks & DIFFERS > 0))
        first = starts.tolist()
        return Verdicts(
            flags=(Flag.AGREES * agrees + Flag.CLASS_CHANGED * changed + Flag.BAD_OUTPUT * (marks & BAD > 0)).astype(np.uint16),
            other_flags=(Flag.BAD_OUTPUT * (marks & OTHER_BAD > 0)).astype(np.uint16),
            differences=np.maximum.reduceat(differences, starts).astype(np.float32),
            values=_read(self._reading, outputs, first, len(flags)),
            other_values=_read(self._other_reading, others, first, len(flags)),
        )

    def _hold(self, output: np.ndarray, other: np.ndarray, datatype: str, flags: np.ndarray, differences: np.ndarray) -> None:
        """One output of both, of one shape."""
        one, two = _table(output, datatype, len(flags)), _table(other, datatype, len(flags))
        if datatype == "BYTES":
            flags[(one != two).any(axis=1)] |= DIFFERS
        elif datatype in FLOATS:
            compare(one, two, *self._tolerance, flags, differences)
        else:
            compare_integers(one, two, flags, differences)

    def _strange(self, output: np.ndarray, datatype: str, flags: np.ndarray, mark: int) -> None:
        """An output that has nothing to be held against: only whether its numbers are some. Where its rows are not known, all of them."""
        if datatype not in FLOATS or not output.size:
            return
        rows = len(flags) if output.shape[:1] == flags.shape else 1
        values, found = _table(output, datatype, rows), np.zeros(rows, np.uint8)
        compare(values, values, 0.0, 0.0, found, np.zeros(rows))
        flags |= np.where(found & BAD, np.uint8(mark), np.uint8(0))

    def _changed(self, outputs: Arrays, others: Arrays, rows: int) -> np.ndarray:
        """Whether each row is of another class, bool [rows]; nowhere where classes are not named alike."""
        if self._class < 0:
            return np.zeros(rows, np.bool_)
        _, datatype, mine, kind = self._outputs[self._class]
        other = others[self._class]
        if mine < 0 or kind != datatype or outputs[mine].shape != other.shape:
            return np.zeros(rows, np.bool_)
        one, two = _table(outputs[mine], datatype, rows), _table(other, datatype, rows)
        if datatype not in FLOATS:
            return np.asarray((one != two).any(axis=1))
        if one.shape[1] < 2:  # a score, which names no class
            return np.zeros(rows, np.bool_)
        places = np.empty((2, rows), np.int64)
        largest(one, places[0])
        largest(two, places[1])
        return np.asarray(places[0] != places[1])


def _read(reading: Reading, outputs: Arrays, first: list[int], rows: int) -> np.ndarray:
    """Nothing where it is not known which row is whose."""
    known = all([output.shape[:1] == (rows,) or (rows == 1 and output.shape[:1] > (0,)) for output in outputs])
    if reading.batched and not known:
        return np.full(len(first), np.nan, np.float32)
    return reading.of(outputs, first)


def _table(array: np.ndarray, datatype: str, rows: int) -> np.ndarray:
    """As [rows, width], of a type that kernels take: float32, float64, int64 (uint64 in its order), or texts."""
    whole = np.ascontiguousarray(array).reshape(rows, -1) if rows else array.reshape(0, 1)
    if datatype in FLOATS:
        return as_floats(whole, datatype)
    if datatype == "UINT64":
        return (whole ^ _UINT64_MIDDLE).view(np.int64)
    return whole if datatype == "BYTES" else whole.astype(np.int64, copy=False)
