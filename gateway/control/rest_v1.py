"""The paths of TensorFlow Serving's REST API and KServe's protocol v1, which agree where they meet, to their handlers.

Sources: github.com/tensorflow/serving, g3doc/api_rest.md; github.com/kserve/kserve, python/kserve/kserve/protocol/rest/v1_endpoints.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.control.model_status import ModelStatus
from gateway.control.paths import name_of, not_found
from gateway.control.replies import reply, telling
from gateway.control.rest_predict import RestPrediction
from gateway.control.routes import READ, WRITE, Action, Found, Route
from gateway.control.service import Service
from gateway.protocol.tensors import shown
from gateway.protocol.v1_metadata import model_metadata
from gateway.wire.exchange import Headers, HttpRefusal

_REFUSED = {
    "classify": ":classify is not supported: use :predict",
    "regress": ":regress is not supported: use :predict",
    "explain": ":explain is not supported: explainers are not served",
}


_PLACES = {"": "/v1/models/{model}", "versions": "/v1/models/{model}/versions/{version}", "labels": "/v1/models/{model}/labels/{label}"}


class RestV1:
    """`/v1/models/…`. `:predict` takes POST, everything else GET and HEAD."""

    def __init__(self, service: Service, prediction: RestPrediction) -> None:
        self._service = service
        status = ModelStatus(service)
        actions: dict[str, tuple[tuple[str, ...], Action]] = {
            ":predict": (WRITE, prediction.infer),
            "/metadata": (READ, _told(self._metadata)),
            "": (READ, _told(status.of)),
        }
        self._found = {
            (kind, rest): (Route(methods, place + rest), action)
            for kind, place in _PLACES.items()
            for rest, (methods, action) in actions.items()
        }

    @property
    def routes(self) -> list[Route]:
        """All that is routed by."""
        return [route for route, _ in self._found.values()]

    def find(self, method: str, parts: list[bytes], headers: Headers) -> Found:
        """`models/M[/versions/N|/labels/L]`, then `:predict`, `/metadata` or nothing; `parts` are those of the path behind `/v1`."""
        if parts[:1] != [b"models"] or len(parts) < 2:
            raise not_found()
        names = [name_of(part) for part in parts[1:]]
        names[-1], colon, verb = names[-1].partition(":")
        rest = _verb(verb) if colon else "/metadata" if len(names) in {2, 4} and names[-1] == "metadata" else ""
        if rest == "/metadata":
            names.pop()
        model, version = _target(names)
        route, action = self._found[names[1] if version else "", rest]
        return route.check(method, headers), model, lambda exchange: action(exchange, model, version)

    def _metadata(self, model: str, version: str) -> dict[str, Any]:
        found = self._service.version(model, version)
        return model_metadata(found.signature, str(found.number))


def _told(ask: Callable[[str, str], object]) -> Action:
    """What a question about a version is answered, as JSON."""
    return lambda exchange, model, version: telling(lambda exchange: reply(exchange, ask(model, version)))(exchange)


def _verb(verb: str) -> str:
    if verb in _REFUSED:
        raise HttpRefusal(501, _REFUSED[verb])
    if verb != "predict":
        raise not_found()
    return ":predict"


def _target(names: list[str]) -> tuple[str, str]:
    """The model and its version, "" where none is named, of `M[/versions/N|/labels/L]`. A label is an alias, and no alias is a number."""
    if not names[0] or len(names) not in {1, 3}:
        raise not_found()
    if len(names) == 1:
        return names[0], ""
    _, kind, version = names
    if not version or kind not in {"versions", "labels"}:
        raise not_found()
    is_number = version.isascii() and version.isdigit()
    if kind == "versions" and not is_number:
        raise HttpRefusal(400, f"'{shown(version)}' is not a version number: ask for an alias by its name behind /labels/")
    if kind == "labels" and is_number:
        raise HttpRefusal(400, f"'{shown(version)}' is not a label: ask for a version by its number behind /versions/")
    return names[0], version
