"""Strings packed for the wire."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.protocol.texts import REMEMBERED_CHARACTERS, REMEMBERED_TEXTS, TextPacker, pack_text, pack_texts

PACKER = TextPacker()  # one for all examples, so that strings come again


@settings(max_examples=300)
@given(st.lists(st.one_of(st.text(), st.sampled_from(["a", "é", ""]))))
def test_packed_strings_are_length_and_utf8(texts: list[str]) -> None:
    """Each element is its own length and UTF-8, remembered or not, and joined they are the whole tensor."""
    expected = [struct.pack("<I", len(text.encode())) + text.encode() for text in texts]
    assert expected == PACKER.pack(texts)
    assert expected == [pack_text(text) for text in texts]
    assert b"".join(expected) == pack_texts(texts)


def test_what_is_remembered_is_bounded() -> None:
    """Neither many strings nor a long one stay, and both are packed all the same."""
    packer = TextPacker()
    first = packer.pack(["a"])[0]
    many = [str(number) for number in range(2 * REMEMBERED_TEXTS)]
    assert [pack_text(text) for text in many] == packer.pack(many)
    long = "x" * (REMEMBERED_CHARACTERS + 1)
    assert packer.pack([long])[0] is not packer.pack([long])[0]
    assert packer.pack(many[-1:])[0] is not packer.pack(many[-1:])[0]
    assert first is packer.pack(["a"])[0]
