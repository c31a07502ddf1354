"""What a worker counts: the batcher's observer writes into the worker's region, with one kernel call a batch.

No library call is made while a request is served, no name is looked at: what names no loaded version counts in the slot of the unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from gateway.errors import Code
from gateway.observe.arena import Region
from gateway.observe.slabs import DURATION_EDGES_S, GRPC, HTTP, ROWS_EDGES, Slab
from gateway.observe.totals import UNKNOWN_SLOT, Key
from gateway.serving.batch import Batch, Item
from gateway.serving.versions import Version
from kernels.buckets import add_batch


class Metrics:
    """Counts everything; `batching.Observer` for the batcher. `slot_of` says where a version counts, and is asked once for each;
    `wall` tells the seconds since the Unix epoch."""

    def __init__(self, region: Region, slot_of: Callable[[Key], int], wall: Callable[[], float]) -> None:
        self.region = region
        self._slot_of = slot_of
        self._wall = wall
        self._unknown = region.slab(UNKNOWN_SLOT)
        self._slabs: dict[Version, Slab] = {}

    def slab(self, version: Version) -> Slab:
        """The slab of a loaded version; a version that was loaded again goes on counting where it stopped."""
        slab = self._slabs.get(version)
        if slab is None:
            slab = self._slabs[version] = self.region.slab(self._slot_of((version.name, str(version.number))))
        return slab

    def forget(self, version: Version) -> None:
        """The version is unloaded, and its slot may be another's soon."""
        self._slabs.pop(version, None)

    def batch_done(self, batch: Batch) -> None:
        """Count a batch whose answers are out."""
        slab = self.slab(batch.version)
        items = batch.items
        arrivals = np.array([item.arrival for item in items])
        add_batch(  # type: ignore[no-untyped-call]
            arrivals, batch.started, batch.ended, batch.assembling, batch.answering, self._wall(), batch.rows,
            DURATION_EDGES_S, ROWS_EDGES, slab.counts, slab.sums,
        )  # fmt: skip
        if batch.failed or batch.options is not None:
            self._count_one_by_one(slab, batch)
            return
        if batch.alike is not None:
            slab.requests[batch.alike.protocol, 0] += len(items)
            return
        grpc = sum([item.sink.protocol == GRPC for item in items])
        slab.requests[GRPC, Code.OK] += grpc
        slab.requests[HTTP, Code.OK] += len(items) - grpc

    def _count_one_by_one(self, slab: Slab, batch: Batch) -> None:
        for item, code in outcomes(batch):
            slab.requests[item.sink.protocol, code] += 1

    def dropped(self, version: Version, item: Item, code: Code) -> None:
        """Count a queued request that ended without a run."""
        self.slab(version).requests[item.sink.protocol, code] += 1

    def refused(self, version: Version | None, protocol: int, code: Code) -> None:
        """Count a request that never reached a lane."""
        slab = self._unknown if version is None else self.slab(version)
        slab.requests[protocol, code] += 1


def outcomes(batch: Batch) -> Iterator[tuple[Item, Code]]:
    """How each request of a batch ended."""
    faults = {id(item): fault.code for item, fault in batch.failed}
    for item in batch.items:
        if item.done:
            yield item, Code.DEADLINE_EXCEEDED
        elif item.caller.cancelled:
            yield item, Code.CANCELLED
        else:
            yield item, faults.get(id(item), Code.OK)
