"""From what a source of models has to versions that serve: choose, verify, load, warm. One bad version costs no other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gateway.config import Config
from gateway.serving.model import Model, ModelFault, RunFault, SessionSettings, bound_memory
from gateway.serving.routing import Routes
from gateway.serving.versions import Release, Version
from registry.discovery import Source
from registry.errors import RegistryError
from registry.verified import ModelVersionRef

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loader:
    """What loading needs beside the source."""

    config: Config
    release: Release
    now: Callable[[], float]

    def load(self, source: Source) -> Routes:
        """Everything that the settings choose. What fails is in `Routes.failed` with its reason."""
        bound_memory(self.config.limits.serving.max_arena_bytes)
        versions: dict[str, dict[int, Version]] = {}
        failed: dict[tuple[str, int], str] = {}
        for ref in self._chosen(source):
            try:
                versions.setdefault(ref.model, {})[ref.version] = self._version(ref)
                _log.info("version ready: %s/%d", ref.model, ref.version)
            except (RegistryError, ModelFault, RunFault) as error:
                failed[ref.model, ref.version] = str(error)
                _log.error("version failed: %s/%d: %s", ref.model, ref.version, error)
        return Routes({name: known for name, known in versions.items() if known}, failed)

    def _chosen(self, source: Source) -> Iterator[ModelVersionRef]:
        listing = source.listing()
        for problem in listing.problems:
            _log.warning("repository: %s", problem)
        by_model: dict[str, dict[int, ModelVersionRef]] = {}
        for ref in listing.versions:
            by_model.setdefault(ref.model, {})[ref.version] = ref
        for name in sorted(by_model):
            if source.config_text(name) is not None:
                _log.warning("config.pbtxt of model '%s' is not read: set what it says in this server's own settings", name)
            chosen = self.config.model(name).versions.chosen(tuple(by_model[name]))
            yield from (by_model[name][number] for number in chosen)

    def _version(self, ref: ModelVersionRef) -> Version:
        plan = self.config.model(ref.model)
        settings = SessionSettings(intra_op_threads=plan.intra_op_threads, max_batch_size=plan.max_batch_size)
        with ref.open() as verified:
            model = Model(ref.model, verified.path, settings, external=verified.external_maps())
        version = Version(ref.version, model, self.config.limits.serving, release=self.release)
        version.max_delay_s = plan.max_queue_delay_ms / 1e3
        version.warm(self.now)
        return version
