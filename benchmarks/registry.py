"""What a large registry costs: listing 10,000 versions of 100 models, resolving an alias, seeing a change, publishing a model of 100 MB.

`python -m benchmarks.registry` prints one JSON object as its last line and writes benchmarks/results/registry.json; `--quick --json -`
takes fewer rounds and only prints. The registry is made in a temporary directory, or in `--directory` to choose the disk. Each run is
judged by its median, the watch by its slowest. A publish is compared, in the same round, with copying the same file while hashing it
and syncing the copy.
"""

from __future__ import annotations

import hashlib
import os
import queue
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from benchmarks import command, render
from benchmarks.machine import describe_machine, describe_versions
from registry.contract import Contract, encode
from registry.desired import Desired
from registry.discovery import RegistrySource
from registry.manifest import CONFIG_TYPE, MODEL_FILE, MODEL_TYPE, Descriptor, file_layer, manifest_of
from registry.publish import publish
from registry.store import Store
from registry.watch import Watch, signals

RESULT = Path(__file__).parent / "results" / "registry.json"
MODELS, VERSIONS = 100, 100
ROUNDS, QUICK_ROUNDS = 11, 3
MODEL_BYTES = 100_000_000
RESOLVES = 200
ACT = {"actor": "bench", "reason": "", "now_s": 1e9}


def measure(directory: Path, rounds: int, seed: int) -> dict[str, Any]:
    """Build once, then each question in turn."""
    started = time.perf_counter()
    store = build(directory / "large")
    built_s = time.perf_counter() - started
    runs = [{"models_s": _listing(store), "resolve_ms": _resolving(store)} for _ in range(rounds)]
    seen = [{"seen_s": seconds} for seconds in _watching(store, rounds)]
    model = _model(directory / "model.onnx", seed)
    publishes = [_publishing(directory, model, number) for number in range(rounds)]
    return {
        "build": {"versions": MODELS * VERSIONS, "seconds": round(built_s, 1)},
        "large": {"runs": runs},
        "watch": {"runs": seen},
        "publish": {"bytes": model.stat().st_size, "runs": publishes},
    }


def judge(measurements: dict[str, Any]) -> list[dict[str, Any]]:
    """One bar a question. The last one is how far a publish stays below three times the copy and 1.5 s."""
    return [
        _bar("models_s", _median(measurements["large"], "models_s"), 1.0),
        _bar("resolve_alias_warm_ms", _median(measurements["large"], "resolve_ms"), 1.0),
        _bar("watch_s", max(run["seen_s"] for run in measurements["watch"]["runs"]), 1.0),
        _bar("publish_100_mb_of_3_copies_and_1.5_s", _median(measurements["publish"], "share"), 1.0),
    ]


