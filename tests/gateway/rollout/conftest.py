"""A folder for tests that make and remove a registry for every write that there is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """In memory where the system has such a place: nobody loses power in these tests, and a disk takes minutes for their files."""
    with tempfile.TemporaryDirectory(prefix="tidegate-", dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        yield Path(folder)
