"""The metrics page: Prometheus' text format 0.0.4 or OpenMetrics 1.0, written from the totals.

What never changes of a series, its name and labels, is written once and kept; a page fills in the numbers. Labels come from the loaded
table and from closed lists only. Knows no request and no worker: gauges come by name from the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gateway.errors import Code
from gateway.observe.slabs import BINS, EDGES, INTS, PROTOCOLS, REQUESTS, SHADOW, SHADOWED
from gateway.observe.totals import OVERFLOW, UNKNOWN, Key, Snapshot, Totals
from gateway.observe.triton_names import TritonNames

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_ARM = "stable"  # canary and shadow arms come with rollouts
_REST = 3.0
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

Values = float | Mapping[tuple[str, ...], float]  # of one family, or by its label values


@dataclass(frozen=True, slots=True)
class Family:
    """A name of the page; that of a counter is without `_total`, that of an info without `_info`."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()

    def head(self, openmetrics: bool) -> str:
        """The lines before the samples."""
        name = self.name if openmetrics else self.sample
        kind = "gauge" if self.kind == "info" and not openmetrics else self.kind
        return f"# HELP {name} {self.help}\n# TYPE {name} {kind}\n"

    @property
    def sample(self) -> str:
        """The name of a sample that is no histogram's."""
        return self.name + {"counter": "_total", "info": "_info"}.get(self.kind, "")

    def text(self, values: Values) -> str:
        """The samples."""
        if not isinstance(values, Mapping):
            return f"{self.sample} {float(values)!r}\n"
        if self.kind == "histogram":
            return "".join([self._part(key, float(value)) for key, value in values.items()])
        return "".join([f"{self.sample}{{{_labels(self.labels, key)}}} {float(value)!r}\n" for key, value in values.items()])

    def _part(self, key: tuple[str, ...], value: float) -> str:
        """Of a histogram: rows up to a bound, which is the last label, or the sum of values, where that is `sum`."""
        *own, bound = key
        labels = _labels(self.labels, tuple(own))
        if bound == "sum":
            return f"{self.name}_sum{{{labels}}} {value!r}\n"
        bucket = f'{self.name}_bucket{{le="{bound}",{labels}}} {value!r}\n'
        return bucket if bound != "+Inf" else f"{bucket}{self.name}_count{{{labels}}} {value!r}\n"


