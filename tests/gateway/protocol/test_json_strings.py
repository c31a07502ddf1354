"""Strings and tokens of JSON text: as one `re.sub` over all of it has them, in a fraction of its memory."""

from __future__ import annotations

import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol import json_strings
from gateway.protocol.json_strings import tokens_as_numbers, without_strings

PIECES = st.sampled_from(['"a"', '""', '"\\""', '"NaN"', '"Infinity,"', "NaN", "-Infinity", "N", "I", "1,", "[", "]", '"\\\\"', '"N', "\\"])
WHOLE = PIECES.filter(lambda piece: piece not in {'"N', "\\"})
STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
MIB = 1 << 20


@given(st.lists(WHOLE, max_size=40), st.lists(PIECES, max_size=3), st.integers(1, 5))
def test_a_cut_text_gives_what_the_whole_gives(pieces: list[str], tail: list[str], run: int) -> None:
    """Runs of few matches, however the text goes on."""
    text = "".join(pieces).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_strings, "SMALL_BYTES", 0)
        patch.setattr(json_strings, "_RUN", re.compile(json_strings._RUN.pattern.replace(b"4096", b"%d" % run)))
        assert STRING.subn(b"", text) == without_strings(text)
        numbers = tokens_as_numbers(text)
        assert [len(text), STRING.findall(text)] == [len(numbers), STRING.findall(numbers)]
        assert not re.search(rb"NaN|Infinity", STRING.sub(b"", numbers))
        without_strings(text + "".join(tail).encode())  # whatever it is, it ends


def test_counting_stops_where_there_are_too_many() -> None:
    """The rest is not read."""
    assert 5_000 < without_strings(b'"",' * 1_000_000, 5_000)[1] < 20_000


@pytest.mark.parametrize("element", [b'"",', b'"NaN",', b"NaN,", b"N", b'"'])
def test_memory_is_a_few_times_the_text_case_39(element: bytes) -> None:
    """Empty strings, tokens within and without, and what is neither."""
    text = element * (MIB // len(element))
    for deed in (without_strings, tokens_as_numbers):
        tracemalloc.start()
        deed(text)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 6 * len(text), deed
