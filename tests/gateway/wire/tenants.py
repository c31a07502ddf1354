"""Clients of several tenants on shared HTTP/2 connections: what they send, how it is encoded, and what each must be taken for.

A tenant's requests are alike, as real clients' are: the same routing fields in one order, the same metadata, and holes that change from
request to request (a timeout, a request id, a trace). `verdict` says from the fields alone what a request must come to.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import hpack
from hpack.hpack import encode_integer

from gateway.limits import Limits, ServingLimits, WireLimits
from gateway.wire.frames import ErrorCode
from gateway.wire.grpc import GrpcRouter, Message, Method, finish, reply
from gateway.wire.head import RequestHead
from gateway.wire.stream import Acceptor, Stream
from tests.gateway.wire.http2_wire import Fields, Whole, Wire, data, head, read_answers

INSERTED, AGAIN, PLAIN, NEVER = "inserted", "again", "plain", "never"
DEFAULT_S, LONGEST_S = 10.0, 30.0
UNARY, OTHER, STREAMED = b"/t.Service/Infer", b"/t.Service/Other", b"/t.Service/Stream"
LIMITS = Limits(
    wire=WireLimits(max_streams=4, max_headers=24, max_header_bytes=2_000, max_body_bytes=1_000),
    serving=ServingLimits(default_deadline_s=DEFAULT_S, max_deadline_s=LONGEST_S),
)

# --- fields ------------------------------------------------------------------------------------------------------------------------

ORDERS = {  # of the regular fields: metadata behind, in front, and around what routes
    "core": (b"te", b"content-type", b"user-agent", b"grpc-accept-encoding", b"grpc-timeout", b"*"),
    "go": (b"content-type", b"user-agent", b"te", b"grpc-timeout", b"*"),
    "proxy": (b"grpc-timeout", b"*", b"user-agent", b"te", b"content-type"),
    "mixed": (b"te", b"grpc-timeout", b"content-type", b"*", b"user-agent"),
}
FIXED = {b"te": b"trailers", b"content-type": b"application/grpc", b"user-agent": b"tide/1", b"grpc-accept-encoding": b"identity,gzip"}


@dataclass(frozen=True)
class Tenant:
    """One client: all that stays the same in its requests."""

    name: bytes
    path: bytes
    order: str
    metadata: tuple[bytes, ...]  # names
    forms: tuple[str, ...]  # how each field is written, by position, round robin
    coded: bool  # strings are Huffman-coded

    def fields(self, timeout: bytes | None, number: int) -> Fields:
        """One request; `number` fills the other holes."""
        regular: Fields = []
        for name in ORDERS[self.order]:
            if name == b"*":
                regular += [(each, self.metadatum(each, number)) for each in self.metadata]
            elif name != b"grpc-timeout":
                regular.append((name, FIXED[name]))
            elif timeout is not None:
                regular.append((name, timeout))
        return [(b":method", b"POST"), (b":scheme", b"http"), (b":path", self.path), (b":authority", b"gate"), *regular]

    def metadatum(self, name: bytes, number: int) -> bytes:
        if name == b"authorization":
            return b"Bearer secret-of-" + self.name
        if name == b"x-tenant":
            return self.name
        if name == b"traceparent":
            return b"00-%032x-%016x-01" % (number, number)
        return b"%s.%d" % (self.name, number)


class TenantEncoder(hpack.Encoder):
    """The `hpack` library's encoder, with a choice of representation for each field."""

    def block(self, fields: Fields, forms: tuple[str, ...], *, coded: bool) -> bytes:
        """A header block; begins with a size update where one is due."""
        written = [self.written(*each, forms[at % len(forms)], coded=coded) for at, each in enumerate(fields)]
        return self.encode([]) + b"".join(written)

    def written(self, name: bytes, value: bytes, form: str, *, coded: bool) -> bytes:
        if form == INSERTED:
            return self.add((name, value), False, coded)
        if form == AGAIN:  # inserted although it may be there already, as encoders without a search do
            self.header_table.add(name, value)
            return b"\x40" + self.string(name, coded=coded) + self.string(value, coded=coded)
        octets = bytearray(self.add((name, value), True, coded))
        if form == PLAIN and octets[0] < 0x20:
            octets[0] &= 0x0F  # without indexing, rather than never indexed
        return bytes(octets)

    def string(self, value: bytes, *, coded: bool) -> bytes:
        octets = self.huffman_coder.encode(value) if coded else value
        length = encode_integer(len(octets), 7)
        length[0] |= 0x80 if coded else 0
        return bytes(length) + octets


