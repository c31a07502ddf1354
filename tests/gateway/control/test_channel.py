"""Messages over a socketpair: whole in any chunking, in order, and an end that is noticed."""

from __future__ import annotations

import asyncio
import itertools
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Config, ModelSettings, Processes, Repository, Versions, decode, encode
from gateway.control.channel import MAX_BYTES, Channel
from gateway.control.messages import Begin, Drain, FromWorker, Held, Hold, Report, Reports, Route, Routed, Table, ToWorker
from gateway.serving.lifecycle import State

DOWN = [
    Begin("{}"),
    Hold(7, (Held("m", 1, "sha256:0/1", 2), Held("n", 9, "é", 3))),
    Route(Table(generation=3, ready=True, models={"m": {1: "a", 10: "b"}}, aliases={"m": {"champion": 1}}, defaults={"m": None})),
    Drain(2.5),
]
UP = [Reports(7, (Report("m", 1, "a", State.FAILED, "no", 5, unreachable=True), Report("m", 2, "b", State.READY))), Routed(3)]


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.output = b""

    def write(self, data: bytes) -> None:
        self.output += data


def written(kind: Any, messages: list[Any]) -> bytes:
    channel: Channel[Any] = Channel(kind, lambda message: None, lambda: None)
    transport = Transport()
    channel.connection_made(transport)  # type: ignore[arg-type]
    for message in messages:
        channel.send(message)
    return transport.output


@pytest.mark.parametrize(("kind", "messages"), [(ToWorker, DOWN), (FromWorker, UP)])
@given(cuts=st.lists(st.integers(0, 2_000), max_size=12))
def test_messages_arrive_as_they_were_sent_in_any_chunking(kind: Any, messages: list[Any], cuts: list[int]) -> None:
    """Numbers of versions stay numbers, states stay states."""
    got: list[Any] = []
    channel: Channel[Any] = Channel(kind, got.append, lambda: None)
    stream = written(kind, messages)
    edges = sorted({0, len(stream), *[cut for cut in cuts if cut < len(stream)]})
    for start, end in itertools.pairwise(edges):
        channel.data_received(stream[start:end])
    assert messages == got


@pytest.mark.parametrize("stream", [b"\x00\x00\x00\x02{]", (MAX_BYTES + 1).to_bytes(4, "big"), b'\x00\x00\x00\x0f{"type":"Other"}'])
def test_what_is_no_message_is_a_fault(stream: bytes) -> None:
    """The loop ends the channel for it, which is the death of whoever wrote it."""
    channel: Channel[Any] = Channel(ToWorker, lambda message: None, lambda: None)
    with pytest.raises(ValueError):
        channel.data_received(stream)


def test_the_end_of_one_side_is_told_to_the_other() -> None:
    """Once, also where that side died; what is said afterwards is lost without an error."""

    async def run() -> tuple[list[Any], int]:
        ours, theirs = socket.socketpair()
        got: list[Any] = []
        ends: list[None] = []
        ended = asyncio.Event()

        def end() -> None:
            ends.append(None)
            ended.set()

        first: Channel[Any] = Channel(ToWorker, got.append, end)
        await first.open(ours)
        second: Channel[Any] = Channel(FromWorker, got.append, lambda: None)
        await second.open(theirs)
        second.send(DOWN[3])
        second.close()
        await ended.wait()
        first.send(UP[1])
        return got, len(ends)

    assert ([DOWN[3]], 1) == asyncio.run(run())


def test_settings_travel_as_they_are() -> None:
    """Paths, URLs, lists, nothing, and numbers of every kind."""
    own = ModelSettings(versions=Versions(specific=(1, 3)), max_queue_delay_ms=2.5, isolation="process")
    for path in (Path("a/b c"), "s3://bucket/prefix"):
        config = Config(repository=Repository(path=path, keys=(Path("k.pem"),)), processes=Processes(state=Path("/s")), models={"m": own})
        assert config == decode(encode(config))
