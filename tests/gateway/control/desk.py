"""The whole gateway of one event loop without a socket: bytes of connections in, answers out, models and time moved by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from gateway.config import Repository, Versions
from gateway.control.behind import behind_of
from gateway.control.calls import inference_methods, personal_inference, personal_labels
from gateway.control.configuration import ModelConfiguration
from gateway.control.drift_questions import DriftQuestions
from gateway.control.extensions import Extensions
from gateway.control.health import Health
from gateway.control.index import RepositoryIndex
from gateway.control.instruments import Instruments
from gateway.control.label_questions import LabelQuestions
from gateway.control.model_control import ModelControl
from gateway.control.quotas import Quotas
from gateway.control.rest import Rest
from gateway.control.rest_infer import RestInference
from gateway.control.rest_predict import RestPrediction
from gateway.control.rest_v1 import RestV1
from gateway.control.service import Service
from gateway.control.standard_calls import personal_health, standard_methods
from gateway.control.state import ServerState
from gateway.control.statistics import Statistics
from gateway.identity.certificates import Certificate
from gateway.identity.gate import Gate
from gateway.identity.settings import Auth, Client
from gateway.identity.tenants import Tenant
from gateway.limits import Limits
from gateway.pb import inference_pb2 as pb
from gateway.rollout.recorder import Recording
from gateway.serving.admission import Budget
from gateway.serving.batching import Batcher
from gateway.serving.routing import Routes
from gateway.serving.versions import Version
from gateway.wire.grpc import GrpcRouter
from gateway.wire.head import RequestHead
from gateway.wire.stream import Acceptor
from registry.queueing import Queueing
from tests.gateway.observe.counted import alone
from tests.gateway.serving.mixed_models import ROWS, TEXTS, WHOLE, MixedModel, RowsModel, built
from tests.gateway.serving.serving_fakes import FakeLoop, FakeRunner
from tests.gateway.wire import http1_wire, http2_wire
from tests.gateway.wire.http2_wire import Wire, read_answers

NOBODY = Auth(clients={"*": Client(scopes=())})
INFER, STREAM = (f"/inference.GRPCInferenceService/{name}" for name in ("ModelInfer", "ModelStreamInfer"))


class Line(http1_wire.Caller):
    """One HTTP/1.1 connection at the time of the desk."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk.limits.wire, desk.application)  # type: ignore[arg-type]
        self.desk = desk

    def ask(self, method: str, target: str, body: bytes | None = None, *fields: str) -> http1_wire.Answer:
        """The answer to one request, when everything that it started has run."""
        self.now = self.desk.loop.time
        before = len(self.writes)
        self.send(http1_wire.get(target, *fields, method=method) if body is None else http1_wire.post(target, body, *fields))
        self.desk.loop.settle()
        (answer,) = http1_wire.read_answers(b"".join(self.writes[before:]), method)
        return answer


@dataclass
class Reply:
    """What came back of one gRPC call."""

    status: int
    text: str
    messages: list[bytes] = field(default_factory=list)
    trailers: dict[bytes, bytes] = field(default_factory=dict)
    headers: dict[bytes, bytes] = field(default_factory=dict)


