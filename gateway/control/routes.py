"""The routes of an HTTP surface: which methods a path takes, and the name of each in the access table. Knows no handler and no caller."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from gateway.wire.exchange import Headers, HttpApplication, HttpExchange, HttpHandler, HttpRefusal

READ, WRITE = ("GET", "HEAD"), ("POST",)
_ACCEPTED_TYPES = frozenset((b"", b"application/json", b"application/octet-stream", b"application/x-www-form-urlencoded", b"text/json"))
JSON_ONLY = frozenset((b"application/json", b"text/json"))  # no page that a browser shows can have it send these elsewhere (CORS)
YAML_TOO = JSON_ONLY | {b"application/yaml", b"application/x-yaml", b"text/yaml", b"text/x-yaml"}
_WORDS = {
    _ACCEPTED_TYPES: "application/json or application/octet-stream", JSON_ONLY: "application/json",
    YAML_TOO: "application/yaml or application/json",
}  # fmt: skip


class Route:
    """A path with names in it, `/v2/models/{model}`, and the methods that it takes. `names` are those of the access table, by method."""

    __slots__ = ("_types", "names")

    def __init__(self, methods: tuple[str, ...], template: str, types: frozenset[bytes] = _ACCEPTED_TYPES) -> None:
        """`types`: what a body may be."""
        self._types = types
        self.names = {method: f"{'GET' if method == 'HEAD' else method} {template}" for method in methods}

    def check(self, method: str, headers: Headers) -> str:
        """The name for a method. Raises HttpRefusal 405 for another method, 415 for a body that is no JSON and not binary."""
        name = self.names.get(method)
        if name is None:
            raise HttpRefusal(405, "Method Not Allowed", [(b"allow", ", ".join(self.names).encode())])
        if method == "POST":
            self._check_type(headers)
        return name

    def _check_type(self, headers: Headers) -> None:
        """Where nothing else is said, curl's default type passes; forms with parts and pickles never do (CVE-2024-47874, CVE-2024-2912)."""
        kind = next((value for name, value in headers if name == b"content-type"), b"")
        if kind.partition(b";")[0].strip().lower() not in self._types:
            raise HttpRefusal(415, f"content-type is not supported; use {_WORDS[self._types]}")


Action = Callable[[HttpExchange, str, str], None]  # (exchange, model, version)
Found = tuple[str, str | None, HttpHandler]  # of a request: its name in the access table, the model in its path, and who answers


class Surface(Protocol):
    """What can be guarded: a router that says what it has found. `routes` is what it routes by, and so all that there is to find."""

    @property
    def routes(self) -> Iterable[Route]:
        """All routes."""
        ...

    def find(self, method: str, target: bytes, headers: Headers) -> Found:
        """Who answers a request, by its raw path. Raises HttpRefusal."""
        ...


class Application(Surface, HttpApplication, Protocol):
    """A surface that can also be used as it is, by everybody."""
