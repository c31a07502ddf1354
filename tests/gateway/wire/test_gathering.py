"""Bodies that come in pieces: whole in the end, in any cut, without being joined where their size is known."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import MIB, Limits, WireLimits
from gateway.wire.gathering import Gathering
from gateway.wire.grpc import GrpcRouter, Message, Method, reply
from gateway.wire.stream import Stream
from tests.gateway.wire.http2_wire import Answer, Wire, data, head, read_answers, request, window

BODY = bytes(range(256)) * 6_144  # 1.5 MiB
LIMITS = Limits(wire=WireLimits(max_body_bytes=2 * MIB))


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8), st.integers(0, 200))
def test_the_whole_is_all_pieces_whatever_was_expected(pieces: list[bytes], expected: int) -> None:
    """Less, exactly as much, or more than the sender had said."""
    gathering = Gathering(expected)
    for piece in pieces[1:]:
        gathering.add(piece)
    whole, found = b"".join([*pieces[1:], pieces[0]]), gathering.whole(pieces[0])
    assert whole == bytes(found)
    assert (len(whole), True) == (gathering.size, memoryview(found).readonly)


def test_what_was_expected_is_not_joined_and_nobody_writes_to_it() -> None:
    """The view is read-only, as bytes are."""
    gathering = Gathering(8)
    gathering.add(b"ab")
    whole = gathering.whole(b"cdefgh")
    assert isinstance(whole, memoryview)
    assert whole.readonly
    assert all(one == other for one, other in itertools.pairwise([b"abcdefgh", bytes(whole), whole.tobytes()]))


def test_what_is_expected_costs_nothing_before_an_eighth_of_it_is_here() -> None:
    """Five bytes cannot reserve what they promise."""
    tracemalloc.start()
    gathering = Gathering(32 * MIB)
    gathering.add(bytes(4 * MIB - 1))
    before, _ = tracemalloc.get_traced_memory()
    gathering.add(b"x")
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert before < 5 * MIB
    assert 28 * MIB <= after - before + 4 * MIB


def test_a_body_of_the_expected_length_is_not_copied_at_its_end() -> None:
    """Its view is where its pieces were put, so that asking for it takes no memory."""
    gathering = Gathering(len(BODY))
    for at in range(0, len(BODY), 100_000):
        gathering.add(BODY[at : at + 100_000])
    tracemalloc.start()
    whole = gathering.whole()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(BODY), True) == (len(whole), most < 10_000)


class Rested(Wire):
    """A connection whose owner notes when it should let others have their turn, and how much was written at once."""

    def __init__(self) -> None:
        super().__init__(
            WireLimits(max_body_bytes=4 << 20, stream_window_bytes=8 << 20, connection_window_bytes=8 << 20, max_frame_bytes=1 << 20)
        )
        self.rests = 0
        self.connection._rest = self._count

    def _count(self) -> None:
        self.rests += 1


def test_a_large_body_is_taken_in_turns_with_others_and_answered_in_turns() -> None:
    """An echo of 2 MiB: large reads rest, and no flush writes more than about a quarter of a MiB."""
    wire = Rested().start(INITIAL_WINDOW_SIZE=8 << 20)
    wire.send(window(0, 8 << 20))
    body = bytes(range(256)) * (2 << 12)
    wire.open(1, "/echo", last=False)
    frame = data(1, body[: 1 << 20]) + data(1, body[1 << 20 :], last=True)
    for at in range(0, len(frame), 250_000):
        wire.connection.receive(frame[at : at + 250_000])
    assert wire.rests == len(frame) // 250_000
    wire.flush()
    assert max(map(len, wire.writes)) < 300_000
    assert body == read_answers(b"".join(wire.writes))[1].body


# --- gRPC --------------------------------------------------------------------------------------------------------------------------


def asked(body: bytes, *, frame: int = 16_384, last: bool = False) -> tuple[Answer, list[Message]]:
    """One call whose body comes in frames of such a size; an empty one ends it where the last is not to."""
    seen: list[Message] = []

    def take(stream: Stream, found: Message, start: int, end: int, deadline: float) -> None:
        seen.append(found[start:end])
        reply(stream, b"ok")

    router = GrpcRouter({b"/t.S/Take": Method(unary=take)}, LIMITS)
    wire = Wire(LIMITS.wire, router).start()  # type: ignore[arg-type]
    parts = [body[at : at + frame] for at in range(0, len(body), frame)]
    frames = [data(1, part, last=last and part is parts[-1]) for part in parts]
    wire.send(head(1, wire.block(request("/t.S/Take"))), *frames, *([] if last else [data(1, b"", last=True)]))
    assert 0 == wire.connection.buffered_bytes
    return read_answers(b"".join(wire.writes))[1], seen


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("size", "frame"), [(10, 1), (10, 4), (10, 5), (65_535, 4_096), (65_536, 4_096), (65_536, 16_384), (len(BODY), 16_384)]
)
def test_a_message_in_pieces_is_the_message(size: int, frame: int, last: bool) -> None:
    """Where its length prefix came whole in the first frame, and where it did not; large and short ones."""
    answer, seen = asked(b"\0" + size.to_bytes(4, "big") + BODY[:size], frame=frame, last=last)
    assert ([BODY[:size]], b"0") == (seen, answer.heads[-1][b"grpc-status"])


@pytest.mark.parametrize(
    ("declared", "sent", "code"),
    [
        (len(BODY), len(BODY) - 1, b"13"), (len(BODY), len(BODY) // 4, b"13"), (len(BODY), 100, b"13"), (65_536, 65_537, b"0"),
        (65_536, len(BODY), b"0"), (2 * MIB + 1, len(BODY), b"8"), (65_536, 2 * MIB + 1, b"8"),
    ],
)  # fmt: skip
def test_a_body_that_is_not_as_long_as_it_says(declared: int, sent: int, code: bytes) -> None:
    """Too little is INTERNAL; what follows the message is ignored, as gRPC's own servers do; either is bounded."""
    answer, seen = asked(b"\0" + declared.to_bytes(4, "big") + (BODY * 2)[:sent])
    assert code == answer.heads[-1][b"grpc-status"]
    assert ([BODY[:declared]] if code == b"0" else []) == seen
