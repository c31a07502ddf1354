"""However a byte stream is cut into reads, the answers and what the program is told are the same."""

from __future__ import annotations

import itertools

import hpack
from hyperframe.frame import DataFrame, Frame, WindowUpdateFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.limits import WireLimits
from tests.gateway.wire.http2_wire import (
    CONTINUATION,
    DATA,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Program,
    Wire,
    data,
    head,
    raw,
    read_frames,
    request,
    reset,
    setting,
    window,
)

WIDE = WireLimits(max_streams=6, max_frame_bytes=16_384, max_body_bytes=30_000, max_header_bytes=2_000, max_headers=12, max_resets=20)
NARROW = WireLimits(
    max_streams=6, max_frame_bytes=16_384, stream_window_bytes=65_535, connection_window_bytes=65_535, max_body_bytes=200_000
)

# --- streams of bytes ------------------------------------------------------------------------------------------------------------

paths = st.sampled_from(["/echo", "/echo", "/hold", "/stream", "/sip", "/small"])
extras = st.sampled_from(
    [(), (), (("x-a", "1"),), (("content-length", "3"),), (("content-length", "120"),), (("X-BAD", "1"),), (("x-long", "v" * 700),)]
)
body_sizes = st.one_of(st.integers(0, 4), st.sampled_from([90, 120, 9_000, 16_384]))


