"""Drift detectors of other projects on streams that the bench wrote: river's ADWIN, Page-Hinkley and KSWIN, Evidently's preset.

Runs in an environment of its own (`drift.sh`), as a script: `python drift.py FOLDER` reads FOLDER/tasks.json and the arrays that it names,
and prints one JSON object. A task is a detector, an array [streams, rows], and either its parameters or the share of streams that are to
alarm, for which its threshold is then found, or the task that found it; all else stays at its defaults. Each detector is the project's
own, but for KSWIN, which takes 0.6 ms a row: its rule is computed for many rows at once, and held against the project's own on some first.
"""

from __future__ import annotations

import json
import random
import sys
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from river import drift
from scipy import stats

WINDOW, RECENT = 100, 30  # KSWIN's defaults
CHECKED_ROWS = 400
CHUNK = 4_096
STEPS = 9  # of a bisection

# Where the threshold of each lies, from the most alarms to the fewest; on a logarithmic scale where it is a probability.
RANGES: dict[str, tuple[str, float, float]] = {"ADWIN": ("delta", 0.0, -25.0), "PageHinkley": ("threshold", 5.0, 1000.0)}


def main() -> int:
    """Do the tasks in order."""
    folder = Path(sys.argv[1])
    check_kswin()
    answers: list[dict[str, Any]] = []
    for task in json.loads((folder / "tasks.json").read_text()):
        if "as" in task:  # the parameters that an earlier task found
            task["parameters"] = answers[task["as"]]["parameters"]
        answers.append(answer(task, np.load(folder / task["streams"], mmap_mode="r")))
    versions = {name: metadata.version(name) for name in ("river", "evidently")}
    sys.stdout.write(json.dumps({"answers": answers, "versions": versions}) + "\n")
    return 0


def answer(task: dict[str, Any], streams: np.ndarray) -> dict[str, Any]:
    """First alarms of a task, after how many rows (None if never); and the parameters that it ran with."""
    name, parameters = task["detector"], dict(task.get("parameters", {}))
    if name == "Evidently":
        return {"alarms": evidently(streams, task["window"])}
    if "share" in task:
        parameters = matched(name, streams, task["share"])
    return {"first": [first(name, parameters, values) for values in streams], "parameters": parameters}


def first(name: str, parameters: dict[str, float], values: np.ndarray) -> int | None:
    """After how many rows a detector alarms."""
    if name == "KSWIN":
        reached = np.flatnonzero(kswin(values, random.Random(1)) >= statistic_for(parameters.get("alpha", drift.KSWIN().alpha)))
        return int(reached[0]) + WINDOW if reached.size else None
    detector = getattr(drift, name)(**parameters)
    update: Callable[[float], Any] = detector.update
    for row, value in enumerate(values.tolist(), start=1):
        update(value)
        if detector.drift_detected:
            return row
    return None


def matched(name: str, streams: np.ndarray, share: float) -> dict[str, float]:
    """The threshold with the most alarms that alarms on at most this share of the streams."""
    if name == "KSWIN":
        greatest = sorted((kswin(values, random.Random(1)).max() for values in streams), reverse=True)
        allowed = int(share * len(greatest))
        # Of a statistic in thirtieths: the least level that no more than those reach.
        return {"alpha": p_value(greatest[allowed] + 1 / RECENT) if allowed < len(greatest) else 1.0}
    parameter, many, few = RANGES[name]
    for _ in range(STEPS):
        middle = (many + few) / 2
        value = 10**middle if name == "ADWIN" else middle
        found = sum(first(name, {parameter: value}, values) is not None for values in streams) / len(streams)
        many, few = (middle, few) if found > share else (many, middle)
    return {parameter: 10**few if name == "ADWIN" else few}


