"""Can the alarms be believed, and how soon do they come? Test A, test B, the e-detector and bets by hour on streams of one feature, beside
the rules and detectors that others use.

`python -m benchmarks.detect` runs it whole, in under ten minutes on one core, and writes benchmarks/results/detect.json; `--quick --json -`
takes fewer streams and prints one JSON object as its last line. False alarms: 300 streams on which nothing changes, 40,000 rows each,
looked at every 100, against a reference of 20,000 rows in 32 bins, at α = 5 %; a stream counts once, whenever it alarms. Detection: medians
of rows until the alarm, a stream that never alarms counting as infinite. After a quiet period detectors are compared at thresholds with
which they alarm on equally many clean streams. Other projects' detectors run in an environment of their own (`peers/drift.sh`).
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import command, detect_flights, drift_alarms, render
from benchmarks.drift_streams import HOUR_ROWS, KINDS, LOOK_ROWS, Change, Stream, bimodal, heavy_tailed, shifted, streams, widened
from benchmarks.machine import describe_machine, describe_versions

RESULT = Path(__file__).parent / "results" / "detect.json"
PEERS = Path(__file__).parent / "peers"
ALPHA, LIVE_ROWS = 0.05, 40_000
LEVEL = math.log(1 / ALPHA)
RUN_LENGTH = 50  # C of the e-detector, low enough for its bound to be seen
TOLERANCE = 0.05  # nats, of test B
TOLERANCE_ROWS, QUIET_ROWS, AFTER_ROWS = 30_000, 10_000, 10_000
CHANGES: dict[str, Change] = {
    "mean_0.1": shifted(0.1), "mean_0.25": shifted(0.25), "mean_0.5": shifted(0.5), "sd_1.1": widened(1.1), "sd_1.25": widened(1.25),
    "bimodal": bimodal, "heavy_tailed": heavy_tailed,
}  # fmt: skip
DEPENDENT_CHANGES = {"ar_0.5": "mean_0.5", "ar_0.9": "mean_0.5", "clients": "mean_0.5", "daily": "mean_0.5"}
AFTER_QUIET = ("mean_0.25", "mean_0.5", "sd_1.25", "bimodal", "heavy_tailed")
PEER_DETECTORS = ("ADWIN", "PageHinkley", "KSWIN")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many streams of each part."""

    clean: int
    rules: int  # on which the rules of others are tried
    long: int  # of `long_rows`, for the run length
    long_rows: int
    changed: int
    matched: int
    windowed: int  # for KSWIN at its defaults
    columns: int  # for Evidently
    shuffles: int  # of January's flights


WHOLE = Size(clean=300, rules=300, long=100, long_rows=200_000, changed=100, matched=100, windowed=60, columns=20, shuffles=20)
QUICK = Size(clean=120, rules=60, long=30, long_rows=100_000, changed=40, matched=40, windowed=10, columns=5, shuffles=3)


def main() -> int:
    """Run, judge, write."""
    options = command.parser(__doc__, seed="the streams").parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    size, started, machine = QUICK if options.quick else WHOLE, time.monotonic(), describe_machine()
    drift_alarms.check()
    parts = {
        "false_alarms": lambda: false_alarms(size, options.seed), "rules": lambda: rules(size, options.seed),
        "run_length": lambda: run_length(size, options.seed), "detection": lambda: detection(size, options.seed),
        "tolerance": lambda: tolerance(size, options.seed), "after_quiet": lambda: after_quiet(size, options.seed),
        "flights": lambda: detect_flights.measure(size.shuffles, options.seed),
    }  # fmt: skip
    measurements: Document = {}
    for name, part in parts.items():
        begun = time.monotonic()
        measurements[name] = part()
        print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    peers(measurements, size, options.seed)
    versions = describe_versions() | measurements.pop("versions", {})
    result = {
        "machine": machine, "versions": versions, "seed": options.seed, "quick": options.quick,
        "seconds": round(time.monotonic() - started), "measurements": measurements, "bars": judge(measurements),
    }  # fmt: skip
    status = command.conclude(result, options.json, RESULT)
    if not (options.json or options.quick):
        render.refresh()
    return status


# --- what is measured ------------------------------------------------------------------------------------------------------------------


