"""`Http2Connection` against the `h2` library as its client: whatever the two do, every answer arrives once, whole and in order."""

from __future__ import annotations

from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    PingAckReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.limits import WireLimits
from tests.gateway.wire.http2_wire import Wire, read_frames, request

WIDE = 1 << 24
LIMITS = WireLimits(stream_window_bytes=65_535, connection_window_bytes=131_070, max_frame_bytes=20_000, max_streams=8)


@dataclass
class Exchange:
    """One stream as the client sees it."""

    path: str
    left: bytes  # of the request's body, not sent yet
    body: bytes
    trailers: bool
    sent_all: bool = False
    got: bytearray = field(default_factory=bytearray)
    unread: int = 0  # bytes that are not acknowledged yet
    heads: int = 0
    ends: int = 0
    trailed: int = 0
    reset: ErrorCodes | None = None
    gave_up: bool = False


class Client:
    """An `h2` client that talks to a `Wire`, and a server whose held answers it orders."""

    def __init__(self) -> None:
        self.wire = Wire(LIMITS)
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self.h2.initiate_connection()
        self.exchanges: dict[int, Exchange] = {}
        self.unread = 0
        self.pings = self.pongs = 0
        self.outbox = b""
        self.move(cut=0)

    # --- bytes both ways -------------------------------------------------------------------------------------------------------

    def move(self, *, cut: int) -> None:
        """Deliver what each side has to say; the last `cut` bytes to the server stay for the next time."""
        self.outbox += self.h2.data_to_send()
        edge = max(0, len(self.outbox) - cut)
        out, self.outbox = self.outbox[:edge], self.outbox[edge:]
        if out:
            self.wire.send(out)
        for frame in read_frames(self.wire.take()):  # h2 takes up a larger frame size only with the next bytes it is given
            for event in self.h2.receive_data(frame.serialize()):
                self.happened(event)

    def happened(self, event: object) -> None:
        assert not isinstance(event, ConnectionTerminated), event
        if isinstance(event, PingAckReceived):
            self.pongs += 1
        exchange = self.exchanges.get(getattr(event, "stream_id", None) or 0)
        if exchange is None:
            return
        if isinstance(event, ResponseReceived):
            exchange.heads += 1
        elif isinstance(event, TrailersReceived):
            exchange.trailed += 1
        elif isinstance(event, DataReceived):
            exchange.got += event.data
            exchange.unread += event.flow_controlled_length
            self.unread += event.flow_controlled_length
        elif isinstance(event, StreamEnded):
            exchange.ends += 1
        elif isinstance(event, StreamReset):
            exchange.reset = ErrorCodes(event.error_code)

    # --- what the client may do ------------------------------------------------------------------------------------------------

    def open(self, path: str, body: bytes, trailers: bool, priority: bool, filler: int) -> None:
        if self.h2.open_outbound_streams >= LIMITS.max_streams:
            return
        stream_id = self.h2.get_next_available_stream_id()
        fields = request(path, ("x-filler", "f" * filler), ("x-stream", str(stream_id)))
        asks = {"priority_weight": 7, "priority_exclusive": True} if priority else {}
        self.h2.send_headers(stream_id, fields, end_stream=not body and not trailers, **asks)
        self.exchanges[stream_id] = Exchange(path, body, body, trailers, sent_all=not body and not trailers)

    def send(self, stream_id: int, size: int, padding: int | None) -> None:
        """The next piece of a body, as far as the windows allow."""
        exchange = self.exchanges[stream_id]
        if exchange.sent_all or exchange.gave_up or exchange.reset is not None:
            return
        pad = 0 if padding is None else padding + 1
        room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size) - pad
        piece = exchange.left[: max(0, min(size, room))]
        if not piece and exchange.left:
            return
        exchange.left = exchange.left[len(piece) :]
        exchange.sent_all = not exchange.left
        last = exchange.sent_all and not exchange.trailers
        if piece or last:
            self.h2.send_data(stream_id, piece, end_stream=last, pad_length=padding if piece else None)
        if exchange.sent_all and exchange.trailers:
            self.h2.send_headers(stream_id, [(b"x-sum", b"%d" % len(exchange.body))], end_stream=True)

    def read(self, stream_id: int, size: int) -> None:
        """Open the stream's window, and the connection's, for what was received."""
        exchange = self.exchanges[stream_id]
        grant = min(exchange.unread, size)
        if grant and not exchange.ends and exchange.reset is None and not exchange.gave_up:
            self.h2.increment_flow_control_window(grant, stream_id)
            exchange.unread -= grant
        if self.unread and size:
            self.h2.increment_flow_control_window(min(self.unread, size))
            self.unread -= min(self.unread, size)

    def give_up(self, stream_id: int) -> None:
        exchange = self.exchanges[stream_id]
        if exchange.reset is None and not exchange.gave_up and not (exchange.ends and exchange.sent_all):
            self.h2.reset_stream(stream_id, ErrorCodes.CANCEL)
            exchange.gave_up = True

    def ping(self) -> None:
        self.h2.ping(b"tide%04d" % self.pings)
        self.pings += 1

    def set(self, window: int | None, frame: int | None) -> None:
        values = {SettingCodes.INITIAL_WINDOW_SIZE: window, SettingCodes.MAX_FRAME_SIZE: frame}
        self.h2.update_settings({key: value for key, value in values.items() if value is not None})

    def answer(self, index: int, size: int) -> None:
        """Let the server answer one of the streams that it holds."""
        held = sorted(self.wire.program.bodies)
        if held:
            stream_id = held[index % len(held)]
            answer = bytes([stream_id & 0xFF]) * size
            if not self.exchanges[stream_id].gave_up or not self.wire.program.streams[stream_id].closed:
                self.exchanges[stream_id].body = answer
            self.wire.program.answer(stream_id, answer)

    # --- the end ---------------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Everything that waits is let go, until nothing moves."""
        self.set(WIDE, None)
        self.move(cut=0)
        self.h2.increment_flow_control_window(WIDE)
        for _ in range(64):
            for stream_id in self.exchanges:
                while self.wire.program.bodies:
                    self.answer(0, 40_000)
                self.send(stream_id, WIDE, None)
                self.read(stream_id, WIDE)
            self.move(cut=0)
            if all(exchange.gave_up or exchange.ends for exchange in self.exchanges.values()):
                return
        raise AssertionError("an answer did not come")

    def check_windows(self) -> None:
        """Both ends count the same bytes, in both directions."""
        connection = self.wire.connection
        outbound = connection.outbound
        assert self.h2.inbound_flow_control_window == outbound.window
        assert self.h2.outbound_flow_control_window + connection._uncredited == LIMITS.connection_window_bytes
        for stream_id, stream in outbound.streams.items():
            theirs = self.h2.streams[stream_id]
            assert theirs.inbound_flow_control_window == stream.window + outbound.peer_window
            if not stream.remote_closed:
                assert theirs.outbound_flow_control_window == LIMITS.stream_window_bytes + stream.credited - stream.flowed
        assert outbound.blocked_bytes == sum(len(piece) for s in outbound.blocked.values() for piece, _ in s.pending or ())
        bodies = sum(stream.body.size for stream in outbound.streams.values() if stream.body is not None)
        assert bodies == connection.buffered_bytes

    def check_answers(self) -> None:
        """Each stream's answer came once, whole; the program heard of each request once."""
        for exchange in self.exchanges.values():
            if exchange.gave_up:
                assert exchange.heads <= 1
                assert exchange.body.startswith(bytes(exchange.got))
                continue
            assert (exchange.heads, exchange.trailed, exchange.ends, exchange.reset) == (1, 1, 1, None)
            assert exchange.body == bytes(exchange.got)
        calls = self.wire.program.calls
        for name in ("begin", "complete", "end"):
            told = [call[1] for call in calls if call[0] == name]
            assert len(told) == len(set(told))
        assert self.pings == self.pongs
        connection = self.wire.connection
        assert (False, {}, {}, 0) == (connection.closed, connection.streams, connection.outbound.blocked, connection.buffered_bytes)