def build(root: Path) -> Store:
    """100 models with 100 versions and an alias each. Made without syncing: what is measured is reading."""
    store = Store.create(root, calls=_Unsynced())  # type: ignore[arg-type]
    contract, size = store.put_blob(encode(Contract(ir_version=8, opsets={"": 17}, producer="bench", inputs=(), outputs=())))
    config = Descriptor(media_type=CONFIG_TYPE, digest=contract, size=size)
    for model in range(MODELS):
        for version in range(VERSIONS):
            digest, size = store.put_blob(b"%d %d" % (model, version))
            manifest = manifest_of(config, [file_layer(title=MODEL_FILE, media_type=MODEL_TYPE, digest=digest, size=size)])
            store.add_version(f"model-{model}", manifest, publish_id=f"p{version}", publisher="bench", now_s=1e9)
        store.aliases(f"model-{model}").move("champion", to=VERSIONS // 2, expected_from=None, **ACT)
    return Store.open(root)


class _Unsynced:
    """`os` without fsync."""

    def __getattr__(self, name: str) -> Any:
        return (lambda fd: None) if name == "fsync" else getattr(os, name)


def _listing(store: Store) -> float:
    """A registry opened and listed from nothing, with the inputs and outputs of every version, as `tidegate models` does."""
    started = time.perf_counter()
    opened = Store.open(store.medium.root)
    contracts = [opened.contract(ref.model, ref.version) for ref in RegistrySource(opened).listing().versions]
    seconds = time.perf_counter() - started
    assert len(contracts) == MODELS * VERSIONS, "a run counts only if nothing is missing"
    return round(seconds, 4)


def _resolving(store: Store) -> float:
    started = time.perf_counter()
    for number in range(RESOLVES):
        assert store.resolve(f"model-{number % MODELS}", "champion") == VERSIONS // 2
    return round((time.perf_counter() - started) / RESOLVES * 1e3, 4)


def _watching(store: Store, rounds: int) -> list[float]:
    """From the moment an alias has moved until the callback has the new state."""
    states: queue.Queue[tuple[float, Desired]] = queue.Queue()
    stop = threading.Event()
    watch = Watch(store, lambda state: states.put((time.perf_counter(), state)))
    thread = threading.Thread(target=watch.run, args=(signals(store.medium, stop),))
    thread.start()
    states.get(timeout=60)
    seconds = []
    for number in range(rounds):
        alias = f"round-{number}"
        store.aliases("model-0").move(alias, to=1, expected_from=None, **ACT)
        moved = time.perf_counter()
        seen, state = states.get(timeout=60)
        assert state.models["model-0"].aliases[alias] == 1
        seconds.append(round(max(seen - moved, 0.0), 4))
    stop.set()
    thread.join()
    return seconds


def _model(path: Path, seed: int) -> Path:
    """One matrix of weights that does not compress, 100 MB."""
    rows = MODEL_BYTES // 4 // 1000
    weights = np.random.default_rng(seed).standard_normal((rows, 1000), np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", rows])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1000])],
        [numpy_helper.from_array(weights, "w")],
    )
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    return path


def _publishing(directory: Path, model: Path, number: int) -> dict[str, float]:
    """Into a registry of its own each time, so that the blob is new; the whole way, with the checks and the trial."""
    copied = _timed(lambda: _copy_and_hash(model, directory / f"copy-{number}"))
    store = Store.create(directory / f"published-{number}")
    published = _timed(lambda: publish(store, model, name="large", publisher="bench", now_s=1e9))
    (directory / f"copy-{number}").unlink()
    return {"copy_s": round(copied, 4), "publish_s": round(published, 4), "share": round(published / (3 * copied + 1.5), 4)}


def _copy_and_hash(source: Path, target: Path) -> str:
    digest = hashlib.sha256()
    with source.open("rb") as reading, target.open("wb") as writing:
        while chunk := reading.read(1 << 20):
            digest.update(chunk)
            writing.write(chunk)
        writing.flush()
        os.fsync(writing.fileno())
    return digest.hexdigest()


def _timed(deed: Callable[[], object]) -> float:
    started = time.perf_counter()
    deed()
    return time.perf_counter() - started


def _median(measurement: dict[str, Any], figure: str) -> float:
    return statistics.median(run[figure] for run in measurement["runs"])


def _bar(name: str, value: float, bound: float) -> dict[str, Any]:
    return {"name": name, "value": round(value, 4), "op": "<=", "bound": bound, "holds": value <= bound}


def main(arguments: list[str] | None = None) -> int:
    """Run, judge, write."""
    parser = command.parser(__doc__, seed="the large model's weights")
    parser.add_argument("--directory", type=Path, help="where the registries are made")
    options = parser.parse_args(arguments)
    machine = describe_machine()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        measurements = measure(Path(directory), QUICK_ROUNDS if options.quick else ROUNDS, options.seed)
    bars = judge(measurements)
    result = {"machine": machine, "versions": describe_versions(), "seed": options.seed, "measurements": measurements, "bars": bars}
    status = command.conclude(result, options.json, RESULT)
    if not options.json:
        render.refresh()
    return status


if __name__ == "__main__":
    sys.exit(main())
