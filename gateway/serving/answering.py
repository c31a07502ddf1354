"""The outputs of a run to those who asked for them: by their sinks, each of which is given all of its own at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gateway.errors import Code
from gateway.serving.batch import Batch, Item, Sink, starts_of
from gateway.serving.model import Arrays

_log = logging.getLogger(__name__)


def answer(batch: Batch, items: list[Item], outputs: Arrays) -> None:
    """Answer requests that ran together, but for those that were answered meanwhile."""
    starts = starts_of(items, batch.rows if items is batch.items else sum([item.rows for item in items]))
    first = items[0].sink
    if all([item.sink is first and not item.done for item in items]):
        if items is batch.items:
            batch.alike = first
        _hand_out(first, items, starts, outputs)
        return
    groups: dict[Sink, list[tuple[Item, int]]] = {}
    for item, start in zip(items, starts, strict=True):
        if not item.done:
            groups.setdefault(item.sink, []).append((item, start))
    for sink, pairs in groups.items():
        _hand_out(sink, [item for item, _ in pairs], [start for _, start in pairs], outputs)


def _hand_out(sink: Sink, items: list[Item], starts: Sequence[int], outputs: Arrays) -> None:
    """Answers that cannot be written are a fault of ours: it costs these callers an error, and nobody else anything."""
    try:
        sink.answer(items, starts, outputs)
    except Exception:
        _log.exception("answers failed")
        for item in items:
            sink.fail(item, Code.INTERNAL, "internal error")
