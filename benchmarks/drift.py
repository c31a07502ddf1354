"""What counting a value costs: the kernels of `kernels/` and the recorder beside numpy, datasketches, river and whylogs.

The measured work is a batch of 256 rows of 64 float32 features: 32 bins at quantiles of the reference, slots for -inf, below, above, +inf
and NaN, four power sums about the reference mean, tails, least and greatest. `bins` alone is numpy's `searchsorted` and `bincount`, feature
by feature. Peers run in environments of their own (`.build/peers`) and in processes of their own, all on one core; one that cannot be
installed is named under `missing`, and its bar does not hold. `memory` is how long reading four bytes from memory takes.

What it costs a server is measured by `drift_tax` and `drift_loop`, before all that.

`python -m benchmarks.drift` prints one JSON object as its last line and writes benchmarks/results/drift.json and the pages rendered from
it; `--quick` takes fewer rounds and only prints. Rounds alternate between everything compared; a ratio is taken within each round and the
median is judged.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import command, drift_loop, drift_tax, render
from benchmarks.environments import Uninstallable, environment
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.processes import Cores, pick_cores
from gateway.drift.door import Door
from gateway.drift.layout import layout_of
from gateway.drift.recorder import Recorder
from gateway.drift.rules import rules_of
from gateway.drift.tables import Vocabulary, integer_tables, tables_of, text_tables
from gateway.drift_settings import Contract
from gateway.protocol.tensors import Signature, TensorSpec
from gateway.protocol.texts import pack_texts
from kernels import binning, categories
from registry.profile import Numeric, Profile
from registry.schema import Field, Range, Schema

RESULT = Path(__file__).parent / "results" / "drift.json"
ROOT = Path(__file__).parent.parent
ROUNDS, QUICK_ROUNDS = 15, 5
SECONDS = 0.15  # of one measurement
FEATURES, ROWS, BINS, BATCHES, REFERENCE_ROWS = 64, 256, 32, 16, 20_000
SMALL = ((1, 1), (1, 16), (8, 16), (64, 16), (64, 1), (256, 256))  # rows and features of the batches whose whole cost is shown
CATEGORIES = 50
MEMORY_MIB = 256

ENVIRONMENTS = {"sketches": ["datasketches==5.2.0", "river==0.26.1"], "whylogs": ["whylogs==1.6.4", "numpy==1.26.4", "pandas==2.3.3"]}
PEERS = {"kll": "sketches", "kll_vector": "sketches", "adwin": "sketches", "page_hinkley": "sketches", "whylogs": "whylogs"}
BOUNDS = {"numpy_bins": 8.0, "kll": 5.0, "adwin": 20.0, "page_hinkley": 20.0, "whylogs": 100.0}  # times the time of ours

Measure = Callable[[], float]


def main(arguments: list[str] | None = None) -> int:
    """Run, judge, write."""
    options = command.parser(__doc__, seed="the rows").parse_args(arguments)
    machine, cores = describe_machine(), pick_cores()
    os.sched_setaffinity(0, {cores.load})
    serving, bars = _serving(cores, quick=options.quick, seed=options.seed)
    missing: dict[str, str] = {}
    versions = describe_versions()
    with ExitStack() as stack:
        measures = {**_counting(options.seed), **_classes(options.seed), "memory": _memory()}
        for name, folder in PEERS.items():
            try:
                measure, versions[name] = stack.enter_context(_peer(name, folder, options.seed))
                measures[name] = measure
            except Uninstallable as error:
                missing[name] = str(error)
        rounds = QUICK_ROUNDS if options.quick else ROUNDS
        runs = [{name: round(measure(), 4) for name, measure in measures.items()} for _ in range(rounds)]
    measurements = {"ns_a_value": _with_medians(runs), "us_a_batch": _small_batches(options.seed, rounds), **serving}
    result = {"machine": machine, "versions": versions, "seed": options.seed, "missing": missing}
    whole = options.json is None and not options.quick
    status = command.conclude(
        {**result, "measurements": measurements, "bars": judge(runs) + bars}, options.json or (None if whole else "-"), RESULT
    )
    if whole:
        render.refresh()
    return status


def _serving(cores: Cores, *, quick: bool, seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What it costs a server: measurements and bars."""
    with tempfile.TemporaryDirectory() as folder:
        tax = drift_tax.measure(Path(folder), cores, quick=quick, seed=seed)
        calls = drift_loop.calls_us(quick=quick, seed=seed)
        beside = drift_loop.gaps(Path(folder) / "loop", cores, quick=quick, seed=seed)
    return {"tax": tax, "loop_us": calls, "beside_wide": beside}, drift_tax.judge(tax) + drift_loop.judge(calls)


def judge(runs: list[dict[str, float]]) -> list[dict[str, Any]]:
    """One bar a peer: the median of the ratios within a round. The better of the two ways to use datasketches counts."""
    return [_bar(f"counting_vs_{name}", [_slower(run, name) for run in runs], bound) for name, bound in BOUNDS.items()]


def _slower(run: dict[str, float], name: str) -> float | None:
    """How many times as long a peer takes."""
    times = [run[key] for key in ((name, "kll_vector") if name == "kll" else (name,)) if key in run]
    return min(times) / run["counting"] if times else None