def false_alarms(size: Size, seed: int) -> Document:
    """Test A on every kind of clean stream, with its time from the reference and, for comparison, without; and bets by hour."""
    found: Document = {}
    for kind in KINDS:
        most, untreated, by_hour, taus = [], [], [], []
        for stream in streams(seed, f"clean {kind}", size.clean, kind, LIVE_ROWS):
            taus.append(stream.tau)
            most.append(drift_alarms.log_e_any(stream, taus[-1]).max())
            if len(untreated) < size.rules:
                untreated.append(most[-1] if taus[-1] == 1 else drift_alarms.log_e_any(stream, 1.0).max())
            by_hour.append(drift_alarms.by_hour(stream).max())
        found[kind] = {
            "streams": size.clean, "test_a": share(most, LEVEL), "by_hour": share(by_hour, LEVEL),
            "test_a_without_time": share(untreated, LEVEL),
            "tau": quartiles(taus), "greatest_log_e": round(max(most), 3),
        }  # fmt: skip
    return found


def rules(size: Size, seed: int) -> Document:
    """What most monitoring runs on, on the same streams: shares of clean streams with an alarm, and of windows."""
    found: Document = {}
    for kind in KINDS:
        each: dict[str, list[np.ndarray]] = {"ks_cumulative": [], "ks_windows_of_1000": [], "psi_windows_of_500": []}
        for stream in streams(seed, f"clean {kind}", size.rules, kind, LIVE_ROWS):
            each["ks_cumulative"].append(drift_alarms.ks_cumulative(stream))
            each["ks_windows_of_1000"].append(drift_alarms.ks_windows(stream))
            each["psi_windows_of_500"].append(drift_alarms.psi_windows(stream))
        found[kind] = {
            name: {"streams": round(float(np.mean([one.any() for one in alarms])), 4), "looks": round(float(np.mean(alarms)), 4)}
            for name, alarms in each.items()
        }
    return found


def run_length(size: Size, seed: int) -> Document:
    """Windows until the e-detector's first alarm on clean streams; one without counts with all its windows, which is too few."""
    found: Document = {}
    for kind in ("independent", "ar_0.9"):
        lengths, alarmed = [], 0
        for stream in streams(seed, f"long {kind}", size.long, kind, size.long_rows):
            path = drift_alarms.detector(stream, until=math.log(RUN_LENGTH))
            lengths.append(len(path))
            alarmed += bool(path[-1] >= math.log(RUN_LENGTH))
        found[kind] = {
            "threshold": RUN_LENGTH, "streams": size.long, "windows": size.long_rows // LOOK_ROWS, "alarmed": round(alarmed / size.long, 4),
            "mean_windows_at_least": round(float(np.mean(lengths)), 1),
        }  # fmt: skip
    return found


def detection(size: Size, seed: int) -> Document:
    """Rows until test A alarms on a change that is there from the first row; on dependent streams beside bets by hour."""
    found: Document = {}
    for name, change in CHANGES.items():
        paths = (
            drift_alarms.log_e_any(one) for one in streams(seed, f"changed {name}", size.changed, "independent", LIVE_ROWS, change=change)
        )
        found[name] = delays([drift_alarms.first(path, LEVEL) for path in paths])
    for kind, name in DEPENDENT_CHANGES.items():
        rows, hours = [], []
        for one in streams(seed, f"changed {kind}", size.changed, kind, LIVE_ROWS, change=CHANGES[name]):
            rows.append(drift_alarms.first(drift_alarms.log_e_any(one), LEVEL))
            hours.append(drift_alarms.first(drift_alarms.by_hour(one), LEVEL, HOUR_ROWS))
        found[f"{kind} {name}"] = delays(rows) | {"by_hour": delays(hours)}
    return found


def tolerance(size: Size, seed: int) -> Document:
    """Test B at 0.05 nats: at a change that is tolerated, of PSI 0.06, and at one of PSI 0.25."""
    found: Document = {}
    for name, psi in (("mean_0.25", 0.06), ("mean_0.5", 0.25)):
        each = streams(seed, f"tolerance {name}", size.changed, "independent", TOLERANCE_ROWS, change=CHANGES[name])
        found[f"psi_{psi}"] = delays([drift_alarms.first(drift_alarms.log_e_tolerance(one, TOLERANCE), LEVEL) for one in each])
    return found


def after_quiet(size: Size, seed: int) -> Document:
    """The e-detector: how many clean streams alarm, and delays after QUIET_ROWS rows in which nothing changed."""
    level = math.log(RUN_LENGTH)
    clean = [drift_alarms.detector(one, until=level)[-1] >= level for one in matched(size, seed)]
    found: Document = {"clean_alarms": round(float(np.mean(clean)), 4), "tidegate": {}}
    for name in AFTER_QUIET:
        alarms = [drift_alarms.first(drift_alarms.detector(one, until=level), level) for one in changed(size, seed, name)]
        found["tidegate"][name] = delays_after(alarms)
    return found


