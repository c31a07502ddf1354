"""Inference over REST: exchanges to items of a lane, results of a batch to JSON or binary answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import numpy as np

from gateway.capture.capturing import refused
from gateway.control.forks import Fork, Mark, Retreating, fork_of
from gateway.control.quotas import Quotas
from gateway.control.replies import fail
from gateway.control.service import Service
from gateway.errors import AsleepError, Code, TidegateError
from gateway.observe.slabs import HTTP
from gateway.protocol import v2_rest
from gateway.protocol.binary import ResponsePlan, header_length_of
from gateway.protocol.rest_answer import Answer, RestEncoder, id_part
from gateway.protocol.rest_template import RestTemplates
from gateway.protocol.tensors import BoundRequest, InferRequest, Signature
from gateway.serving.batch import Item, Names, Sink
from gateway.serving.lane import Lane
from gateway.serving.model import Arrays
from gateway.serving.routing import Routes
from gateway.serving.splits import UNASSIGNED
from gateway.serving.terms import Terms, terms_of
from gateway.serving.versions import Version
from gateway.wire.exchange import Headers, HttpExchange

_log = logging.getLogger(__name__)
_SINKS_MAX = 1_024
_NAME = b"tidegate-request-id"
_NEVER = float("inf")
_NOTHING: Headers = []

SinkKey = tuple[Version, tuple[int, ...] | None, ResponsePlan, str]  # the last: the arm of a rollout, or nothing


class Encoder(Protocol):
    """Writes the answers of a batch in one protocol."""

    def answers(self, ids: Sequence[bytes], starts: Sequence[int], rows: Sequence[int], arrays: Sequence[np.ndarray]) -> list[Answer]:
        """One answer for each request, which has `rows[i]` rows from `starts[i]` on."""
        ...


class HttpSink:
    """Answers of one version in one form: its protocol, a selection of outputs, JSON or binary."""

    protocol = HTTP

    def __init__(self, encoder: Encoder, fields: Headers | None = None) -> None:
        """`fields` are said in the headers of all answers."""
        self._encoder = encoder
        self._fields = fields or []

    def answer(self, items: Sequence[Item], starts: Sequence[int], outputs: Arrays, names: Names = None) -> None:
        """One body per item, all rendered by one call."""
        answers = self._encoder.answers([item.id for item in items], starts, [item.rows for item in items], outputs)
        for item, answer, own in zip(items, answers, _own(items, names), strict=True):
            exchange = cast(HttpExchange, item.caller)
            if isinstance(answer, TidegateError):
                fail(exchange, answer.code, answer.message, fields=self._fields)
            else:
                headers, body = answer
                exchange.respond(200, [*headers, *self._fields] if self._fields else headers, body, own)

    def fail(self, item: Item, code: Code, message: str) -> None:
        """An error body."""
        fail(cast(HttpExchange, item.caller), code, message, fields=self._fields)


def _own(items: Sequence[Item], names: Names) -> list[Headers]:
    """Headers that each answer has for itself."""
    if names is None:
        return [_NOTHING] * len(items)
    return [[(_NAME, name.tobytes())] for name in names]


class Plan:
    """What a body means, when it is known but for its id and data."""

    __slots__ = ("bound", "fork", "lane", "sink", "terms")

    def __init__(self, bound: BoundRequest, lane: Lane, sink: Sink, terms: Terms | None) -> None:
        self.bound = bound
        self.lane = lane
        self.sink = sink
        self.terms = terms
        self.fork: Fork[Plan] | None = None  # where the model is in a rollout


class HttpInference:
    """Requests of one protocol to their lanes. `plan` is the protocol's own."""

    def __init__(self, service: Service, *, strict_json: bool) -> None:
        self._service = service
        self._strict = strict_json

    def plan(self, item: Item, exchange: HttpExchange, model: str, version: str) -> Plan:
        """What the body means; sets the item's id and data. Raises TidegateError."""
        raise NotImplementedError

    def infer(self, exchange: HttpExchange, model: str, version: str) -> None:
        """Queue the request, or answer with its error."""
        service = self._service
        if service.quotas is not None and not self._admits(service.quotas, exchange):
            return
        item = Item()
        item.caller = exchange
        if exchange.credential is not None:
            item.tenant = exchange.credential.tenant
        try:
            plan = self.plan(item, exchange, model, version)
            if plan.fork is not None:
                plan = plan.fork.take(item, exchange)
            item.sink = plan.sink
            item.rows = plan.bound.rows
            item.size = plan.bound.size
            item.arrival = exchange.arrival
            default = exchange.arrival + service.limits.serving.default_deadline_s
            if plan.terms is None:
                item.deadline = default
            else:
                plan.terms.hold(item, _NEVER, default)
            rejection = service.batcher.submit(plan.lane, item)
            if rejection is not None:
                Quotas.leave(exchange)
                service.metrics.refused(plan.lane.version, HTTP, rejection.code)
                refused(plan.lane.version, item, rejection.code)
                if item.arm != UNASSIGNED:
                    service.crossings[model].refused(item, rejection.code)
                plan.sink.fail(item, rejection.code, rejection.message)
        except TidegateError as error:
            if isinstance(error, AsleepError) and service.parking is not None:
                service.parking.park(error.model, ParkedExchange(self, exchange, model, version))
                return
            self.failed(exchange, error)
        except Exception:  # a fault of ours costs its own call; the caller learns nothing of it
            Quotas.leave(exchange)
            _log.exception("infer failed: %s", model[:128])
            fail(exchange, Code.INTERNAL, "internal error")

    def _admits(self, quotas: Quotas, exchange: HttpExchange) -> bool:
        """Charge a request to its tenant, or answer it."""
        over = quotas.admit(exchange, exchange.credential, exchange.arrival, len(exchange.body))
        if over is not None:
            self._service.metrics.refused(None, HTTP, over.code)
            fail(exchange, over.code, over.message, wait_s=over.wait_s)
        return over is None

    def failed(self, exchange: HttpExchange, error: TidegateError) -> None:
        """Answer a request that reached no version."""
        Quotas.leave(exchange)
        self._service.metrics.refused(None, HTTP, error.code)
        fail(exchange, error.code, error.message)

    def deadline_of(self, exchange: HttpExchange) -> float:
        """Where the request names none."""
        return exchange.arrival + self._service.limits.serving.default_deadline_s


