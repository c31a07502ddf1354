"""Two processes, 1,000 publishes and alias moves each, on one directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.store import Store
from tests.registry.workers import check_workers, run_workers


@pytest.mark.timeout(7200)
def test_a_thousand_each(tmp_path: Path) -> None:
    """No lost update, no gap, the chain whole."""
    check_workers(Store.create(tmp_path), run_workers(str(tmp_path), rounds=1000, options={}))
