"""What loads brought with them, in the supervisor's memory as long as a version is served with it: a worker that comes later serves the
same. Bounded in bytes and in number. Methods may be called from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from gateway.errors import Code, TidegateError
from gateway.serving.sources import content_of
from registry.overlay import Overlay, name_in

MAX_OVERLAYS = 512  # each holds a descriptor


class Overlays:
    """By the name of their content; and which one holds for a model."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._held: dict[str, Overlay] = {}
        self._current: dict[str, str] = {}  # model → name

    def of(self, model: str) -> str:
        """The name of the one that holds for a model; "" for none."""
        with self._lock:
            return self._current.get(model, "")

    def put(self, model: str, overlay: Overlay) -> Overlay:
        """Have another one hold for a model: it, or the same that is here already. It belongs to this from now on, and is closed where
        OVERLOADED is raised for lack of room."""
        with self._lock:
            if overlay.name in self._held:
                overlay.close()
            elif len(self._held) >= MAX_OVERLAYS or self._bytes() + overlay.bundle.size_bytes > self.max_bytes:
                overlay.close()
                raise TidegateError(
                    Code.OVERLOADED, f"loads brought {self._bytes()} bytes: there is no room for more (repository.load_bytes)"
                )
            else:
                self._held[overlay.name] = overlay
            self._current[model] = overlay.name
            return self._held[overlay.name]

    def restore(self, model: str, name: str) -> None:
        """Have the one of this name hold again, "" being none."""
        with self._lock:
            if name in self._held:
                self._current[model] = name
            else:
                self._current.pop(model, None)

    def bundle(self, identity: str) -> int:
        """The descriptor of what came with the load of a version; -1 for none."""
        name = name_in(content_of(identity))
        with self._lock:
            return self._held[name].bundle.fd if name in self._held else -1

    def copy(self, identity: str) -> Overlay | None:
        """The same, for the caller to close."""
        name = name_in(content_of(identity))
        with self._lock:
            return self._held[name].copy() if name in self._held else None

    def keep(self, identities: Iterable[str]) -> None:
        """Give up what neither holds for a model nor belongs to one of these versions."""
        with self._lock:
            if not self._held:
                return
            wanted = {*self._current.values(), *[name_in(content_of(identity)) for identity in identities]}
            for name in [name for name in self._held if name not in wanted]:
                self._held.pop(name).close()

    def _bytes(self) -> int:
        return sum(overlay.bundle.size_bytes for overlay in self._held.values())