class RestInference(HttpInference):
    """POST …/infer of protocol v2."""

    def __init__(self, service: Service, *, strict_json: bool) -> None:
        super().__init__(service, strict_json=strict_json)
        self._routes: Routes | None = None  # that the two below belong to
        self._templates = RestTemplates(service.limits.request)
        self._sinks: dict[SinkKey, Sink] = {}

    def plan(self, item: Item, exchange: HttpExchange, model: str, version: str) -> Plan:
        """As a template says, or the long way."""
        service = self._service
        if self._routes is not service.routes:
            self._routes, self._templates, self._sinks = service.routes, RestTemplates(service.limits.request), {}
        header_length = header_length_of(exchange.headers)
        found = self._templates.find(exchange.target, exchange.body, header_length)
        if found is None:
            return self._parse(item, exchange, header_length, model, version)
        plan: Plan
        plan, item.id, item.data = found
        return plan

    def _parse(self, item: Item, exchange: HttpExchange, header_length: bytes | None, model: str, version: str) -> Plan:
        """The long way; what came twice is remembered."""
        service, body = self._service, exchange.body
        signature: Signature | None = None
        if header_length is not None:
            signature = service.routes.resolve(model, version).signature
        request, form = v2_rest.decode(
            body, header_length=header_length, model=model, version=version, signature=signature, limits=service.limits.request
        )
        found = service.routes.resolve(model, version)

        def make(version: Version, bound: BoundRequest, mark: Mark | None = None) -> Plan:
            terms = terms_of(request.parameters, version.queueing, version.segmenting)
            return Plan(bound, version.lane(bound.shapes, alone=not bound.rows), self._sink(version, bound, form, mark), terms)

        plan = plan_of(service, request, found, make)
        item.id, item.data = id_part(request.id), plan.bound.data
        in_order = [tensor.name for tensor in request.inputs] == [spec.name for spec in found.signature.inputs]
        if in_order and self._templates.wants(exchange.target, body, header_length):
            self._templates.learn(exchange.target, body, header_length, plan)
        return plan

    def _sink(self, version: Version, bound: BoundRequest, form: ResponsePlan, mark: Mark | None) -> Sink:
        arm = mark.arm if mark is not None else ""
        key = version, bound.outputs, form, arm
        sink = self._sinks.get(key)
        if sink is None:
            if len(self._sinks) >= _SINKS_MAX:
                self._sinks.clear()
            encoder = RestEncoder(version.signature, str(version.number), bound.outputs, form, strict_json=self._strict, arm=arm)
            sink = self._sinks[key] = sink_of(encoder, mark)
        return sink


def sink_of(encoder: Encoder, mark: Mark | None) -> Sink:
    """Answers of a version, which may be an arm of a rollout."""
    if mark is None:
        return HttpSink(encoder)
    sink = HttpSink(encoder, list(mark.fields))
    return Retreating(sink) if mark.retreats else sink


def plan_of(service: Service, request: InferRequest, version: Version, make: Callable[..., Plan]) -> Plan:
    """What a request means; `make(version, bound, mark)` says so for one version. Raises TidegateError."""
    crossing = service.crossing(request, version)
    if crossing is None:
        return make(version, service.bound(version, request))
    plan, fork = fork_of(
        crossing, lambda version: service.bound(version, request), make, sink_of=_sink_of_plan, parameters=request.parameters
    )
    plan.fork = fork
    return plan


def _sink_of_plan(plan: Plan) -> Sink:
    return plan.sink


class ParkedExchange:
    """A request that waits for its model."""

    def __init__(self, inference: HttpInference, exchange: HttpExchange, model: str, version: str) -> None:
        self.size = len(exchange.body)
        self.deadline = inference.deadline_of(exchange)
        self._inference, self._exchange, self._model, self._version = inference, exchange, model, version

    @property
    def cancelled(self) -> bool:
        """The caller is gone."""
        return self._exchange.cancelled

    def again(self) -> None:
        """As if it had come now."""
        self._inference.infer(self._exchange, self._model, self._version)

    def fail(self, error: TidegateError) -> None:
        """An error body."""
        self._inference.failed(self._exchange, error)

    def gone(self) -> None:
        """Nobody waits any more."""
        Quotas.leave(self._exchange)
