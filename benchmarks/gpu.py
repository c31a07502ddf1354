"""What a device gains from batches, and from several instances that copy while another computes.

`python -m benchmarks.gpu` loads one MLP on an execution provider (`--provider`, cuda unless said otherwise) as the gateway does and calls
it from as many threads as it has instances. It prints one JSON object as its last line and writes benchmarks/results/gpu.json; `--quick
--json -` only prints. Where the provider cannot be had it says so and ends with status 2: nothing was measured, so no bar has failed and
none holds. Rounds alternate; a ratio is taken within each round and the median is judged. Figures are rows a second.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks import command
from benchmarks.machine import describe_machine
from gateway import runtimes
from gateway.serving.model import RUNTIME, Model, ModelFault, Runtime
from gateway.serving.sessions import SessionSettings
from registry.providers import Provider

RESULT = Path(__file__).parent / "results" / "gpu.json"
WIDTH, LAYERS = 2048, 4
ROUNDS, QUICK_ROUNDS, RUN_S = 9, 3, 1.0
ROWS, MOST_ROWS, INSTANCES = 1, 256, 2
BOUNDS = {"batching": 8.0, "overlap": 1.1}
NOTHING_MEASURED = 2


def mlp(path: Path, width: int) -> str:
    """y [n, width] of x [n, width], by layers with their ReLU."""
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(rng.normal(size=(width, width)).astype(np.float32) / width, f"w{i}") for i in range(LAYERS)]
    nodes, last = [], "x"
    for i in range(LAYERS):
        nodes += [helper.make_node("MatMul", [last, f"w{i}"], [f"h{i}"]), helper.make_node("Relu", [f"h{i}"], [f"r{i}"])]
        last = f"r{i}"
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width]) for name in ("x", last)]
    graph = helper.make_graph(nodes, "mlp", ports[:1], ports[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return str(path)


def rate(model: Model, rows: int, threads: int, width: int, seconds: float) -> float:
    """Rows a second that so many threads get, each with a run of its own under way."""
    batch = np.random.default_rng(1).normal(size=(rows, width)).astype(np.float32)

    def run_until(end: float) -> int:
        runs = 0
        while time.perf_counter() < end:
            model.run([batch])
            runs += 1
        return runs

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda _: model.run([batch]), range(2 * threads)))  # places are reserved, kernels are chosen
        start = time.perf_counter()
        runs = sum(pool.map(run_until, [start + seconds] * threads))
        return runs * rows / (time.perf_counter() - start)


def measure(provider: Provider, rounds: int, seconds: float = RUN_S, *, width: int = WIDTH, runtime: Runtime = RUNTIME) -> dict[str, Any]:
    """One instance with one row and with many, then several instances with many. Raises ModelFault."""
    with tempfile.TemporaryDirectory() as folder:
        path = mlp(Path(folder) / "model.onnx", width)
        settings = {"providers": (provider,), "max_batch_size": MOST_ROWS, "cores": INSTANCES}
        one, several = (Model("mlp", path, SessionSettings(instances=count, **settings), runtime=runtime) for count in (1, INSTANCES))  # type: ignore[arg-type]
        runs = [
            {
                "single_rows": round(rate(one, ROWS, 1, width, seconds)),
                "batched_rows": round(rate(one, MOST_ROWS, 1, width, seconds)),
                "overlapped_rows": round(rate(several, MOST_ROWS, INSTANCES, width, seconds)),
            }
            for _ in range(rounds)
        ]
    return {"runs": runs, "median": {name: statistics.median(run[name] for run in runs) for name in runs[0]}}


def judge(measurement: dict[str, Any]) -> list[dict[str, Any]]:
    """A full batch against one row, and several instances against one."""
    return [_bar("batching", measurement, "batched_rows", "single_rows"), _bar("overlap", measurement, "overlapped_rows", "batched_rows")]


def _bar(name: str, measurement: dict[str, Any], top: str, bottom: str) -> dict[str, Any]:
    value = statistics.median(run[top] / run[bottom] for run in measurement["runs"])
    return {"name": name, "value": round(value, 2), "op": ">=", "bound": BOUNDS[name], "holds": value >= BOUNDS[name]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, judge, write."""
    options = command.parser(__doc__)
    options.add_argument("--provider", choices=("cuda", "tensorrt", "openvino"), default="cuda", help="that runs the model")
    chosen = options.parse_args(arguments)
    machine = describe_machine()
    try:
        measurement = measure(chosen.provider, QUICK_ROUNDS if chosen.quick else ROUNDS)
    except ModelFault as fault:
        print(
            f"no GPU here, nothing was measured: {fault}" if chosen.provider != "openvino" else f"nothing was measured: {fault}",
            file=sys.stderr,
        )
        return NOTHING_MEASURED
    versions = {"numpy": np.__version__, **runtimes.installed()}
    result = {"machine": machine, "versions": versions, "provider": chosen.provider, "measurements": {"mlp": measurement}}
    return command.conclude(result | {"bars": judge(measurement)}, chosen.json, RESULT)


if __name__ == "__main__":
    sys.exit(main())
