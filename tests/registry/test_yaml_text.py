"""YAML from others: what JSON can say and nothing implicit."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.yaml_text import MAX_YAML_BYTES, read_yaml

_TEXT = st.text(max_size=9).filter(lambda text: not any("\ud800" <= character <= "\udfff" for character in text))
_SCALARS = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | _TEXT
_PLAIN = st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3), max_leaves=8)


@given(_PLAIN)
def test_json_is_yaml(plain: object) -> None:
    """Whatever JSON says is read as JSON would read it."""
    assert plain == read_yaml(json.dumps(plain).encode(), name="f")


def test_dates_stay_texts() -> None:
    """Nothing is turned into an object that JSON does not have."""
    assert {"a": ["2013-01-01", "2013-01-01 10:00:00", 1.5, None]} == read_yaml(b"a: [2013-01-01, 2013-01-01 10:00:00, 1.5, ~]", name="f")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: 1\na: 2", ": line 2: 'a' is given twice"),
        (b"a: &x 1\nb: *x", ": line 2: references are not allowed"),
        (b"? [1]\n: 2", ": line 1: a key is no text"),
        (b"a: [", ": line 1: "),
        (b"a: 1\n---\nb: 2", ": line 2: but found another document"),
        (b"!!python/object:os.system x", ": line 1: could not determine a constructor"),
        (b"\xff", ""),
        (b"a: \x00", ""),
        (b"[" * 5000, ""),
    ],
)
def test_refused(content: bytes, reason: str, kind_of: Callable[..., str]) -> None:
    """Each with its line where there is one."""
    assert kind_of(lambda: read_yaml(content, name="f")).startswith("invalid_model: 'f' is no YAML that can be read" + reason)


def test_too_large(kind_of: Callable[..., str]) -> None:
    """Before it is parsed."""
    assert f"invalid_model: 'f' has more than {MAX_YAML_BYTES} bytes" == kind_of(lambda: read_yaml(b" " * (MAX_YAML_BYTES + 1), name="f"))
