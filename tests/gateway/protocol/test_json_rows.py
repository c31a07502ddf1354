"""Objects with the same names, cut into the texts of their values."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Code, TidegateError
from gateway.limits import RequestLimits
from gateway.protocol.json_rows import columns

LIMITS = RequestLimits(max_envelope_bytes=4_096)
PLAIN, ESCAPED = ("a", "bü"), ('a"\\\n', "b")


def cut(text: str, names: tuple[str, ...] = PLAIN, *, many: bool = True) -> list[Any]:
    return [json.loads(column) for column in columns(text.encode(), names, many=many, model="m", limits=LIMITS)]


def refusal(text: str, names: tuple[str, ...] = PLAIN, *, many: bool = True) -> tuple[Code, str]:
    with pytest.raises(TidegateError) as refused:
        cut(text, names, many=many)
    assert refused.value.message.isprintable()
    return refused.value.code, refused.value.message


@pytest.mark.parametrize("names", [PLAIN, ESCAPED])
@given(st.data())
def test_objects_become_a_text_for_each_name(names: tuple[str, ...], data: st.DataObject) -> None:
    """In whatever order each object has its names; values of any form, strings with quotes among them."""
    values = st.recursive(st.integers() | st.text(max_size=5) | st.booleans(), lambda inner: st.lists(inner, max_size=3), max_leaves=5)
    rows = data.draw(st.lists(st.permutations(names).flatmap(lambda keys: st.fixed_dictionaries(dict.fromkeys(keys, values))), min_size=1))
    text = json.dumps(rows, ensure_ascii=data.draw(st.booleans()))
    assert [[row[name] for row in rows] for name in names] == cut(text, names)
    assert [rows[0][name] for name in names] == cut(json.dumps(rows[0]), names, many=False)


@pytest.mark.parametrize("names", [("a", "b"), ("a", 'b"')])
def test_objects_with_other_names_are_refused_with_their_place(names: tuple[str, ...]) -> None:
    """One that is missing, one that is none, one that is there twice, what is no object."""
    a, b = (json.dumps(name) for name in names)
    good, shown = f"{{{a}:1,{b}:2}}", names[1]
    assert (Code.INVALID_ARGUMENT, f"missing required input '{shown}' for model 'm' in instance 1") == refusal(f"[{good},{{{a}:1}}]", names)
    unexpected = "unexpected inference input 'c' for model 'm'"
    assert f"{unexpected} in instance 2" == refusal(f'[{good},{good},{{{a}:1,{b}:2,"c":3}}]', names)[1]
    assert (Code.INVALID_ARGUMENT, unexpected) == refusal(f'{{{a}:1,{b}:2,"c":3}}', names, many=False)
    assert "missing required input 'a' for model 'm'" == refusal("{}", names, many=False)[1]
    for twice in (f"[{{{a}:1,{b}:2,{b}:2}}]", f'[{good},{{{a}:1,{b}:2,"\\u0061":1}}]', f'[{{{a}:"x\\"",{b}:2,{a}:"x\\""}}]'):
        assert (Code.INVALID_ARGUMENT, "the JSON of the request has the same key twice in one object") == refusal(twice, names)
    for other in ("1", "null", "[]", '"a"'):
        code, text = refusal(f"[{good},{other}]", names)
        assert Code.INVALID_ARGUMENT == code
        assert "an object with a value for each input of model 'm' is expected in instance 1: Expected `object`, got " in text


def test_a_name_that_is_none_is_shown_cut() -> None:
    """On one line, whatever it holds, also what looks like the parser's own words."""
    code, text = refusal('[{"a":1,"bü":2,"' + "x\\n` - at `$[7]`" * 1_000 + '":3}]')
    assert Code.INVALID_ARGUMENT == code
    assert len(text) < 250
    assert text.endswith("in instance 0")


def test_names_that_json_escapes_cost_more_and_are_bounded() -> None:
    """By the limit of what lies outside of tensors."""
    row = json.dumps(dict.fromkeys(ESCAPED, 1))
    assert 2 == len(cut(f"[{row}]", ESCAPED))
    assert Code.TOO_LARGE == refusal(f"[{','.join([row] * 400)}]", ESCAPED)[0]
    assert 400 == len(cut(f"[{','.join([json.dumps(dict.fromkeys(PLAIN, 1))] * 400)}]")[0])


def test_many_small_objects_cost_a_bounded_multiple_of_their_text() -> None:
    """The smallest there are."""
    text = b"[" + b",".join([b'{"a":1}'] * 100_000) + b"]"
    tracemalloc.start()
    columns(text, ("a",), many=True, model="m", limits=LIMITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * len(text)
