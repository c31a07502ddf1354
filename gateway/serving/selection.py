"""Which versions of a model serve, and which of them answers a request that names none. Pure: settings, numbers and aliases to a choice.

In a registry nothing serves for being the newest: without settings, what an alias stands for serves, and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gateway.model_settings import Versions
from registry.verified import VersionPolicy

CHAMPION = "champion"


@dataclass(frozen=True, slots=True)
class Selection:
    """The choice for one model."""

    versions: tuple[int, ...]  # to be loaded, ascending
    champion: int | None  # of these, the one that a request without a version means
    newest: bool  # without a champion such a request means the highest number that serves; False: it is refused
    reason: str  # why nothing is to be loaded, "" where something is
    absent: tuple[str, ...]  # what the settings name and the repository does not have


def effective(own: Versions, policy: VersionPolicy | None) -> Versions:
    """What the settings say of a model, or where they say nothing what its repository does."""
    if policy is None or own != Versions():
        return own
    if policy.specific:
        return Versions(specific=policy.specific)
    return Versions(all=True) if policy.all else Versions(latest=policy.latest)


def select(settings: Versions, available: Collection[int], aliases: Mapping[str, int] | None) -> Selection:
    """`available`: the numbers that there are, at least one; `aliases`: None for a source that knows none, a Triton-style repository."""
    known = aliases or {}
    numbers = _numbers(settings, available, aliases)
    versions = tuple(sorted(numbers & set(available)))
    champion = known.get(CHAMPION)
    return Selection(
        versions=versions,
        champion=champion if champion in versions else None,
        newest=_by_number(settings) or (aliases is None and not settings.aliases),
        reason="" if versions else _reason(settings, aliases),
        absent=(
            *(f"version {number}" for number in sorted(set(settings.specific) - set(available))),
            *(f"alias '{alias}'" for alias in settings.aliases if alias not in known),
        ),
    )


def remedy(model: str, where: object, aliases: Mapping[str, int] | None) -> str:
    """What to do about a model of which nothing serves; `where` is the repository."""
    setting = f"set models.{model}.versions"
    return setting if aliases is None else f"tidegate alias {model} champion N --registry {where}, or {setting}"


def _by_number(settings: Versions) -> bool:
    return bool(settings.all or settings.specific or settings.latest)


def _numbers(settings: Versions, available: Collection[int], aliases: Mapping[str, int] | None) -> set[int]:
    if settings.all:
        return set(available)
    if settings.specific:
        return set(settings.specific)
    if settings.aliases:
        return {aliases[alias] for alias in settings.aliases if alias in aliases} if aliases else set()
    if settings.latest or aliases is None:
        return set(sorted(available)[-(settings.latest or 1) :])
    return set(aliases.values())


def _reason(settings: Versions, aliases: Mapping[str, int] | None) -> str:
    if settings.aliases:
        return "a Triton-style repository has no aliases" if aliases is None else "none of the chosen aliases is there"
    return "none of the chosen versions is there" if settings.specific else "no alias stands for one"
