"""Inference in TensorFlow Serving's and KServe's protocol v1: bodies of `:predict` to items of a lane, on the way that v2 goes."""

from __future__ import annotations

from gateway.control.rest_infer import HttpInference, HttpSink, Plan
from gateway.control.service import Service
from gateway.protocol import v1_rest
from gateway.protocol.v1_answer import PredictEncoder
from gateway.serving.batch import Item
from gateway.serving.routing import Routes
from gateway.serving.terms import terms_of
from gateway.serving.versions import Version
from gateway.wire.exchange import HttpExchange


class RestPrediction(HttpInference):
    """POST …:predict."""

    def __init__(self, service: Service, *, strict_json: bool) -> None:
        super().__init__(service, strict_json=strict_json)
        self._routes: Routes | None = None  # that the sinks belong to
        self._sinks: dict[tuple[Version, bool], HttpSink] = {}

    def plan(self, item: Item, exchange: HttpExchange, model: str, version: str) -> Plan:
        """The datatypes are the version's, so it is found first."""
        service = self._service
        signature = service.routes.resolve(model, version).signature
        request, by_rows = v1_rest.decode(exchange.body, model=model, version=version, signature=signature, limits=service.limits.request)
        found, bound = service.bind(request)
        item.id, item.data = b"", bound.data
        return Plan(bound, found.lane(bound.shapes, alone=not bound.rows), self._sink(found, by_rows=by_rows), terms_of({}, found.queueing))

    def _sink(self, version: Version, *, by_rows: bool) -> HttpSink:
        """One for each version and form, for as long as the route table."""
        if self._routes is not self._service.routes:
            self._routes, self._sinks = self._service.routes, {}
        sink = self._sinks.get((version, by_rows))
        if sink is None:
            encoder = PredictEncoder(version.signature, by_rows=by_rows, strict_json=self._strict)
            sink = self._sinks[version, by_rows] = HttpSink(encoder)
        return sink
