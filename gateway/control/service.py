"""The one path that every transport calls: a request to its version's lane, or a typed error. Composes, decides nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from gateway.capture.capturing import refused
from gateway.control.answers import GrpcSink, StreamSink
from gateway.control.forks import Crossing, Mark, Retreating, fork_of
from gateway.control.parking import Parking
from gateway.control.plans import Plan
from gateway.control.quotas import Charged, Quotas
from gateway.errors import AsleepError, Code, TidegateError
from gateway.identity.callers import Caller as Credential
from gateway.identity.quota import Refused
from gateway.limits import Limits
from gateway.observe.metrics import Metrics
from gateway.observe.slabs import GRPC
from gateway.protocol import v2_grpc
from gateway.protocol.binding import bind
from gateway.protocol.parameters import check_parameters
from gateway.protocol.template import Templates
from gateway.protocol.tensors import BoundRequest, InferRequest
from gateway.protocol.v2_grpc_answer import ResponseEncoder, id_field, stream_error
from gateway.serving.admission import Rejection
from gateway.serving.batch import Caller, Item, Sink
from gateway.serving.batching import Batcher
from gateway.serving.routing import Routes
from gateway.serving.splits import STABLE, UNASSIGNED
from gateway.serving.terms import terms_of
from gateway.serving.versions import Version
from gateway.wire import grpc
from gateway.wire.stream import Stream

Message = bytes | memoryview


class Service:
    """Inference for all transports of one event loop."""

    def __init__(self, limits: Limits, batcher: Batcher, metrics: Metrics, allow_empty: set[str]) -> None:
        self.limits = limits
        self.batcher = batcher
        self.metrics = metrics
        self.routes = Routes()
        self._decoder = v2_grpc.Decoder(limits.request)
        self._allow_empty = allow_empty
        self.parking: Parking | None = None  # for models that sleep; set by the owner where there are some
        self.quotas: Quotas | None = None  # set by the owner while tenants have some
        self._templates = self._no_templates()
        self.crossings: Mapping[str, Crossing] = {}  # rollouts by model
        self._sinks: dict[tuple[Version, tuple[int, ...] | None, str], tuple[Sink, Sink]] = {}

    def set_routes(self, routes: Routes, crossings: Mapping[str, Crossing] | None = None) -> None:
        """Replace the table. What was learned of messages belongs to the old one."""
        self.routes = routes
        self.crossings = crossings or {}
        self._templates = self._no_templates()
        self._sinks = {}
        if self.parking is not None:
            self.parking.table_changed()

    def allow_empty(self, models: set[str]) -> None:
        """These models answer requests without rows."""
        self._allow_empty = models

    # --- gRPC ------------------------------------------------------------------------------------------------------------------

    def grpc_infer(
        self, stream: Stream, data: Message, start: int, end: int, deadline: float, *, credential: Credential | None = None
    ) -> None:
        """ModelInfer; the message is `data[start:end]`. With a credential, its right to the model is asked before anything else."""
        if self.quotas is not None:
            over = self.quotas.admit(stream, credential, stream.arrival, end - start)
            if over is not None:
                self._over(stream, over)
                return
        item = Item()
        item.caller = stream
        item.arrival = stream.arrival
        found = self._templates.find(data, start, end)
        try:
            if found is None:
                plan = self._parse(item, data[start:end], credential)
            else:
                plan, item.id, item.data = found
                if credential is not None and (item.arrival >= credential.until or plan.model not in credential.models):
                    credential.demand_inference(plan.model, item.arrival)
            if credential is not None:
                item.tenant = credential.tenant
            if plan.fork is not None:
                plan = plan.fork.take(item, stream)
        except TidegateError as error:
            if isinstance(error, AsleepError) and self.parking is not None:
                self.parking.park(error.model, ParkedCall(self, stream, bytes(data[start:end]), deadline, credential))
                return
            self.failed(stream, error)
            return
        except Exception:
            Quotas.leave(stream)
            raise
        item.sink = plan.sink
        item.rows = plan.rows
        item.size = plan.size
        if plan.terms is None:
            item.deadline = deadline
        else:
            plan.terms.hold(item, deadline, deadline)
        rejection = self.batcher.submit(plan.lane, item)
        if rejection is not None:
            self._rejected(plan, item, rejection)

    def _over(self, stream: Stream, over: Refused) -> None:
        """Answer a unary call of a tenant that is over a quota."""
        self._refused(None, over.code)
        grpc.fail(stream, over.code, over.message, wait_s=over.wait_s)

    def grpc_stream_infer(self, stream: Stream, deadline: float, credential: Credential | None = None) -> grpc.MessageSink:
        """ModelStreamInfer."""
        return StreamCall(self, stream, deadline, credential)

    def submit_streamed(self, streamed: Streamed, message: Message) -> None:
        """One request of a stream; its errors are answers of the stream."""
        call = streamed.call
        if self.quotas is not None:
            over = self.quotas.admit(streamed, call.credential, call.stream.arrival, len(message))
            if over is not None:
                self.stream_failed(streamed, TidegateError(over.code, over.message))
                return
        item = Item()
        item.caller = cast(Caller, streamed)
        item.arrival = call.stream.arrival
        item.id = b""
        try:
            found = self._templates.find(message)
            if found is None:
                plan = self._parse(item, message, call.credential)
            else:
                plan, item.id, item.data = found
                if call.credential is not None:
                    call.credential.demand_inference(plan.model, item.arrival)
            if call.credential is not None:
                item.tenant = call.credential.tenant
            if plan.fork is not None:
                plan = plan.fork.take(item, call.stream, _stream_sink)
        except TidegateError as error:
            if error.code is Code.UNAUTHENTICATED:  # nobody is there any more who could ask for more
                Quotas.leave(streamed)
                self._refused(None, error.code)
                grpc.finish(call.stream, error.code, error.message)
                return
            if isinstance(error, AsleepError) and self.parking is not None:
                self.parking.park(error.model, ParkedMessage(self, streamed, bytes(message)))
                return
            self.stream_failed(streamed, error)
            return
        except Exception:
            Quotas.leave(streamed)
            raise
        item.sink = plan.stream_sink
        item.rows, item.size = plan.rows, plan.size
        default = item.arrival + self.limits.serving.default_deadline_s
        if plan.terms is None:
            item.deadline = min(call.deadline, default)
        else:
            plan.terms.hold(item, call.deadline, default)
        rejection = self.batcher.submit(plan.lane, item)
        if rejection is not None:
            self._rejected(plan, item, rejection)

    def _rejected(self, plan: Plan, item: Item, rejection: Rejection) -> None:
        """Answer a request that its queue did not take."""
        Quotas.leave(cast(Charged, item.caller))
        self._refused(plan.lane.version, rejection.code)
        refused(plan.lane.version, item, rejection.code)
        if item.arm != UNASSIGNED:
            self.crossings[plan.model].refused(item, rejection.code)
        item.sink.fail(item, rejection.code, rejection.message)

    def _parse(self, item: Item, message: Message, credential: Credential | None) -> Plan:
        """The long way: protobuf, the request's rules, the version's signature. What came twice is remembered."""
        request = self._decoder.decode(message)
        if credential is not None:
            credential.demand_inference(request.model, item.arrival)
        plan = self._plan(request)
        item.id = id_field(request.id)
        item.data = plan.bound.data
        if self._templates.wants(message) and _in_signature_order(request, plan):
            self._templates.learn(message, plan)
        return plan

    def _plan(self, request: InferRequest) -> Plan:
        version = self.routes.resolve(request.model, request.version)
        crossing = self.crossing(request, version)
        if crossing is None:
            return self._way(request, version, self.bound(version, request))

        def make(version: Version, bound: BoundRequest, mark: Mark) -> Plan:
            return self._way(request, version, bound, mark)

        plan, fork = fork_of(
            crossing, lambda version: self.bound(version, request), make, sink_of=_unary_sink, parameters=request.parameters
        )
        plan.fork = fork
        return plan

    def _no_templates(self) -> Templates:
        return Templates(max_id_bytes=self.limits.request.max_id_bytes, vary=self._vary)

    def _vary(self, plan: Plan, said: bytes) -> Plan | None:
        """What messages of a plan mean with other parameters; None for what the long way has to say something about."""
        try:
            parameters = v2_grpc.read_parameters(said, self.limits.request)
            check_parameters(parameters, self.limits.request)
            return plan.saying(parameters)
        except TidegateError:
            return None

    def _way(self, request: InferRequest, version: Version, bound: BoundRequest, mark: Mark | None = None) -> Plan:
        """What a message means in one version."""
        sink, stream_sink = self._sinks_of(version, bound.outputs, mark)
        lane = version.lane(bound.shapes, alone=not bound.rows)
        terms = terms_of(request.parameters, version.queueing, version.segmenting)
        return Plan(request.model, bound, lane, sink=sink, stream_sink=stream_sink, terms=terms)

    def _sinks_of(self, version: Version, outputs: tuple[int, ...] | None, mark: Mark | None) -> tuple[Sink, Sink]:
        key = version, outputs, mark.arm if mark is not None else ""
        sinks = self._sinks.get(key)
        if sinks is None:
            batched = version.signature.max_batch_size > 0
            encoder = ResponseEncoder(version.signature, str(version.number), outputs, arm=key[-1])
            unary = GrpcSink(encoder, outputs, batched=batched, fields=list(mark.fields) if mark is not None else None)
            stream = StreamSink(encoder, outputs, batched=batched, answered=_streamed_answered)
            retreats = mark is not None and mark.retreats
            sinks = self._sinks[key] = (Retreating(unary), Retreating(stream)) if retreats else (unary, stream)
        return sinks

    def version(self, model: str, version: str) -> Version:
        """The version that somebody asks about. One that sleeps is awakened, and is not there yet. Raises TidegateError."""
        try:
            return self.routes.resolve(model, version)
        except AsleepError:
            if self.parking is not None:
                self.parking.rouse(model)
            raise

    def failed(self, stream: Stream, error: TidegateError) -> None:
        """Answer a unary call that reached no version."""
        Quotas.leave(stream)
        self._refused(None, error.code)
        grpc.fail(stream, error.code, error.message)

    def stream_failed(self, streamed: Streamed, error: TidegateError) -> None:
        """Answer a request of a stream that reached no version."""
        Quotas.leave(streamed)
        self._refused(None, error.code)
        grpc.send(streamed.stream, stream_error(error.message))
        streamed.call.answered(streamed.owed)

    def _refused(self, version: Version | None, code: Code) -> None:
        self.metrics.refused(version, GRPC, code)

    # --- all -------------------------------------------------------------------------------------------------------------------

    def crossing(self, request: InferRequest, version: Version) -> Crossing | None:
        """The rollout that a request takes part in: one that names no version, which would go to stable."""
        crossing = self.crossings.get(request.model) if self.crossings and not request.version else None
        return crossing if crossing is not None and crossing.versions[STABLE] is version else None

    def bound(self, version: Version, request: InferRequest) -> BoundRequest:
        """The request as it fits a version. Raises TidegateError."""
        return bind(version.signature, request, self.limits.request, allow_empty=request.model in self._allow_empty)


class ParkedCall:
    """A unary call that waits for its model."""

    def __init__(self, service: Service, stream: Stream, data: bytes, deadline: float, credential: Credential | None) -> None:
        self.size = len(data)
        self.deadline = min(deadline, stream.arrival + service.limits.serving.default_deadline_s)
        self._service, self._stream, self._data, self._given, self._credential = service, stream, data, deadline, credential

    @property
    def cancelled(self) -> bool:
        """The caller is gone."""
        return self._stream.cancelled

    def again(self) -> None:
        """As if it had come now."""
        self._service.grpc_infer(self._stream, self._data, 0, len(self._data), self._given, credential=self._credential)

    def fail(self, error: TidegateError) -> None:
        """The status of the call."""
        self._service.failed(self._stream, error)

    def gone(self) -> None:
        """Nobody waits any more."""
        Quotas.leave(self._stream)


class ParkedMessage:
    """A request of a stream that waits for its model."""

    def __init__(self, service: Service, streamed: Streamed, message: bytes) -> None:
        self.size = len(message)
        self.deadline = min(streamed.call.deadline, streamed.stream.arrival + service.limits.serving.default_deadline_s)
        self._service, self._streamed, self._message = service, streamed, message

    @property
    def cancelled(self) -> bool:
        """The stream is gone."""
        return self._streamed.cancelled

    def again(self) -> None:
        """As if it had come now."""
        self._service.submit_streamed(self._streamed, self._message)

    def fail(self, error: TidegateError) -> None:
        """An answer of the stream."""
        self._service.stream_failed(self._streamed, error)

    def gone(self) -> None:
        """Nobody waits any more."""
        Quotas.leave(self._streamed)


class Streamed:
    """Who waits for one request of a stream."""

    __slots__ = ("account", "call", "owed", "stream")

    def __init__(self, call: StreamCall, owed: int) -> None:
        self.account: Any = None
        self.call = call
        self.owed = owed
        self.stream = call.stream

    @property
    def cancelled(self) -> bool:
        """The stream is gone."""
        return self.stream.cancelled

    def header(self, name: bytes) -> bytes | None:
        """Of the call: its requests have none of their own."""
        return self.stream.header(name)


class StreamCall:
    """One ModelStreamInfer call: requests in, answers as they are ready, the status when all are answered."""

    def __init__(self, service: Service, stream: Stream, deadline: float, credential: Credential | None) -> None:
        self.stream = stream
        self.deadline = deadline
        self.credential = credential
        self._service = service
        self._open = 0
        self._ended = False

    def message(self, message: Message, owed: int) -> None:
        """The next request. Its bytes go back to the peer's window when it is answered, which bounds what one stream may queue."""
        self._open += 1
        self._service.submit_streamed(Streamed(self, owed), message)

    def half_closed(self) -> None:
        """No more requests."""
        self._ended = True
        if not self._open:
            grpc.finish(self.stream)

    def answered(self, owed: int) -> None:
        """One request is answered."""
        self._open -= 1
        self.stream.consume(owed)
        if self._ended and not self._open:
            grpc.finish(self.stream)


def _unary_sink(plan: Plan) -> Sink:
    return plan.sink


def _stream_sink(plan: Plan) -> Sink:
    return plan.stream_sink


def _streamed_answered(item: Item) -> None:
    streamed = cast(Streamed, item.caller)
    streamed.call.answered(streamed.owed)


def _in_signature_order(request: InferRequest, plan: Plan) -> bool:
    """Whether the message's data stands in the order in which the version takes it."""
    specs = plan.lane.version.signature.inputs
    return [tensor.name for tensor in request.inputs] == [spec.name for spec in specs]
