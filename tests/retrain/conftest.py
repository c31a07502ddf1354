"""What tests of jobs say about refusals of the registry."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from registry.errors import RegistryError


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is not killed by the power loses nothing that it had written."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)


@pytest.fixture
def kind_of() -> Callable[[Callable[[], object]], str]:
    """Calls something that must raise a `RegistryError` and gives "kind: message"."""

    def call(deed: Callable[[], object]) -> str:
        with pytest.raises(RegistryError) as caught:
            deed()
        return f"{caught.value.kind.value}: {caught.value.message}"

    return call
