"""The metrics of the gateway: counted in slabs by the batch, exported through one prometheus-client collector.

No library call is made while a request is served. Labels come from the loaded table only; what names no loaded model is `_unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric

from gateway.errors import Code
from gateway.observe.slabs import COMPUTE, DURATION_EDGES_S, GRPC, HTTP, PROTOCOLS, QUEUE, REQUEST, ROWS, ROWS_EDGES, Slab
from gateway.serving.batch import Batch, Item
from gateway.serving.versions import Version
from kernels.buckets import add_batch

_UNKNOWN = ("_unknown", "")
_ARM = "stable"  # canary and shadow arms come with rollouts
_LABELS = ["model", "version"]
_REST = 3.0

Key = tuple[str, str]


class Metrics:
    """Counts everything; `batching.Observer` for the batcher."""

    def __init__(self) -> None:
        self._slabs: dict[Key, Slab] = {_UNKNOWN: Slab()}
        self._by_version: dict[Version, Slab] = {}

    def slab(self, version: Version) -> Slab:
        """The slab of a loaded version; a version that was loaded again goes on counting where it stopped."""
        slab = self._by_version.get(version)
        if slab is None:
            slab = self._slabs.setdefault((version.name, str(version.number)), Slab())
            self._by_version[version] = slab
        return slab

    def forget(self, version: Version) -> None:
        """The version is unloaded; its totals stay."""
        self._by_version.pop(version, None)

    def batch_done(self, batch: Batch) -> None:
        """Count a batch whose answers are out."""
        slab = self.slab(batch.version)
        items = batch.items
        arrivals = np.array([item.arrival for item in items])
        add_batch(arrivals, batch.started, batch.ended, batch.rows, DURATION_EDGES_S, ROWS_EDGES, slab.counts, slab.sums)  # type: ignore[no-untyped-call]
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
        slab = self._slabs[_UNKNOWN] if version is None else self.slab(version)
        slab.requests[protocol, code] += 1

    def slabs(self) -> Iterable[tuple[Key, Slab]]:
        """All slabs by (model, version)."""
        return list(self._slabs.items())


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


class Collector:
    """Slabs and gauges as metric families."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        build: dict[str, str],
        gauges: Callable[[], dict[str, float]],
        loaded: Callable[[], list[Key]],
        now: Callable[[], float],
    ) -> None:
        self._metrics = metrics
        self._now = now
        self._pages: dict[str, tuple[float, bytes]] = {}  # by content type: until when it is good, and the page
        self._build = build
        self._gauges = gauges
        self._loaded = loaded
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def page(self, accept: str) -> tuple[bytes, str]:
        """The metrics page and its content type, in the format that the scraper asks for.

        A page takes milliseconds of the event loop, so it is good for `_REST` times what it took: requests have three quarters of the loop.
        """
        encoder, content_type = exposition.choose_encoder(accept)
        started = self._now()
        until, page = self._pages.get(content_type, (0.0, b""))
        if started >= until:
            page = encoder(self._registry)
            ended = self._now()
            self._pages[content_type] = ended + _REST * (ended - started), page
        return page, content_type

    def collect(self) -> Iterator[Metric]:
        """Families in a fixed order."""
        slabs = list(self._metrics.slabs())
        yield _requests(slabs)
        served = [(key, slab) for key, slab in slabs if key != _UNKNOWN]
        yield _durations("request", "Seconds from the last byte of a request to its answer", served, REQUEST)
        yield _durations("queue", "Seconds from the last byte of a request to the start of its run", served, QUEUE)
        yield _durations("compute", "Seconds of a run, counted once a batch", served, COMPUTE)
        yield _rows(served)
        loaded = GaugeMetricFamily("tidegate_model_loaded", "1 for every version that serves", labels=_LABELS)
        for key in self._loaded():
            loaded.add_metric(list(key), 1)
        yield loaded
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(name, _GAUGES[name], value=value)
        yield InfoMetricFamily("tidegate_build", "Versions of the gateway and of what it runs on", value=self._build)


_GAUGES = {
    "tidegate_inflight_requests": "Requests that are queued or running",
    "tidegate_inflight_bytes": "Bytes of decoded inputs that are queued or running",
    "tidegate_connections": "Open client connections",
    "tidegate_connections_refused": "Connections closed at once because of a limit, since start",
    "tidegate_ready": "1 while the server takes traffic",
}


def _requests(slabs: Iterable[tuple[Key, Slab]]) -> Metric:
    family = CounterMetricFamily(
        "tidegate_requests", "Inference requests by how they ended", labels=[*_LABELS, "arm", "protocol", "code"]
    )
    for key, slab in slabs:
        for protocol, code in np.argwhere(slab.requests):
            count = slab.requests[protocol, code]
            family.add_metric([*key, _ARM, PROTOCOLS[protocol], Code(code).name], float(count))
    return family


def _durations(name: str, text: str, slabs: Iterable[tuple[Key, Slab]], which: int) -> Metric:
    family = HistogramMetricFamily(f"tidegate_{name}_duration_seconds", text, labels=_LABELS)
    for key, slab in slabs:
        family.add_metric(list(key), _cumulative(DURATION_EDGES_S, slab.counts[which]), float(slab.sums[which]))
    return family


def _rows(slabs: Iterable[tuple[Key, Slab]]) -> Metric:
    family = HistogramMetricFamily("tidegate_batch_rows", "Rows of a batch", labels=_LABELS)
    for key, slab in slabs:
        family.add_metric(list(key), _cumulative(ROWS_EDGES, slab.counts[ROWS, : len(ROWS_EDGES) + 1]), float(slab.sums[ROWS]))
    return family


def _cumulative(edges: np.ndarray, counts: np.ndarray) -> list[Any]:
    sums = np.cumsum(counts)
    return [[_label(edge), float(count)] for edge, count in zip([*edges, float("inf")], sums, strict=True)]


def _label(edge: float) -> str:
    return "+Inf" if edge == float("inf") else repr(float(edge))
