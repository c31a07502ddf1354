"""Rollouts over HTTP on the admin port: paths to handlers. Everything that touches the registry is an errand.

A page in a browser must not be able to do what its user could: bodies have types that pages cannot send elsewhere unasked, and where nobody
shows who they are, only names of this machine are answered to (DNS rebinding).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from gateway.control.errands import Errands
from gateway.control.openapi import Description
from gateway.control.paths import name_of, not_found
from gateway.control.replies import fail
from gateway.control.rollout_operations import ADMINISTRATION
from gateway.control.rollout_work import BODIES, VERBS, Applying, Said, Verb, Work, by_whom
from gateway.control.routes import JSON_ONLY, READ, WRITE, YAML_TOO, Found, Route
from gateway.control.state import ServerState
from gateway.errors import TidegateError, invalid
from gateway.hosts import is_loopback
from gateway.identity.settings import Auth
from gateway.rollout.analysis import analysis
from gateway.rollout.status import Status
from gateway.wire.exchange import JSON_TYPE, Headers, HttpExchange, HttpHandler, HttpRefusal

_LIST, _ONE = "/v1/rollouts", "/v1/rollouts/{rollout}"
_WORDS = {"": True, "true": True, "false": False, "1": True, "0": False}  # `?force` alone is a yes
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[^:]+)(:[0-9]*)?")
_APPLYING = ("force", "reason", "actor", "operation_id", "commit")  # of a plan, which is the whole body
_FOREIGN = "this port answers to localhost and addresses of this machine only"

Action = Callable[[HttpExchange, str], None]  # (exchange, rollout)


class RolloutRest:
    """`Application` of the admin port."""

    def __init__(self, errands: Errands, work: Work, state: ServerState, *, auth: Callable[[], Auth | None], only_here: bool) -> None:
        """`auth()` is for the description. `only_here`: nobody shows who they are, and the port is this machine's alone."""
        self._errands = errands
        self._work = work
        self._only_here = only_here
        self._description = Description(state, lambda: self.routes, auth, ADMINISTRATION)
        self._fixed: dict[bytes, tuple[Route, HttpHandler]] = {
            b"/v1/openapi.json": (Route(READ, "/v1/openapi.json"), self._description.http),
            _LIST.encode(): (Route((*READ, *WRITE), _LIST, YAML_TOO), self._all),
        }
        actions: list[tuple[str, tuple[str, ...], Action]] = [
            ("", READ, self._status),
            ("/history", READ, self._history),
            ("/analysis", READ, self._analysis),
            ("/gate", (*READ, *WRITE), self._gate),
            *((f"/{verb}", WRITE, partial(self._verb, verb)) for verb in VERBS),
        ]
        self._of_one = {rest.encode(): (Route(methods, _ONE + rest, JSON_ONLY), action) for rest, methods, action in actions}

    @property
    def routes(self) -> list[Route]:
        """All that is routed by."""
        return [route for route, _ in (*self._fixed.values(), *self._of_one.values())]

    def open_http(self, method: str, target: bytes, headers: Headers) -> HttpHandler:
        """As `find`, for callers that need not show who they are."""
        return self.find(method, target, headers)[2]

    def find(self, method: str, target: bytes, headers: Headers) -> Found:
        """Who answers, by the raw path; the name of the rollout is decoded once. Raises HttpRefusal."""
        if self._only_here:
            _check_host(headers)
        fixed = self._fixed.get(target)
        if fixed is not None:
            return fixed[0].check(method, headers), None, fixed[1]
        parts = target.split(b"/")
        found = self._of_one.get(b"/".join([b"", *parts[4:]]) if parts[4:] else b"") if parts[:3] == [b"", b"v1", b"rollouts"] else None
        rollout = name_of(parts[3]) if found is not None else ""
        if found is None or not rollout:
            raise not_found()
        route, action = found
        return route.check(method, headers), None, lambda exchange: action(exchange, rollout)

    # --- what is read ----------------------------------------------------------------------------------------------------------

    def _all(self, exchange: HttpExchange) -> None:
        if exchange.method == "POST":
            self._apply(exchange)
            return

        def ask() -> Any:
            query = _query(exchange, "model", "all")
            return {"rollouts": self._work.statuses(query.get("model", ""), everything=_flag(query, "all"))}

        self._answer(exchange, ask)

    def _status(self, exchange: HttpExchange, rollout: str) -> None:
        self._answer(exchange, lambda: self._work.status(rollout))

    def _history(self, exchange: HttpExchange, rollout: str) -> None:
        self._answer(exchange, lambda: self._work.history(rollout))

    def _analysis(self, exchange: HttpExchange, rollout: str) -> None:
        """As Argo's web metric provider asks."""
        self._answer(exchange, lambda: analysis(self._work.status(rollout)))

    def _gate(self, exchange: HttpExchange, rollout: str) -> None:
        """As Flagger's webhooks ask: 200 lets it go on, 403 does not."""

        def done(found: Status) -> None:
            said = analysis(found)
            exchange.respond(200 if said.ok else 403, [JSON_TYPE], msgspec.json.encode(said))

        self._errands.run(lambda: self._work.status(rollout), done, partial(_failed, exchange))

    # --- what is done ----------------------------------------------------------------------------------------------------------

    def _apply(self, exchange: HttpExchange) -> None:
        def ask() -> Any:
            query = _query(exchange, *_APPLYING)
            flags = {"force": _flag(query, "force")}
            said = msgspec.convert({**query, **flags}, Applying)
            return self._work.apply(exchange.body, by_whom(said, exchange.credential))

        self._answer(exchange, ask)

    def _verb(self, verb: Verb, exchange: HttpExchange, rollout: str) -> None:
        self._answer(exchange, lambda: self._work.act(verb, rollout, by_whom(_said(exchange.body, BODIES[verb]), exchange.credential)))

    def _answer(self, exchange: HttpExchange, ask: Callable[[], Any]) -> None:
        """Whatever `ask` gives, as JSON."""
        self._errands.run(
            lambda: msgspec.json.encode(ask()), lambda body: exchange.respond(200, [JSON_TYPE], body), partial(_failed, exchange)
        )


