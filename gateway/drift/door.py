"""The contract at the door: which rows of a batch break which rule of their version's schema, before anything runs. Pure.

Refuses to know what is done about it: a rule says whether a row that breaks it is observed, warned of or rejected, and `reason` says why in
words. What does not fit a tensor's datatype or shape never gets here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gateway.drift.recorder import as_floats
from gateway.drift.rules import Rule, kinds_of
from gateway.drift.tables import FLOATS, IntegerTables, TextTables, Vocabulary, integer_tables, text_tables
from gateway.drift_settings import Mode
from gateway.drift_settings import Rule as Kind
from gateway.protocol.tensors import Signature
from kernels import rules as kernels
from kernels.categories import texts_in
from kernels.jit import direct
from registry.schema import Field, Range, Schema

_NO_RULE = -1
_MASK_BITS = 64
_INT64 = np.iinfo(np.int64)
_UINT64_MIDDLE = 1 << 63
_OUTSIDE = {np.dtype(kind): direct(kernels.outside, at) for at, kind in enumerate((np.float32, np.float64, np.int64))}
_MARK = {np.dtype(kind): direct(kernels.mark_numbers, at) for at, kind in enumerate((np.float32, np.float64, np.int64))}
_mark_strange_integers, _mark_strange_texts = direct(kernels.mark_strange_integers), direct(kernels.mark_strange_texts)
_UNKNOWN = 1  # the slot of what is no category; all categories share 0

Check = Callable[[np.ndarray, int, np.ndarray, np.ndarray], None]  # the tensor, its rows, `Views.rules`, masks


class Door:
    """The rules of one version, ready for its batches."""

    def __init__(self, schema: Schema, signature: Signature, rules: tuple[Rule, ...]) -> None:
        """`rules` as `rules_of` gives them. Those of inputs that the signature lacks are never broken."""
        self.rules = rules
        self.rejects = any(rule.mode == "reject" for rule in self.rules)  # whether the answer must wait for `look`
        self._words = -(-len(self.rules) // _MASK_BITS)
        self._rejecting = self._mask("reject")
        self._warning = self._mask("warn")
        fields = {field.name: field for field in schema.inputs}
        numbers = {(rule.port, rule.kind): number for number, rule in enumerate(self.rules)}
        self._checks: list[tuple[int, Check]] = []
        for position, spec in enumerate(signature.inputs):
            if spec.name in fields:
                found = {kind: numbers[spec.name, kind] for kind in kinds_of(fields[spec.name])}
                self._checks += [(position, check) for check in _checks(fields[spec.name], spec.datatype, found)]

    def look(self, inputs: Sequence[np.ndarray], rows: int, counts: np.ndarray) -> np.ndarray | None:
        """Hold a batch against the rules.

        inputs: in the order of the signature, [rows, ...]; strings as for `Recorder.record`. counts: `Views.rules`, to which this adds.
        Returns masks, uint64 [rows, words], bit b of word w for rule 64 w + b; or None where no row breaks a rule.
        """
        if not self._checks or rows < 1:
            return None
        masks = np.zeros((rows, self._words), np.uint64)
        for position, check in self._checks:
            array = inputs[position]
            if array.size >= rows:
                check(array, rows, counts, masks)
        return masks if masks.any() else None

    def rejected(self, masks: np.ndarray) -> np.ndarray:
        """Which rows break a rule that rejects, bool [rows]."""
        return np.asarray((masks & self._rejecting).any(axis=1))

    def warned(self, masks: np.ndarray) -> np.ndarray:
        """Which rows break a rule that warns, bool [rows]."""
        return np.asarray((masks & self._warning).any(axis=1))

    def broken(self, mask: np.ndarray) -> list[Rule]:
        """The rules that a row breaks, given its line of the masks."""
        return [rule for number, rule in enumerate(self.rules) if int(mask[number // _MASK_BITS]) >> number % _MASK_BITS & 1]

    def reason(self, mask: np.ndarray) -> str:
        """Why a row is rejected: its first rule that rejects; "" where there is none."""
        return next((rule.text for rule in self.broken(mask) if rule.mode == "reject"), "")

    def _mask(self, mode: Mode) -> np.ndarray:
        words = [0] * self._words
        for number, rule in enumerate(self.rules):
            words[number // _MASK_BITS] |= (rule.mode == mode) << number % _MASK_BITS
        return np.array(words, np.uint64)


def _checks(field: Field, datatype: str, found: Mapping[Kind, int]) -> Iterator[Check]:
    """What holds a tensor against the rules of its field."""
    if found.keys() & {"nulls", "range"} and datatype != "BYTES":
        yield _number_check(field, datatype, found)
    if "categories" in found and field.categories is not None:
        known = [*field.categories, *([] if field.null_value is None else [field.null_value])]
        words = Vocabulary(dict.fromkeys(known, 0), _UNKNOWN)
        if datatype == "BYTES":
            yield _text_check(text_tables([words]), found["categories"])
        elif datatype not in FLOATS:
            yield _category_check(integer_tables([_shifted(words, datatype)]), datatype, found["categories"])


@dataclass(frozen=True, slots=True)
class _Interval:
    """Both ends belong to it. `exempt` is in none and breaks no rule, where `exempts` is 1."""

    kind: np.dtype
    least: Any
    greatest: Any
    exempts: int
    exempt: Any


def _number_check(field: Field, datatype: str, found: Mapping[Kind, int]) -> Check:
    interval = _float_interval(field, datatype) if datatype in FLOATS else _integer_interval(field, datatype)
    outside, mark = _OUTSIDE[interval.kind], _MARK[interval.kind]
    ends = interval.least, interval.greatest
    rules = interval.exempts, interval.exempt, found.get("nulls", _NO_RULE), found.get("range", _NO_RULE)

    def check(array: np.ndarray, rows: int, counts: np.ndarray, masks: np.ndarray) -> None:
        flat = np.ascontiguousarray(array).reshape(-1)
        values = as_floats(flat, datatype) if datatype in FLOATS else _integers(flat, datatype)
        if outside(values, *ends):
            mark(values, values.size // rows, *ends, *rules, counts, masks)

    return check


def _float_interval(field: Field, datatype: str) -> _Interval:
    """Missing is NaN. Ends are moved to the nearest numbers within that the type has, which changes nothing for its values."""
    kind: Any = FLOATS[datatype]
    bounds = field.range or Range()
    low, high = -math.inf if bounds.min is None else bounds.min, math.inf if bounds.max is None else bounds.max
    with np.errstate(over="ignore"):
        least, greatest = kind(low), kind(high)
    if float(least) < low:
        least = np.nextafter(least, kind(math.inf))
    if float(greatest) > high:
        greatest = np.nextafter(greatest, kind(-math.inf))
    return _Interval(np.dtype(kind), least, greatest, 0, kind(0))


def _integer_interval(field: Field, datatype: str) -> _Interval:
    bounds, shift = field.range or Range(), _shift(datatype)
    low = _INT64.min if bounds.min is None else math.ceil(bounds.min) - shift
    high = _INT64.max if bounds.max is None else math.floor(bounds.max) - shift
    exempts = isinstance(field.null_value, int)
    exempt = field.null_value - shift if isinstance(field.null_value, int) else 0
    if low > _INT64.max or high < _INT64.min:  # 2^63 - 1 as a float is 2^63
        low, high = _INT64.max, _INT64.min
    low, high = max(low, _INT64.min), min(high, _INT64.max)
    return _Interval(np.dtype(np.int64), low, high, int(exempts), exempt)


def _category_check(tables: IntegerTables, datatype: str, rule: int) -> Check:
    def check(array: np.ndarray, rows: int, counts: np.ndarray, masks: np.ndarray) -> None:
        values = _integers(np.ascontiguousarray(array).reshape(-1, 1), datatype)
        _mark_strange_integers(values, values.size // rows, rule, tables.features, tables.keys, tables.slots, counts, masks)

    return check


def _text_check(tables: TextTables, rule: int) -> Check:
    known = tables.lookups[0]

    def check(array: np.ndarray, rows: int, counts: np.ndarray, masks: np.ndarray) -> None:
        if array.dtype == np.uint8:
            data = np.ascontiguousarray(array).reshape(-1)
            width = max(texts_in(data) // rows, 1)
            _mark_strange_texts(data, width, rule, tables.features, *tables.arrays, counts, masks)
            return
        texts = array.reshape(-1).tolist()
        fits = np.fromiter(map(known.__contains__, texts), np.bool_, len(texts))
        if not fits.all():
            strange = ~fits.reshape(rows, -1)
            counts[rule] += strange.sum(), strange.any(axis=1).sum()
            masks[strange.any(axis=1), rule // _MASK_BITS] |= np.uint64(1 << rule % _MASK_BITS)

    return check


def _shift(datatype: str) -> int:
    """What is taken from an unsigned 64-bit integer so that int64 holds it, in its order."""
    return _UINT64_MIDDLE if datatype == "UINT64" else 0


def _shifted(words: Vocabulary, datatype: str) -> Vocabulary:
    entries: dict[str | int, int] = {key - _shift(datatype): slot for key, slot in words.entries.items() if isinstance(key, int)}
    return Vocabulary(entries, words.other)


def _integers(array: np.ndarray, datatype: str) -> np.ndarray:
    """As int64, in their order."""
    if datatype == "UINT64":
        return (array ^ np.uint64(_UINT64_MIDDLE)).view(np.int64)
    return array.astype(np.int64, copy=False)
