"""The serving bench: what the gateway does on one core, beside the baselines, against its bars.

`python -m benchmarks.serving` runs it whole and writes benchmarks/results/serving.json and the pages rendered from it;
`--quick --json -` runs shorter and prints one JSON object as its last line. Exit status 0 only if every bar holds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import bars, render
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.measures import QUICK, WHOLE, Bench
from benchmarks.processes import ServerError, pick_cores
from benchmarks.runs import medians

RESULT = Path(__file__).parent / "results" / "serving.json"


def main(arguments: list[str] | None = None) -> int:
    """Run, judge, write, report."""
    options = _options(arguments)
    start, cores = time.monotonic(), pick_cores()
    os.sched_setaffinity(0, {cores.load})
    machine = describe_machine()
    pace = QUICK if options.quick else WHOLE
    with tempfile.TemporaryDirectory() as folder, Bench(Path(folder), cores=cores, pace=pace, seed=options.seed) as bench:
        measurements = _measure(bench, options.only)
    judged = bars.judge(measurements, only_measured=bool(options.only))
    result = {
        "machine": machine, "versions": describe_versions(), "seed": options.seed, "quick": options.quick,
        "seconds": round(time.monotonic() - start), "measurements": measurements, "bars": bars.documents(judged),
    }  # fmt: skip
    _write(result, options)
    return 0 if judged and all(bar.holds for bar in judged) else 1


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter runs, within 300 s")
    parser.add_argument("--json", metavar="PATH", help="write the result here; - prints it as the last line")
    parser.add_argument("--seed", type=int, default=0, help="of models, rows, headers and samples")
    parser.add_argument("--only", action="append", metavar="GROUP", help="run this group only (may be given again)")
    return parser.parse_args(arguments)


def _measure(bench: Bench, only: list[str] | None) -> dict[str, Any]:
    measurements: dict[str, Any] = {}
    for name, group in bench.groups.items():
        if only and name not in only:
            continue
        _say(f"{name}: {' '.join((group.__doc__ or '').split())}")
        try:
            documents = group()
        except ServerError as error:  # its bars stay without a value and do not hold
            _say(f"  {error}")
            continue
        for measurement, document in documents.items():
            measurements[measurement] = {**document, "median": medians(document["runs"])}
            _say(f"  {measurement:32} {_line(measurements[measurement])}")
    return measurements


def _line(measurement: dict[str, Any]) -> str:
    shown = {key: value for key, value in measurement["median"].items() if value and key not in ("answers", "compared")}
    figures = "  ".join(f"{key} {value:,.6g}" for key, value in shown.items())
    faults = [fault for run in measurement["runs"] for fault in run["faults"]]
    return figures + "".join(["\n    DOES NOT COUNT: " + fault for fault in faults])


def _write(result: dict[str, Any], options: argparse.Namespace) -> None:
    busy = bars.per_cpu(result["measurements"])
    for bar in result["bars"]:
        beside = f"  ({busy[bar['name']]} per processor second)" if bar["name"] in busy else ""
        _say(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']:40} {bar['value']} {bar['op']} {bar['bound']}{beside}")
    if options.json == "-":
        print(json.dumps(result))
    elif options.json or not (options.quick or options.only):
        path = Path(options.json) if options.json else RESULT
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
        if path == RESULT:
            render.refresh()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
