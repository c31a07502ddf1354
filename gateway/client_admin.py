"""Rollouts of a server over its admin port, as `control.rollout_work.Work`. With the standard library alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from gateway.client_rest import RestClient
from gateway.control.rollout_work import Applying, Said, Verb
from gateway.errors import Code, TidegateError
from gateway.rollout.operations import Done
from gateway.rollout.status import History, Status

T = TypeVar("T")


class AdminClient:
    """A server's admin port. Every method raises `CallError` where the server refuses, or nobody answers."""

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    def statuses(self, model: str, *, everything: bool) -> Sequence[Status]:
        """As `Work`."""
        query = urlencode({"model": model, "all": str(everything).lower()})
        return _understood(self._rest.call("GET", f"/v1/rollouts?{query}")["rollouts"], list[Status])

    def status(self, rollout: str) -> Status:
        """As `Work`."""
        return _understood(self._rest.call("GET", _path(rollout)), Status)

    def history(self, rollout: str) -> History:
        """As `Work`."""
        return _understood(self._rest.call("GET", _path(rollout, "/history")), History)

    def apply(self, plan: bytes, said: Applying, *, source: str = "plan") -> Done:
        """As `Work`."""
        words = {name: str(value).lower() if isinstance(value, bool) else value for name, value in _given(said).items()}
        return _understood(self._rest.send("POST", f"/v1/rollouts?{urlencode(words)}", plan, "application/yaml"), Done)

    def act(self, verb: Verb, rollout: str, said: Said) -> Done:
        """As `Work`."""
        return _understood(self._rest.call("POST", _path(rollout, f"/{verb}"), _given(said)), Done)


def _given(said: Said) -> dict[str, Any]:
    """What was said, without what was not."""
    return {name: value for name, value in msgspec.to_builtins(said).items() if value not in ("", None, False)}


def _path(rollout: str, rest: str = "") -> str:
    return f"/v1/rollouts/{quote(rollout, safe='')}{rest}"


def _understood(answer: Any, kind: type[T]) -> T:
    """Raises INTERNAL for an answer of another release."""
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise TidegateError(Code.INTERNAL, f"the answer cannot be read: {error}") from None
