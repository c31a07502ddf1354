"""The access table for gRPC calls. At the head of a call it is settled who calls; where the model is in the message, each message is judged
before it means anything (see `service`), because what was learned of one caller's messages must answer no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.control.guard import credential_of
from gateway.identity.access import is_open
from gateway.identity.callers import Caller
from gateway.identity.certificates import Certificate
from gateway.identity.gate import Gate
from gateway.wire.grpc import GrpcRouter, Message, MessageSink, Method, Refusal, StreamRefusal, fail
from gateway.wire.head import RequestHead
from gateway.wire.stream import Acceptor, Stream

Personal = Callable[[Caller], Method]  # a method that asks its caller's rights itself, because what they depend on is in its messages


class GuardedCalls:
    """A router of gRPC calls whose callers must show who they are."""

    def __init__(self, calls: GrpcRouter, gate: Gate, personal: Mapping[bytes, Personal], certificate: Certificate | None = None) -> None:
        self._calls = calls
        self._gate = gate
        self._personal = personal
        self._certificate = certificate

    def route(self, head: RequestHead) -> Acceptor:
        """Who takes a call. One that does not exist is refused as such, to everybody alike."""
        method = self._calls.find(head)
        if isinstance(method, Refusal):
            return method
        route, personal = head.path.decode("ascii"), self._personal.get(head.path)
        if personal is None and is_open(route):
            return self._calls.accept(method, head)
        caller = self._gate.caller(credential_of(head.fields), self._certificate)
        refusal = caller.refusal_at_head(route, self._gate.now())
        if refusal is not None:
            kind = Refusal if method.streaming is None else StreamRefusal
            return kind(refusal.code, refusal.message, momentary=True)
        return self._calls.accept(_guarded(method, route, caller) if personal is None else personal(caller), head)


def _guarded(method: Method, route: str, caller: Caller) -> Method:
    """A method for one caller, whose right does not depend on what it says."""
    unary, streaming = method.unary, method.streaming
    if unary is not None:

        def handle(stream: Stream, data: Message, start: int, end: int, deadline: float) -> None:
            refusal = caller.refusal(route, None, stream.arrival)
            if refusal is not None:
                fail(stream, refusal.code, refusal.message)
                return
            unary(stream, data, start, end, deadline)

        return Method(unary=handle)
    assert streaming is not None
    return Method(streaming=lambda stream, deadline: GuardedSink(streaming(stream, deadline), route, caller, stream))


class GuardedSink(MessageSink):
    """A call with a stream of messages, each of which needs the right anew."""

    def __init__(self, sink: MessageSink, route: str, caller: Caller, stream: Stream) -> None:
        self._sink = sink
        self._route = route
        self._caller = caller
        self._stream = stream

    def message(self, message: Message, owed: int) -> None:
        """The next message. Raises TidegateError, with which the call ends."""
        self._caller.demand(self._route, None, self._stream.arrival)
        self._sink.message(message, owed)

    def half_closed(self) -> None:
        """No more messages."""
        self._sink.half_closed()
