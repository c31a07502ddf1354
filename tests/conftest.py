"""What holds for all tests: properties are about what is computed, not about how long a busy machine takes for it; real servers are
tried one after the other, while other processes run what needs none.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_E2E = Path(__file__).parent / "e2e"

settings.register_profile("tidegate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tidegate")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two servers and their callers at once would be more than two cores, and tests of time limits would see that."""
    for item in items:
        if _E2E in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("e2e"))