_VERSION = ("model", "version")
_FEATURE = (*_VERSION, "feature")
_REQUEST_FAMILY = Family("tidegate_requests", "counter", "Inference requests by how they ended")
_HISTOGRAM_FAMILIES = (
    Family("tidegate_request_duration_seconds", "histogram", "Seconds from the last byte of a request to its answer"),
    Family("tidegate_queue_duration_seconds", "histogram", "Seconds from the last byte of a request to the start of its run"),
    Family("tidegate_compute_duration_seconds", "histogram", "Seconds of a run, counted once a batch"),
    Family("tidegate_batch_rows", "histogram", "Rows of a batch"),
)
_ROLLOUT = ("rollout", "model")
_ANSWERS = (*_VERSION, "arm")
_SHADOW_FAMILY = Family(
    "tidegate_rollout_shadow", "counter", "Requests that a shadow ran too, or why it did not", ("model", "version", "outcome")
)
_OVERFLOW_FAMILY = Family(
    "tidegate_metrics_overflow", "counter", "What has no series of its own, by what ran out: versions are in the row _overflow", ("reason",)
)
# What callers may give, in the order of the page.
GAUGES = {
    family.sample: family
    for family in (
        Family("tidegate_model_loaded", "gauge", "1 for every version that serves", _VERSION),
        Family("tidegate_model_state", "gauge", "1 for the state that a version is in", (*_VERSION, "state")),
        Family("tidegate_model_provider", "gauge", "Workers in which a version runs on an execution provider", (*_VERSION, "provider")),
        Family(
            "tidegate_provider_fallbacks",
            "counter",
            "Loads of a version that could not run on a provider of its list",
            (*_VERSION, "provider"),
        ),
        Family("tidegate_inflight_requests", "gauge", "Requests that are queued or running"),
        Family("tidegate_inflight_bytes", "gauge", "Bytes of decoded inputs that are queued or running"),
        Family("tidegate_connections", "gauge", "Open client connections"),
        Family("tidegate_connections_refused", "gauge", "Connections closed at once because of a limit, since start"),
        Family("tidegate_denied", "counter", "Requests that were refused for who asked, by code", ("code",)),
        Family(
            "tidegate_tenant_requests",
            "counter",
            "Requests of tenants that have quotas, by what let them in or refused them",
            ("tenant", "outcome"),
        ),
        Family("tidegate_drift_state", "gauge", "0 OK, 1 DRIFT, 2 WARN, 3 ALARM: of a version, or a part of it", (*_VERSION, "scope")),
        Family("tidegate_drift_feature_state", "gauge", "0 OK, 1 DRIFT, 2 WARN, 3 ALARM", _FEATURE),
        Family("tidegate_drift_psi", "gauge", "PSI of a feature's recent values against the reference", _FEATURE),
        Family("tidegate_drift_log_e", "gauge", "Logarithm of the evidence that a feature has moved, by test", (*_FEATURE, "test")),
        Family("tidegate_drift_rows", "counter", "Rows that were held against a version's reference", _VERSION),
        Family("tidegate_drift_unwatched", "counter", "Versions that there was no room to watch"),
        Family("tidegate_estimated_accuracy", "gauge", "Accuracy of recent predictions, estimated without labels", (*_VERSION, "bound")),
        Family(
            "tidegate_contract_violations",
            "counter",
            "Values that broke a rule of a version's contract",
            (*_VERSION, "input", "rule", "mode"),
        ),
        Family(
            "tidegate_label_answers", "counter", "Answers that were settled: with a label, or without one in time", (*_ANSWERS, "outcome")
        ),
        Family(
            "tidegate_label_quality",
            "gauge",
            "Accuracy, Brier score, log loss, mean absolute error or AUC by labels",
            (*_ANSWERS, "metric"),
        ),
        Family("tidegate_label_quality_bound", "gauge", "Bounds of these that hold at all looks together", (*_ANSWERS, "metric", "bound")),
        Family("tidegate_labels", "counter", "Labels that callers brought, by what became of them", ("model", "outcome")),
        Family("tidegate_label_delay_seconds", "histogram", "Seconds from a request to the arrival of its label", ("model",)),
        Family("tidegate_label_sample_ratio", "gauge", "Share of requests that wait for labels, where too many would", ("model",)),
        Family("tidegate_feature_bin", "counter", "Values in a bin of a feature", (*_FEATURE, "bin")),
        Family("tidegate_feature_reference_ratio", "gauge", "Share of the reference in a bin of a feature", (*_FEATURE, "bin")),
        Family("tidegate_rollout_phase", "gauge", "1 for the phase that a rollout is in", (*_ROLLOUT, "phase")),
        Family("tidegate_rollout_step", "gauge", "Which of its plan's steps a rollout is at, from 0", _ROLLOUT),
        Family("tidegate_rollout_weight_ratio", "gauge", "Share of units that go to the candidate, or to all arms beside stable", _ROLLOUT),
        Family("tidegate_rollout_requests", "counter", "Requests of an arm since the rollout began", (*_ROLLOUT, "arm", "outcome")),
        Family("tidegate_rollout_units", "gauge", "Units of the smaller arm in this step", _ROLLOUT),
        Family("tidegate_rollout_verdict", "gauge", "1 for the verdict on the step as it is now", (*_ROLLOUT, "verdict")),
        Family(
            "tidegate_rollout_log_e",
            "gauge",
            "Logarithm of the evidence of a metric at its strongest, against the candidate and for it",
            (*_ROLLOUT, "metric", "arm", "side"),
        ),
        Family("tidegate_rollout_records_lost", "counter", "Records of requests that nobody had the time to read"),
        Family("tidegate_capture_rows", "counter", "Rows accepted for the inference log and not dropped", ("model", "arm")),
        Family("tidegate_capture_dropped", "counter", "Rows that the inference log lacks, by why", ("model", "arm", "reason")),
        Family("tidegate_capture_bytes", "gauge", "Bytes of the inference log's sealed files on this machine"),
        Family("tidegate_capture_files", "gauge", "Sealed files of the inference log"),
        Family("tidegate_capture_commits", "counter", "Commits of the inference log"),
        Family("tidegate_capture_unsealed_segments", "gauge", "Raw segments of the inference log, those that are being written among them"),
        Family("tidegate_capture_uploaded_commits", "gauge", "The last commit of the inference log that its upload target has"),
        Family("tidegate_worker_connections", "gauge", "Open client connections of a worker", ("worker",)),
        Family("tidegate_worker_inflight_requests", "gauge", "Requests that are queued or running in a worker", ("worker",)),
        Family("tidegate_worker_inflight_bytes", "gauge", "Bytes of decoded inputs of a worker", ("worker",)),
        Family("tidegate_worker_heartbeat_age_seconds", "gauge", "Seconds since a worker's event loop last came round", ("worker",)),
        Family("tidegate_worker_ready", "gauge", "1 while a worker takes traffic", ("worker",)),
        Family("tidegate_worker_exits", "counter", "Workers that ended, by why", ("reason",)),
        Family("tidegate_ready", "gauge", "1 while the server takes traffic"),
    )
}
_ORDER = {name: place for place, name in enumerate(GAUGES)}