def kswin(values: np.ndarray, source: random.Random) -> np.ndarray:
    """KSWIN's statistic from its 100th row on, until an alarm: of the last 30 rows and 30 of the 70 before, drawn anew each row."""
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(values), WINDOW)
    draws = np.random.default_rng(source.getrandbits(64))
    found = [statistics(part, older(draws, len(part))) for part in (windows[at : at + CHUNK] for at in range(0, len(windows), CHUNK))]
    return np.concatenate(found) if found else np.empty(0)


def older(draws: np.random.Generator, count: int) -> np.ndarray:
    """`count` samples of 30 out of 70 places, without replacement."""
    return np.argpartition(draws.random((count, WINDOW - RECENT)), RECENT, axis=1)[:, :RECENT]


def statistics(windows: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The two-sample statistic of each window [rows, 100], given which of its older rows were drawn [rows, 30]."""
    both = np.concatenate((np.take_along_axis(windows, drawn, axis=1), windows[:, WINDOW - RECENT :]), axis=1)
    order = np.argsort(both, axis=1)
    steps = np.where(order < RECENT, 1, -1)
    return np.abs(np.cumsum(steps, axis=1)).max(axis=1) / RECENT


def p_value(statistic: float) -> float:
    """Of two samples of 30, as river has it from scipy; 0 of what cannot be reached."""
    return float(stats.ks_2samp(*samples(round(statistic * RECENT))).pvalue) if statistic <= 1 else 0.0


def statistic_for(alpha: float) -> float:
    """The least statistic whose p-value is at most alpha; above 1 if there is none."""
    return next((k / RECENT - 1e-9 for k in range(4, RECENT + 1) if p_value(k / RECENT) <= alpha * (1 + 1e-9)), 2.0)


def samples(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Two samples of 30 whose statistic is so many thirtieths."""
    return np.arange(RECENT) + 0.0, np.arange(RECENT) + steps - 0.5


def check_kswin() -> None:
    """The statistic, given the same draws, has the p-value that river's detector finds, row by row; and so has `p_value`."""
    values = np.random.default_rng(7).normal(size=CHECKED_ROWS)
    detector, source = drift.KSWIN(alpha=1e-12, seed=3), random.Random(3)
    windows = np.lib.stride_tricks.sliding_window_view(values, WINDOW)
    for row, value in enumerate(values.tolist()):
        detector.update(value)
        if row >= WINDOW - 1:
            drawn = np.array([source.sample(range(WINDOW - RECENT), RECENT)])
            (statistic,) = statistics(windows[row - WINDOW + 1 :][:1], drawn)
            assert abs(detector.p_value - p_value(statistic)) < 1e-9, "the fast form of KSWIN is not river's"


def evidently(streams: np.ndarray, window: int) -> list[float]:
    """Share of windows in which the preset calls a stream, which is a column, drifted; its first half is the reference."""
    import pandas as pd
    from evidently import Report
    from evidently.presets import DataDriftPreset

    warnings.simplefilter("ignore")
    reference_rows = streams.shape[1] // 2
    frame = pd.DataFrame({f"c{i}": values for i, values in enumerate(np.asarray(streams))})
    alarms = np.zeros(len(streams))
    starts = range(reference_rows, streams.shape[1] - window + 1, window)
    for start in starts:
        found = Report([DataDriftPreset()]).run(frame.iloc[start : start + window], frame.iloc[:reference_rows]).dict()
        scores = [metric for metric in found["metrics"] if "ValueDrift" in str(metric.get("metric_name", metric.get("metric_id", "")))]
        alarms += [drifted(metric) for metric in scores]
    return (alarms / len(starts)).tolist()


def drifted(metric: dict[str, Any]) -> bool:
    """Whether the score is on the wrong side of the preset's own threshold, a p-value or a distance."""
    config = metric["config"]
    is_p_value = "p_value" in str(config.get("method"))
    return metric["value"] < config["threshold"] if is_p_value else metric["value"] > config["threshold"]


if __name__ == "__main__":
    sys.exit(main())
