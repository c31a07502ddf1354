"""Which rows break which rule of a contract, and what is said of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.drift.door import Door
from gateway.drift.rules import rules_of
from gateway.protocol.tensors import DATATYPES, Signature, TensorSpec
from gateway.protocol.texts import pack_texts
from registry.schema import OIP_TYPES, Field, Range, Schema

INTEGERS = [name for name in DATATYPES if "INT" in name]


def field(name: str, datatype: str, **terms: Any) -> Field:
    return Field(name=name, type=f"tensor({OIP_TYPES[datatype]})", shape=(None, 1), **terms)


class Modes:
    """By input or "*", for all rules or for each: as `Contract.mode_of` is asked."""

    def __init__(self, modes: Any) -> None:
        self.modes = modes

    def mode_of(self, name: str, rule: str) -> str:
        mode = self.modes.get(name, self.modes.get("*", "observe"))
        return mode if isinstance(mode, str) else mode.get(rule, "observe")


def door(*fields: tuple[Field, str], modes: Any = None) -> tuple[Door, np.ndarray]:
    """A door for these inputs, and the counts that it adds to."""
    signature = Signature("m", tuple(TensorSpec(each.name, datatype, (-1, 1)) for each, datatype in fields), (), 8)
    schema = Schema(format=1, inputs=tuple(each for each, _ in fields), outputs=())
    made = Door(schema, signature, rules_of(schema, Modes(modes or {})))
    return made, np.zeros((len(made.rules), 2), np.int64)


def bits(masks: np.ndarray | None, rows: int) -> list[int]:
    return [0] * rows if masks is None else [sum(int(word) << 64 * k for k, word in enumerate(row)) for row in masks]


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "FP16"])
def test_missing_floats_and_floats_out_of_range_break_their_rules(datatype: str) -> None:
    """Nulls are the first rule, the range the second; a missing value is in no range."""
    made, counts = door((field("x", datatype, nulls="refused", range=Range(min=0, max=1)), datatype))
    values = np.array([[0.5, 1.0], [math.nan, 2.0], [-1.0, 7.0], [math.inf, 0.0]], DATATYPES[datatype].numpy)
    assert [0, 3, 2, 2] == bits(made.look([values], 4, counts), 4)
    assert [[1, 1], [4, 3]] == counts.tolist()
    assert made.look([values[:1]], 1, counts) is None
    assert [[1, 1], [4, 3]] == counts.tolist()


def test_bfloat16_is_read_as_what_it_means() -> None:
    """Its bits travel as integers."""
    made, counts = door((field("x", "BF16", range=Range(max=1.0)), "BF16"))
    assert [0, 1] == bits(made.look([np.array([[0x3F80], [0x3F81]], np.uint16)], 2, counts), 2)


def test_an_end_between_two_floats_lets_neither_in_nor_out() -> None:
    """0.1 is no float32: the one above it is allowed from 0.1 on, the one below is not; beyond the type there is only infinity."""
    above = np.float32(0.1)
    below = np.nextafter(above, np.float32(0))
    made, counts = door((field("x", "FP32", range=Range(min=0.1)), "FP32"))
    assert [0, 1] == bits(made.look([np.array([[above], [below]])], 2, counts), 2)
    least = float(np.float32(0.3)) + 1e-12  # rounded down to a number that is too small
    made, counts = door((field("x", "FP32", range=Range(min=least)), "FP32"))
    assert [1, 0] == bits(made.look([np.array([[0.3], [np.nextafter(np.float32(0.3), np.float32(1))]], np.float32)], 2, counts), 2)
    made, counts = door((field("x", "FP32", range=Range(min=1e300)), "FP32"))
    assert [1, 0] == bits(made.look([np.array([[3e38], [np.inf]], np.float32)], 2, counts), 2)
    made, counts = door((field("x", "FP32", range=Range(min=-1e300)), "FP32"))
    assert [0, 1] == bits(made.look([np.array([[-3e38], [-np.inf]], np.float32)], 2, counts), 2)


@settings(max_examples=500)
@given(st.sampled_from(INTEGERS), st.data())
def test_integers_break_range_and_categories_as_plain_comparison_says(datatype: str, data: st.DataObject) -> None:
    """Of every width, at the ends of the type too; what stands for a missing value breaks nothing."""
    info = np.iinfo(DATATYPES[datatype].numpy)
    numbers = st.sampled_from((info.min, info.min + 1, 0, 1, 5, info.max - 1, info.max))
    low, high = sorted((data.draw(numbers), data.draw(numbers)))
    known = data.draw(st.lists(numbers, unique=True, min_size=1))
    null = data.draw(st.none() | numbers)
    wide = field("r", datatype, range=Range(min=float(low), max=float(high)), null_value=null)
    made, counts = door((wide, datatype), (field("c", datatype, categories=tuple(known), null_value=null), datatype))
    values = data.draw(st.lists(numbers, min_size=1, max_size=6))
    column = np.array(values, DATATYPES[datatype].numpy).reshape(-1, 1)
    expected = [(value != null and not float(low) <= value <= float(high)) + 2 * (value not in (*known, null)) for value in values]
    assert expected == bits(made.look([column, column], len(values), counts), len(values))
    assert [sum(bit & 1 for bit in expected), sum(bit >> 1 for bit in expected)] == counts[:, 0].tolist() == counts[:, 1].tolist()


def test_unknown_texts_break_their_rule_however_they_come() -> None:
    """As str, as bytes, as the bytes of the wire; two in one row are one row."""
    for rows in ([["a", "c"], ["b", "b"], ["d", "d"]], [["a", "b"], ["b", ""], ["a", "a"]]):
        flat = [text for row in rows for text in row]
        encoded = np.array([text.encode() for text in flat], object).reshape(-1, 2)
        for array in (np.array(rows, object), encoded, np.frombuffer(pack_texts(flat), np.uint8)):
            made, counts = door((field("t", "BYTES", categories=("a", "b"), null_value=""), "BYTES"))
            strange = [sum(text not in {"a", "b", ""} for text in row) for row in rows]
            assert [min(count, 1) for count in strange] == bits(made.look([array], 3, counts), 3)
            assert [[sum(strange), sum(map(bool, strange))]] == counts.tolist()


def test_more_rules_than_a_word_has_bits() -> None:
    """Each has its own bit."""
    fields = [(field(f"x{k}", "FP64", nulls="refused", range=Range(max=k)), "FP64") for k in range(40)]
    made, counts = door(*fields, modes={"x39": "reject"})
    values = [np.array([[10.0], [math.nan]])] * 40
    first, second = bits(made.look(values, 2, counts), 2)
    assert [2 * k + 1 for k in range(10)] == [rule for rule in range(80) if first >> rule & 1]
    assert [2 * k for k in range(40)] == [rule for rule in range(80) if second >> rule & 1]


def test_modes_are_by_input_and_by_kind() -> None:
    """What has none of its own has that of all others, else it is observed; words name the input and its range."""
    age = field("age", "FP32", nulls="refused", range=Range(min=0, max=120.5))
    port = field("port", "BYTES", categories=("S", "C"))
    schema = Schema(format=1, inputs=(age, port), outputs=())
    assert ["observe"] * 3 == [rule.mode for rule in rules_of(schema, Modes({}))]
    assert ["warn", "warn", "reject"] == [rule.mode for rule in rules_of(schema, Modes({"*": "reject", "age": "warn"}))]
    made, counts = door((age, "FP32"), (port, "BYTES"), modes={"age": {"range": "reject"}, "port": "warn"})
    assert ["observe", "reject", "warn"] == [rule.mode for rule in made.rules]
    assert made.rejects
    values = [np.float32([[1], [-1], [math.nan], [500]]), np.array([["Q"], ["S"], ["S"], ["Q"]], object)]
    masks = made.look(values, 4, counts)
    assert masks is not None
    assert [False, True, False, True] == made.rejected(masks).tolist()
    assert [True, False, False, True] == made.warned(masks).tolist()
    assert ["", "input 'age' has a value outside of its range [0, 120.5]", ""] == [made.reason(mask) for mask in masks[:3]]
    assert ["input 'port' has an unknown category"] == [rule.text for rule in made.broken(masks[0])]
    assert ["input 'age' has a missing value"] == [rule.text for rule in made.broken(masks[2])]


def test_a_contract_without_rules_costs_nothing_and_lets_all_in() -> None:
    """No checks, no masks; rules of an input that the version lacks are never broken."""
    made, counts = door((field("x", "FP32"), "FP32"))
    assert made.look([np.float32([[math.nan]])], 1, counts) is None
    assert not made.rejects
    schema = Schema(format=1, inputs=(field("gone", "FP32", nulls="refused"),), outputs=())
    other = Door(schema, Signature("m", (TensorSpec("x", "FP32", (-1, 1)),), (), 8), rules_of(schema, Modes({})))
    assert 1 == len(other.rules)
    assert other.look([np.float32([[math.nan]])], 1, np.zeros((1, 2), np.int64)) is None


@pytest.mark.parametrize("shape", [(0, 1), (3, 0)])
def test_empty_tensors_break_nothing(shape: tuple[int, int]) -> None:
    """No rows, or no values in them."""
    made, counts = door((field("x", "FP32", nulls="refused"), "FP32"), (field("n", "INT64", categories=(1,)), "INT64"))
    assert made.look([np.zeros(shape, np.float32), np.zeros(shape, np.int64)], shape[0], counts) is None


def test_an_open_range_says_so() -> None:
    """In words."""
    texts = [
        rules_of(Schema(format=1, inputs=(field("x", "FP32", range=Range(**ends)),), outputs=()), Modes({}))[0].text
        for ends in ({"min": 1}, {"max": 2})
    ]
    assert ["[1, inf)", "(-inf, 2]"] == [text.rpartition("range ")[2] for text in texts]
