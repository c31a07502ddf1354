"""Whose rollouts the verbs are about: those of a registry, or of a server by its admin port; and who acts."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.clock import SystemClock
from gateway.commands import place
from gateway.commands.output import UsageError
from gateway.commands.reaching import Authority, Certificate, Key, Reach, Timeout, TokenFile

if TYPE_CHECKING:
    from gateway.control.rollout_work import Work

Registry = Annotated[
    str | None, typer.Option("--registry", "-r", metavar="PLACE", help="Work on a registry: a directory, or s3://…, gs://…, az://….")
]
Server = Annotated[
    str | None, typer.Option("--server", metavar="HOST:PORT", help="Ask a server by its admin port [127.0.0.1:8003 without --registry].")
]
DEFAULT = "127.0.0.1:8003"
_SHARED: dict[str, tuple[Any, Any]] = {  # name: type, default
    "registry": (Registry, None),
    "option": (place.Options, None),
    "server": (Server, None),
    "timeout": (Timeout, 10.0),
    "ca": (Authority, None),
    "cert": (Certificate, None),
    "key": (Key, None),
    "token_file": (TokenFile, None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One registry, or one server."""

    registry: str | None
    option: list[str] | None
    server: str | None
    timeout: float  # seconds for one answer
    ca: Path | None
    cert: Path | None
    key: Path | None
    token_file: Path | None

    def work(self) -> Work:
        """Raises `UsageError` where it is not clear which is meant; nothing is opened or asked yet."""
        if self.registry is not None:
            if any((self.server, self.ca, self.cert, self.key, self.token_file)):
                raise UsageError("--registry: the rollouts are those of a registry or of a server, not both")
            return self._of_registry(self.registry)
        if self.option:
            raise UsageError("--option: belongs to --registry")
        from gateway.client_admin import AdminClient

        url = self.server or DEFAULT
        rest = Reach(url=url, timeout_s=self.timeout, ca=self.ca, cert=self.cert, key=self.key, token_file=self.token_file).rest()
        return AdminClient(rest)

    def actor(self, actor: str | None) -> str:
        """Who acts: as said, else the user, unless a credential says it."""
        if actor is not None:
            return actor
        return "" if self.token_file or self.cert else place.user()

    def _of_registry(self, registry: str) -> Work:
        from gateway.control.rollout_registry import RolloutRegistry

        return RolloutRegistry(lambda: place.existing(registry, self.option), SystemClock().wall)


def targeted(function: Callable[..., None]) -> Callable[..., None]:
    """A command with the options that say whose rollouts are meant; it gets them as one `target`."""
    hints = typing.get_type_hints(function, include_extras=True)
    own = [one.replace(annotation=hints[name]) for name, one in inspect.signature(function).parameters.items() if name != "target"]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _SHARED.items()
    ]

    def called(**given: Any) -> None:
        function(target=Target(**{name: given.pop(name) for name in _SHARED}), **given)

    called.__name__, called.__doc__ = function.__name__, function.__doc__
    called.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]  # what typer makes options of
    called.__annotations__ = {one.name: one.annotation for one in (*own, *shared)}
    return called
