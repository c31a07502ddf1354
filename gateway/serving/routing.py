"""Names to versions: an immutable table, replaced whole. A lookup is two dictionary reads and never touches a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.errors import Code, TidegateError
from gateway.protocol.tensors import shown
from gateway.serving.versions import Version


@dataclass(frozen=True, slots=True)
class Routes:
    """Which versions serve. `failed` holds the reason of versions that should serve and cannot."""

    versions: Mapping[str, Mapping[int, Version]] = field(default_factory=dict)
    failed: Mapping[tuple[str, int], str] = field(default_factory=dict)

    def resolve(self, model: str, version: str) -> Version:
        """The version that a request means; an empty text means the highest number that serves.

        Raises NOT_FOUND for what does not exist and UNAVAILABLE for what exists and does not serve.
        """
        known = self.versions.get(model)
        if known is None:
            if any(name == model for name, _ in self.failed):
                raise TidegateError(Code.UNAVAILABLE, f"Request for unknown model: '{shown(model)}' has no version that is ready")
            raise TidegateError(Code.NOT_FOUND, f"Request for unknown model: '{shown(model)}' is not found")
        if not version:
            return known[max(known)]
        number = _number(version)
        found = known.get(number)
        if found is None:
            if (model, number) in self.failed:
                raise TidegateError(Code.UNAVAILABLE, f"Request for unknown model: '{shown(model)}' version {number} is not at ready state")
            raise TidegateError(Code.NOT_FOUND, f"Request for unknown model: '{shown(model)}' version {shown(version)} is not found")
        return found

    def ready(self, model: str, version: str) -> bool:
        """Whether `resolve` would succeed. Raises NOT_FOUND for a model that does not exist at all."""
        try:
            self.resolve(model, version)
        except TidegateError as error:
            if error.code is Code.NOT_FOUND:
                raise
            return False
        return True

    def numbers(self, model: str) -> list[int]:
        """The versions of a model that serve, ascending."""
        return sorted(self.versions.get(model, ()))

    def all(self) -> Iterable[Version]:
        """Every version that serves."""
        return [version for known in self.versions.values() for version in known.values()]


def _number(version: str) -> int:
    """A version as its decimal number without leading zeros; -1 for any other text ('٣' and '01' name no version)."""
    plain = version.isascii() and version.isdigit() and len(version) <= 18 and (version == "0" or version[0] != "0")
    return int(version) if plain else -1