class Page:
    """The page of one server. `gauges` gives the values of any of `GAUGES` at the moment; `now` is in seconds."""

    def __init__(
        self,
        totals: Totals,
        *,
        build: Mapping[str, str],
        gauges: Callable[[], Mapping[str, Values]],
        max_labelled: int,
        now: Callable[[], float],
        triton_names: bool = False,
    ) -> None:
        """`max_labelled`: series of one gauge with labels; what is over is left out and counted. `triton_names`: counters by these too."""
        self._totals = totals
        self._gauges = gauges
        self._max_labelled = max_labelled
        self._now = now
        self._build = {tuple(build.values()): 1.0}
        self._build_family = Family("tidegate_build", "info", "Versions of the gateway and of what it runs on", tuple(build))
        self._left_out = 0
        self._triton = TritonNames(lambda key: _labels(_VERSION, key)) if triton_names else None
        self._texts: dict[Key, _Texts] = {}
        self._generation = -1
        self._pages: dict[bool, tuple[float, bytes]] = {}  # by format: until when it is good, and the page

    def page(self, accept: str) -> tuple[bytes, str]:
        """The page and its content type, in the format that the scraper asks for.

        A page takes milliseconds of the event loop, so it is good for `_REST` times what it took: others have three quarters of the loop.
        """
        openmetrics = wants_openmetrics(accept)
        started = self._now()
        until, page = self._pages.get(openmetrics, (0.0, b""))
        if started >= until:
            page = self.written(openmetrics=openmetrics)
            ended = self._now()
            self._pages[openmetrics] = ended + _REST * (ended - started), page
        return page, OPENMETRICS if openmetrics else PLAIN

    def written(self, *, openmetrics: bool) -> bytes:
        """A new page."""
        parts = [*self._counted(openmetrics), *self._given(openmetrics)]
        parts += [self._build_family.head(openmetrics), self._build_family.text(self._build), "# EOF\n" if openmetrics else ""]
        return "".join(parts).encode()

    def _counted(self, openmetrics: bool) -> Iterator[str]:
        snapshot = self._totals.snapshot()
        texts = self._texts_of(snapshot)
        yield _REQUEST_FAMILY.head(openmetrics)
        yield from _request_lines(snapshot, texts)
        shown = [index for index, key in enumerate(snapshot.keys) if key != UNKNOWN and (key != OVERFLOW or snapshot.words[index].any())]
        templates = [texts[index].histograms for index in shown]
        for which, family in enumerate(_HISTOGRAM_FAMILIES):
            yield family.head(openmetrics)
            yield from _histogram_lines(snapshot.words[shown], which, [of_row[which] for of_row in templates])
        if shadows := _shadow_values(snapshot):
            yield _SHADOW_FAMILY.head(openmetrics) + _SHADOW_FAMILY.text(shadows)
        if self._triton is not None:
            yield from self._triton.lines(snapshot, openmetrics=openmetrics)

    def _given(self, openmetrics: bool) -> Iterator[str]:
        given = self._gauges()
        left_out = 0
        for name in sorted(given, key=_ORDER.__getitem__):
            values = given[name]
            if isinstance(values, Mapping) and len(values) > self._max_labelled:
                left_out += len(values) - self._max_labelled
                values = dict(list(values.items())[: self._max_labelled])
            yield GAUGES[name].head(openmetrics) + GAUGES[name].text(values)
        self._left_out = max(self._left_out, left_out)
        counts: dict[tuple[str, ...], float] = {(reason,): float(count) for reason, count in self._totals.overflow.items()}
        yield _OVERFLOW_FAMILY.head(openmetrics) + _OVERFLOW_FAMILY.text(counts | {("gauges",): float(self._left_out)})

    def _texts_of(self, snapshot: Snapshot) -> list[_Texts]:
        if self._generation != self._totals.generation:
            self._texts = {key: self._texts.get(key) or _Texts(key) for key in snapshot.keys}
            self._generation = self._totals.generation
        return list(self._texts.values())


