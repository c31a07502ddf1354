"""A large answer gives way to other streams and other connections while it leaves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import MIB, WireLimits
from gateway.wire.stream import TURN_BYTES as TURN
from tests.gateway.wire.http2_wire import Wire, read_answers, window

WIDE = {"INITIAL_WINDOW_SIZE": 1 << 30}


def wide(**settings: int) -> Wire:
    wire = Wire(WireLimits()).start(**WIDE, **settings)
    wire.send(window(0, 1 << 30))
    wire.take()
    return wire


def held(wire: Wire, *ids: int) -> None:
    """Streams whose answers the test gives."""
    for stream_id in ids:
        wire.open(stream_id)
    wire.take()


def tick(wire: Wire) -> int:
    """One flush of a connection that has something to say: how many bytes it wrote."""
    before, dirty = len(wire.writes), wire.dirty[:]
    wire.dirty.clear()
    for outbound in dirty:
        outbound.flush()
    return sum(map(len, wire.writes[before:]))


@pytest.mark.parametrize("frame", [16_384, 1 * MIB, (1 << 24) - 1])
def test_a_large_answer_leaves_over_several_ticks(frame: int) -> None:
    """None of which writes more than a turn, whatever frames the peer takes."""
    wire, body = wide(MAX_FRAME_SIZE=frame), bytes(range(256)) * 8_192
    held(wire, 1)
    wire.program.answer(1, body)
    sizes = []
    while wire.dirty:
        sizes.append(tick(wire))
    assert 8 <= len(sizes)
    assert TURN <= max(sizes) <= TURN + 1_024
    answer = read_answers(b"".join(wire.writes))[1]
    assert (body, True) == (answer.body, answer.ended)


def test_a_small_answer_does_not_wait_for_the_end_of_a_large_one() -> None:
    """Of the same connection: it leaves with the next turn but the one that is framed already."""
    wire = wide()
    held(wire, 1, 3)
    wire.program.answer(1, bytes(4 * MIB))
    tick(wire)
    wire.program.answer(3, b"small")
    tick(wire)
    tick(wire)
    answers = read_answers(b"".join(wire.writes))
    assert (b"small", True, False) == (answers[3].body, answers[3].ended, answers[1].ended)
    assert len(answers[1].body) <= 4 * TURN


def test_every_large_answer_has_its_turns() -> None:
    """More of them than one turn has frames: none is farther behind another than the turn that the first had for itself."""
    wire, ids = wide(), range(1, 81, 2)
    held(wire, *ids)
    for stream_id in ids:
        wire.program.answer(stream_id, bytes(1 * MIB))
    for _ in range(40):
        tick(wire)
    sizes = [len(answer.body) for answer in read_answers(b"".join(wire.writes)).values()]
    assert len(ids) == len(sizes)
    assert max(sizes) - min(sizes) <= TURN + 16_384


@given(
    st.lists(st.integers(0, 700_000), min_size=1, max_size=6), st.lists(st.sampled_from(["tick", "full", "free", "cancel"]), max_size=30)
)
def test_answers_arrive_whole_whatever_happens_between_turns(sizes: list[int], events: list[str]) -> None:
    """Ticks, a transport that is full for a while, streams that go; at the end nothing waits."""
    wire = wide()
    bodies = {2 * place + 1: bytes([place + 1]) * size for place, size in enumerate(sizes)}
    held(wire, *bodies)
    streams = dict(wire.program.streams)
    for stream_id, body in bodies.items():
        wire.program.answer(stream_id, body)
    gone, outbound = set(), wire.connection.outbound
    for event in events:
        if event == "tick":
            tick(wire)
        elif event == "full":
            outbound.writable = False
        elif event == "free":
            outbound.writable = True
            outbound.pump()
        else:
            stream_id = 2 * (len(gone) % len(sizes)) + 1
            gone.add(stream_id)
            outbound.reset(streams[stream_id], 8)
    outbound.writable = True
    outbound.pump()
    wire.flush()
    answers = read_answers(b"".join(wire.writes))
    for stream_id, body in bodies.items():
        if stream_id in gone and not answers[stream_id].ended:
            assert body.startswith(answers[stream_id].body)
        else:
            assert (body, True) == (answers[stream_id].body, answers[stream_id].ended)
    assert ({}, 0) == (outbound.blocked, outbound.blocked_bytes)
