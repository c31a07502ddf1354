"""A watch as one document, and back: what was counted, where the tests stand, which states there are. msgpack, of one profile.

A document of another profile, of another format or of contradictory sizes is refused with the reason, never misread. Segments and rules may
have changed: counts of a segment that is gone belong to the last one, "all others", and rings, which differ in form then, begin anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from gateway.drift.cells import cells_of
from gateway.drift.display import Change
from gateway.drift.findings import Rule
from gateway.drift.layout import EXTREMES, HEAD_WORDS, ROWS, SUMS, Views, layout_of
from gateway.drift.policy import Policy
from gateway.drift.rings import Ring
from gateway.drift.starts import Arms, Starts
from gateway.drift.states import Standing, State
from gateway.drift.watch import Watch
from gateway.drift.windows import Bets
from kernels.betting import BETS
from registry.profile import Profile

FORMAT = 1


class SavedError(Exception):
    """A document that is not to be gone on from; the message says why."""


class SavedArray(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Little-endian."""

    kind: str
    shape: tuple[int, ...]
    content: bytes


class SavedArms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`starts.Arms`."""

    number: SavedArray
    window: SavedArray
    row: SavedArray
    wall_s: SavedArray
    base: SavedArray


class SavedStarts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`starts.Starts`."""

    number: SavedArray
    row: SavedArray
    wall_s: SavedArray
    counts: SavedArray
    opened: int
    opened_row: int


class SavedBets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`windows.Bets`."""

    base: SavedArray
    row: int
    capital: SavedArray
    arm: int
    log_e: float
    hours: list[int]
    scores: list[float]
    last: list[float]


class SavedRing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`rings.Ring`."""

    base: SavedArray
    number: int
    windows: dict[int, tuple[SavedArray, SavedArray]]


class SavedChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`display.Change`."""

    row: int
    wall_s: float
    base: SavedArray


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    format: int = FORMAT
    profile: str
    sums: tuple[str, ...] = SUMS
    extremes: tuple[str, ...] = EXTREMES
    segments: tuple[str, ...]
    rules: tuple[Rule, ...]
    block: SavedArray
    born_s: float
    looked_s: float
    any: SavedArms
    tolerance: SavedArms
    starts: SavedStarts
    standings: list[tuple[int, float]]
    together: tuple[int, float]
    performance: tuple[int, float]
    changes: dict[int, SavedChange]
    bets: SavedBets | None
    rings: tuple[SavedRing, SavedRing]  # minutes, hours


def save(watch: Watch) -> bytes:
    """The document."""
    starts, bets = watch.evidence.starts, watch.layer.bets if watch.layer else None
    document = Document(
        profile=watch.digest,
        segments=watch.segments,
        rules=watch.rules,
        block=_array(watch.total.block),
        born_s=watch.born_s,
        looked_s=watch.looked_s,
        any=_fields(SavedArms, watch.evidence.any),
        tolerance=_fields(SavedArms, watch.evidence.tolerance),
        starts=_fields(SavedStarts, starts),
        standings=[_pair(standing) for standing in watch.standings],
        together=_pair(watch.together),
        performance=_pair(watch.performance),
        changes={index: SavedChange(change.row, change.wall_s, _array(change.base)) for index, change in watch.changes.items()},
        bets=None if bets is None else _fields(SavedBets, bets),
        rings=(_ring(watch.rings.minutes), _ring(watch.rings.hours)),
    )  # fmt: skip
    return msgspec.msgpack.encode(document)


def restore(
    content: bytes, profile: Profile, policy: Policy | None = None, *, segments: Sequence[str] = (), rules: Sequence[Rule] = ()
) -> Watch:
    """The watch as it was saved; what workers count from now on comes on top. Raises `SavedError`."""
    document = _document(content, profile)
    watch = Watch(profile, policy, segments=segments, rules=rules, wall_s=document.born_s)
    try:
        _fill(watch, document)
    except (ValueError, IndexError, KeyError) as error:
        raise SavedError(f"the saved drift state contradicts itself: {error}") from error
    return watch


def _document(content: bytes, profile: Profile) -> Document:
    try:
        found = msgspec.msgpack.decode(content, type=_Head)
        if found.format != FORMAT:
            raise SavedError(f"the saved drift state has format {found.format}, and this release reads {FORMAT}")
        if found.profile != profile.digest:
            raise SavedError(f"the saved drift state is of the profile {found.profile}, and the version has {profile.digest}")
        document = msgspec.msgpack.decode(content, type=Document)
    except msgspec.DecodeError as error:
        raise SavedError(f"the saved drift state cannot be read: {error}") from error
    if (document.sums, document.extremes) != (SUMS, EXTREMES):
        raise SavedError("the saved drift state has sums of another release")
    return document


class _Head(msgspec.Struct):
    format: int
    profile: str


def _fill(watch: Watch, document: Document) -> None:
    evidence, features, cells = watch.evidence, len(watch.cells.features), len(watch.cells.reference)
    same = (document.segments, document.rules) == (watch.segments, watch.rules)
    watch.carried.block[:] = _moved_block(watch, document, same=same)
    watch.total.block[:] = watch.carried.block
    watch.looked_s = document.looked_s
    evidence.any, evidence.tolerance = (_arms(saved, features, cells) for saved in (document.any, document.tolerance))
    evidence.starts = _starts(document.starts, watch.policy.window_rows, cells)
    watch.standings = [_standing(pair) for pair in _so_many(document.standings, features)]
    watch.together, watch.performance = _standing(document.together), _standing(document.performance)
    for index, saved in document.changes.items():
        slots = watch.cells.of(index)
        watch.changes[index] = Change(saved.row, saved.wall_s, _of(saved.base, (slots.stop - slots.start,)))
    if watch.layer and document.bets:
        watch.layer.bets = _bets(document.bets, cells)
    _fill_rings(watch, document, same=same)
    # What the last look found is found again, so that findings can be told before the first tick.
    watch.refresh()


def _fill_rings(watch: Watch, document: Document, *, same: bool) -> None:
    rings, words = watch.rings, watch.layout.words
    rings.seen[:] = watch.carried.block
    for ring, saved in zip((rings.minutes, rings.hours), document.rings, strict=True):
        ring.base, ring.number = watch.carried.block.copy(), int(document.looked_s // ring.length_s)
        if same:
            _fill_ring(ring, saved, words, (len(rings.parts.integers),), (len(rings.parts.sums),))


def _fill_ring(ring: Ring, saved: SavedRing, words: int, integers: tuple[int], sums: tuple[int]) -> None:
    ring.base, ring.number = _of(saved.base, (words,)), saved.number
    ring.windows = {number: (_of(counts, integers, "<i4"), _of(values, sums, "<f8")) for number, (counts, values) in saved.windows.items()}


def _moved_block(watch: Watch, document: Document, *, same: bool) -> np.ndarray:
    """The saved counts in today's layout."""
    old = cells_of(watch.profile, segments=max(len(document.segments), 1), rules=len(document.rules)).layout
    saved = old.views(_of(document.block, (old.words,)))
    if same:
        return saved.block
    block = layout_of(watch.profile, segments=max(len(watch.segments), 1), rules=len(watch.rules)).views(
        np.zeros(watch.layout.words, np.int64)
    )
    block.begin(watch.layout.checksum)
    block.head[ROWS:HEAD_WORDS] = saved.head[ROWS:HEAD_WORDS]
    places = [watch.segments.index(name) if name in watch.segments else -1 for name in document.segments or ("",)]
    for before, after in enumerate(places):
        for mine, theirs in zip(_by_segment(block), _by_segment(saved), strict=True):
            mine[after] += theirs[before]
    for mine, theirs in zip((*block.sums, *block.extremes, block.scores), (*saved.sums, *saved.extremes, saved.scores), strict=True):
        mine[...] = theirs
    for index, rule in enumerate(document.rules):
        if rule in watch.rules:
            block.rules[watch.rules.index(rule)] = saved.rules[index]
    return block.block


