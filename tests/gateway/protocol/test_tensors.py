"""Datatypes and the texts that name tensors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.tensors import DATATYPES, shape_text, shown


def test_every_datatype_of_the_protocol_has_its_width() -> None:
    """Widths in bytes as the specification gives them; BYTES has none."""
    widths = {"BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "INT8": 1, "INT16": 2, "INT32": 4, "INT64": 8}
    widths |= {"FP16": 2, "FP32": 4, "FP64": 8, "BF16": 2, "BYTES": 0}
    assert widths == {name: datatype.itemsize for name, datatype in DATATYPES.items()}


def test_an_ordinary_name_is_shown_as_it_is() -> None:
    """Letters of any script are no danger to a log."""
    assert "größe_0" == shown("größe_0")


@pytest.mark.parametrize(("name", "text"), [("a\nb", "a\\nb"), ("\x1b[31m", "\\x1b[31m"), ("a\u202eb", "a\\u202eb"), ("\ud800", "\\ud800")])
def test_control_characters_are_shown_as_escapes(name: str, text: str) -> None:
    """Line breaks, terminal colours, text direction and lone surrogates."""
    assert text == shown(name)


@given(st.text(max_size=300))
def test_a_shown_name_is_short_printable_and_encodable(name: str) -> None:
    """Whatever was sent: one line of at most 64 characters, each escaped to ten at the most."""
    text = shown(name)
    assert text.isprintable()
    assert len(text) <= 64 * 10 + 3
    assert text == text.encode().decode()


def test_shapes_are_written_without_blanks() -> None:
    """As the texts that clients look for have them."""
    assert ("[-1,16]", "[]") == (shape_text((-1, 16)), shape_text(()))
