"""Sees what the repository holds, from a thread: once at the start, then whenever it changes, or when somebody asks. Gives wishes.

A repository that cannot be reached at the start is asked again until it can; one that is none is an error.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from gateway.config import Config
from gateway.control.guidance import Guidance, guidance_of
from gateway.serving.sources import Wish, open_repository, wish
from registry.discovery import Source
from registry.errors import Kind, RegistryError
from registry.niceness import give_way
from registry.overlay import Overlay
from registry.verified import Listing

_log = logging.getLogger(__name__)
_AGAIN_S = 2.0  # between attempts to reach a repository
FOLLOW_S = 0.5  # between two looks at rollouts, where nobody asks for one


class Lookout:
    """One repository under one config at a time."""

    def __init__(self, config: Config, seen: Callable[[Wish], None], failed: Callable[[RegistryError], None]) -> None:
        """`seen(wish)` and `failed(error)` are called in the thread; after `failed` it has ended."""
        self._config = config
        self._seen = seen
        self._failed = failed
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._looking = threading.Lock()  # what is handed over last was seen last
        self.source: Source | None = None  # once there is one
        self._guidance: Guidance | None = None  # where the source is a registry
        self._told: frozenset[str] = frozenset()
        self._thread = threading.Thread(target=self._run, name="lookout", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def configure(self, config: Config) -> None:
        """Other settings: the same repository is looked at anew."""
        with self._lock:
            self._config = config
        self.look()

    def look(self) -> None:
        """List the repository now. Blocks. Does nothing before it was reached."""
        source = self.source
        if source is None:
            return
        try:
            with self._looking:
                self._look_at_rollouts()
                self._found(source.listing())
        except RegistryError as error:
            _log.error("repository: %s; what was seen last still holds", error.message)

    def overlay(self, model: str, overlay: Overlay | None, check: Callable[[Wish], None] | None = None) -> None:
        """Have a model be as a load says, or as it is, and look. Blocks. Where anything is raised, nothing has changed.

        `check` raises for a wish that is not to be. Raises `RegistryError` as `Source.overlay` and `Source.listing`, and
        `Kind.STORAGE` before the repository was reached.
        """
        source = self.source
        if source is None:
            raise RegistryError(Kind.STORAGE, "the repository has not been read yet")
        with self._looking:
            before = source.overlaid(model)
            source.overlay(model, overlay)
            try:
                self._found(source.listing(), check)
            except BaseException:
                source.overlay(model, before)
                raise

    def _run(self) -> None:
        give_way()
        try:
            source = self._opened()
            if source is not None:
                source.watch(self._found, self._stop)
        except RegistryError as error:
            self._failed(error)

    def _follow(self) -> None:
        """Look again whenever a rollout has gone on."""
        give_way()
        while not self._stop.wait(FOLLOW_S):
            try:
                with self._looking:
                    if self.source is not None and self._look_at_rollouts():
                        self._found(self.source.listing())
            except RegistryError as error:
                _log.error("rollouts: %s; what was seen last still holds", error.message)

    def _look_at_rollouts(self) -> bool:
        return self._guidance is not None and self._guidance.look()

    def _opened(self) -> Source | None:
        """The source with its first listing handed over; None where the server stops before it was reached."""
        while not self._stop.is_set():
            try:
                source = open_repository(self._config.repository)
                self._guidance = guidance_of(source)
                self.source = source
                with self._looking:
                    self._look_at_rollouts()
                    self._found(source.listing())
                if self._guidance is not None:
                    threading.Thread(target=self._follow, name="rollouts", daemon=True).start()
                return source
            except RegistryError as error:
                if error.kind is not Kind.STORAGE:
                    raise
                _log.error("repository: %s; trying again", error.message)
                self._stop.wait(_AGAIN_S)
        return None

    def _found(self, listing: Listing, check: Callable[[Wish], None] | None = None) -> None:
        with self._lock:
            made = wish(self._config, listing, self._guidance.guides if self._guidance is not None else ())
            made = replace(made, rolls=self._guidance is not None and self._guidance.open)
            if check is not None:
                check(made)
            problems = (*made.problems, *(self._guidance.problems if self._guidance is not None else ()))
            self._tell(logging.WARNING, problems)
            self._tell(logging.INFO, made.notes)
            self._told = frozenset((*problems, *made.notes))
        self._seen(made)

    def _tell(self, level: int, sentences: tuple[str, ...]) -> None:
        for sentence in sentences:
            if sentence not in self._told:  # each once, until it is no longer so
                _log.log(level, "repository: %s", sentence)
