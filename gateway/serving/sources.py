"""Where models come from, as the settings name it, and what of it shall serve. Imports no runtime."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec

from gateway.config import Config, Repository
from gateway.model_settings import Versions
from gateway.serving.lifecycle import Desired, Wanted
from gateway.serving.selection import effective, remedy, select
from gateway.serving.splits import Guide, Pin, Split
from registry.discovery import Source, open_source
from registry.overlay import Overlay
from registry.verified import Listing, ModelVersionRef


def open_repository(settings: Repository) -> Source:
    """The source that the settings name, with what they say of it. Raises `RegistryError`."""
    if not settings.keys:
        return open_source(settings.path, options=settings.options, cache=settings.cache, model=settings.model)
    from registry.signatures import trusted  # most registries ask for none

    return open_source(settings.path, signers=trusted(settings.keys), options=settings.options, cache=settings.cache, model=settings.model)


def by_model(listing: Listing) -> dict[str, dict[int, ModelVersionRef]]:
    """Model → number → version, sorted by name."""
    found: dict[str, dict[int, ModelVersionRef]] = {}
    for ref in sorted(listing.versions, key=lambda ref: ref.model):
        found.setdefault(ref.model, {})[ref.version] = ref
    return found


ISOLATED = "+process"  # at the end of an identity: the version runs in a process of its own
BEHIND = "+behind"  # in one that gives way to whatever else runs


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall serve, by settings and source, and what callers are told of the rest."""

    desired: Desired
    aliases: Mapping[str, Mapping[str, int]]  # of all versions, also of those that do not serve
    undecided: frozenset[str] = frozenset()  # models where a request without a version is refused
    lazy: frozenset[str] = frozenset()  # models that are loaded when somebody asks for them
    idle: Mapping[str, str] = field(default_factory=dict)  # models of which nothing was chosen → why
    problems: tuple[str, ...] = ()  # one sentence each
    notes: tuple[str, ...] = ()  # what is fine as it is and ought to be known
    splits: tuple[Split, ...] = ()  # of rollouts; each holds once its versions are ready
    rolls: bool = False  # there is a rollout that is not over

    @classmethod
    def nothing(cls) -> Wish:
        """Before anything is known."""
        return cls(Desired(), {})


def wish(config: Config, listing: Listing, guides: Iterable[Guide] = ()) -> Wish:
    """What the settings choose of what a source has, or where they leave it open what its repository chooses itself; and what rollouts ask
    for beside it."""
    versions: set[Wanted] = set()
    defaults: dict[str, int] = {}
    undecided, lazy, idle, problems = set(), set(), {}, list(listing.problems)
    for model, refs in by_model(listing).items():
        aliases = listing.aliases_of(model)
        own = config.versions(model)
        choosing = effective(own, listing.policies.get(model))
        chosen = select(choosing, refs, aliases)
        settings = settings_key(config, model)
        versions |= {Wanted(model, number, f"{refs[number].content}/{settings}") for number in chosen.versions}
        by = "the settings choose" if choosing == own else "its config.pbtxt chooses"
        problems += [f"model '{model}' has no {absent}, which {by}" for absent in chosen.absent]
        if chosen.champion is not None:
            defaults[model] = chosen.champion
        elif not chosen.newest:
            undecided.add(model)
        if chosen.versions and config.is_lazy(model):
            lazy.add(model)
        if not chosen.versions:
            idle[model] = chosen.reason
            problems.append(f"model '{model}' serves no version: {chosen.reason}; {remedy(model, config.repository.path, aliases)}")
    labels = {model: dict(known) for model, known in (listing.aliases or {}).items()}
    pinned, splits, strayed = _guided(config, listing, guides)
    numbers = {(one.model, one.version) for one in pinned}
    versions = {one for one in versions if (one.model, one.version) not in numbers} | pinned
    return Wish(
        Desired(frozenset(versions), labels, defaults),
        labels,
        frozenset(undecided),
        frozenset(lazy),
        idle,
        problems=(*problems, *strayed),
        notes=listing.notes,
        splits=splits,
    )


def _guided(config: Config, listing: Listing, guides: Iterable[Guide]) -> tuple[set[Wanted], tuple[Split, ...], list[str]]:
    """The versions that rollouts pin, their splits, and what is wrong with any of them."""
    refs = by_model(listing)
    pinned, splits, problems = set(), [], []
    for guide in guides:
        there = refs.get(guide.model, {})
        strange = [pin for pin in guide.pins if pin.version not in there or there[pin.version].content != pin.manifest]
        if strange:
            problems.append(
                f"rollout '{guide.rollout}' stands still: version {strange[0].version} of model '{guide.model}' is not what it began with"
            )
            continue
        settings = settings_key(config, guide.model)
        pinned |= {Wanted(guide.model, pin.version, f"{pin.manifest}/{settings}{_suffix(pin)}") for pin in guide.pins}
        splits += [guide.split] if guide.split is not None else []
    return pinned, tuple(splits), problems


def _suffix(pin: Pin) -> str:
    return BEHIND if pin.gives_way else ISOLATED if pin.isolated else ""


def settings_key(config: Config, model: str) -> str:
    """A few letters that change with the settings a loaded version depends on, so that other settings are another version to load."""
    own = msgspec.structs.replace(config.model(model), versions=Versions(), allow_empty=False, lazy=None)
    content = msgspec.json.encode((config.batching, own, config.limits.serving))
    return hashlib.sha256(content).hexdigest()[:12]


def is_isolated(identity: str) -> bool:
    """Whether a version of this identity runs in a process of its own, whatever the settings of its model say."""
    return identity.endswith((ISOLATED, BEHIND))


def gives_way(identity: str) -> bool:
    """Whether that process gives way to whatever else runs."""
    return identity.endswith(BEHIND)


def content_of(identity: str) -> str:
    """What an identity says of a version's files."""
    return identity.rpartition("/")[0]


@contextmanager
def overlaid(source: Source, model: str, overlay: Overlay | None) -> Iterator[None]:
    """A source whose model is as the overlay says, which is given up afterwards. None leaves it as it is.

    Raises `RegistryError` as `Source.overlay` does.
    """
    if overlay is None:
        yield
        return
    try:
        source.overlay(model, overlay)
        yield
    finally:
        source.overlay(model, None)
        overlay.close()
