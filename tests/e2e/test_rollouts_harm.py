"""Candidates that do harm, all at once beside one server's callers, who notice nothing. Each goes back soon, and its reason can be read.

As shadows, as canaries in processes of their own, and as canaries within the workers as far as a plan may ask for that: a run that ends
the process takes a worker's connections with it there, which is why a plan has to ask, and has a test of its own here.
"""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import pytest

from gateway.rollout.status import History
from registry.store import Store
from tests.e2e.rolling import AGREEMENT, ERRORS, GOOD_ENOUGH, SHADOW, Callers, apply, operations, plan, until, until_page, weight
from tests.e2e.server import serving
from tests.gateway.serving import graphs, harmful
from tests.gateway.serving.registries import published

REJECTED = {"name": "rejected", "type": "rate", "event": "rejected_input", "critical": True}
SLOW = {"name": "slow", "type": "rate", "event": "latency_ms > 15", "critical": True}
ROUGH = {"name": "rough", "type": "rate", "event": "bad_output", "critical": True, "pass_if": GOOD_ENOUGH}
ALL = (ERRORS, REJECTED, SLOW, ROUGH)
SOON_S = 60.0  # from the step on; a second or two where nobody else has anything to do, and one more for each run that hangs
HUGE = 100_000  # units that never come
CRASHED, IN_A_ROW = "the process of the {} ended", r"\d+ calls of the {} in a row failed, each of another unit, while stable answered"
LOST = rf"{CRASHED}|{IN_A_ROW}|had server errors in"


class Harm(NamedTuple):
    """One candidate."""

    graph: onnx.ModelProto
    because: str  # of the sentence, as a regular expression; {} is the arm
    answers: bool = False  # whether callers get what it says
    factor: float = 2.0


crash = Harm(harmful.overflowing(), CRASHED)
hang = Harm(graphs.endless(), CRASHED)
hoard = Harm(harmful.hoarding(), LOST)
fail = Harm(graphs.brittle(), rf"{IN_A_ROW}|rejected inputs|server errors")
other = Harm(graphs.picky(), IN_A_ROW)
rough = Harm(harmful.undefined(), rf"{IN_A_ROW}|bad outputs|pairs agree", True, float("nan"))
wrong = Harm(graphs.twice(weight=3.0), "pairs agree", True, 3.0)
slow = Harm(harmful.sluggish(), "had latency_ms > 15 in", True)
MIRRORED: dict[str, Harm] = {"crash": crash, "hang": hang, "hoard": hoard, "rough": rough, "wrong": wrong}
APART: dict[str, Harm] = {"crash": crash, "hang": hang, "hoard": hoard, "fail": fail, "other": other, "slow": slow}
WITHIN: dict[str, Harm] = {"hoard": hoard, "fail": fail, "rough": rough, "slow": slow}
if platform.machine() != "x86_64":  # where that division has a result
    del MIRRORED["crash"], APART["crash"]
WAYS = {"shadow": MIRRORED, "apart": APART, "within": WITHIN, "after": {"slow": slow}}
HARMS = {f"{name}_{way}": (harm, way) for way, harms in WAYS.items() for name, harm in harms.items()}
BOUNDS = {name: f"run_timeout_s: {20 if harm is slow else 1}, isolation_memory_bytes: 536870912" for name, (harm, _) in HARMS.items()}
SETTINGS = f"""
models: {{{", ".join(f"{name}: {{{bounds}}}" for name, bounds in BOUNDS.items())}}}
limits: {{serving: {{max_arena_bytes: 134217728}}}}
"""


def asked(name: str, way: str) -> Any:
    if way == "shadow":
        return plan(SHADOW | {"until": {"min_units": HUGE}}, weight(20), metrics=(ERRORS, AGREEMENT, ROUGH), model=name)
    if way == "after":  # its shadow, which is right, and has no time of its own
        return plan(SHADOW, weight(20, HUGE), metrics=(ERRORS, SLOW), model=name)
    return plan(weight(50, HUGE), metrics=ALL, inline=way == "within", model=name)


def took_s(history: History) -> float:
    """From the step in which it was found to the way back."""
    times = {entry.event: entry.time.timestamp() for entry in history.entries}
    return min(times[event] for event in ("fail", "fast") if event in times) - times["pass" if "pass" in times else "ready"]


@pytest.mark.timeout(300)
def test_nobody_notices_a_candidate_that_does_harm(tmp_path: Path) -> None:
    """It crashes, hangs, grows beyond its memory, is slow, fails, refuses what stable takes, or says what is wrong or no number."""
    root = tmp_path / "registry"
    for name, (harm, _) in HARMS.items():
        published(root, name, graphs.twice(), harm.graph, aliases={"champion": 1})
    models = {name: {"1": 2.0, "2": harm.factor} for name, (harm, _) in HARMS.items()}
    with serving(tmp_path, root, SETTINGS) as server, Callers(server.grpc_port, models, threads=3) as callers:
        rollouts = {name: apply(root, asked(name, way)) for name, (_, way) in HARMS.items()}
        histories = {}
        for name, rollout in rollouts.items():
            until(root, rollout, "rolled_back")
            histories[name] = operations(root).history(rollout)
        until_page(server, lambda page: not any(series.startswith("tidegate_rollout_phase") for series in page))
        before = len(callers.answers)
        until_page(server, lambda _: len(callers.answers) > before + len(HARMS))
        assert [] == callers.troubles
    for name, (harm, way) in HARMS.items():
        reason = next(entry.reason for entry in histories[name].entries if entry.event in {"fail", "fast"})
        assert re.search(harm.because.replace("{}", "shadow" if way == "shadow" else "canary"), reason), (name, reason)
        assert took_s(histories[name]) < SOON_S, name

        arms = callers.arms(name)
        assert (harm.answers and way != "shadow") or not arms["canary"], (name, arms)
        assert harm.answers or way == "shadow" or arms["fallback"], (name, arms)
        assert 1 == Store.open(root).resolve(name, "champion")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="this division has a result elsewhere")
def test_a_candidate_that_ends_workers_goes_back_after_two(tmp_path: Path) -> None:
    """The plan wanted it within them. Callers see closed connections, and nothing else; the workers come back."""
    root = tmp_path / "registry"
    published(root, "m", graphs.twice(), harmful.overflowing(), aliases={"champion": 1})
    settings = "processes: {workers: 2, spare: false}\n"
    with serving(tmp_path, root, settings) as server, Callers(server.grpc_port, {"m": {"1": 2.0, "2": 2.0}}) as callers:
        rollout = apply(root, plan(weight(5, HUGE), inline=True))
        until(root, rollout, "rolled_back")
        reasons = [entry.reason for entry in operations(root).history(rollout).entries if entry.event == "fast"]
        before = len(callers.answers)
        until_page(server, lambda _: len(callers.answers) > before + 20)
    assert re.fullmatch(r"\d+ workers died while they served the candidate", reasons[0]), reasons
    assert ([], True) == (callers.faults, len(callers.lost) >= 2)
