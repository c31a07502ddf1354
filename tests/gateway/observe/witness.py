"""The metrics page as prometheus-client writes it from the same totals: slow, and by people who wrote the formats' other readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from gateway.errors import Code
from gateway.observe.page import GAUGES, Values
from gateway.observe.slabs import EDGES, PROTOCOLS, SHADOW, Slab
from gateway.observe.totals import OVERFLOW, UNKNOWN, Key, Totals

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
_HISTOGRAMS = {
    "request_duration_seconds": "Seconds from the last byte of a request to its answer",
    "queue_duration_seconds": "Seconds from the last byte of a request to the start of its run",
    "compute_duration_seconds": "Seconds of a run, counted once a batch",
    "batch_rows": "Rows of a batch",
}


class Collector:
    """Totals and gauges as metric families."""

    def __init__(self, totals: Totals, *, build: dict[str, str], gauges: Mapping[str, Values]) -> None:
        self._totals, self._build, self._gauges = totals, build, gauges
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def page(self, accept: str) -> tuple[bytes, str]:
        encoder, content_type = exposition.choose_encoder(accept)
        return encoder(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        rows = list(self._totals.snapshot().items())
        yield _requests(rows)
        served = [(key, slab) for key, slab in rows if key != UNKNOWN and (key != OVERFLOW or slab.counts.any() or slab.requests.any())]
        for which, (name, text) in enumerate(_HISTOGRAMS.items()):
            yield _histogram(f"tidegate_{name}", text, served, which)
        if any(slab.shadow.any() for _, slab in rows):
            yield _shadows(rows)
        for name, values in self._gauges.items():
            family = GAUGES[name]
            if family.kind == "histogram":
                yield _given_histogram(family.name, family.help, family.labels, values)
                continue
            kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            made = kind(family.name, family.help, labels=family.labels)
            for labels, value in values.items() if isinstance(values, Mapping) else [((), values)]:
                made.add_metric(list(labels), value)
            yield made
        over = CounterMetricFamily("tidegate_metrics_overflow", "What has no series of its own", labels=["reason"])
        for reason, count in (self._totals.overflow | {"gauges": 0}).items():
            over.add_metric([reason], count)
        yield over
        yield InfoMetricFamily("tidegate_build", "Versions of the gateway and of what it runs on", value=self._build)


def _given_histogram(name: str, text: str, labels: tuple[str, ...], values: Values) -> Metric:
    """Of buckets and sums by labels and one more: the bound, or `sum`."""
    family = HistogramMetricFamily(name, text, labels=labels)
    assert isinstance(values, Mapping)
    for own in dict.fromkeys(key[:-1] for key in values):
        buckets = [(key[-1], float(value)) for key, value in values.items() if key[:-1] == own and key[-1] != "sum"]
        family.add_metric(list(own), buckets, float(values[*own, "sum"]))
    return family


def _requests(rows: list[tuple[Key, Slab]]) -> Metric:
    family = CounterMetricFamily(
        "tidegate_requests", "Inference requests by how they ended", labels=["model", "version", "arm", "protocol", "code"]
    )
    for key, slab in rows:
        for protocol, code in np.argwhere(slab.requests):
            family.add_metric([*key, "stable", PROTOCOLS[protocol], Code(code).name], float(slab.requests[protocol, code]))
    return family


def _shadows(rows: list[tuple[Key, Slab]]) -> Metric:
    text = "Requests that a shadow ran too, or why it did not"
    family = CounterMetricFamily("tidegate_rollout_shadow", text, labels=["model", "version", "outcome"])
    for key, slab in rows:
        for outcome, count in zip(SHADOW, slab.shadow, strict=True) if slab.shadow.any() else ():
            family.add_metric([*key, outcome], float(count))
    return family


def _histogram(name: str, text: str, rows: list[tuple[Key, Slab]], which: int) -> Metric:
    family = HistogramMetricFamily(name, text, labels=["model", "version"])
    for key, slab in rows:
        edges = [*(repr(float(edge)) for edge in EDGES[which]), "+Inf"]
        sums = np.cumsum(slab.counts[which, : len(edges)])
        buckets: Any = [[edge, float(count)] for edge, count in zip(edges, sums, strict=True)]
        family.add_metric(list(key), buckets, float(slab.sums[which]))
    return family


def read(page: bytes) -> Samples:
    """Every sample by its name and labels, as prometheus-client reads either format; no sample comes twice."""
    parse = openmetrics.text_string_to_metric_families if page.endswith(b"# EOF\n") else text_string_to_metric_families
    found = [
        ((sample.name, frozenset(sample.labels.items())), sample.value) for family in parse(page.decode()) for sample in family.samples
    ]
    assert len(found) == len(dict(found))
    return dict(found)


def heads(page: bytes) -> set[str]:
    """The lines that declare a family's type."""
    return {line for line in page.decode().split("\n") if line.startswith("# TYPE")}
