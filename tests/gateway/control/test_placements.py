"""Where versions run, as workers report it."""

from __future__ import annotations

from gateway.control.messages import Report, Reports
from gateway.control.placements import Placements
from gateway.serving.lifecycle import State


def ready(model: str, provider: str, *missed: str, identity: str = "a", state: State = State.READY) -> Report:
    return Report(model, 1, identity, state, provider=provider, missed=missed)


def test_workers_are_counted_by_where_a_version_runs() -> None:
    """One GPU that a worker does not get is seen."""
    placements = Placements()
    placements.reported(1, Reports(1, (ready("m", "cuda"), ready("n", "cpu"))))
    placements.reported(2, Reports(1, (ready("m", "cpu", "cuda"), ready("n", "cpu"))))
    assert {("m", "1", "cuda"): 1, ("m", "1", "cpu"): 1, ("n", "1", "cpu"): 2} == placements.running
    assert {("m", "1", "cuda"): 1} == placements.fallbacks
    placements.left(1)
    assert {("m", "1", "cpu"): 1, ("n", "1", "cpu"): 1} == placements.running


def test_a_fallback_counts_once_a_load() -> None:
    """Reports are whole lists, sent again with every change; a version that is loaded anew is another one."""
    placements = Placements()
    for _ in range(3):
        placements.reported(1, Reports(1, (ready("m", "cpu", "tensorrt", "cuda"),)))
    assert {("m", "1", "tensorrt"): 1, ("m", "1", "cuda"): 1} == placements.fallbacks
    placements.reported(1, Reports(2, (ready("m", "cpu", "cuda", identity="b"),)))
    assert 2 == placements.fallbacks["m", "1", "cuda"]


def test_what_is_not_ready_runs_nowhere() -> None:
    """Neither while it loads nor once it is let go of."""
    placements = Placements()
    placements.reported(1, Reports(1, (ready("m", "", state=State.LOAD),)))
    assert {} == placements.running
    placements.reported(1, Reports(1, (ready("m", "cuda"),)))
    placements.reported(1, Reports(2, ()))
    assert {} == placements.running