def _bar(name: str, ratios: list[float | None], bound: float) -> dict[str, Any]:
    known = [ratio for ratio in ratios if ratio is not None]
    value = round(statistics.median(known), 2) if known else None
    return {"name": name, "value": value, "op": ">=", "bound": bound, "holds": value is not None and value >= bound}


def _with_medians(runs: list[dict[str, float]]) -> dict[str, Any]:
    return {"runs": runs, "median": {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}}


def profile_for(features: int, seed: int) -> Profile:
    """Bins at quantiles of rows of a standard normal distribution."""
    made = []
    for k in range(features):
        rows = np.sort(np.random.default_rng((seed, k)).normal(size=REFERENCE_ROWS).astype(np.float32))
        inner = rows[[j * REFERENCE_ROWS // BINS for j in range(1, BINS)]]
        edges = np.array([np.nextafter(rows[0], np.float32(-np.inf)), *inner, rows[-1]])
        counts = np.diff(np.searchsorted(rows, edges, side="right"))
        moments = {f"m{power}": float(((rows.astype(float) - rows.mean()) ** power).mean()) for power in (2, 3, 4)}
        slots = (0, 0, *counts.tolist(), 0, 0, 0)
        feature = Numeric(
            name=f"x[{k}]", side="input", port="x", element=k, edges=tuple(edges.tolist()), counts=slots, mean=float(rows.mean()), **moments
        )
        made.append(feature)
    return Profile(rows=REFERENCE_ROWS, source="training", numeric=tuple(made))


def batches_of(rows: int, features: int, seed: int) -> list[np.ndarray]:
    """Rows of the same distribution."""
    random = np.random.default_rng((seed, rows, features))
    return [random.normal(size=(rows, features)).astype(np.float32) for _ in range(BATCHES)]


def _recorder(features: int, seed: int, segments: int = 1) -> Recorder:
    profile = profile_for(features, seed)
    layout = layout_of(profile, segments=segments)
    views = layout.views(np.zeros(layout.words, np.int64))
    views.begin(layout.checksum)
    signature = Signature("m", (TensorSpec("x", "FP32", (-1, features)),), (), 1024)
    return Recorder(tables_of(profile, layout, signature), layout, views)


def _counting(seed: int) -> dict[str, Measure]:
    """Numbers: ours as the kernel, as the recorder with and without segments, and in float64; rules that hold and not; numpy's bins."""
    batches = batches_of(ROWS, FEATURES, seed)
    doubles = [batch.astype(np.float64) for batch in batches]
    shifted = [batch * np.float32(1.5) + np.float32(0.5) for batch in batches]  # a few of each batch are beyond the reference and 6
    whole, divided = _recorder(FEATURES, seed), _recorder(FEATURES, seed, 8)
    segments = np.random.default_rng(seed).integers(0, 8, ROWS)
    return {
        "counting": _over(_kernel(np.float32, seed), batches, ROWS * FEATURES),
        "counting_shifted": _over(_kernel(np.float32, seed), shifted, ROWS * FEATURES),
        "counting_float64": _over(_kernel(np.float64, seed), doubles, ROWS * FEATURES),
        "recorder": _over(lambda batch: whole.record([batch], []), batches, ROWS * FEATURES),
        "recorder_segments": _over(lambda batch: divided.record([batch], [], segments), batches, ROWS * FEATURES),
        "door": _over(_door(), batches, ROWS * FEATURES),
        "door_broken": _over(_door(), shifted, ROWS * FEATURES),
        "numpy_bins": _over(_numpy_bins(seed), batches, ROWS * FEATURES),
    }


def _kernel(kind: Any, seed: int, features: int = FEATURES) -> Callable[[np.ndarray], object]:
    profile = profile_for(features, seed)
    layout = layout_of(profile)
    views = layout.views(np.zeros(layout.words, np.int64))
    views.begin(layout.checksum)
    datatype = "FP32" if kind is np.float32 else "FP64"
    (port,) = tables_of(profile, layout, Signature("m", (TensorSpec("x", datatype, (-1, features)),), (), 1024))
    (tables,) = port.numbers
    counted = binning.count_float32 if kind is np.float32 else binning.count_float64
    state = tables.places, tables.thresholds, tables.means, np.empty(0, np.int64), views.counts[0], views.sums[0], views.extremes[0]
    return lambda batch: counted(batch, *state)


def _door() -> Callable[[np.ndarray], object]:
    """A range that no value of the distribution is outside of, and no missing values."""
    terms = Field(name="x", type="tensor(float)", shape=(None, FEATURES), nulls="refused", range=Range(min=-6, max=6))
    signature = Signature("m", (TensorSpec("x", "FP32", (-1, FEATURES)),), (), 1024)
    schema = Schema(format=1, inputs=(terms,), outputs=())
    door = Door(schema, signature, rules_of(schema, Contract()))
    counts = np.zeros((len(door.rules), 2), np.int64)
    return lambda batch: door.look([batch], len(batch), counts)


def _numpy_bins(seed: int) -> Callable[[np.ndarray], object]:
    """The same edges, one feature after the other, from columns that lie in one piece."""
    features = profile_for(FEATURES, seed).numeric
    edges = [np.array(feature.edges, np.float32) for feature in features]
    counts = np.zeros((FEATURES, BINS + 2), np.int64)

    def observe(batch: np.ndarray) -> None:
        for k, (cuts, column) in enumerate(zip(edges, np.ascontiguousarray(batch.T), strict=True)):
            counts[k] += np.bincount(np.searchsorted(cuts, column), minlength=BINS + 2)

    return observe


def _classes(seed: int) -> dict[str, Measure]:
    """Categories: integers close together and far apart; texts as Python's and as bytes of the wire."""
    random = np.random.default_rng(seed)
    numbers = random.zipf(1.3, size=(BATCHES, ROWS, 1)).clip(1, CATEGORIES + 5).astype(np.int64)
    known = [f"category {k}" for k in range(CATEGORIES)]
    lists = [[f"category {k}" for k in batch.ravel().tolist()] for batch in numbers]
    packed = [np.frombuffer(pack_texts(texts), np.uint8) for texts in lists]
    arrays = [np.array(texts, object).reshape(-1, 1) for texts in lists]
    block, nobody = np.zeros(CATEGORIES + 2, np.int64), np.empty(0, np.int64)
    dense, sparse = (integer_tables([_words([k * step for k in range(CATEGORIES)])]) for step in (1, 1_000_003))
    texts = text_tables([_words(known)])
    lookup, other, counts = texts.lookups[0], CATEGORIES, block.reshape(1, -1)

    def integers(tables: Any) -> Callable[[np.ndarray], object]:
        return lambda batch: categories.count_integers(batch, tables.features, tables.keys, tables.slots, nobody, block)

    def from_bytes(data: np.ndarray) -> None:
        categories.count_texts(data, 1, texts.owners, texts.features, *texts.arrays, nobody, block)

    def from_dictionary(array: np.ndarray) -> None:
        slots = np.fromiter(map(lookup.get, array.ravel().tolist(), repeat(other)), np.int64, array.size)
        categories.count_slots(slots, nobody, counts)

    def encoded(array: np.ndarray) -> None:
        from_bytes(np.frombuffer(pack_texts(array.ravel().tolist()), np.uint8))

    return {
        "integers": _over(integers(dense), list(numbers), ROWS),
        "integers_far_apart": _over(integers(sparse), [batch * 1_000_003 for batch in numbers], ROWS),
        "texts_from_bytes": _over(from_bytes, packed, ROWS),
        "texts_from_python": _over(from_dictionary, arrays, ROWS),
        "texts_encoded_first": _over(encoded, arrays, ROWS),
    }


def _words(entries: list[Any]) -> Vocabulary:
    return Vocabulary({key: slot for slot, key in enumerate(entries)}, len(entries), 0, 0, len(entries) + 2)


def _over(observe: Callable[[Any], object], batches: list[Any], values: int) -> Measure:
    """Nanoseconds of processor time a value, over batches in turn."""
    for batch in batches:
        observe(batch)

    def measure() -> float:
        begin, done = time.process_time_ns(), 0
        while time.process_time_ns() - begin < SECONDS * 1e9:
            for batch in batches:
                observe(batch)
            done += len(batches)
        return (time.process_time_ns() - begin) / (done * values)

    return measure


def _memory() -> Measure:
    """Nanoseconds for four bytes out of memory, in one stream."""
    words = np.ones(MEMORY_MIB << 17, np.int64)

    def measure() -> float:
        begin = time.process_time_ns()
        words.sum()
        return (time.process_time_ns() - begin) / (2 * words.size)

    return measure


def _small_batches(seed: int, rounds: int) -> dict[str, Any]:
    """Microseconds of one call, for the kernel and for the recorder with all around it."""
    measures: dict[str, Measure] = {}
    for rows, features in SMALL:
        batches, recorder = batches_of(rows, features, seed), _recorder(features, seed)
        measures[f"kernel_{rows}x{features}"] = _over(_kernel(np.float32, seed, features), batches, 1000)
        measures[f"recorder_{rows}x{features}"] = _over(lambda batch, recorder=recorder: recorder.record([batch], []), batches, 1000)
    return _with_medians([{name: round(measure(), 4) for name, measure in measures.items()} for _ in range(rounds)])


@contextmanager
def _peer(name: str, folder: str, seed: int) -> Iterator[tuple[Measure, str]]:
    """A peer that is ready, and its version."""
    python = environment(folder, ENVIRONMENTS[folder])
    arguments = [str(python), "-m", "benchmarks.peers.watchers", name, str(seed), str(SECONDS)]
    with subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        first = process.stdout.readline()
        if not first:
            raise Uninstallable(process.communicate()[1].strip()[-500:])

        def measure() -> float:
            process.stdin.write("\n")
            process.stdin.flush()
            return float(json.loads(process.stdout.readline())["ns"])

        try:
            yield measure, json.loads(first)["version"]
        finally:
            process.stdin.close()


if __name__ == "__main__":
    sys.exit(main())
