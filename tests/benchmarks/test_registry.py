"""The registry bench on a small registry: it measures what its bars are made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import registry


def test_a_small_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One bar for every question, each with its bound; the exit status says whether all hold."""
    for name, value in (("MODELS", 3), ("VERSIONS", 4), ("MODEL_BYTES", 40_000), ("QUICK_ROUNDS", 1), ("RESOLVES", 5)):
        monkeypatch.setattr(registry, name, value)
    status = registry.main(["--quick", "--json", "-", "--directory", str(tmp_path)])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"models_s", "resolve_alias_warm_ms", "watch_s", "publish_100_mb_of_3_copies_and_1.5_s"} == {
        bar["name"] for bar in result["bars"]
    }
    assert [1.0] * 4 == [bar["bound"] for bar in result["bars"]]
    assert (status == 0) == all(bar["holds"] for bar in result["bars"])
    assert 12 == result["measurements"]["build"]["versions"]
