"""The end of a version, and what prevents it: holds. Both are log entries; files go later, with garbage collection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from registry.aliases import Performed
from registry.entries import Deed, HoldPlaced, HoldReleased, VersionDeleted, deed_fields
from registry.errors import Kind, RegistryError
from registry.head import Head
from registry.names import check_label
from registry.versions import Versions


class Deletion:
    """Holds on the versions of one model, and their deletion."""

    def __init__(self, versions: Versions, *, rollouts: Callable[[int], list[str]]) -> None:
        """`rollouts(version)`: the open ones that have a version in them."""
        self._versions = versions
        self._rollouts = rollouts
        self._model = versions.model

    def holds(self) -> dict[str, int]:
        """Every hold and its version. Raises `Kind.DAMAGED`."""
        return dict(self._versions.journal.read().holds)

    def hold(self, name: str, version: int, *, actor: str, reason: str, now_s: float, operation_id: str | None = None) -> Performed:
        """Forbid that `version` is deleted until the hold is released. Raises `Kind.CONFLICT` where there is one of this name."""
        fields = deed_fields(self._model, actor=actor, reason=reason, now_s=now_s, operation_id=operation_id)
        draft = HoldPlaced(**fields, hold=check_label(name, what="hold"), version=version)

        def check(head: Head) -> Mapping[str, Any]:
            self._exists(head, version)
            if name in head.holds:
                raise RegistryError(Kind.CONFLICT, f"hold '{name}' of model '{self._model}' exists, on version {head.holds[name]}")
            return {}

        return self._perform(draft, check)

    def release(self, name: str, *, actor: str, reason: str, now_s: float, operation_id: str | None = None) -> Performed:
        """End a hold. Raises `Kind.NOT_FOUND`."""
        fields = deed_fields(self._model, actor=actor, reason=reason, now_s=now_s, operation_id=operation_id)

        def check(head: Head) -> Mapping[str, Any]:
            if name not in head.holds:
                raise RegistryError(Kind.NOT_FOUND, f"model '{self._model}' has no hold '{name[:80]}'")
            return {}

        return self._perform(HoldReleased(**fields, hold=name), check)

    def delete(self, version: int, *, actor: str, reason: str, now_s: float, operation_id: str | None = None) -> Performed:
        """Take a version out of the registry; its number stays taken.

        Raises `Kind.CONFLICT` where an alias, a hold or an open rollout needs it.
        """
        fields = deed_fields(self._model, actor=actor, reason=reason, now_s=now_s, operation_id=operation_id)

        def check(head: Head) -> Mapping[str, Any]:
            self._exists(head, version)
            needed = [f"alias '{name}'" for name, number in head.aliases.items() if number == version]
            needed += [f"hold '{name}'" for name, number in head.holds.items() if number == version]
            needed += [f"rollout {rollout}" for rollout in self._rollouts(version)]
            if needed:
                raise RegistryError(Kind.CONFLICT, f"version {version} of model '{self._model}' is needed by {', '.join(needed)}")
            return {}

        return self._perform(VersionDeleted(**fields, version=version), check)

    def _perform(self, draft: Deed, check: Callable[[Head], Mapping[str, Any]]) -> Performed:
        self._versions.settle()
        entry, _, new = self._versions.journal.perform(draft, check)
        return Performed(entry, new)

    def _exists(self, head: Head, version: int) -> None:
        if version not in head.live:
            raise RegistryError(Kind.NOT_FOUND, f"model '{self._model}' has no version {version}")
