"""`batching.Observer` that tells versions' captures of their batches: after counting, before shadows."""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.capture.recorder import Capture
from gateway.errors import Code
from gateway.serving.batch import Batch, Item
from gateway.serving.batching import Observer
from gateway.serving.versions import Version

_log = logging.getLogger(__name__)
TICK_S = 0.1  # for which requests are gathered at most


class Capturing:
    """After `inner`. A fault of ours costs rows, never answers."""

    def __init__(self, inner: Observer) -> None:
        self._inner = inner

    def batch_done(self, batch: Batch) -> None:
        """A batch was answered."""
        self._inner.batch_done(batch)
        capture: Capture | None = batch.version.capture
        if capture is not None:
            try:
                capture.served(batch)
            except Exception:
                _log.exception("logging failed: %s/%d", batch.version.name, batch.version.number)

    def dropped(self, version: Version, item: Item, code: Code) -> None:
        """A queued request ended without a run."""
        self._inner.dropped(version, item, code)
        refused(version, item, code)


def refused(version: Version, item: Item, code: Code) -> None:
    """A request ended that had come as far as a version."""
    capture: Capture | None = version.capture
    if capture is not None:
        try:
            capture.ended(item, code)
        except Exception:
            _log.exception("logging failed: %s/%d", version.name, version.number)


def promise(batch: Batch, _then: Callable[[], None]) -> bool:
    """For `Batcher.hold`, where answers do not wait."""
    capture: Capture | None = batch.version.capture
    if capture is not None:
        capture.promise(batch)
    return False


def hold(batch: Batch, then: Callable[[], None]) -> bool:
    """For `Batcher.hold`: whether the answers of a batch wait for the disk."""
    capture: Capture | None = batch.version.capture
    if capture is None:
        return False
    try:
        return capture.hold(batch, then)
    except Exception:
        _log.exception("logging failed: %s/%d", batch.version.name, batch.version.number)
        return False


class Tick:
    """Flushes what was gathered, a tick after the first of it. Of one event loop."""

    def __init__(self, later: Callable[[float, Callable[[], None]], object]) -> None:
        """`later`: asyncio's `call_later`."""
        self._later = later
        self._captures: list[Capture] = []

    def add(self, capture: Capture) -> None:
        """Flush it by then."""
        self._captures.append(capture)
        if len(self._captures) == 1:
            self._later(TICK_S, self.end)

    def end(self) -> None:
        """Flush everything now."""
        captures, self._captures = self._captures, []
        for capture in captures:
            capture.ticking = False
            try:
                capture.flush()
            except Exception:
                _log.exception("logging failed")