# --- what a request must come to ---------------------------------------------------------------------------------------------------

SERVED, OVERSIZED, RESET, REFUSED = "served", "oversized", "reset", "refused"


def by_name(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Fields of one name keep their order; that of different names means nothing (RFC 9110 §5.3), and routing fields are moved forward."""
    return sorted(fields, key=lambda field: field[0])


Verdict = tuple[object, ...]
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_NAME_OCTETS = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_CONNECTION = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}


def seconds(value: bytes) -> float | None:
    """A `grpc-timeout`, None where it is malformed."""
    digits, unit = value[:-1], _UNITS.get(value[-1:])
    good = unit is not None and 1 <= len(digits) <= 8 and all(digit in b"0123456789" for digit in digits)
    return int(digits) * unit if good and unit is not None else None


def split(fields: Fields) -> tuple[Fields, Fields]:
    """Pseudo-headers in front, and the rest."""
    count = 0
    while count < len(fields) and fields[count][0] in (b":method", b":scheme", b":path", b":authority"):
        count += 1
    return fields[:count], fields[count:]


def well_formed(fields: Fields, body: bytes) -> bool:
    """RFC 9113 §8.1.1, 8.2 and 8.3, as far as the tests break them."""
    pseudo, regular = split(fields)
    names = [name for name, _ in pseudo]
    if len(set(names)) != len(names) or not {b":method", b":scheme", b":path"} <= set(names) or dict(pseudo)[b":path"][:1] != b"/":
        return False
    if any(octet in value for _, value in fields for octet in (b"\r", b"\n", b"\0")):
        return False
    for name, value in regular:
        if not name or any(octet not in _NAME_OCTETS for octet in name) or name in _CONNECTION or value != value.strip():
            return False
        if (name == b"te" and value != b"trailers") or (name == b"content-length" and value != b"%d" % len(body)):
            return False
    return True


def verdict(fields: Fields, message: bytes, body: bytes) -> Verdict:
    """SERVED with all that the program must see, OVERSIZED, RESET, or a gRPC status."""
    if len(fields) > LIMITS.wire.max_headers or sum(len(name) + len(value) + 32 for name, value in fields) > LIMITS.wire.max_header_bytes:
        return (OVERSIZED,)
    if not well_formed(fields, body):
        return (RESET,)
    pseudo, regular = split(fields)
    target, last = dict(pseudo), dict(regular)
    timeout = seconds(last.get(b"grpc-timeout", b"")) if last.get(b"grpc-timeout") else DEFAULT_S
    if target[b":method"] != b"POST" or target[b":path"] not in (UNARY, OTHER, STREAMED):
        return (b"12",)
    if timeout is None:
        return (b"13",)
    if target[b":path"] != STREAMED:
        timeout = min(LONGEST_S, timeout)
    elif not last.get(b"grpc-timeout"):
        timeout = float("inf")
    if body[0] and last.get(b"grpc-encoding", b"identity") == b"identity":
        return (b"13",)
    return SERVED, target[b":path"], target.get(b":authority", b""), by_name(regular), timeout, message


def message_body(message: bytes, *, squeezed: bool) -> bytes:
    """One message in its gRPC frame, compressed on demand."""
    if squeezed:
        machine = zlib.compressobj(wbits=31)
        message = machine.compress(message) + machine.flush()
    return bytes((squeezed,)) + len(message).to_bytes(4, "big") + message


# --- the program --------------------------------------------------------------------------------------------------------------------


@dataclass
class Calls:
    """The program behind a connection: echoes every call and keeps what it saw of it."""

    seen: dict[int, Verdict] = field(default_factory=dict)
    streams: list[Stream] = field(default_factory=list)

    def __post_init__(self) -> None:
        methods = {path: Method(unary=self.handler(path)) for path in (UNARY, OTHER)}
        self.router = GrpcRouter({**methods, STREAMED: Method(streaming=self.begin)}, LIMITS, compression=True)

    def route(self, head: RequestHead) -> Acceptor:
        return Whole(self, refuses=True) if head.oversized else self.router.route(head)

    def took(self, stream: Stream, call: str, *values: object) -> None:
        self.seen[stream.id] = (OVERSIZED,)

    def handler(self, path: bytes) -> Callable[[Stream, Message, float], None]:
        def handle(stream: Stream, data: Message, start: int, end: int, deadline: float) -> None:
            message = data[start:end]
            self.saw(stream, path, bytes(message), deadline)
            reply(stream, bytes(message))

        return handle

    def begin(self, stream: Stream, deadline: float) -> Sink:
        return Sink(self, stream, deadline)

    def saw(self, stream: Stream, path: bytes, message: bytes, deadline: float) -> None:
        assert (path, b"POST") == (stream.head.path, stream.head.method)
        assert deadline == stream.arrival + stream.timeout_s
        self.streams.append(stream)
        self.seen[stream.id] = SERVED, path, stream.head.authority, by_name(stream.fields), stream.timeout_s, message


@dataclass
class Sink:
    """A streaming call that answers its first message with the end."""

    calls: Calls
    stream: Stream
    deadline: float

    def message(self, message: Message, owed: int) -> None:
        self.calls.saw(self.stream, STREAMED, bytes(message), self.deadline)
        finish(self.stream)

    def half_closed(self) -> None:
        finish(self.stream)


class Line:
    """One connection that tenants share, and what each of its requests must come to."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.wire = Wire(LIMITS.wire, self.calls).start()  # type: ignore[arg-type]
        self.encoder = TenantEncoder()
        self.next_id = 1
        self.expected: dict[int, Verdict] = {}
        self.waiting: dict[int, bytes] = {}  # bodies that are still to come
        self.out: list[bytes] = []

    def open(self, fields: Fields, forms: tuple[str, ...], *, coded: bool, squeezed: bool, framing: str) -> None:
        """One request; `framing` is how its block and its body are cut into frames."""
        stream_id, self.next_id = self.next_id, self.next_id + 2
        message = b"message %d" % stream_id
        body = message_body(message, squeezed=squeezed)
        block = self.encoder.block(fields, forms, coded=coded)
        full = len(self.waiting) >= LIMITS.wire.max_streams
        come_to = self.expected[stream_id] = (REFUSED,) if full else verdict(fields, message, body)
        cuts = (len(block) // 3, len(block) // 2) if framing == "continued" else ()
        self.out.append(head(stream_id, block, cuts=cuts))
        if framing == "late":
            if come_to not in ((RESET,), (REFUSED,)):
                self.waiting[stream_id] = body
            return
        self.out.append(data(stream_id, body, last=framing != "trailers"))
        if framing == "trailers":
            sum_of = self.encoder.block([(b"x-sum", b"%d" % stream_id)], forms, coded=coded)
            self.out.append(head(stream_id, sum_of, last=True))

    def finish(self, index: int) -> None:
        """The body of one request that waits."""
        if self.waiting:
            stream_id = sorted(self.waiting)[index % len(self.waiting)]
            self.out.append(data(stream_id, self.waiting.pop(stream_id), last=True))

    def send(self) -> None:
        """What has been written, in one read."""
        if self.out:
            self.wire.send(b"".join(self.out))
            self.out.clear()

    def check(self) -> None:
        """Every request came to what it must, and what the program was given has not changed since."""
        answers = read_answers(b"".join(self.wire.writes))
        assert 0 == self.wire.closes
        for stream_id, come_to in self.expected.items():
            answer = answers[stream_id]
            if come_to[0] in (RESET, REFUSED):
                assert (come_to[0] is RESET, None) == (answer.reset == ErrorCode.PROTOCOL_ERROR, self.calls.seen.get(stream_id))
            elif come_to[0] is OVERSIZED:
                assert (come_to, b"431") == (self.calls.seen.get(stream_id), answer.heads[0][b":status"])
            elif come_to[0] is SERVED:
                assert (come_to, b"0") == (self.calls.seen.get(stream_id), answer.heads[-1][b"grpc-status"])
                assert answer.body == (b"" if come_to[1] == STREAMED else message_body(come_to[-1], squeezed=False))
            else:
                assert (come_to[0], None) == (answer.heads[-1][b"grpc-status"], self.calls.seen.get(stream_id))
        for stream in self.calls.streams:
            assert self.calls.seen[stream.id][3:5] == (by_name(stream.fields), stream.timeout_s)
            firsts = dict(reversed(stream.fields))
            assert firsts == {name: stream.header(name) for name in firsts}
            assert stream.header(b"no-such-field") is None
