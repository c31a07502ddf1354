"""An inference log held against what callers wrote down: which answers are missing, and whether the log says so."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pyarrow import parquet

from benchmarks.conserve_callers import ARMS, Ledger
from registry.log import Log

LATE_S = 1.0  # after trouble with the disk has ended until an answer's rows are surely tried after it
COLUMNS = ["client_request_id", "request_id", "arm", "f", "status"]


class Happened(Protocol):
    """What befell the server: see `conserve.Happened`."""

    kills: list[float]
    sealers: int
    full: list[tuple[float, float]]
    failing: list[tuple[float, float]]


def audit(place: Path, ledger: Ledger, happened: Happened) -> dict[str, Any]:
    """Everything that is wrong, and how much of what was found. Raises as `Log.commits`."""
    log = Log(place)
    differences = [f"{one.key}: {one.message}" for one in log.verify()]
    if log.waiting() != (0, 0):
        differences.append(f"segments and ledgers are not sealed: {log.waiting()}")
    there = np.zeros(ledger.total, bool)
    for at, model in enumerate(ledger.models):
        differences += _compared(log, model, at, ledger, there)
    answered = ~np.isnan(ledger.answered_s)
    account, dropped = log.account(), Counter[str]()
    answers = _by_arm(ledger, answered)
    for at, model in enumerate(ledger.models):
        of_model = np.arange(ledger.total) % len(ledger.models) == at
        differences += _sums(model, account.accepted.get(model, {}), answers, opened=int(np.count_nonzero(of_model & ~answered)))
    for _, _, _, reasons in account.lines():
        dropped.update(reasons)
    missing = answered & ~there
    troubled = np.zeros(ledger.total, bool)
    for begun, ended in (*happened.full, *happened.failing):
        troubled |= (ledger.answered_s >= begun - LATE_S) & (ledger.answered_s <= ended + LATE_S)
    lost = np.flatnonzero(missing & ~troubled)
    in_trouble, counted = int(np.count_nonzero(missing & troubled)), sum(dropped.values()) - dropped["worker_lost"]
    return {
        "requests": ledger.total, "answered": answers, "open": int(np.count_nonzero(~answered)), "rows": int(np.count_nonzero(there)),
        "accepted": account.accepted, "dropped": dict(dropped), "missing": int(np.count_nonzero(missing)), "lost": len(lost),
        "missing_uncounted": max(0, in_trouble - counted) + max(0, len(lost) - dropped["worker_lost"]),
        "oldest_lost_s": _oldest(ledger.answered_s[lost], happened.kills), "workers_killed": len(happened.kills),
        "sealers_killed": happened.sealers, "not_ok": ledger.statuses, "commits": log.state().seq, "differences": differences[:20],
    }  # fmt: skip


def _compared(log: Log, model: str, at: int, ledger: Ledger, there: np.ndarray) -> list[str]:
    """The rows of a model, of which each is some request's, once; `there` becomes true of each."""
    found, numbers = [], []
    for path in log.paths(model):
        table = parquet.ParquetFile(path).read(columns=COLUMNS)
        number = table["client_request_id"].to_numpy().astype(np.int64)
        numbers.append(number)
        ids = np.frombuffer(b"".join(table["request_id"].to_pylist()), np.uint8).reshape(-1, 16)
        arms = np.array([ARMS.index(arm) for arm in table["arm"].to_pylist()], np.int8)
        said = ~np.isnan(ledger.answered_s[number])
        if (ids[said] != ledger.names[number[said]]).any():
            found.append(f"{path}: ids that answers did not tell")
        if (arms[said] != ledger.arms[number[said]]).any():
            found.append(f"{path}: arms that did not answer")
        values = np.stack(table["f"].combine_chunks().field("input").to_numpy(zero_copy_only=False))[:, 0]
        if (number != values.astype(np.int64)).any() or (number % len(ledger.models) != at).any():
            found.append(f"{path}: rows of other requests")
    every = np.concatenate(numbers) if numbers else np.zeros(0, np.int64)
    if len(every) != len(np.unique(every)):
        found.append(f"{model}: {len(every) - len(np.unique(every))} rows are there twice")
    there[every] = True
    return found


def _by_arm(ledger: Ledger, answered: np.ndarray) -> dict[str, int]:
    """Answers by "model/arm"."""
    numbers = np.arange(ledger.total)
    return {
        f"{model}/{arm}": count
        for at, model in enumerate(ledger.models)
        for place, arm in enumerate(ARMS)
        if (count := int(np.count_nonzero(answered & (numbers % len(ledger.models) == at) & (ledger.arms == place))))
    }


def _sums(model: str, accepted: dict[str, int], answers: dict[str, int], *, opened: int) -> list[str]:
    """What was accepted in each arm is what was answered there, and some of the requests that nobody knows of."""
    more = {arm: accepted.get(arm, 0) - answers.get(f"{model}/{arm}", 0) for arm in {*accepted, *ARMS}}
    found = [f"{model}: {-count} answers of {arm} were never accepted" for arm, count in more.items() if count < 0]
    if sum(more.values()) > opened:
        found.append(f"{model}: {sum(more.values())} were accepted beyond the answers, and {opened} requests are open")
    return found


def _oldest(answered_s: np.ndarray, kills: list[float]) -> float:
    """How long before a kill the earliest of the answers left that are lost with it, in seconds; infinite where no kill followed."""
    if not len(answered_s):
        return 0.0
    at = np.searchsorted(np.array(kills), answered_s)
    return float(np.max(np.append(kills, np.inf)[at] - answered_s).round(4))
