"""`tidegate replay`: rows of a file through two versions of a registry, in processes of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from gateway.commands.output import Exit
from gateway.serving.loading import Loader
from gateway.serving.model import ModelFault
from registry.verified import ModelVersionRef
from tests.gateway.commands.console import failed, parsed, run
from tests.gateway.rollout import plans

METRICS = "spec.analysis.metrics"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A file of 1,500 rows of the model's input, with a column that is none."""
    values = np.random.default_rng(1).normal(size=(1_500, 2)).astype(np.float32)
    table = pa.table({"x": pa.array(values.tolist(), pa.list_(pa.float32())), "when": pa.array(range(1_500))})
    parquet.write_table(table, tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., Path]:
    """A factory: a rollout file of the model `ages`."""

    def write(**changes: Any) -> Path:
        path = tmp_path / "plan.yaml"
        path.write_text(plans.text({"spec.model": "ages", "spec.candidate": {"version": 3}} | changes))
        return path

    return write


def arguments(rows: Path, registry: Path, *more: object) -> list[object]:
    return ["replay", "--from", rows, "-r", registry, "--ignore", "when", *more]


def test_a_candidate_that_says_the_same_passes(
    rows: Path, registry: Path, put: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict, a row and a sentence for each metric, and exit status 0; the same as a document."""
    monkeypatch.setenv("COLUMNS", "160")
    assert 3 == put(1.0001)
    result = run(*arguments(rows, registry, "--model", "ages", "--candidate", 3))
    assert (0, "") == (result.exit_code, result.stderr)
    lines = result.stdout.splitlines()
    assert ["ages version 3 beside 1, 1,500 rows", "PASS: "] == [lines[0], lines[1][:6]]
    assert all(any(name in line for line in lines[3:7]) for name in ("errors", "refused", "agreement", "class_mix"))
    found = parsed(*arguments(rows, registry, "--model", "ages", "--candidate", "3", "--stable", "champion"))
    assert ("ages", 3, 1, [], "PASS", 1_500) == (
        found["model"], found["candidate"], found["stable"], found["not_replayed"], found["verdict"]["verdict"], found["verdict"]["units"],
    )  # fmt: skip


def test_a_candidate_that_says_something_else_fails(rows: Path, registry: Path, plan: Callable[..., Path]) -> None:
    """By a critical metric of a plan, whose candidate may be another than the plan's; what rows do not tell is named."""
    slow = {"name": "slo", "type": "rate", "event": "latency_ms > 5", "pass_if": {}}
    file = plan(
        **{METRICS: [*plans.GOOD["spec"]["analysis"]["metrics"][:1], slow, {"name": "same", "type": "agreement", "critical": True}]}
    )
    result = run(*arguments(rows, registry, "--plan", file, "--candidate", 2))
    assert (1, "") == (result.exit_code, result.stderr)
    assert "\nFAIL: same: " in result.stdout
    assert "not told by rows: slo" in result.stdout


def test_few_rows_do_not_tell(rows: Path, registry: Path, put: Callable[..., int], plan: Callable[..., Path]) -> None:
    """Exit status 2: `min_units` are more than there are."""
    put(1.0001)
    result = run(*arguments(rows, registry, "--plan", plan(**{"spec.strategy.steps.0.until": {"min_units": 1_501}})), "--json")
    assert (2, "INCONCLUSIVE") == (result.exit_code, json.loads(result.stdout)["verdict"]["verdict"])


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ([], "--model: missing; or --plan, which names one"),
        (["--model", "ages"], "--candidate: missing; or --plan, which names one"),
        (["--model", "ages", "--candidate", "1"], "--candidate: version 1 is what is stable; nothing is compared with itself"),
    ],
)
def test_what_to_compare_has_to_be_said(rows: Path, registry: Path, more: list[str], reason: str) -> None:
    """And to be two versions."""
    assert f"tidegate: {reason}\n" == failed(Exit.USAGE, *arguments(rows, registry, *more))


def test_a_plan_of_another_model_or_of_an_ab_is_refused(rows: Path, registry: Path, plan: Callable[..., Path]) -> None:
    """One with mistakes too."""
    assert "--model: the plan is of model 'ages'" in failed(Exit.USAGE, *arguments(rows, registry, "--plan", plan(), "--model", "b"))
    split = {"spec.strategy": {"ab": {"arms": [{"name": "b", "version": 2, "weight": 5}]}}, "spec.candidate": ..., f"{METRICS}.1": ...}
    assert "an A/B has several" in failed(Exit.USAGE, *arguments(rows, registry, "--plan", plan(**split)))
    assert "spec.model: model name" in failed(Exit.USAGE, *arguments(rows, registry, "--plan", plan(**{"spec.model": "/"})))


def test_rows_and_versions_that_are_not_there_are_named(rows: Path, registry: Path, tmp_path: Path) -> None:
    """As are columns that are no inputs, unless they are passed over."""
    known = ["--model", "ages", "--candidate", "2"]
    assert "none.parquet: No such file" in failed(Exit.USAGE, *arguments(tmp_path / "none.parquet", registry, *known))
    assert "rows.parquet: 'when': neither an input" in failed(Exit.REGISTRY, "replay", "--from", rows, "-r", registry, *known)
    assert "no version 9" in failed(Exit.REGISTRY, *arguments(rows, registry, "--model", "ages", "--candidate", "9"))
    assert "NOT_FOUND" in failed(Exit.REGISTRY, *arguments(rows, registry, "--model", "ages", "--candidate", "nobody")).upper().replace(
        " ", "_"
    )


def test_a_damaged_version_is_the_registry_s_matter(rows: Path, registry: Path, damage: Callable[[int], None]) -> None:
    """Its file is not what was published."""
    damage(2)
    text = failed(Exit.REGISTRY, *arguments(rows, registry, "--model", "ages", "--candidate", "2"))
    assert "model.onnx of version 2 of model 'ages' is damaged" in text


def test_a_candidate_that_cannot_be_loaded_fails(rows: Path, registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is a verdict too: it would not serve."""
    load = Loader.load

    def refused(self: Loader, ref: ModelVersionRef, say: Any) -> Any:
        if ref.version == 2:
            raise ModelFault("golden request 1 fails")
        return load(self, ref, say)

    monkeypatch.setattr(Loader, "load", refused)
    text = failed(Exit.FAILED, *arguments(rows, registry, "--model", "ages", "--candidate", "2"))
    assert "tidegate: version 2 of model 'ages' cannot be loaded: golden request 1 fails\n" == text
