"""What `tidegate score` keeps of what the cores can do: rows a second beside ONNX Runtime alone, in the same rounds, on all cores.

`python -m benchmarks.score` prints one JSON object as its last line and writes benchmarks/results/score.json; `--quick --json -` takes
fewer rounds and rows, and only prints. The models are those of the serving bench: `mlp`, whose compute outweighs all else, and `tabular`,
of which ONNX Runtime answers millions of rows a second, so that reading and writing files is most of the work; it has no bar.

The command is run as a user runs it, on a Parquet file of one column of lists, and writes its answers to another, with an id that goes
along; its rows a second are from the first row that is read to the file's last sync, and loading and trying come before that. ONNX Runtime
has its rows in memory and throws its answers away: one session of one thread a run, called from as many threads as there are cores, at the
batch size that is fastest. Rows per second of processor time are measured beside them, for machines that do something else too. A run
counts only if the file has every row in its order and sampled answers are ONNX Runtime's.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from benchmarks import bars, command
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.models import MLP, TABULAR, Served, answers, rows, write_repository
from benchmarks.processes import peer_command
from registry.publish import publish
from registry.store import Store

RESULT = Path(__file__).parent / "results" / "score.json"
ROUNDS, QUICK_ROUNDS = 7, 3
ROWS = {MLP.name: 400_000, TABULAR.name: 4_000_000}
QUICK_ROWS = {MLP.name: 150_000, TABULAR.name: 1_000_000}
BATCHES = {MLP.name: (16, 32, 64, 128, 256, 512), TABULAR.name: (512, 1_024, 2_048, 4_096, 8_192, 16_384)}
BARE_S = 1.0
AT_LEAST = 0.9
MADE_ROWS = 1 << 16  # at once, of the file of rows
SAMPLES = 64
MIB = 1 << 20
Run = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Run, judge, write, report."""
    options = command.parser(__doc__, seed="weights and rows").parse_args(arguments)
    rounds, counts = (QUICK_ROUNDS, QUICK_ROWS) if options.quick else (ROUNDS, ROWS)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), rounds, counts, options.seed)
    result = {
        "machine": describe_machine(), "versions": describe_versions(), "seed": options.seed, "quick": options.quick,
        "measurements": found, "bars": judge(found),
    }  # fmt: skip
    return command.conclude(result, options.json, RESULT)


def measure(folder: Path, rounds: int, counts: dict[str, int], seed: int) -> dict[str, Any]:
    """Both models, by turns with ONNX Runtime alone."""
    found: dict[str, Any] = {}
    repository = write_repository(folder / "models", names=counts, seed=seed)
    for model in (MLP, TABULAR):
        if model.name not in counts:
            continue
        publish_one(folder / "registry", repository, model)
        inputs = made(folder / f"{model.name}.parquet", model, counts[model.name], seed)
        batch = fastest(repository, model, seed)
        expected = answers(repository, model, inputs)
        runs: list[Run] = []
        for _ in range(rounds):
            bare = alone(repository, model, batch, seed)
            run = scored(folder, model, counts[model.name], expected)
            runs.append(run | {"bare_rows_per_second": bare["rate"], "bare_rows_per_cpu_s": bare["per_cpu_s"]})
        found[model.name] = {
            "rows": counts[model.name],
            "file_mib": round(_size(folder, model) / MIB, 1),
            "bare_batch": batch,
            "runs": runs,
        }
    return found


def judge(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The median over rounds of the ratio, of the model whose compute outweighs the rest."""
    runs = found[MLP.name]["runs"]
    ratio = statistics.median(run["rows_per_second"] / run["bare_rows_per_second"] for run in runs)
    holds = ratio >= AT_LEAST and not any(run["faults"] for each in found.values() for run in each["runs"])
    return bars.documents([bars.Bar("score_mlp_rows_vs_bare_onnxruntime", round(ratio, 4), ">=", AT_LEAST, holds)])


def publish_one(registry: Path, repository: Path, model: Served) -> None:
    """Version 1, which is the champion."""
    store = Store.create(registry)
    publish(store, repository / model.name / "1" / "model.onnx", name=model.name, publisher="bench", now_s=1e9)
    store.aliases(model.name).move("champion", to=1, expected_from=None, actor="bench", reason="", now_s=1e9)


def made(path: Path, model: Served, count: int, seed: int) -> np.ndarray:
    """A file of so many rows; the first few of them."""
    width = model.row[0]
    schema = pa.schema({"id": pa.int64(), "input": pa.list_(pa.float32(), width)})
    with parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, count, MADE_ROWS):
            part = rows(model, min(MADE_ROWS, count - start), seed + start)
            ids = pa.array(np.arange(start, start + len(part)))
            writer.write_table(pa.table([ids, pa.FixedSizeListArray.from_arrays(part.reshape(-1), width)], schema=schema))
    return rows(model, min(MADE_ROWS, count), seed)[:SAMPLES]


def fastest(repository: Path, model: Served, seed: int) -> int:
    """The batch size at which ONNX Runtime alone is fastest; by processor time, so that nothing else that runs meanwhile decides."""
    rates = {batch: alone(repository, model, batch, seed)["per_cpu_s"] for batch in BATCHES[model.name]}
    return max(rates, key=rates.__getitem__)


def alone(repository: Path, model: Served, batch: int, seed: int) -> dict[str, float]:
    """ONNX Runtime on all cores."""
    options = {"width": model.row[0], "batch": batch, "seconds": BARE_S, "seed": seed, "threads": len(os.sched_getaffinity(0))}
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    asked = peer_command("bare", str(repository / model.name / "1" / "model.onnx"), *words)
    found: dict[str, float] = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True, timeout=120).stdout)
    return found


def scored(folder: Path, model: Served, count: int, expected: list[list[np.ndarray]]) -> Run:
    """The command, once."""
    out = folder / "answers.parquet"
    places = ["--in", str(folder / f"{model.name}.parquet"), "--out", str(out), "--registry", str(folder / "registry")]
    asked = [sys.executable, "-m", "gateway.cli", "score", "--model", model.name, *places, "--keep", "id", "--overwrite", "--json"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        return {"rows_per_second": 0.0, "rows_per_cpu_s": 0.0, "run_rows": 0, "start_s": 0.0, "faults": [done.stderr[-500:]]}
    figures = ("rows_per_second", "start_s", "seconds", "run_rows", "threads", "failed")
    said = json.loads(done.stdout)
    per_cpu_s = round(said["rows"] / said["cpu_s"], 1)
    return {name: said[name] for name in figures} | {"rows_per_cpu_s": per_cpu_s, "faults": faults(out, model, count, expected)}


def faults(out: Path, model: Served, count: int, expected: list[list[np.ndarray]]) -> list[str]:
    """What is wrong with the file of answers."""
    file = parquet.ParquetFile(out)
    ids = file.read(columns=["id"])["id"].to_numpy()
    found = [] if np.array_equal(ids, np.arange(count)) else [f"{len(ids)} rows, of {count} in their order"]
    first = next(file.iter_batches(len(expected)))
    for place, (name, _) in enumerate(model.outputs):
        told, wanted = np.array(first[name].to_pylist()), np.concatenate([answer[place] for answer in expected])
        if not np.allclose(told, wanted, rtol=1e-4, atol=1e-5):
            found.append(f"output {name} is not ONNX Runtime's")
    return found


def _size(folder: Path, model: Served) -> int:
    return (folder / f"{model.name}.parquet").stat().st_size


if __name__ == "__main__":
    raise SystemExit(main())
