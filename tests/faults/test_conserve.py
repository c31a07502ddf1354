"""The inference log under everything at once: the quick form of the conservation bench, with a real full disk."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.timeout(900)
def test_every_answer_is_a_row_or_is_counted() -> None:
    """All bars hold, with fewer requests than `make bench-conserve` sends."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.conserve", "--quick", "--json", "-"], check=False, capture_output=True, text=True
    )
    bars = json.loads(done.stdout.splitlines()[-1])["bars"]
    assert [] == [bar for bar in bars if not bar["holds"]], done.stderr
    assert 0 == done.returncode
