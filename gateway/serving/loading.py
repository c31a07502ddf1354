"""From what a source of models has to versions that serve: choose, verify, load, warm. One bad version costs no other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gateway.config import MAX_DELAY_MS, MAX_ROWS, Config, ModelPlan, Repository
from gateway.serving.model import Model, ModelFault, RunFault, SessionSettings, bound_memory
from gateway.serving.routing import Routes
from gateway.serving.selection import Selection, remedy, select
from gateway.serving.versions import Release, Version
from registry.discovery import Source, open_source
from registry.errors import RegistryError
from registry.verified import Listing, ModelVersionRef

_log = logging.getLogger(__name__)


def open_repository(settings: Repository) -> Source:
    """The source that the settings name, with what they say of it. Raises `RegistryError`."""
    if not settings.keys:
        return open_source(settings.path, options=settings.options, cache=settings.cache)
    from registry.signatures import trusted  # most registries ask for none

    return open_source(settings.path, signers=trusted(settings.keys), options=settings.options, cache=settings.cache)


def by_model(listing: Listing) -> dict[str, dict[int, ModelVersionRef]]:
    """Model → number → version, sorted by name."""
    found: dict[str, dict[int, ModelVersionRef]] = {}
    for ref in sorted(listing.versions, key=lambda ref: ref.model):
        found.setdefault(ref.model, {})[ref.version] = ref
    return found


@dataclass(frozen=True, slots=True)
class Loader:
    """What loading needs beside the source."""

    config: Config
    release: Release
    now: Callable[[], float]

    def load(self, source: Source) -> Routes:
        """Everything that the settings choose. What fails is in `Routes.failed` with its reason."""
        bound_memory(self.config.limits.serving.max_arena_bytes)
        listing = source.listing()
        for problem in listing.problems:
            _log.warning("repository: %s", problem)
        versions: dict[str, dict[int, Version]] = {}
        failed: dict[tuple[str, int], str] = {}
        selections: dict[str, Selection] = {}
        for name, refs in by_model(listing).items():
            if source.config_text(name) is not None:
                _log.warning("config.pbtxt of model '%s' is not read: set what it says in this server's own settings", name)
            selections[name] = self._selected(name, refs, listing.aliases_of(name))
            loaded = self._versions((refs[number] for number in selections[name].versions), failed)
            versions |= {name: loaded} if loaded else {}
        return Routes(
            versions,
            failed,
            aliases=listing.aliases or {},
            defaults={name: chosen.champion for name, chosen in selections.items() if chosen.champion or not chosen.newest},
            idle={name: chosen.reason for name, chosen in selections.items() if not chosen.versions},
        )

    def _selected(self, model: str, refs: Mapping[int, ModelVersionRef], aliases: Mapping[str, int] | None) -> Selection:
        chosen = select(self.config.versions(model), refs, aliases)
        for absent in chosen.absent:
            _log.warning("model '%s' has no %s, which the settings choose", model, absent)
        if not chosen.versions:
            advice = remedy(model, self.config.repository.path, aliases)
            _log.warning("model '%s' serves no version: %s; %s", model, chosen.reason, advice)
        return chosen

    def _versions(self, refs: Iterable[ModelVersionRef], failed: dict[tuple[str, int], str]) -> dict[int, Version]:
        """The versions that load, by number; for the others the reason goes into `failed`."""
        loaded: dict[int, Version] = {}
        for ref in refs:
            try:
                loaded[ref.version] = self._version(ref)
                _log.info("version ready: %s/%d", ref.model, ref.version)
            except (RegistryError, ModelFault, RunFault) as error:
                failed[ref.model, ref.version] = str(error)
                _log.error("version failed: %s/%d: %s", ref.model, ref.version, error)
        return loaded

    def _version(self, ref: ModelVersionRef) -> Version:
        with ref.open() as verified:
            plan = self.config.plan(ref.model, verified.serving)
            _check_plan(ref.model, plan)
            settings = SessionSettings(intra_op_threads=plan.intra_op_threads, max_batch_size=plan.max_batch_size)
            model = Model(ref.model, verified.path, settings, external=verified.external_maps(), schema=verified.schema)
        version = Version(ref.version, model, self.config.limits.serving, release=self.release)
        version.max_delay_s = plan.max_queue_delay_ms / 1e3
        version.warm(self.now)
        return version


def _check_plan(model: str, plan: ModelPlan) -> None:
    """What a version asks for and this server cannot give; the model's own settings would have won. Raises ModelFault."""
    bounds = {"instances": (plan.instances, 1), "max_batch_size": (plan.max_batch_size, MAX_ROWS)}
    bounds["max_queue_delay_ms"] = (plan.max_queue_delay_ms, MAX_DELAY_MS)
    for name, (wanted, most) in bounds.items():
        if wanted > most:
            raise ModelFault(f"its serving.json asks for {name} {wanted:g}, and this server has at most {most}: set models.{model}.{name}")
