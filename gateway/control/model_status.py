"""How far the versions of a model are, as TensorFlow Serving says it, and whether the model is ready, as KServe does: in one answer.

TensorFlow Serving's clients read `model_version_status` of an answer whose status is 200 whatever the states are; KServe's read `ready`
of one whose status is 200. So the status is 200 wherever there is something to tell of the model.
"""

from __future__ import annotations

from typing import Any

from gateway.control.service import Service
from gateway.errors import AsleepError, Code
from gateway.protocol.v1_metadata import AVAILABLE, END, LOADING, START, UNLOADING, version_status
from gateway.serving import index
from gateway.serving.index import ASLEEP, Entry
from gateway.serving.routing import Routes

_NO_VERSION = "0"  # how the protocol's JSON writes a number that is not there


class ModelStatus:
    """Answers from the route table, which is gone through once."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._routes: Routes | None = None  # that the entries belong to
        self._entries: dict[str, list[Entry]] = {}

    def of(self, model: str, version: str) -> dict[str, Any]:
        """Of all versions that shall serve, or of one: a number, or an alias. Raises TidegateError, as inference would, for others."""
        routes = self._service.routes
        listed = self._listed(routes, model, version)
        return {"model_version_status": listed, "name": model, "ready": routes.ready(model, version)}

    def _listed(self, routes: Routes, model: str, version: str) -> list[dict[str, Any]]:
        number = str(routes.aliases.get(model, {}).get(version, version))
        entries = [entry for entry in self._of_model(routes, model) if not version or entry.version == number]
        if not entries:
            try:
                routes.resolve(model, version)
            except AsleepError:
                return [version_status(number if number.isascii() and number.isdigit() else _NO_VERSION, START, message=ASLEEP)]
        return [_status(entry) for entry in entries]

    def _of_model(self, routes: Routes, model: str) -> list[Entry]:
        """Its entries that have a version."""
        if routes is not self._routes:
            self._routes, self._entries = routes, {}
            for entry in index.entries(routes):
                if entry.version:
                    self._entries.setdefault(entry.name, []).append(entry)
        return self._entries.get(model, [])


def _status(entry: Entry) -> dict[str, Any]:
    """A version that serves has a reason where it was to be loaded anew and could not be."""
    if entry.state == index.READY:
        return version_status(entry.version, AVAILABLE, message=entry.reason)
    if entry.state == index.LOADING:
        return version_status(entry.version, LOADING)
    if entry.state == index.UNLOADING:
        return version_status(entry.version, UNLOADING, message=entry.reason)
    return version_status(entry.version, END, code=Code.UNAVAILABLE.name, message=entry.reason)