class Desk:
    """A gateway with the three mixed models, and two connections to it."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        threaded: bool = False,
        strict_json: bool = False,
        compression: bool = False,
        explicit: bool = False,
        repository: Mapping[str, Any] = MappingProxyType({}),
        auth: Auth | None = None,
        certificate: Certificate | None = None,
        tenants: Mapping[str, Tenant] | None = None,
        default_tenant: Tenant | None = None,
    ) -> None:
        """`repository` has settings of that section. With `auth` callers must be let in by `gate`; `certificate` is what the peer of both
        connections has shown."""
        self.limits = limits or Limits()
        self.loop = FakeLoop()
        self.metrics, self.totals = alone(self.limits.observe)
        self.runners: list[FakeRunner] = []
        self.batcher = Batcher(
            Budget(self.limits.serving),
            loop=self.loop,
            clock=self.loop,
            observer=Recording(self.metrics),
            inline_max_s=250e-6,
            start_runner=self._runner,
        )
        self.batcher.answered = lambda: None
        self.service = Service(self.limits, self.batcher, self.metrics, {"rows"})
        self.quotas = Quotas(self.metrics.region.ledger, [], self.loop.call_soon)
        self.quotas.configure(tenants or {}, default_tenant or Tenant())
        if self.quotas.is_on:
            self.service.quotas, self.batcher.let_go = self.quotas, self.quotas.let_go
        self.state = ServerState("desk", "9.9", ready=True)
        self.health = Health()
        index = RepositoryIndex(self.service)
        self.asked: list[str] = []
        self.statistics = Statistics(self.service, self.loop, self.asked.append)
        self.questions: list[tuple[int, str, bool]] = []
        self.drift = DriftQuestions(self.service, self.loop, lambda *question: self.questions.append(question))
        self.changes: list[tuple[int, str, bool]] = []
        self.bundles: dict[int, int] = {}  # number of a change → descriptor of what came with it
        self.control = ModelControl(self._asked, Repository(path="r", model_control="explicit" if explicit else "repository", **repository))
        self.level = "info"
        self.chosen: dict[str, Versions] = {}  # model → what the settings say of its versions
        configuration = ModelConfiguration(self.service, lambda model: self.chosen.get(model, Versions()))
        instruments = Instruments(self.service, lambda: self.level)
        self.brought: list[tuple[int, bytes, bool]] = []  # labels
        self.takes_labels = True
        self.labels = LabelQuestions(self.loop, lambda *labels: self.brought.append(labels), enabled=lambda: self.takes_labels)
        self.extensions = Extensions(index, configuration, self.statistics, self.drift, self.labels, self.control, instruments)
        v1 = RestV1(self.service, RestPrediction(self.service, strict_json=strict_json))
        inference = RestInference(self.service, strict_json=strict_json)
        self.auth = auth
        self.rest = Rest(self.service, self.state, inference, self.extensions, v1, auth=lambda: self.auth)
        methods = inference_methods(self.service, self.state, self.extensions) | standard_methods(self.health)
        self.calls = GrpcRouter(methods, self.limits, compression=compression)
        self.models: dict[str, MixedModel] = {kind: built(kind, self.loop) for kind in (ROWS, TEXTS, WHOLE)}
        self.threaded = threaded
        self.service.set_routes(Routes({name: {3: self.version(model)} for name, model in self.models.items()}, {("broken", 1): "no"}))
        self.gate = Gate(auth or NOBODY, self.loop)
        personal = personal_inference(self.service) | personal_labels(self.labels) | personal_health(self.health)
        behind = behind_of(self.calls, self.rest, self.limits.wire, self.gate if auth else None, personal)
        if certificate is not None and behind.known is not None:
            behind = behind.known(certificate)
        self.application, self._route = behind.application, behind.route
        self.wire = self.line()
        self.http = Line(self)
        self._next = 1

    def _asked(self, number: int, model: str, load: bool, bundle: int) -> None:
        self.changes.append((number, model, load))
        if bundle >= 0:
            self.bundles[number] = bundle

    def line(self) -> Wire:
        """One more HTTP/2 connection."""
        wire = Wire(self.limits.wire, self).start(INITIAL_WINDOW_SIZE=1 << 30)  # type: ignore[arg-type]
        return wire.send(http2_wire.window(0, 1 << 30))

    def aliased(self) -> Routes:
        """Versions 3 (the champion) and 10 (challenger) of the rows, an alias of a version that failed, and models without a champion."""
        versions = {number: self.version(built(ROWS, self.loop), number) for number in (3, 10)}
        headless = RowsModel(self.loop, "headless", max_batch_size=8, per_run_s=1e-5, per_row_s=1e-6)
        return Routes(
            {ROWS: versions, "headless": {10: self.version(headless, 10)}},
            {(ROWS, 7): "no"},
            aliases={ROWS: {"champion": 3, "challenger": 10, "broken": 7}, "headless": {"challenger": 10}},
            defaults={ROWS: 3, "headless": None, "idle": None},
            idle={"idle": "no alias stands for one"},
        )

    def version(self, model: Any, number: int = 3, *, joins: bool = True, queueing: Queueing | None = None) -> Version:
        made = Version(number, model, self.limits.serving, release=self.batcher.release, joins=joins, queueing=queueing)
        made.threaded = self.threaded
        return made

    def route(self, head: RequestHead) -> Acceptor:
        """As the program behind the HTTP/2 connection."""
        assert self._route is not None
        return self._route(head)

    def _runner(self, *args: Any) -> FakeRunner:
        self.runners.append(FakeRunner(*args))
        return self.runners[-1]

    def finish_runs(self) -> None:
        for runner in self.runners:
            if runner.batch is not None:
                runner.finish()
        self.loop.settle()

    # --- gRPC ------------------------------------------------------------------------------------------------------------------

    def open(self, path: str, *messages: bytes, last: bool = True, fields: Sequence[tuple[str, str]] = ()) -> int:
        """Begin a call; its stream."""
        stream_id, self._next = self._next, self._next + 2
        self.wire.now = self.loop.time
        head = http2_wire.request(path, ("content-type", "application/grpc"), ("te", "trailers"), *fields)
        pieces = [http2_wire.head(stream_id, self.wire.block(head))]
        pieces += [http2_wire.data(stream_id, framed(message)) for message in messages[:-1]]
        if messages:
            pieces.append(http2_wire.data(stream_id, framed(messages[-1]), last=last))
        self.wire.send(b"".join(pieces))
        return stream_id

    def more(self, stream_id: int, message: bytes | None = None, *, last: bool = False) -> None:
        """Another message of a streaming call, or its end."""
        self.wire.now = self.loop.time
        self.wire.send(http2_wire.data(stream_id, b"" if message is None else framed(message), last=last))

    def replies(self) -> dict[int, Reply]:
        """Everything that was answered so far, by stream."""
        self.wire.flush()
        return {stream_id: _reply(answer) for stream_id, answer in read_answers(b"".join(self.wire.writes)).items() if answer.heads}

    def call(self, path: str, message: bytes, *fields: tuple[str, str]) -> Reply:
        """A unary call, when everything that it started has run."""
        stream_id = self.open(path, message, fields=fields)
        self.loop.settle()
        return self.replies()[stream_id]


def framed(message: bytes) -> bytes:
    return b"\x00" + len(message).to_bytes(4, "big") + message


def _reply(answer: http2_wire.Answer) -> Reply:
    messages, body = [], answer.body
    while body:
        size = int.from_bytes(body[1:5], "big")
        messages.append(body[5 : 5 + size])
        body = body[5 + size :]
    last = answer.heads[-1]
    return Reply(int(last.get(b"grpc-status", b"-1")), last.get(b"grpc-message", b"").decode(), messages, last, answer.heads[0])


def infer(
    model: str = ROWS,
    *arrays: np.ndarray,
    request_id: str = "",
    outputs: Sequence[str] = (),
    version: str = "",
    timeout_us: int = 0,
    priority: int = 0,
) -> bytes:
    """A ModelInferRequest with raw contents."""
    names = {ROWS: ("x",), WHOLE: ("x",), TEXTS: ("words", "n")}.get(model, ("x",))
    kinds = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "object": "BYTES"}
    request = pb.ModelInferRequest(model_name=model, model_version=version, id=request_id)
    for name, array in zip(names, arrays, strict=True):
        request.inputs.add(name=name, datatype=kinds[str(array.dtype)], shape=array.shape)
        texts = [text.encode() for text in array.ravel().tolist()] if array.dtype == object else []
        raw = b"".join([len(text).to_bytes(4, "little") + text for text in texts]) if texts else array.tobytes()
        request.raw_input_contents.append(raw)
    for name in outputs:
        request.outputs.add(name=name)
    if timeout_us:
        request.parameters["timeout"].int64_param = timeout_us
    if priority:
        request.parameters["priority"].uint64_param = priority
    return bytes(request.SerializeToString())


def tensors(message: bytes) -> dict[str, list[Any]]:
    """The outputs of a ModelInferResponse by name."""
    answer = pb.ModelInferResponse.FromString(message)
    found = {}
    for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True):
        if output.datatype == "BYTES":
            values, at = [], 0
            while at < len(raw):
                size = int.from_bytes(raw[at : at + 4], "little")
                values.append(raw[at + 4 : at + 4 + size].decode())
                at += 4 + size
            array = np.array(values, object)
        else:
            array = np.frombuffer(raw, {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8"}[output.datatype])
        found[output.name] = array.reshape(tuple(output.shape)).tolist()
    return found


def body(rows: list[list[float]], **more: object) -> bytes:
    """A JSON request to the model of rows."""
    data = {"name": "x", "datatype": "FP32", "shape": [len(rows), len(rows[0]) if rows else 1], "data": rows}
    return json.dumps({"inputs": [data], **more}).encode()
