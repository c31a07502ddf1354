"""One batch: requests of one version and row shape, their run, and what each gets of it. No queue, no clock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import accumulate
from typing import Any, Protocol, cast

import numpy as np

from gateway.errors import Code
from gateway.identity.tenants import ANONYMOUS
from gateway.protocol.tensors import DATATYPES, Signature, TensorSpec
from gateway.serving.model import Arrays, RunFault, RunLost, Runnable, Terminable, check_rows
from gateway.serving.quarantine import KILLS, Quarantine
from gateway.serving.splits import UNASSIGNED

_log = logging.getLogger(__name__)

Payload = bytes | memoryview | list[str]
Shapes = tuple[tuple[int, ...], ...]
Names = np.ndarray | None  # of requests in the inference log, as they are told: uint8 [requests, 36]


class Caller(Protocol):
    """Who waits: a stream or an exchange."""

    cancelled: bool


class Item:
    """One request in a lane. Filled field by field: a constructor call would cost more than the rest of queueing."""

    caller: Caller
    sink: Sink
    id: bytes
    data: tuple[Payload, ...]  # per input of the signature
    rows: int
    size: int  # bytes charged to the budget
    deadline: float  # clock seconds
    arrival: float
    segment = -1  # that it is counted in, where traffic is divided by a parameter; -1: the last one
    level = 0  # of priority, 1 the most urgent; 0 where the version has none
    tenant = ANONYMOUS  # who shares the queue with others
    unit = 0  # the hash of whom it belongs to, and the arm that it was assigned to, where its model is in a rollout
    arm = UNASSIGNED
    whose: Any = None  # who knows the unit, where that is asked for only if it is needed
    retreat: Any = None  # where it is asked again if it fails there
    fallback = False  # stable is asked in place of another arm
    answer_by = 0.0  # the deadline once it runs, where the queue's patience ends before; else 0
    late_from = float("inf")  # from then on it lets others of its level pass
    line: Any = None  # where it stands, once sorted
    lane: Any = None  # that it came by, where it takes many runs
    done = False  # answered already: its deadline passed while it waited or ran
    watched = False  # its deadline is on the heap


class Sink(Protocol):
    """Turns results into answers of one protocol. One per (version, protocol, output selection)."""

    protocol: int  # index of `observe.slabs.PROTOCOLS`

    def answer(self, items: Sequence[Item], starts: Sequence[int], outputs: Arrays, names: Names = None) -> None:
        """Answer each item with rows `start … start + rows` of every output, and with its name where it has one."""
        ...

    def fail(self, item: Item, code: Code, message: str) -> None:
        """Answer one item with an error."""
        ...


class Door(Protocol):
    """Looks at the values of requests before they run."""

    def refused(self, items: Sequence[Item], inputs: Arrays) -> list[tuple[Item, str]]:
        """The requests that must not run, and why. `inputs`: arrays [rows of all items, *shape]."""
        ...


class Refused(RunFault):
    """Some of the requests must not run: `faults` says which, and why."""

    def __init__(self, refusals: list[tuple[Item, str]]) -> None:
        super().__init__(Code.INVALID_ARGUMENT, refusals[0][1])
        self.faults = [(item, RunFault(Code.INVALID_ARGUMENT, text)) for item, text in refusals]


class Batch:
    """Items that run together, and after `execute` the outputs or the fault of each."""

    __slots__ = (
        "alike", "answering", "assembling", "between", "ended", "failed", "groups", "ids", "inputs", "items", "limit", "logged", "names",
        "options", "rows", "runner", "shapes", "size", "started", "version",
    )  # fmt: skip

    def __init__(self, version: Any, shapes: tuple[tuple[int, ...], ...], items: list[Item], rows: int, limit: int) -> None:
        """`limit`: rows of one run; a single item may have more and runs in pieces."""
        self.version = version
        self.shapes = shapes
        self.items = items
        self.rows = rows
        self.size = sum([item.size for item in items])  # bytes charged to the budget
        self.limit = limit
        self.groups: list[tuple[list[Item], Arrays]] = []
        self.inputs: list[Arrays] = []  # of each group, for those who look at what was served
        self.failed: list[tuple[Item, RunFault]] = []
        self.started = self.ended = 0.0
        self.assembling = self.answering = 0.0  # seconds of its inputs, within the run, and of its answers, after it
        self.alike: Sink | None = None  # the one sink of all items, where every one of them was answered by it
        self.between: Callable[[], None] | None = None  # called between two runs of one request
        self.options: Terminable | None = None  # set for runs that may be terminated
        self.runner: Any = None  # whose thread it runs in
        self.ids: np.ndarray | None = None  # under which its requests are logged, where answers say so: uint8 [items, 16]
        self.names: Names = None  # the same as answers tell them
        self.logged = 0  # rows that were promised to the inference log before its answers left; -1: they waited for the log


def execute(batch: Batch, model: Runnable, now: Callable[[], float]) -> None:
    """Run the batch. A failing batch is run again member by member, once, so that one bad input costs nobody else an answer.

    Where the model's process ended with the run, that holds for a batch of one request too.
    """
    items, rows = _admitted(batch, model.quarantine)
    if items:
        _run_together(batch, model, items, rows, now)


def _run_together(batch: Batch, model: Runnable, items: list[Item], rows: int, now: Callable[[], float]) -> None:
    try:
        batch.groups.append((items, _run(batch, model, items, rows, now)))
        return
    except Refused as refused:
        rest = _turned_away(batch, items, refused)
        if rest:
            _run_together(batch, model, rest, sum([item.rows for item in rest]), now)
        return
    except RunFault as fault:
        lost, single = isinstance(fault, RunLost), len(items) == 1
        if lost and single:
            _blame(batch, items[0], model.quarantine, 1)
        if (single and not lost) or (batch.options is not None and batch.options.terminate):
            batch.failed += [(item, fault) for item in items]
            return
    for item in items:
        _run_alone(batch, model, item, now, kills=KILLS if lost and not single else 1)


def _admitted(batch: Batch, quarantine: Quarantine | None) -> tuple[list[Item], int]:
    """The members to run, and their rows."""
    if not quarantine:  # there is none, or it is empty
        return batch.items, batch.rows
    kept = [item for item in batch.items if not _refused(batch, item, quarantine)]
    return (batch.items, batch.rows) if len(kept) == len(batch.items) else (kept, sum([item.rows for item in kept]))


def _turned_away(batch: Batch, items: list[Item], refused: Refused) -> list[Item]:
    """Those that may run all the same."""
    batch.failed += refused.faults
    gone = {id(item) for item, _ in refused.faults}
    return [item for item in items if id(item) not in gone]


def _run_alone(batch: Batch, model: Runnable, item: Item, now: Callable[[], float], *, kills: int) -> None:
    """Run a member of a failed batch again. `kills`: what it is blamed for if that ends the model's process."""
    if model.quarantine and _refused(batch, item, model.quarantine):  # its twin went first
        return
    try:
        batch.groups.append(([item], _run(batch, model, [item], item.rows, now)))
    except RunFault as fault:
        batch.failed.append((item, fault))
        if isinstance(fault, RunLost):
            _blame(batch, item, model.quarantine, kills)


