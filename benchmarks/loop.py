"""From what was served to what is learned of it: labels joined with an inference log that is larger than what a join may hold in memory.

`python -m benchmarks.loop` joins 10 million answers with 10 million labels on two cores and writes benchmarks/results/loop.json;
`--quick --json -` takes 1 million of each and prints one JSON object as its last line. Each join runs in a process of its own, whose
largest resident memory is the kernel's count. Beside it: pyarrow's own hash join of the same two keys and one value, all in memory,
which knows neither times nor corrections. A round counts only if the join found every label: one in a hundred comes twice, one in a
thousand is for nothing.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import command, loop_data, render
from benchmarks.machine import describe_machine, describe_versions

RESULT = Path(__file__).parent / "results" / "loop.json"
ROWS, QUICK_ROWS = 10_000_000, 1_000_000
ROUNDS, CORES = 3, 2
MAX_S, MAX_GIB = 60.0, 4.0

Document = dict[str, Any]


def main() -> int:
    """Write the files, join, judge."""
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(CHILDREN[sys.argv[2]](Path(sys.argv[3]))))
        return 0
    options = command.parser(__doc__, seed="ids, times and labels").parse_args()
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:CORES]))
    rows, machine = QUICK_ROWS if options.quick else ROWS, describe_machine()
    with tempfile.TemporaryDirectory(prefix="tidegate-loop-") as folder:
        written = loop_data.write(Path(folder), rows, options.seed)
        measured: dict[str, list[Document]] = {name: [] for name in CHILDREN}
        for _ in range(1 if options.quick else ROUNDS):
            for name, runs in measured.items():
                runs.append(_run(name, Path(folder)))
                print(f"{name}: {runs[-1]}", file=sys.stderr, flush=True)
    measurements = {"rows": rows, "written": written, **{name: {"runs": runs} for name, runs in measured.items()}}
    result = {
        "machine": machine, "versions": describe_versions(), "seed": options.seed, "quick": options.quick, "measurements": measurements,
        "bars": judge(measurements),
    }  # fmt: skip
    status = command.conclude(result, options.json, RESULT)
    if not (options.json or options.quick):
        render.refresh()
    return status


def judge(measurements: Document) -> list[Document]:
    """The worst round counts; a join that missed a label does not hold."""
    runs, written = measurements["join"]["runs"], measurements["written"]
    whole = all(run["found"] == written["expected"] for run in runs)
    seconds, gib = max(run["seconds"] for run in runs), max(run["gib"] for run in runs)
    return [
        {"name": "join_s", "value": round(seconds, 2), "op": "<=", "bound": MAX_S, "holds": whole and seconds <= MAX_S},
        {"name": "join_rss_gib", "value": round(gib, 3), "op": "<=", "bound": MAX_GIB, "holds": whole and gib <= MAX_GIB},
    ]


def _run(name: str, folder: Path) -> Document:
    found = subprocess.run([sys.executable, "-m", "benchmarks.loop", "--child", name, str(folder)], check=True, stdout=subprocess.PIPE)
    return json.loads(found.stdout.splitlines()[-1])


def _join(folder: Path) -> Document:
    from retrain.join_spec import JoinSpec
    from retrain.label_join import join

    begun = time.monotonic()
    report = join(
        JoinSpec(model="m", as_of_us=loop_data.AS_OF_US), answers=sorted(folder.glob("answers/*")), labels=sorted(folder.glob("labels/*")),
        to=folder / "joined.parquet", aside=folder,
    )  # fmt: skip
    found = {"labelled": report.labelled, "orphans": report.orphans, "replaced": report.replaced}
    return _measured(begun, rows=report.rows, found=found)


def _pyarrow(folder: Path) -> Document:
    from pyarrow import parquet

    begun = time.monotonic()
    answers = parquet.read_table(folder / "answers", columns=["request_id", "row", "score"], partitioning=None)
    labels = parquet.read_table(folder / "labels", columns=["request_id", "row", "value"], partitioning=None)
    joined = answers.join(labels, ["request_id", "row"], join_type="left outer")
    parquet.write_table(joined, folder / "pyarrow.parquet", compression="zstd")
    return _measured(begun, rows=joined.num_rows)


def _measured(begun: float, **more: Any) -> Document:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    return {"seconds": round(time.monotonic() - begun, 3), "gib": round(peak, 3), **more}


CHILDREN = {"join": _join, "pyarrow": _pyarrow}

if __name__ == "__main__":
    sys.exit(main())