class _Texts:
    """The constant text of one row, with places for `%`."""

    __slots__ = ("histograms", "requests")

    def __init__(self, key: Key) -> None:
        model, version = _labels(("model",), key[:1]), _labels(("version",), key[1:])
        self.histograms = [
            _histogram_template(family.name, f"{model},{version}", edges.tolist())
            for family, edges in zip(_HISTOGRAM_FAMILIES, EDGES, strict=True)
        ]
        self.requests = [
            f'{_REQUEST_FAMILY.sample}{{arm="{_ARM}",code="{code.name}",{model},protocol="{protocol}",{version}}} '
            for protocol in PROTOCOLS
            for code in Code
        ]


def _histogram_template(name: str, labels: str, edges: Sequence[float]) -> str:
    labels = labels.replace("%", "%%")
    bounds = [*map(repr, edges), "+Inf"]
    buckets = "".join([f'{name}_bucket{{le="{bound}",{labels}}} %d\n' for bound in bounds])
    return f"{buckets}{name}_count{{{labels}}} %d\n{name}_sum{{{labels}}} %r\n"


def _request_lines(snapshot: Snapshot, texts: Sequence[_Texts]) -> Iterable[str]:
    requests = snapshot.words[:, :REQUESTS]
    rows, columns = np.nonzero(requests)
    counts = requests[rows, columns].tolist()
    return [f"{texts[row].requests[column]}{count}\n" for row, column, count in zip(rows.tolist(), columns.tolist(), counts, strict=True)]


def _shadow_values(snapshot: Snapshot) -> dict[tuple[str, ...], float]:
    """All outcomes of versions that are a shadow, or were one."""
    counts = snapshot.words[:, SHADOWED:INTS]
    return {
        (*snapshot.keys[row], outcome): float(count)
        for row in np.flatnonzero(counts.any(axis=1)).tolist()
        for outcome, count in zip(SHADOW, counts[row].tolist(), strict=True)
    }


def _histogram_lines(words: np.ndarray, which: int, templates: Sequence[str]) -> Iterable[str]:
    start = REQUESTS + which * BINS
    buckets = words[:, start : start + len(EDGES[which]) + 1].cumsum(axis=1).tolist()
    sums = words[:, INTS + which].view(np.float64).tolist()
    return [template % (*row, row[-1], total) for template, row, total in zip(templates, buckets, sums, strict=True)]


def wants_openmetrics(accept: str) -> bool:
    """Whether the first format of an Accept header that is known here is OpenMetrics 1.0 or later, as prometheus-client reads it."""
    for accepted in accept.split(","):
        media, *parameters = accepted.split(";")
        version = dict(parameter.strip().partition("=")[::2] for parameter in parameters).get("version", "")
        if media.strip() == "application/openmetrics-text" and (not version or _is_first_or_later(version)):
            return True
        if media.strip() == "text/plain" and _is_first_or_later(version):
            return False
    return False


def _is_first_or_later(version: str) -> bool:
    numbers = version.split(".")
    return all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers) and tuple(map(int, numbers)) >= (1, 0, 0)


def _labels(names: Iterable[str], values: Iterable[str]) -> str:
    return ",".join([f'{name}="{_escaped(value)}"' for name, value in sorted(zip(names, values, strict=True))])


def _escaped(value: str) -> str:
    """Half characters, which UTF-8 cannot hold, become question marks."""
    return value.translate(_ESCAPES).encode(errors="replace").decode()
