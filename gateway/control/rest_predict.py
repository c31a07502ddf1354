"""Inference in TensorFlow Serving's and KServe's protocol v1: bodies of `:predict` to items of a lane, on the way that v2 goes."""

from __future__ import annotations

from gateway.control.forks import Mark
from gateway.control.rest_infer import HttpInference, Plan, plan_of, sink_of
from gateway.control.service import Service
from gateway.protocol import v1_rest
from gateway.protocol.tensors import BoundRequest
from gateway.protocol.v1_answer import PredictEncoder
from gateway.serving.batch import Item, Sink
from gateway.serving.routing import Routes
from gateway.serving.terms import terms_of
from gateway.serving.versions import Version
from gateway.wire.exchange import HttpExchange


class RestPrediction(HttpInference):
    """POST …:predict."""

    def __init__(self, service: Service, *, strict_json: bool) -> None:
        super().__init__(service, strict_json=strict_json)
        self._routes: Routes | None = None  # that the sinks belong to
        self._sinks: dict[tuple[Version, bool, str], Sink] = {}

    def plan(self, item: Item, exchange: HttpExchange, model: str, version: str) -> Plan:
        """The datatypes are the version's, so it is found first."""
        service = self._service
        found = service.routes.resolve(model, version)
        request, by_rows = v1_rest.decode(
            exchange.body, model=model, version=version, signature=found.signature, limits=service.limits.request
        )

        def make(version: Version, bound: BoundRequest, mark: Mark | None = None) -> Plan:
            lane = version.lane(bound.shapes, alone=not bound.rows)
            return Plan(bound, lane, self._sink(version, mark, by_rows=by_rows), terms_of({}, version.queueing))

        plan = plan_of(service, request, found, make)
        item.id, item.data = b"", plan.bound.data
        return plan

    def _sink(self, version: Version, mark: Mark | None, *, by_rows: bool) -> Sink:
        """One for each version, form and arm, for as long as the route table."""
        if self._routes is not self._service.routes:
            self._routes, self._sinks = self._service.routes, {}
        key = version, by_rows, mark.arm if mark is not None else ""
        sink = self._sinks.get(key)
        if sink is None:
            sink = self._sinks[key] = sink_of(PredictEncoder(version.signature, by_rows=by_rows, strict_json=self._strict), mark)
        return sink