def matched(size: Size, seed: int) -> Iterable[Stream]:
    """Clean streams on which thresholds are matched."""
    return streams(seed, "matched", size.matched, "independent", LIVE_ROWS)


def changed(size: Size, seed: int, name: str) -> Iterable[Stream]:
    """Streams that change after a quiet period."""
    rows = QUIET_ROWS + AFTER_ROWS
    return streams(seed, f"quiet {name}", size.changed, "independent", rows, change=CHANGES[name], after=QUIET_ROWS)


# --- detectors of other projects ---------------------------------------------------------------------------------------------------------


def peers(measurements: Document, size: Size, seed: int) -> None:
    """Add what other projects' detectors do: at their defaults on clean streams, and with matched thresholds after a quiet period."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, measurements, size, seed)
        python = subprocess.run(
            ["sh", str(PEERS / "drift.sh")], env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True, check=False
        )
        if python.returncode:
            print(f"other projects' detectors could not be installed: {python.stderr[-500:]}", file=sys.stderr)
            return
        # Nothing of ours is imported there.
        isolated = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
        ran = subprocess.run(
            [python.stdout.strip(), str(PEERS / "drift.py"), name], env=isolated, capture_output=True, text=True, check=True, timeout=600
        )
    document = json.loads(ran.stdout.splitlines()[-1])
    measurements["versions"] = document["versions"]
    file(measurements, iter(document["answers"]))
    print(f"peers: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)


def write(folder: Path, measurements: Document, size: Size, seed: int) -> None:
    """Streams and tasks; `file` reads the answers in this order."""
    clean = {kind: size.clean if kind == "independent" else size.rules // 3 for kind in ("independent", "ar_0.9")}
    for kind, count in clean.items():
        save(folder / f"{kind}.npy", streams(seed, f"clean {kind}", count, kind, LIVE_ROWS))
    np.save(folder / "few.npy", np.load(folder / "independent.npy")[: size.windowed])
    np.save(
        folder / "columns.npy",
        np.array([one_column(one) for one in streams(seed, "clean independent", size.columns, "independent", LIVE_ROWS)]),
    )
    save(folder / "matched.npy", matched(size, seed))
    for name in AFTER_QUIET:
        save(folder / f"{name}.npy", changed(size, seed, name))
    tasks: list[Document] = [{"detector": name, "streams": f"{kind}.npy"} for kind in clean for name in PEER_DETECTORS[:2]]
    tasks += [
        {"detector": "KSWIN", "streams": "few.npy"},
        {"detector": "Evidently", "streams": "columns.npy", "window": drift_alarms.PSI_ROWS},
    ]
    allowed = measurements["after_quiet"]["clean_alarms"]
    for name in PEER_DETECTORS:
        tasks.append({"detector": name, "streams": "matched.npy", "share": allowed})
        matching = len(tasks) - 1
        tasks += [{"detector": name, "streams": f"{change}.npy", "as": matching} for change in AFTER_QUIET]
    (folder / "tasks.json").write_text(json.dumps(tasks))


def one_column(stream: Stream) -> np.ndarray:
    """As Evidently takes it: a reference and as many live rows."""
    return np.concatenate((stream.reference, stream.live[: stream.reference.size]))


def save(path: Path, each: Iterable[Stream]) -> None:
    """Their live rows, [streams, rows]."""
    np.save(path, np.array([one.live for one in each]))


def file(measurements: Document, answers: Iterable[Document]) -> None:
    """Put the answers, which are in the order of the tasks, where they belong."""
    answers = iter(answers)
    defaults: Document = {"independent": {}, "ar_0.9": {}}
    for kind in defaults:
        for name in PEER_DETECTORS[:2]:
            defaults[kind][name] = alarms_of(next(answers))
    defaults["independent"]["KSWIN"] = alarms_of(next(answers))
    windows = np.array(next(answers)["alarms"])
    defaults["independent"]["Evidently_windows_of_500"] = {
        "streams": round(float((windows > 0).mean()), 4), "looks": round(float(windows.mean()), 4),
    }  # fmt: skip
    measurements["peers_at_defaults"] = defaults
    for name in PEER_DETECTORS:
        clean = next(answers)
        found: Document = {"parameters": clean["parameters"], "clean_alarms": alarms_of(clean)["streams"]}
        measurements["after_quiet"][name] = found | {change: delays_after(rows_of(next(answers))) for change in AFTER_QUIET}


def rows_of(answer: Document) -> list[float]:
    """First alarms, inf for never."""
    return [math.inf if rows is None else float(rows) for rows in answer["first"]]


def alarms_of(answer: Document) -> Document:
    """Share of streams that alarm, and the median of the rows before that."""
    rows = np.array(rows_of(answer))
    return {"streams": round(float(np.isfinite(rows).mean()), 4), "median_rows": finite(float(np.median(rows)))}


# --- what is made of it ------------------------------------------------------------------------------------------------------------------


def share(values: Iterable[float], level: float) -> float:
    """Of values that reach a level."""
    return round(float((np.array(list(values)) >= level).mean()), 4)


def quartiles(values: Iterable[float]) -> list[float]:
    """25, 50, 75 %."""
    return [round(float(one), 2) for one in np.quantile(list(values), (0.25, 0.5, 0.75))]


def finite(rows: float) -> float | None:
    """JSON knows no infinity."""
    return rows if math.isfinite(rows) else None


def delays(alarms: Iterable[float]) -> Document:
    """Of rows until the first alarm: the median and the 90th of a hundred, None for never, and how many there were."""
    rows = np.array(list(alarms))
    ordered = np.sort(rows)
    median, late = (finite(float(ordered[min(int(part * len(ordered)), len(ordered) - 1)])) for part in (0.5, 0.9))
    return {"streams": len(rows), "alarmed": round(float(np.isfinite(rows).mean()), 4), "median_rows": median, "p90_rows": late}


def delays_after(alarms: Iterable[float]) -> Document:
    """The same from the change on, of streams that did not alarm before it."""
    rows = np.array(list(alarms))
    kept = rows[rows > QUIET_ROWS] - QUIET_ROWS
    return (delays(kept) if kept.size else {"streams": 0, "alarmed": 0.0, "median_rows": None}) | {"too_soon": int(rows.size - kept.size)}


def judge(measurements: Document) -> list[Document]:
    """Every bar that is set for alarms and their delays. A run length that hardly any stream ends within would prove nothing."""
    bars = [bar(f"false_alarms_{kind}", found["test_a"], "<=", ALPHA) for kind, found in measurements["false_alarms"].items()]
    bars.append(bar("false_alarms_daily_by_hour", measurements["false_alarms"]["daily"]["by_hour"], "<=", ALPHA))
    bars += [
        bar(f"run_length_{kind}", found["mean_windows_at_least"], ">=", RUN_LENGTH) for kind, found in measurements["run_length"].items()
    ]
    bars.append(bar("rows_to_mean_0.25_sd", measurements["detection"]["mean_0.25"]["median_rows"], "<=", 700))
    bars.append(bar("rows_to_sd_1.25", measurements["detection"]["sd_1.25"]["median_rows"], "<=", 500))
    bars.append(bar("tolerance_alarms_at_psi_0.06", measurements["tolerance"]["psi_0.06"]["alarmed"], "<=", 0.0))
    bars.append(bar("tolerance_alarms_at_psi_0.25", measurements["tolerance"]["psi_0.25"]["alarmed"], ">=", 0.95))
    bars.append(bar("run_length_is_seen_independent", measurements["run_length"]["independent"]["alarmed"], ">=", 0.5))
    bars += [bar(*one) for one in detect_flights.bars(measurements["flights"])]
    return bars + delay_bars(measurements["after_quiet"])


def delay_bars(measured: Document) -> list[Document]:
    """Delays beside the best of others for a shift of the mean, and each of them for the rest. One that misses is given the horizon."""
    bars = []
    for change in AFTER_QUIET:
        ours = measured["tidegate"][change]["median_rows"]
        theirs = {name: measured[name][change]["median_rows"] or AFTER_ROWS for name in PEER_DETECTORS if name in measured}
        if change.startswith("mean"):
            best = min(theirs.values(), default=None)
            bars.append(bar(f"delay_{change}_vs_best", ours / best if ours and best else None, "<=", 2.0))
        else:
            ratios = {name: ours / theirs[name] if ours and name in theirs else None for name in PEER_DETECTORS}
            bars += [bar(f"delay_{change}_vs_{name}", ratio, "<=", 1.0) for name, ratio in ratios.items()]
    return bars


def bar(name: str, value: float | None, op: str, bound: float) -> Document:
    """One bar; without a value it does not hold."""
    holds = value is not None and (value <= bound if op == "<=" else value >= bound)
    return {"name": name, "value": None if value is None else round(value, 4), "op": op, "bound": bound, "holds": holds}


if __name__ == "__main__":
    sys.exit(main())
