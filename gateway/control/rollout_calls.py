"""Rollouts over gRPC on the admin port: the service tidegate.Rollouts. Messages to `rollout_work` and back; what blocks is an errand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, cast

import msgspec
from google.protobuf import json_format
from google.protobuf.message import Message as ProtoMessage

from gateway.control.errands import Errands
from gateway.control.guarded_calls import Personal
from gateway.control.rollout_watches import RolloutWatches, Watch
from gateway.control.rollout_work import BODIES, VERBS, Applying, Verb, Work, by_whom
from gateway.errors import TidegateError
from gateway.identity.callers import Caller
from gateway.pb import tidegate_pb2 as pb
from gateway.pb.rpcs import ROLLOUTS, Rpc
from gateway.protocol import v2_grpc
from gateway.rollout.status import History, Status
from gateway.wire import grpc
from gateway.wire.grpc import Message, MessageSink, Method
from gateway.wire.stream import Stream

Ask = Callable[[Any, Caller | None], ProtoMessage]  # in a thread: a request to its answer


class RolloutCalls:
    """The methods, by path."""

    def __init__(self, errands: Errands, work: Work, watches: RolloutWatches) -> None:
        self._errands = errands
        self._work = work
        self._watches = watches
        self._asks: dict[str, Ask] = {
            "List": self._list,
            "Status": lambda request, _: status_message(work.status(request.rollout)),
            "History": lambda request, _: history_message(work.history(request.rollout)),
            "Apply": self._apply,
            **{verb.capitalize(): self._verb(verb) for verb in VERBS},
        }

    def methods(self) -> dict[bytes, Method]:
        """For everybody."""
        return {rpc.path.encode(): self._method(rpc, None) for rpc in ROLLOUTS.values()}

    def personal(self) -> dict[bytes, Personal]:
        """For one caller, who is asked for the right at every message, and in whose name it is done."""

        def of(rpc: Rpc) -> Personal:
            return lambda caller: self._method(rpc, caller)

        return {rpc.path.encode(): of(rpc) for rpc in ROLLOUTS.values()}

    def _method(self, rpc: Rpc, caller: Caller | None) -> Method:
        if rpc.server_streaming:
            return Method(streaming=lambda stream, _deadline: WatchCall(self._watches, stream, caller, rpc))
        ask = self._asks[rpc.name]

        def handle(stream: Stream, data: Message, start: int, end: int, _deadline: float) -> None:
            if caller is not None:
                caller.demand(rpc.path, None, stream.arrival)
            request = v2_grpc.parse(rpc.request, data[start:end])
            self._errands.run(
                lambda: ask(request, caller).SerializeToString(), lambda said: _reply(stream, said), lambda error: _fail(stream, error)
            )

        return Method(unary=handle)

    def _list(self, request: Any, _caller: Caller | None) -> ProtoMessage:
        return pb.ListRolloutsResponse(rollouts=map(status_message, self._work.statuses(request.model, everything=request.all)))

    def _apply(self, request: Any, caller: Caller | None) -> ProtoMessage:
        said = Applying(
            reason=request.reason, actor=request.actor, operation_id=request.operation_id, force=request.force, commit=request.commit
        )
        return done_message(self._work.apply(request.plan, by_whom(said, caller)))

    def _verb(self, verb: Verb) -> Ask:
        kind = BODIES[verb]
        names = [field.name for field in msgspec.structs.fields(kind)]

        def ask(request: Any, caller: Caller | None) -> ProtoMessage:
            fields = {name: getattr(request, name) for name in names if name != "step" or request.HasField(name)}
            return done_message(self._work.act(verb, request.rollout, by_whom(kind(**fields), caller)))

        return ask


class WatchCall(MessageSink):
    """A server-streaming call: one question, a status whenever there is news, the end when the rollout is over."""

    def __init__(self, watches: RolloutWatches, stream: Stream, caller: Caller | None, rpc: Rpc) -> None:
        self._watches = watches
        self._stream = stream
        self._caller = caller
        self._rpc = rpc
        self._watch: Watch | None = None

    def message(self, message: Message, owed: int) -> None:
        """The one question; a second is ignored, as on unary calls. Raises TidegateError."""
        self._stream.consume(owed)
        if self._watch is not None:
            return
        if self._caller is not None:
            self._caller.demand(self._rpc.path, None, self._stream.arrival)
        request = cast(Any, v2_grpc.parse(self._rpc.request, message))
        self._watch = self._watches.watch(request.rollout, self._tell, self._over)
        self._stream.on_cancel = self._watch.end

    def half_closed(self) -> None:
        """The question is complete; the call goes on."""

    def _tell(self, status: Status) -> None:
        try:
            if self._caller is not None:
                self._caller.demand(self._rpc.path, None, math.inf)  # its caller may have been silent for hours: look again
        except TidegateError as error:
            if self._watch is not None:
                self._watch.end()
            self._over(error)
            return
        grpc.send(self._stream, status_message(status).SerializeToString())

    def _over(self, error: TidegateError | None) -> None:
        if self._stream.cancelled:
            return
        if error is None:
            grpc.finish(self._stream)
        else:
            grpc.finish(self._stream, error.code, error.message)


def status_message(status: Status) -> pb.RolloutStatus:
    """A status as its message: the same names."""
    return json_format.ParseDict(msgspec.to_builtins(status), pb.RolloutStatus())


def history_message(history: History) -> pb.RolloutHistory:
    """A journal as its message; details are JSON, because each event has its own."""
    said = msgspec.to_builtins(history)
    for entry in said["entries"]:
        entry["details"] = json.dumps(entry["details"], sort_keys=True)
    return json_format.ParseDict(said, pb.RolloutHistory())


def done_message(done: Any) -> pb.RolloutDone:
    """What a verb came to."""
    return pb.RolloutDone(status=status_message(done.status), new=done.new)


def _reply(stream: Stream, message: bytes) -> None:
    if not stream.cancelled:
        grpc.reply(stream, message)


def _fail(stream: Stream, error: TidegateError) -> None:
    if not stream.cancelled:
        grpc.fail(stream, error.code, error.message)
