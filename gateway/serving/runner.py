"""The thread in which a version's long runs execute. One run at a time; the event loop is told when a batch ends.

A request that takes many runs lets others pass between two of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from gateway.serving.batch import Batch, execute
from gateway.serving.deadlines import Loop
from gateway.serving.model import Runnable


class Runner:
    """Owned by one version. Holds the GIL only to take a batch and to say that it is done."""

    def __init__(self, model: Runnable, loop: Loop, now: Callable[[], float], done: Callable[[Batch], None]) -> None:
        """`done(batch)` runs on the loop."""
        self._model = model
        self._loop = loop
        self._now = now
        self._done = done
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"run-{model.signature.model}", daemon=True)
        self._thread.start()

    def start(self, batch: Batch) -> None:
        """Run a batch: the one before is done, or is one request of many runs."""
        self._queue.put(batch)

    def stop(self) -> None:
        """End the thread after what is under way."""
        self._queue.put(None)

    def _work(self) -> None:
        while (batch := self._queue.get()) is not None:
            batch.between = self._let_pass
            if not self._run(batch):
                return

    def _let_pass(self) -> None:
        """What has come meanwhile goes before the next run of a long request; no more than one batch, so that this goes on too."""
        try:
            batch = self._queue.get_nowait()
        except Empty:
            return
        if batch is None:
            self._queue.put(None)  # for when this one is done
        else:
            self._run(batch)

    def _run(self, batch: Batch) -> bool:
        """Whether somebody still waits for it."""
        batch.started = self._now()
        execute(batch, self._model, self._now)
        batch.ended = self._now()
        try:
            self._loop.call_soon_threadsafe(self._done, batch)
        except RuntimeError:  # the loop is closed
            return False
        return True
