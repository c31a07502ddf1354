"""Names to versions: an immutable table, replaced whole. A lookup is two dictionary reads, three for an alias, and never touches a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.errors import AsleepError, Code, TidegateError
from gateway.protocol.tensors import shown
from gateway.serving.selection import CHAMPION
from gateway.serving.splits import Split
from gateway.serving.versions import Version
from registry.names import ALIAS_NAME

_NONE = -1  # the number of no version
_EMPTY: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True)
class Routes:
    """Which versions serve, as one source was seen at one moment."""

    versions: Mapping[str, Mapping[int, Version]] = field(default_factory=dict)  # model → number → what serves
    failed: Mapping[tuple[str, int], str] = field(default_factory=dict)  # should serve and cannot (with settings that are new) → why
    loading: frozenset[tuple[str, int]] = frozenset()  # shall serve soon
    unloading: frozenset[tuple[str, int]] = frozenset()  # serve nobody new
    aliases: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # model → alias → number, of whatever version
    defaults: Mapping[str, int | None] = field(default_factory=dict)
    # model → what a request without a version means; None: nothing; not in it: the highest number that serves
    idle: Mapping[str, str] = field(default_factory=dict)  # models of which nothing was chosen → why
    asleep: frozenset[str] = frozenset()  # models that are loaded on demand, and are not loaded
    splits: Mapping[str, Split] = field(default_factory=dict)  # model → how requests without a version are divided
    partial: bool = False  # the source has not been read yet: what is not here may come
    _coming: frozenset[str] = field(init=False, compare=False)  # models of `failed` and `loading`

    def __post_init__(self) -> None:
        object.__setattr__(self, "_coming", frozenset([name for name, _ in (*self.failed, *self.loading)]))

    def resolve(self, model: str, version: str) -> Version:
        """The version that a request means: a number in digits, or an alias; an empty text means the model's default.

        Raises NOT_FOUND for what does not exist and UNAVAILABLE for what exists and does not serve.
        """
        known = self.versions.get(model)
        if known is None:
            if model in self.asleep:
                raise AsleepError(model)
            raise self._refusal(model, version)
        if not version:
            found = known.get(self.defaults[model] or _NONE) if model in self.defaults else known[max(known)]
        else:
            number = _number(version)
            found = known.get(number if number != _NONE else self.aliases.get(model, _EMPTY).get(version, _NONE))
        if found is None:
            raise self._refusal(model, version)
        return found

    def ready(self, model: str, version: str) -> bool:
        """Whether `resolve` would succeed. Raises NOT_FOUND for a model that does not exist at all."""
        try:
            self.resolve(model, version)
        except AsleepError:
            return True
        except TidegateError as error:
            if error.code is Code.NOT_FOUND:
                raise
            return False
        return True

    def readiness(self) -> dict[str, bool]:
        """Every model that there is, and whether a request without a version is answered, be it after the model was loaded."""
        names = {*self.versions, *self.idle, *self.asleep, *self._coming}
        return {name: self.ready(name, "") for name in sorted(names)}

    def numbers(self, model: str) -> list[int]:
        """The versions of a model that serve, ascending."""
        return sorted(self.versions.get(model, ()))

    def all(self) -> Iterable[Version]:
        """Every version that serves."""
        return [version for known in self.versions.values() for version in known.values()]

    def _refusal(self, model: str, version: str) -> TidegateError:
        """Why `resolve` found nothing."""
        asked = f"Request for unknown model: '{shown(model)}'"
        if model not in self.versions and model not in self.idle and model not in self._coming:
            return _unavailable("the server is starting") if self.partial else TidegateError(Code.NOT_FOUND, f"{asked} is not found")
        alias = version or CHAMPION
        number = self.aliases.get(model, _EMPTY).get(alias) if version else self.defaults.get(model)
        if number is not None:
            return _unavailable(f"{asked} alias {shown(alias)} stands for version {number}, which is not at ready state")
        if model in self.idle:
            return _unavailable(f"model '{shown(model)}' serves no version: {self.idle[model]}")
        if model not in self.versions:
            return _unavailable(f"{asked} has no version that is ready")
        if not version:
            return _unavailable(f"model '{shown(model)}' has no champion: name a version or alias")
        if (model, _number(version)) in self.failed or (model, _number(version)) in self.loading:
            return _unavailable(f"{asked} version {version} is not at ready state")
        what = "alias" if ALIAS_NAME.fullmatch(version) else "version"
        return TidegateError(Code.NOT_FOUND, f"{asked} {what} {shown(version)} is not found")


def _unavailable(message: str) -> TidegateError:
    return TidegateError(Code.UNAVAILABLE, message)


def _number(version: str) -> int:
    """A version as its decimal number without leading zeros; `_NONE` for any other text ('٣' and '01' name no version)."""
    plain = version.isascii() and version.isdigit() and len(version) <= 18 and (version == "0" or version[0] != "0")
    return int(version) if plain else _NONE
