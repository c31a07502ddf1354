"""The server that the end-to-end tests share: limits of time are short, the rest is as a user gets it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e import catalogue_tls, models
from tests.e2e.catalogue_scenes import MAX_CONNECTIONS
from tests.e2e.catalogue_tls import Authorities
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
    linger_timeout_s: 0.5
"""


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All models, and two that cannot be loaded."""
    folder = tmp_path_factory.mktemp("repository")
    models.write(folder)
    return folder


@pytest.fixture(scope="session")
def secure(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], tuple[Server, Authorities]]]:
    """A server behind TLS that demands certificates of its callers, started when it is first asked for."""
    folder = tmp_path_factory.mktemp("secure")
    with ExitStack() as running:

        @functools.cache
        def started() -> tuple[Server, Authorities]:
            authorities = Authorities(folder)
            return running.enter_context(serving(folder, repository, catalogue_tls.settings(folder))), authorities

        yield started


@pytest.fixture(scope="session")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for everything that does not need its own."""
    with serving(tmp_path_factory.mktemp("server"), repository, SETTINGS) as running:
        yield running