def _by_segment(views: Views) -> tuple[np.ndarray, ...]:
    return (views.segment_rows, *views.counts, *views.categories)


# --- parts ------------------------------------------------------------------------------------------------------------------------------


def _arms(saved: SavedArms, features: int, cells: int) -> Arms:
    number, window, row = (_of(array, (features,)) for array in (saved.number, saved.window, saved.row))
    return Arms(number, window, row, _of(saved.wall_s, (features,), "<f8"), _of(saved.base, (cells,)))


def _starts(saved: SavedStarts, window_rows: int, cells: int) -> Starts:
    count = saved.number.shape[0]
    number, row = (_of(array, (count,)) for array in (saved.number, saved.row))
    wall_s, counts = _of(saved.wall_s, (count,), "<f8"), _of(saved.counts, (count, cells))
    return Starts(window_rows, number, row, wall_s, counts, saved.opened, saved.opened_row)


def _bets(saved: SavedBets, cells: int) -> Bets:
    rest = (saved.arm, saved.log_e, [*saved.hours], [*saved.scores], [*saved.last])
    return Bets(_of(saved.base, (cells,)), saved.row, _of(saved.capital, (BETS,), "<f8"), *rest)


def _ring(ring: Ring) -> SavedRing:
    return SavedRing(_array(ring.base), ring.number, {number: (_array(a), _array(b)) for number, (a, b) in ring.windows.items()})


def _standing(pair: tuple[int, float]) -> Standing:
    return Standing(State(pair[0]), pair[1])


def _pair(standing: Standing) -> tuple[int, float]:
    return int(standing.state), standing.since_s


def _so_many(values: list[Any], count: int) -> list[Any]:
    if len(values) != count:
        raise ValueError(f"{len(values)} states of {count} features")
    return values


def _fields(kind: Any, found: Any) -> Any:
    """A saved struct from what has the same names."""
    values = {name: getattr(found, name) for name in kind.__struct_fields__}
    return kind(**{name: _array(value) if isinstance(value, np.ndarray) else value for name, value in values.items()})


def _array(values: np.ndarray) -> SavedArray:
    kind = values.dtype.newbyteorder("<")
    return SavedArray(kind.str, values.shape, np.ascontiguousarray(values, kind).tobytes())


def _of(saved: SavedArray, shape: tuple[int, ...], kind: str = "<i8") -> np.ndarray:
    """Raises `ValueError` for another shape or kind."""
    if saved.shape != shape or saved.kind != kind:
        raise ValueError(f"an array of {saved.shape} {saved.kind} where {shape} is meant")
    return np.frombuffer(saved.content, saved.kind).reshape(shape).copy()
