"""The bench of scoring on a few rows: it measures what its bar is made of, and sees answers that are not ONNX Runtime's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from benchmarks import score
from benchmarks.models import TABULAR


def test_a_small_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One bar, of the model that computes; the exit status says whether it holds."""
    changes = {"QUICK_ROUNDS": 1, "QUICK_ROWS": {"mlp": 200}, "BATCHES": {"mlp": (64,)}, "BARE_S": 0.05}
    for name, value in changes.items():
        monkeypatch.setattr(score, name, value)
    status = score.main(["--quick", "--json", "-"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    (bar,) = result["bars"]
    (run,) = result["measurements"]["mlp"]["runs"]
    assert ("score_mlp_rows_vs_bare_onnxruntime", 0.9, []) == (bar["name"], bar["bound"], run["faults"])
    assert bar["value"] == pytest.approx(run["rows_per_second"] / run["bare_rows_per_second"], abs=1e-4)
    assert (status == 0) == bar["holds"]


@pytest.mark.parametrize(
    ("ids", "label", "said"),
    [
        ([0, 1], [1, 0], []),
        ([1, 0], [1, 0], ["2 rows, of 2 in their order"]),
        ([0], [1], ["1 rows, of 2 in their order", "output label is not ONNX Runtime's"]),
        ([0, 1], [1, 1], ["output label is not ONNX Runtime's"]),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, ids: list[int], label: list[int], said: list[str]) -> None:
    """A run with such a file does not count."""
    answers = [[1, 0], [0.5, 0.5]]
    columns = {"id": ids, "label": label, "probabilities": [[0.25, 0.75]] * len(ids)}
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    expected = [[np.array([one]), np.array([[0.25, 0.75]])] for one in answers[0]]
    found = score.faults(tmp_path / "a.parquet", TABULAR, 2, expected)
    assert said == [text for text in found if "probabilities" not in text]


def test_a_bar_takes_runs_without_faults() -> None:
    """Whatever the ratio is."""
    run = {"rows_per_second": 95.0, "bare_rows_per_second": 100.0, "faults": []}
    assert [True, False, False] == [
        score.judge({"mlp": {"runs": [run | change]}})[0]["holds"]
        for change in ({}, {"rows_per_second": 80.0}, {"faults": ["one is wrong"]})
    ]
