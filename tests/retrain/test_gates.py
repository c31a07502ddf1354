"""Gates beside the comparison: what a successor must keep, and what it may cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from registry.contract import Contract, Port
from registry.store import Store
from retrain.asking import Model, stored
from retrain.champion import Champion, champion_of
from retrain.dataset import Dataset
from retrain.errors import RetrainError
from retrain.export import export
from retrain.gate_settings import Budget, Check, Gate
from retrain.gates import budget_gate, golden_gate
from retrain.recipes import Recipe, fit
from tests.retrain.jobs import MODEL, StillClock, drawn, publish_champion

pytestmark = pytest.mark.demo
LOGISTIC = Recipe("logistic", {"inverse_penalty": 1.0})


@pytest.fixture
def champion(tmp_path: Path) -> Champion:
    store = Store.create(tmp_path / "registry")
    return champion_of(store, MODEL, publish_champion(store))


def made(rows: Dataset) -> bytes:
    return export(fit(LOGISTIC, rows, seed=0), rows).model


def judged(champion: Champion, rows: Dataset) -> Gate:
    content = made(rows)
    return golden_gate(champion, content, Model(content))


def test_a_successor_with_the_same_ports_passes(champion: Champion) -> None:
    """And answers what the champion is asked."""
    gate = judged(champion, drawn(300))
    assert gate.passed
    assert ["4 inputs and outputs are those of the champion", "9 of 9 golden requests of the champion are answered"] == [
        check.text for check in gate.checks
    ]


def test_other_ports_do_not_pass(champion: Champion) -> None:
    """Each difference is named: an input that is gone, one that is new, one of another type, an output of another name."""
    rows = drawn(300)
    x, t = rows.columns["x"], rows.columns["t"]
    for columns, texts in (
        ({"x": x}, ["input 't' is not there, where the champion has tensor(string)"]),
        ({"x": x, "t": t, "u": x}, ["input 'u' is new, and callers do not send it"]),
        ({"x": x, "t": x}, ["input 't' is tensor(float), where the champion has tensor(string)"]),
    ):
        gate = judged(champion, Dataset(columns, rows.labels))
        assert (False, texts) == (gate.passed, [check.text for check in gate.checks])
    renamed = Port(name="class", type="tensor(int64)", shape=(None,))
    other = replace(champion, contract=_with_outputs(champion, renamed))
    assert "output 'class' is not there, where the champion has tensor(int64)" == judged(other, rows).reason


def _with_outputs(champion: Champion, first: Port) -> Contract:
    return msgspec.structs.replace(champion.contract, outputs=(first, *champion.contract.outputs[1:]))


@pytest.mark.parametrize(
    ("budget", "failed"),
    [
        (Budget(runs=2), []),
        (Budget(size_bytes=10, runs=2), ["size is "]),
        (Budget(size_ratio=0.5, runs=2), ["size is "]),
        (Budget(latency_ms=0.5, latency_ratio=None, runs=2), ["latency of 64 rows is "]),
        (Budget(size_ratio=None, latency_ratio=0.5, runs=2), ["latency of 64 rows is "]),
        (Budget(size_ratio=None, latency_ratio=None, runs=2), []),
    ],
)
def test_size_and_time_have_limits(champion: Champion, budget: Budget, failed: list[str]) -> None:
    """Fixed ones and those of the champion; by a clock of which every look takes a millisecond, all runs take one."""
    rows = drawn(100)
    content = made(rows)
    model = Model(content)
    gate = budget_gate(budget, content, champion_bytes=champion.size_bytes, rows=rows, models=(model, model), now=StillClock().now)
    wrong = [check.text for check in gate.checks if not check.passed]
    assert len(failed) == len(wrong)
    assert all(text.startswith(start) for text, start in zip(wrong, failed, strict=True))


def test_the_reason_of_a_gate_is_its_first_and_how_many_there_are() -> None:
    """What was not judged is no reason."""
    checks = [Check(name="a", passed=False, text="one"), Check(name="b", passed=False, text="two", judged=False)]
    assert "one" == Gate(name="g", checks=tuple(checks)).reason
    assert "one (and 1 more)" == Gate(name="g", checks=(checks[0], checks[0])).reason
    assert "" == Gate(name="g", checks=(checks[1],)).reason


def test_a_stored_version_gives_its_scores(tmp_path: Path) -> None:
    """Those of the exported model, row by row, however many there are; a model without a score is refused."""
    store = Store.create(tmp_path / "registry")
    version = publish_champion(store)
    rows = drawn(5_000)
    scores = stored(store, MODEL, version).scores(rows)
    assert (5_000,) == scores.shape
    assert np.array_equal(scores[:7], stored(store, MODEL, version).scores(rows.take(slice(0, 7))))
    with pytest.raises(RetrainError, match="the model takes input 't', which the rows do not have"):
        stored(store, MODEL, version).scores(Dataset({"x": rows.columns["x"]}, rows.labels))
    with pytest.raises(RetrainError, match="the model cannot be loaded"):
        Model(b"no model")
