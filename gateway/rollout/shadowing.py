"""Shadows are told of batches last of all: what is counted and recorded of stable does not wait for them."""

from __future__ import annotations

import logging

from gateway.errors import Code
from gateway.rollout.crowd import Crowd
from gateway.serving.batch import Batch, Item
from gateway.serving.batching import Observer
from gateway.serving.versions import Version

_log = logging.getLogger(__name__)


class Shadowing:
    """`batching.Observer` that tells the shadows of versions of their batches, after `inner`, and the crowd of all."""

    def __init__(self, inner: Observer, crowd: Crowd) -> None:
        self._inner, self._crowd = inner, crowd

    def batch_done(self, batch: Batch) -> None:
        """A batch was answered."""
        self._inner.batch_done(batch)
        self._crowd.saw(batch.ended + batch.answering - batch.items[0].arrival, len(batch.items))
        shadow = batch.version.shadow
        if shadow is not None:
            try:
                shadow.served(batch)
            except Exception:  # a fault of ours costs pairs, never answers
                _log.exception("shadow failed: %s/%d", batch.version.name, batch.version.number)

    def dropped(self, version: Version, item: Item, code: Code) -> None:
        """A queued request ended without a run; there is nothing that a shadow could be held against."""
        self._inner.dropped(version, item, code)
