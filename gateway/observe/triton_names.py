"""What versions did under the names that Triton gives its metrics, for dashboards and scaling rules that were made for it. From the same
slabs; only what they hold truly. Source: github.com/triton-inference-server/server, docs/user_guide/metrics.md; …/core, src/metrics.cc.

Triton's counters have no `_total`, which OpenMetrics demands of a counter: there they are of unknown type, under the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from gateway.errors import Code
from gateway.observe.slabs import (
    ANSWERING,
    ASSEMBLING,
    BINS,
    COMPUTE,
    HISTOGRAMS,
    INTS,
    PROTOCOLS,
    QUEUE,
    REQUEST,
    REQUESTS,
    ROWS,
    SHADOWED,
    SUMS,
)
from gateway.observe.totals import OVERFLOW, UNKNOWN, Key, Snapshot

FAILURES = ("REJECTED", "CANCELED", "BACKEND", "OTHER")
_REASONS = {
    Code.OVERLOADED: "REJECTED", Code.DEADLINE_EXCEEDED: "REJECTED", Code.CANCELLED: "CANCELED", Code.INTERNAL: "BACKEND",
}  # fmt: skip
_SUCCESS, _FAILURE = "nv_inference_request_success", "nv_inference_request_failure"
_FAMILIES = {
    _SUCCESS: "Requests that were answered",
    _FAILURE: "Requests that failed, by why",
    "nv_inference_count": "Rows that ran",
    "nv_inference_exec_count": "Runs",
    "nv_inference_request_duration_us": "Microseconds from the last byte of a request to its answer, of requests that ran",
    "nv_inference_queue_duration_us": "Microseconds from the last byte of a request to the start of its run",
    "nv_inference_compute_input_duration_us": "Microseconds in which requests waited for the inputs of their run",
    "nv_inference_compute_infer_duration_us": "Microseconds in which requests waited for their run",
    "nv_inference_compute_output_duration_us": "Microseconds in which requests waited for their answers to be written",
}
_COLUMNS = (_SUCCESS, *[_FAILURE] * len(FAILURES), *list(_FAMILIES)[2:])  # of `_values`
SERIES = len(_COLUMNS)  # of one version
_PLACES = {name: [place for place, family in enumerate(_COLUMNS) if family == name] for name in _FAMILIES}
_NOTHING = np.zeros(SERIES, np.int64)
_FAILED_AS = np.array([[code is not Code.OK and _REASONS.get(code, "OTHER") == reason for reason in FAILURES] for code in Code], np.int64)


class TritonNames:
    """The lines of one page. `label(key)` gives the labels of a row, model and version, as they are written."""

    def __init__(self, label: Callable[[Key], str]) -> None:
        self._label = label
        self._keys: list[Key] = []
        self._templates = dict.fromkeys(_FAMILIES, "")  # with places for `%`
        self._shown = np.zeros((0, SERIES), np.int64)  # what was written last: a torn read can make a difference of sums too large

    def lines(self, snapshot: Snapshot, *, openmetrics: bool) -> Iterator[str]:
        """All families. No value is smaller than in an earlier page."""
        chosen = [index for index, key in enumerate(snapshot.keys) if key != UNKNOWN and (key != OVERFLOW or snapshot.words[index].any())]
        keys = [snapshot.keys[index] for index in chosen]
        if keys != self._keys:
            self._rekey(keys)
        self._shown = np.maximum(_values(snapshot.words[chosen]), self._shown)
        for name, text in _FAMILIES.items():
            values = self._shown.T[_PLACES[name]].ravel().tolist()
            yield f"# HELP {name} {text}\n# TYPE {name} {'unknown' if openmetrics else 'counter'}\n"
            yield self._templates[name] % tuple(values)

    def _rekey(self, keys: list[Key]) -> None:
        """Other rows: what never changes of their lines is written once."""
        shown = dict(zip(self._keys, self._shown, strict=True))
        self._keys, self._shown = keys, np.array([shown.get(key, _NOTHING) for key in keys], np.int64).reshape(-1, SERIES)
        labels = [self._label(key).replace("%", "%%") for key in keys]
        for name in _FAMILIES:
            more = [f',reason="{reason}"' for reason in FAILURES] if name == _FAILURE else [""]
            self._templates[name] = "".join([f"{name}{{{of_row}{rest}}} %d\n" for rest in more for of_row in labels])


def _values(words: np.ndarray) -> np.ndarray:
    """int64 [rows, `SERIES`] of slabs int64 [rows, SLAB_WORDS]."""
    requests = words[:, :REQUESTS].reshape(-1, len(PROTOCOLS), len(Code)).sum(axis=1)
    runs = words[:, REQUESTS:SHADOWED].reshape(-1, len(HISTOGRAMS), BINS)[:, COMPUTE].sum(axis=1)
    sums = words[:, INTS : INTS + len(SUMS)].view(np.float64)
    waited, assembled, answered = sums[:, QUEUE], sums[:, ASSEMBLING], sums[:, ANSWERING]
    ran = np.maximum(sums[:, REQUEST] - waited - assembled, 0.0)
    seconds = np.stack([sums[:, REQUEST] + answered, waited, assembled, ran, answered], axis=1)
    counts = np.concatenate([requests[:, [Code.OK]], requests @ _FAILED_AS, sums[:, [ROWS]].astype(np.int64), runs[:, None]], axis=1)
    found: np.ndarray = np.concatenate([counts, (seconds * 1e6).astype(np.int64)], axis=1)
    return found