sizes = st.one_of(st.integers(0, 40), st.integers(0, 90_000))
ids = st.integers(0, 7)
paddings = st.one_of(st.none(), st.integers(0, 255))
steps = st.one_of(
    st.tuples(
        st.just("open"),
        st.sampled_from(["/echo", "/hold", "/hold", "/stream"]),
        sizes,
        st.booleans(),
        st.booleans(),
        st.sampled_from([0, 3, 200, 9_000]),
    ),
    st.tuples(st.just("send"), ids, sizes, paddings),
    st.tuples(st.just("send"), ids, st.just(WIDE), st.none()),
    st.tuples(st.just("read"), ids, sizes),
    st.tuples(st.just("answer"), ids, sizes),
    st.tuples(st.just("move"), st.integers(0, 30)),
    st.tuples(
        st.just("set"),
        st.sampled_from([None, 0, 1, 100, 30_000, 65_535, 200_000]),
        st.sampled_from([None, 16_384, 16_500, 65_536]),
    ),
    st.tuples(st.just("give_up"), ids),
    st.tuples(st.just("ping")),
)


def perform(client: Client, step: tuple[object, ...]) -> None:
    name, *values = step
    if name == "open":
        path, size, trailers, priority, filler = values
        client.open(path, bytes(range(256)) * (size // 256) + b"-" * (size % 256), trailers, priority, filler)
    elif name in ("send", "read", "give_up"):
        index, *more = values
        if client.exchanges:
            getattr(client, name)(sorted(client.exchanges)[-1 - index % len(client.exchanges)], *more)
    elif name == "move":
        client.move(cut=values[0])
    else:
        getattr(client, name)(*values)


@settings(max_examples=500, derandomize=True)
@given(st.lists(steps, max_size=40))
def test_every_answer_arrives_once_whole_and_in_order_and_both_ends_count_the_same_windows(script: list[tuple[object, ...]]) -> None:
    """Bodies, padding, priorities, trailers, CONTINUATION, interleaving, changing windows, resets and pings, in any order."""
    client = Client()
    for step in script:
        perform(client, step)
        if step[0] == "move":
            client.move(cut=0)
            client.check_windows()
    client.settle()
    client.check_windows()
    client.check_answers()
