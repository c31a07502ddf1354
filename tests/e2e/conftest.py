"""The server that the end-to-end tests share: limits of time are short, the rest is as a user gets it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import models
from tests.e2e.catalogue_scenes import MAX_CONNECTIONS
from tests.e2e.server import Server, serving

SETTINGS = f"""
models:
  rows: {{versions: {{all: true}}}}
  same_fp64: {{allow_empty: true}}
limits:
  wire:
    max_connections: {MAX_CONNECTIONS}
    max_connections_per_peer: {MAX_CONNECTIONS}
    header_timeout_s: 1
    body_timeout_s: 1
    write_timeout_s: 1
    linger_timeout_s: 0.2
"""


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All models, and two that cannot be loaded."""
    folder = tmp_path_factory.mktemp("repository")
    models.write(folder)
    return folder


@pytest.fixture(scope="session")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for everything that does not need its own."""
    with serving(tmp_path_factory.mktemp("server"), repository, SETTINGS) as running:
        yield running