def _refused(batch: Batch, item: Item, quarantine: Quarantine) -> bool:
    """Whether the request has killed `KILLS` processes: then it has failed already."""
    refused = quarantine.refuses(quarantine.fingerprint(batch.shapes, item.data))
    if refused:
        text = f"model '{batch.version.name}' does not take this request for now: it ended the model's process {KILLS} times"
        batch.failed.append((item, RunFault(Code.INTERNAL, text)))
    return refused


def _blame(batch: Batch, item: Item, quarantine: Quarantine | None, kills: int) -> None:
    if quarantine is not None:
        quarantine.add(quarantine.fingerprint(batch.shapes, item.data), kills)


def starts_of(items: Sequence[Item], rows: int) -> Sequence[int]:
    """The first row of every item."""
    if len(items) == rows:
        return range(rows)
    return [0, *accumulate(item.rows for item in items[:-1])]


def _run(batch: Batch, model: Runnable, items: list[Item], rows: int, now: Callable[[], float]) -> Arrays:
    """All outputs for these items. Raises RunFault and nothing else: a thread that died of another would take its version along."""
    try:
        return _run_once(batch, model, items, rows, now)
    except RunFault:
        raise
    except Exception:
        _log.exception("run failed: %s", model.signature.model)
        raise RunFault(Code.INTERNAL, "internal error") from None


def _run_once(batch: Batch, model: Runnable, items: list[Item], rows: int, now: Callable[[], float]) -> Arrays:
    signature = model.signature
    arrays = _columns(batch, signature, items, rows, now)
    _let_in(batch, items, arrays)
    if not signature.max_batch_size:
        outputs = model.run([array.reshape(array.shape[1:]) for array in arrays], batch.options)
        _check_size(batch, outputs, 1, 1)
    elif rows > batch.limit:
        outputs = _run_split(model, arrays, rows, batch)
    else:
        outputs = _run_rows(model, arrays, rows, batch)
        _check_size(batch, outputs, max([item.rows for item in items]) if len(items) < rows else 1, rows)
    batch.inputs.append(arrays)
    return outputs