def _failed(exchange: HttpExchange, error: TidegateError) -> None:
    fail(exchange, error.code, error.message)


def _query(exchange: HttpExchange, *known: str) -> dict[str, str]:
    """Parameters by name, each once. Raises INVALID_ARGUMENT for others."""
    try:
        pairs = parse_qsl(exchange.query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=16)
    except ValueError:
        raise invalid("the query cannot be read") from None
    found = dict(pairs)
    unknown = sorted(found.keys() - set(known))
    if unknown or len(found) != len(pairs):
        raise invalid(f"unknown query parameter {unknown[0][:80]!r}" if unknown else "a query parameter is there twice")
    return found


def _flag(query: dict[str, str], name: str) -> bool:
    found = _WORDS.get(query.get(name, "false"))
    if found is None:
        raise invalid(f"{name}: expected true or false")
    return found


def _said(body: bytes, kind: type[Said]) -> Said:
    """Raises INVALID_ARGUMENT."""
    if not body.strip():
        return kind()
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        text = str(error) if isinstance(error, msgspec.ValidationError) else "it is no JSON"
        raise invalid(f'the body must be an object such as {{"reason": "…"}}: {text}') from None


def _check_host(headers: Headers) -> None:
    """Raises HttpRefusal where the request was sent to a name that may be anybody's."""
    host = next((value for name, value in headers if name == b"host"), b"localhost")
    found = _HOST.fullmatch(host)
    name = found[1].strip(b"[]").decode("latin-1").lower() if found else ""
    if not is_loopback(name):
        raise HttpRefusal(403, _FOREIGN)
