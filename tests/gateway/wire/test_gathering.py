"""Bodies that come in pieces: whole in the end, in any cut, without being joined where their size is known."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import WireLimits
from gateway.wire.gathering import Gathering
from tests.gateway.wire.http2_wire import Wire, data, read_answers, window


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8), st.integers(0, 200))
def test_the_whole_is_all_pieces_whatever_was_expected(pieces: list[bytes], expected: int) -> None:
    """Less, exactly as much, or more than the sender had said."""
    gathering = Gathering(expected)
    for piece in pieces[1:]:
        gathering.add(piece)
    whole = b"".join([*pieces[1:], pieces[0]])
    assert whole == bytes(gathering.whole(pieces[0]))
    assert len(whole) == gathering.size


def test_what_was_expected_is_not_joined_and_nobody_writes_to_it() -> None:
    """The view is read-only, as bytes are."""
    gathering = Gathering(5)
    gathering.add(b"ab")
    whole = gathering.whole(b"cde")
    assert isinstance(whole, memoryview)
    assert whole.readonly
    assert all(one == other for one, other in itertools.pairwise([b"abcde", bytes(whole), whole.tobytes()]))


WIDE = WireLimits(max_body_bytes=4 << 20, stream_window_bytes=8 << 20, connection_window_bytes=8 << 20, max_frame_bytes=1 << 20)


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
