"""Where what is known of versions' traffic waits for its next use: files of a state directory. What goes wrong with them is in the log."""

from __future__ import annotations

import logging
from pathlib import Path

from registry.drift_files import DriftFiles
from registry.errors import RegistryError

_log = logging.getLogger(__name__)


class Shelf:
    """Documents by name."""

    def __init__(self, state: Path) -> None:
        """Raises `Kind.STORAGE`."""
        self._files = DriftFiles(state)

    def save(self, name: str, content: bytes) -> bool:
        """Whether it is kept now."""
        try:
            self._files.save(name, content)
        except RegistryError as error:
            _log.error("drift: %s", error.message)
            return False
        return True

    def load(self, name: str) -> bytes | None:
        """What was saved last."""
        content, problem = self._files.load(name)
        if problem:
            _log.error("drift of %s begins anew: %s", name, problem)
        return content