class Script:
    """Writes what one peer sends, with HPACK state of its own."""

    def __init__(self) -> None:
        self.encoder = hpack.Encoder()
        self.next_id = 1
        self.out: list[bytes] = [PREFACE, setting()]

    def open(self, path: str, more: tuple[tuple[str, str], ...], sizes: list[int], *, padding: int | None, cuts: int, end: str) -> None:
        stream_id, self.next_id = self.next_id, self.next_id + 2
        block = self.encoder.encode(request(path, *more))
        steps = tuple(sorted({len(block) * (turn + 1) // (cuts + 1) for turn in range(cuts)}))
        self.out.append(head(stream_id, block, last=end == "head", cuts=steps))
        for index, size in enumerate(sizes if end != "head" else []):
            last = end == "data" and index == len(sizes) - 1
            self.out.append(data(stream_id, b"%05d" % index * (size // 5) + b"-" * (size % 5), last=last, padding=padding))
        if end == "trailers":
            self.out.append(head(stream_id, self.encoder.encode([(b"x-sum", b"%d" % stream_id)]), last=True))

    def say(self, frame: bytes) -> None:
        self.out.append(frame)


opens = st.tuples(
    st.just("open"), paths, extras, st.lists(body_sizes, min_size=1, max_size=3), st.sampled_from([None, None, 0, 200]),
    st.integers(0, 2), st.sampled_from(["data", "data", "head", "trailers", "never"]),
)  # fmt: skip
ids = st.sampled_from([1, 3, 5, 7])
controls = st.one_of(
    st.builds(raw, st.just(PING), st.just(0), st.just(0), st.just(b"12345678")),
    st.builds(window, st.one_of(ids, st.just(0)), st.sampled_from([1, 500, 2**31 - 1])),
    st.builds(reset, ids),
    st.builds(data, ids, st.binary(max_size=3), last=st.booleans()),
    st.sampled_from([setting(INITIAL_WINDOW_SIZE=0), setting(INITIAL_WINDOW_SIZE=70_000), setting(MAX_FRAME_SIZE=20_000)]),
    st.builds(raw, st.just(PRIORITY), st.just(0), ids, st.sampled_from([b"\x00\x00\x00\x01\x09", b"\x00\x00\x00\x03\x09", b"1234"])),
)
hostile = st.one_of(
    st.builds(raw, st.integers(0, 12), st.integers(0, 255), st.sampled_from([0, 1, 2, 3, 2**31 + 1]), st.binary(max_size=12)),
    st.builds(raw, st.sampled_from([HEADERS, CONTINUATION, DATA, RST_STREAM, SETTINGS, WINDOW_UPDATE]), st.integers(0, 15), ids),
    st.binary(max_size=30),
    st.builds(lambda kind: raw(kind, 0, 1, b"", length=16_385), st.integers(0, 10)),
)


@st.composite
def byte_streams(draw: st.DrawFn) -> bytes:
    script = Script()
    for step in draw(st.lists(st.one_of(opens, opens, opens, controls, hostile), max_size=9)):
        if isinstance(step, bytes):
            script.say(step)
        else:
            _, path, more, sizes, padding, cuts, end = step
            script.open(path, more, sizes, padding=padding, cuts=cuts, end=end)
    whole = b"".join(script.out)
    return whole[draw(st.sampled_from([0, 0, 0, 0, 3])) :]


# --- what they come to -----------------------------------------------------------------------------------------------------------


def calls(program: Program) -> list[tuple[object, ...]]:
    """What the program was told, pieces of one body joined."""
    told: list[tuple[object, ...]] = []
    joined: dict[object, list[bytes]] = {}
    for name, stream_id, *values in program.calls:
        if name == "data":
            joined.setdefault(stream_id, []).append(values[0])
        else:
            told.append((name, stream_id, *values))
    return [*told, *[(stream_id, b"".join(pieces)) for stream_id, pieces in joined.items()], tuple(program.cancelled)]


def run(stream: bytes, cuts: list[int], limits: WireLimits) -> Wire:
    """Send in pieces, then answer what is held."""
    wire = Wire(limits)
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, end in itertools.pairwise(edges):
        wire.send(stream[start:end])
    for stream_id in sorted(wire.program.bodies):
        wire.program.answer(stream_id)
    wire.flush()
    return wire


def by_byte(stream: bytes, limits: WireLimits) -> Wire:
    """Every byte a read of its own, where that is not too many; else the first bytes of each frame are."""
    step = 1 if len(stream) < 3_000 else 617
    return run(stream, list(range(0, len(stream), step)), limits)


def without_windows(wire: Wire) -> tuple[list[bytes], dict[int, int]]:
    """Frames other than WINDOW_UPDATE, and what those granted together, by stream."""
    frames, granted = [], {}
    for frame in read_frames(b"".join(wire.writes)):
        if isinstance(frame, WindowUpdateFrame):
            granted[frame.stream_id] = granted.get(frame.stream_id, 0) + frame.window_increment
        else:
            frames.append(frame)
    return joined_data(frames), granted


def joined_data(frames: list[Frame]) -> list[bytes]:
    """Frames as bytes, neighbouring DATA of one stream as one frame: a large frame is taken as it comes, and an echo goes by that."""
    joined: list[Frame] = []
    for frame in frames:
        last = joined[-1] if joined else None
        if isinstance(frame, DataFrame) and isinstance(last, DataFrame) and frame.stream_id == last.stream_id:
            last.data += frame.data
            last.flags |= frame.flags
        else:
            joined.append(frame)
    return [frame.serialize() for frame in joined]


cut_lists = st.lists(st.integers(0, 1 << 20), max_size=12)


@settings(max_examples=500)
@given(byte_streams(), cut_lists)
def test_any_cut_of_a_byte_stream_gives_the_same_bytes_and_the_same_calls(stream: bytes, cuts: list[int]) -> None:
    """Good and hostile frames; windows so wide that none is given back, which is the one thing that goes by reads."""
    whole = run(stream, [], WIDE)
    for other in (run(stream, cuts, WIDE), by_byte(stream, WIDE)):
        assert without_windows(whole) == without_windows(other)
        assert (calls(whole.program), whole.closes) == (calls(other.program), other.closes)


@settings(max_examples=500)
@given(byte_streams(), cut_lists)
def test_any_cut_of_a_byte_stream_gives_the_same_frames_and_windows_where_windows_are_narrow(stream: bytes, cuts: list[int]) -> None:
    """What is given back goes by reads, so that the sums may differ by what is still held back: less than half a window."""
    whole = run(stream, [], NARROW)
    frames, granted = without_windows(whole)
    for other in (run(stream, cuts, NARROW), by_byte(stream, NARROW)):
        other_frames, other_granted = without_windows(other)
        assert frames == other_frames
        assert (calls(whole.program), whole.closes) == (calls(other.program), other.closes)
        for stream_id in granted.keys() | other_granted.keys():
            assert abs(granted.get(stream_id, 0) - other_granted.get(stream_id, 0)) <= 65_536 // 2 + 16_384
