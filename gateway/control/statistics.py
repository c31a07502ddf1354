"""Statistics of versions on both transports. What all workers counted is known to the supervisor alone, so a worker asks it.

Questions about one model that come while one is under way share its answer: however often somebody asks, there is one message a round
trip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from gateway.control.replies import fail
from gateway.control.service import Service
from gateway.errors import AsleepError, Code, TidegateError
from gateway.observe.statistics import Duration, ModelStats, nothing
from gateway.observe.totals import Key
from gateway.pb import inference_pb2 as pb
from gateway.protocol import v2_grpc
from gateway.serving.deadlines import Loop
from gateway.wire import grpc
from gateway.wire.exchange import JSON_TYPE, HttpExchange
from gateway.wire.grpc import Message
from gateway.wire.stream import Stream

PATIENCE_S = 5.0
MAX_WAITING = 1_024
LATE = TidegateError(Code.UNAVAILABLE, "the counters of this server do not answer")
CROWDED = TidegateError(Code.OVERLOADED, "too many callers wait for statistics")

Rows = tuple[ModelStats, ...]
Answer = Callable[[Rows | TidegateError], None]


class _Body(msgspec.Struct):
    model_stats: Rows


class Statistics:
    """Questions of one worker and their answers."""

    def __init__(self, service: Service, loop: Loop, ask: Callable[[str], None]) -> None:
        """`ask(model)` sends a question to the supervisor, "" being all models; `told` gets the answer."""
        self._service = service
        self._loop = loop
        self._ask = ask
        self._waiting: dict[str, list[tuple[list[Key] | None, Answer]]] = {}

    def http(self, exchange: HttpExchange, model: str, version: str) -> None:
        """GET /v2/models[/M[/versions/V]]/stats."""

        def answer(found: Rows | TidegateError) -> None:
            if isinstance(found, TidegateError):
                fail(exchange, found.code, found.message)
            else:
                exchange.respond(200, [JSON_TYPE], msgspec.json.encode(_Body(found)))

        self._want(model, version, answer)

    def grpc(self, stream: Stream, data: Message, start: int, end: int, _deadline: float) -> None:
        """ModelStatistics."""

        def answer(found: Rows | TidegateError) -> None:
            if stream.cancelled:
                return
            if isinstance(found, TidegateError):
                grpc.fail(stream, found.code, found.message)
            else:
                grpc.reply(stream, _message(found))

        try:
            request = v2_grpc.parse(pb.ModelStatisticsRequest, data[start:end])
        except TidegateError as error:
            answer(error)
            return
        self._want(request.name, request.version, answer)

    def told(self, model: str, rows: Rows) -> None:
        """The supervisor's answer: every version of the model that was ever counted."""
        by_name = {(row.name, row.version): row for row in rows}
        for keys, answer in self._waiting.pop(model, ()):
            answer(rows if keys is None else tuple([by_name.get(key) or nothing(*key) for key in keys]))

    def _want(self, model: str, version: str, answer: Answer) -> None:
        try:
            keys = self._keys(model, version)
            if sum(map(len, self._waiting.values())) >= MAX_WAITING:
                raise CROWDED
        except TidegateError as error:
            answer(error)
            return
        waiting = self._waiting.setdefault(model, [])
        waiting.append((keys, answer))
        if len(waiting) == 1:
            self._ask(model)
            self._loop.call_later(PATIENCE_S, self._give_up, model, waiting)

    def _keys(self, model: str, version: str) -> list[Key] | None:
        """Those that serve; None for all of a model that sleeps, which nobody should wake to learn how often it was asked."""
        routes = self._service.routes
        if not model:
            return [(name, str(number)) for name in sorted(routes.versions) for number in routes.numbers(name)]
        if not version and (numbers := routes.numbers(model)):
            return [(model, str(number)) for number in numbers]
        try:
            return [(model, str(routes.resolve(model, version).number))]
        except AsleepError:
            return None if not version else [(model, version)]

    def _give_up(self, model: str, waiting: list[tuple[list[Key] | None, Answer]]) -> None:
        if self._waiting.get(model) is waiting:
            del self._waiting[model]
            for _, answer in waiting:
                answer(LATE)


def _message(rows: Iterable[ModelStats]) -> bytes:
    return pb.ModelStatisticsResponse(model_stats=[_row(row) for row in rows]).SerializeToString()


def _row(row: ModelStats) -> pb.ModelStatistics:
    stats = row.inference_stats
    return pb.ModelStatistics(
        name=row.name,
        version=row.version,
        last_inference=row.last_inference,
        inference_count=row.inference_count,
        execution_count=row.execution_count,
        inference_stats=pb.InferStatistics(**{name: _duration(getattr(stats, name)) for name in stats.__struct_fields__}),
    )


def _duration(duration: Duration) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=duration.count, ns=duration.ns)