def _let_in(batch: Batch, items: Sequence[Item], arrays: Arrays) -> None:
    """Ask the door of the version, if it has one."""
    door: Door | None = batch.version.door
    if door is not None and (refusals := door.refused(items, arrays)):
        raise Refused(refusals)


def _check_size(batch: Batch, outputs: Arrays, largest: int, rows: int) -> None:
    """Hold the outputs of the largest request, which has `largest` of the `rows`, against limits.serving.max_output_bytes."""
    size = sum([output.nbytes for output in outputs])
    bound: int = batch.version.max_output_bytes
    if size > bound and size * largest > bound * rows:
        raise RunFault(Code.INTERNAL, f"model '{batch.version.name}' made outputs of more than {bound} bytes for this input")


def _run_rows(model: Runnable, arrays: Arrays, rows: int, batch: Batch) -> Arrays:
    """One run, with a row of every output for each of the inputs'."""
    outputs = model.run(arrays, batch.options)
    check_rows(model.signature, outputs, rows)
    return outputs


def _run_split(model: Runnable, arrays: Arrays, rows: int, batch: Batch) -> Arrays:
    """A request above the rows of one run goes in pieces."""
    pieces = _pieces(model, arrays, rows, batch)
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            return cast(Arrays, end.value)
        if batch.between is not None:
            batch.between()


def in_steps(batch: Batch, model: Runnable, now: Callable[[], float]) -> Iterator[None]:
    """As `execute`, for a batch of one request of many runs to a model of this process: each step is a run."""
    (item,), rows = batch.items, batch.rows
    try:
        arrays = _columns(batch, model.signature, batch.items, rows, now)
        _let_in(batch, batch.items, arrays)
        batch.groups.append(([item], (yield from _pieces(model, arrays, rows, batch))))
        batch.inputs.append(arrays)
    except RunFault as fault:
        batch.failed.append((item, fault))
    except Exception:
        _log.exception("run failed: %s", model.signature.model)
        batch.failed.append((item, RunFault(Code.INTERNAL, "internal error")))


def _pieces(model: Runnable, arrays: Arrays, rows: int, batch: Batch) -> Generator[None, None, Arrays]:
    """Run by run; what comes between them is up to the caller."""
    limit = batch.limit
    whole: Arrays = []
    for at in range(0, rows, limit):
        size = min(limit, rows - at)
        piece = _run_rows(model, [array[at : at + limit] for array in arrays], size, batch)
        if not at:
            _check_size(batch, piece, rows, size)  # before the others are made
            whole = [np.empty((rows, *output.shape[1:]), output.dtype) for output in piece]
        _put(piece, whole, at, size)
        if at + limit < rows:
            yield
    return whole


def _put(piece: Arrays, whole: Arrays, at: int, size: int) -> None:
    """The outputs of one run where they belong in those of the request. Joining all of them at the end would take long at once."""
    if any([output.shape[1:] != into.shape[1:] for output, into in zip(piece, whole, strict=True)]):
        raise RunFault(Code.INTERNAL, "the pieces of a split request have outputs of different shapes")
    for output, into in zip(piece, whole, strict=True):
        into[at : at + size] = output


def _columns(batch: Batch, signature: Signature, items: list[Item], rows: int, now: Callable[[], float]) -> list[np.ndarray]:
    """All inputs of these items, as arrays."""
    begun = now()
    arrays = assembled(signature, batch.shapes, items, rows)
    batch.assembling += now() - begun
    return arrays


def assembled(signature: Signature, shapes: Shapes, items: Sequence[Item], rows: int) -> list[np.ndarray]:
    """The inputs of items of these row shapes, each an array [rows of all items, *shape]."""
    return [_column(spec, shape, items, k, rows) for k, (spec, shape) in enumerate(zip(signature.inputs, shapes, strict=True))]


def _column(spec: TensorSpec, shape: tuple[int, ...], items: Sequence[Item], k: int, rows: int) -> np.ndarray:
    """Input `k` of all items as one array [rows, *shape]."""
    if spec.datatype == "BYTES":
        texts = [text for item in items for text in item.data[k]]
        column = np.empty(len(texts), dtype=object)
        column[:] = texts
        return column.reshape((rows, *shape))
    raw: Any = items[0].data[k] if len(items) == 1 else b"".join([item.data[k] for item in items])  # type: ignore[misc]
    return np.frombuffer(raw, DATATYPES[spec.datatype].numpy).reshape((rows, *shape))
