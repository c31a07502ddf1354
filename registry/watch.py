"""Hand the full desired state to whoever serves, whenever it has changed. The only owner of watchfiles.

In a directory the kernel says that something changed; a look once a second covers network file systems, where it cannot. In an object
store the tips of the logs are polled. What is handed over is always read anew and whole: keys appear with full content, so there is
no half-written state to see. Blocks; meant for a thread of its own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import watchfiles

from registry.desired import Desired, desired
from registry.errors import Kind, RegistryError
from registry.medium import Medium
from registry.names import MODEL_NAME, number_of, numbered
from registry.store import Store

logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells of every burst of changes
LOOK_S = 1.0  # in a directory, beside the kernel's notices
POLL_S = 5.0  # of an object store: two list calls a model
_QUIET_MS, _LONGEST_MS = 20, 200  # a burst of changes is one change


class Watch:
    """What was last seen of one registry."""

    def __init__(self, store: Store, changed: Callable[[Desired], None], *, last: Desired | None = None) -> None:
        """`last` is what was seen before, if anything: it is not handed over again, and is kept of a model whose log is damaged."""
        self.last = last
        self.failure: RegistryError | None = None  # of the last look, where the registry could not be reached; `last` still holds
        self._store = store
        self._changed = changed
        self._tips: dict[str, tuple[int, int]] = {}  # model → newest entry, newest version

    def run(self, signals: Iterable[object]) -> None:
        """Look now and at every signal, until they end. An error of `changed` ends it too."""
        self.look()
        for _ in signals:
            self.look()

    def look(self) -> bool:
        """Hand over the state if it is not what was handed over last; whether it was. Never raises what the registry raises."""
        try:
            tips = self._read_tips()
            if self.last is not None and tips == self._tips:
                self.failure = None
                return False
            now = desired(self._store, self.last)
        except RegistryError as error:
            self.failure = error
            return False
        self._tips, self.failure = tips, None
        if now == self.last:
            return False
        self.last = now
        self._changed(now)
        return True

    def _read_tips(self) -> dict[str, tuple[int, int]]:
        """Cheap beside the state itself. Damage inside an entry is not seen here, but with the next change and by `verify`."""
        return {name: self._tip(name) for name in self._store.models() if MODEL_NAME.fullmatch(name)}

    def _tip(self, name: str) -> tuple[int, int]:
        entry, version = self._tips.get(name, (0, 0))
        return self._newest(f"models/{name}/log", entry), self._newest(f"models/{name}/versions", version)

    def _newest(self, prefix: str, known: int) -> int:
        names = self._store.medium.names(prefix, after=numbered(known) if known else "")
        return max((number_of(name) or 0 for name in names), default=known)


def signals(medium: Medium, stop: threading.Event, *, poll_s: float | None = None) -> Iterator[object]:
    """When to look at a registry on `medium`, until `stop` is set."""
    if isinstance(medium.root, Path):
        yield from _directory_signals(medium.root, stop, LOOK_S if poll_s is None else poll_s)
    else:
        while not stop.wait(POLL_S if poll_s is None else poll_s):
            yield None


def _directory_signals(root: Path, stop: threading.Event, look_s: float) -> Iterator[object]:
    """Raises `Kind.STORAGE` where the system's watches are used up or the directory is gone."""
    try:
        yield from watchfiles.watch(
            root / "models",
            watch_filter=None,
            debounce=_LONGEST_MS,
            step=_QUIET_MS,
            stop_event=stop,
            rust_timeout=int(look_s * 1000),
            yield_on_timeout=True,
            raise_interrupt=False,
        )
    except OSError as error:
        raise RegistryError(Kind.STORAGE, f"cannot watch models: {error.strerror or 'the system refuses'}") from error
