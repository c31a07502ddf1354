"""A message that is looked up where it stands among others is found exactly as it is by itself, whatever stands around it."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.gateway.protocol.test_template import request, taught

MESSAGES = [request(), request(version="2", id_=b"first"), request(id_=b"q" * 20, data=b"abcdefgh"), request(raw=False)]
TEMPLATES = taught(*MESSAGES)
AROUND = st.binary(max_size=12) | st.sampled_from([b"\x1a", b"\x1a\x01a", b"\x12\x012", *MESSAGES])


@settings(max_examples=1000)
@given(AROUND, st.sampled_from(MESSAGES), AROUND, st.integers(0, 60), st.tuples(st.integers(0, 60), st.integers(0, 255)) | st.none())
@example(b"", b"\x0a\x01m", b"\x1a" + MESSAGES[0], 0, None)
@example(b"", b"\x0a", MESSAGES[0][1:], 0, None)
def test_neighbours_in_the_same_read_mean_nothing(
    before: bytes, message: bytes, behind: bytes, cut: int, damage: tuple[int, int] | None
) -> None:
    """Also for messages that end too soon or whose lengths lie, which would reach into the next one."""
    message = message[: len(message) - cut] if cut < len(message) else message
    if damage is not None:
        at = damage[0] % len(message)
        message = message[:at] + bytes((damage[1],)) + message[at + 1 :]
    start = len(before)
    assert TEMPLATES.find(message) == TEMPLATES.find(before + message + behind, start, start + len(message))
