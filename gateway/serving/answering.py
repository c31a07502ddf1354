"""The outputs of a run to those who asked for them: by their sinks, each of which is given all of its own at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from gateway.errors import Code
from gateway.serving.batch import Batch, Item, Names, Sink, starts_of
from gateway.serving.model import Arrays

_log = logging.getLogger(__name__)


def answer(batch: Batch, items: list[Item], outputs: Arrays) -> None:
    """Answer requests that ran together, but for those that were answered meanwhile."""
    starts = starts_of(items, batch.rows if items is batch.items else sum([item.rows for item in items]))
    first = items[0].sink
    names = batch.names if batch.names is None or items is batch.items else _names(batch, batch.names, items)
    if all([item.sink is first and not item.done for item in items]):
        if items is batch.items:
            batch.alike = first
        _hand_out(first, items, starts, outputs, names)
        return
    groups: dict[Sink, list[int]] = {}
    for at, item in enumerate(items):
        if not item.done:
            groups.setdefault(item.sink, []).append(at)
    for sink, places in groups.items():
        own = None if names is None else names[places]
        _hand_out(sink, [items[at] for at in places], [starts[at] for at in places], outputs, own)


def _names(batch: Batch, names: np.ndarray, items: list[Item]) -> np.ndarray:
    """Of some of a batch."""
    places = {id(item): at for at, item in enumerate(batch.items)}
    return np.asarray(names[[places[id(item)] for item in items]])


def _hand_out(sink: Sink, items: list[Item], starts: Sequence[int], outputs: Arrays, names: Names) -> None:
    """Answers that cannot be written are a fault of ours: it costs these callers an error, and nobody else anything."""
    try:
        if names is None:
            sink.answer(items, starts, outputs)
        else:
            sink.answer(items, starts, outputs, names)
    except Exception:
        _log.exception("answers failed")
        for item in items:
            sink.fail(item, Code.INTERNAL, "internal error")
