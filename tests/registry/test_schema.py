"""The author's contract file against the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from registry import schema as schemas
from registry.contract import Contract, Port
from registry.schema import Field, Range, Schema, contract_file, merge
from registry.yaml_text import read_yaml

CONTRACT = Contract(
    ir_version=8,
    opsets={"": 17},
    producer="tests",
    inputs=(
        Port(name="age", type="tensor(float)", shape=("batch", 1)),
        Port(name="city", type="tensor(string)", shape=("batch", 1)),
        Port(name="code", type="tensor(uint8)", shape=(None, 4)),
        Port(name="big", type="tensor(int64)", shape=None),
        Port(name="flag", type="tensor(bool)", shape=(None,)),
    ),
    outputs=(Port(name="p", type="tensor(float)", shape=("batch", 2)),),
)
FILE = b"""
format: 1
inputs:
  age: {dtype: FP32, shape: [-1, 1], nulls: allowed, range: {min: 0, max: 130}, unit: years, description: at the last birthday}
  city: {dtype: tensor(string), nulls: allowed, null_value: "", categories: [Bern, Z\xc3\xbcrich]}
  code: {dtype: UINT8, shape: [8, 4], nulls: refused, categories: [0, 255]}
outputs:
  p: {range: {min: 0, max: 1}}
"""


def _merged(plain: Any) -> Schema:
    return merge(CONTRACT, contract_file(plain))


def test_merged_with_the_graph() -> None:
    """One field for every port in the graph's order; sizes that the graph leaves free may be fixed; what is not said has its default."""
    schema = _merged(read_yaml(FILE, name="contract.yaml"))
    assert ["age", "city", "code", "big", "flag"] == [field.name for field in schema.inputs]
    age, city, code, big, _ = schema.inputs
    assert (Range(min=0, max=130), "years", "at the last birthday", ("batch", 1)) == (age.range, age.unit, age.description, age.shape)
    assert ("", ("Bern", "Zürich")) == (city.null_value, city.categories)
    assert ((8, 4), "refused", (0, 255)) == (code.shape, code.nulls, code.categories)
    assert Field(name="big", type="tensor(int64)", shape=None) == big
    assert Range(min=0, max=1) == schema.outputs[0].range


def test_it_comes_back() -> None:
    """Deterministic bytes with the format inside; equal schemas have equal bytes."""
    schema = _merged(read_yaml(FILE, name="contract.yaml"))
    content = schemas.encode(schema)
    assert schema == schemas.decode(content, key="k")
    assert content.startswith(b'{"format":1,')
    assert content == schemas.encode(_merged(read_yaml(FILE, name="contract.yaml")))


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"size": {}}, "the contract file describes input 'size', which the model does not have"),
        ({"age": {"dtype": "FP64"}}, "input 'age' is tensor(float) in the model and FP64 in the contract file"),
        ({"age": {"dtype": "float"}}, "input 'age' is tensor(float) in the model and float in the contract file"),
        ({"age": {"shape": [-1, 2]}}, "input 'age' has shape [batch, 1] in the model and [-1, 2] in the contract file"),
        ({"age": {"shape": [-1]}}, "input 'age' has shape [batch, 1] in the model and [-1] in the contract file"),
        ({"age": {"range": {"min": 2, "max": 1}}}, "input 'age' has a range that is empty"),
        ({"age": {"range": {}}}, "input 'age' has a range that is empty"),
        ({"age": {"range": {"max": float("inf")}}}, "input 'age' has a range that is empty, or has no finite end"),
        ({"age": {"range": {"min": float("nan")}}}, "input 'age' has a range that is empty, or has no finite end"),
        ({"age": {"null_value": -1}}, "input 'age' is tensor(float), which cannot hold -1 for what is missing"),
        ({"age": {"categories": [1]}}, "input 'age' is tensor(float), which cannot hold the category 1"),
        ({"city": {"range": {"min": 0}}}, "input 'city' is tensor(string), which has no range"),
        ({"flag": {"range": {"min": 0}}}, "input 'flag' is tensor(bool), which has no range"),
        ({"flag": {"categories": [0, 1]}}, "input 'flag' is tensor(bool), which cannot hold the category 0"),
        ({"code": {"range": {"max": 300}}}, "input 'code' is tensor(uint8), which does not reach to the ends of its range"),
        ({"code": {"categories": [256]}}, "input 'code' is tensor(uint8), which cannot hold the category 256"),
        ({"code": {"categories": ["a"]}}, "input 'code' is tensor(uint8), which cannot hold the category 'a'"),
        ({"code": {"categories": [1, 1]}}, "input 'code' has no categories, more than 100000, or one of them twice"),
        ({"code": {"categories": []}}, "input 'code' has no categories"),
        ({"code": {"categories": [9], "range": {"max": 8}}}, "input 'code' has the category 9 outside of its range"),
        ({"code": {"categories": [9], "null_value": 9}}, "input 'code' has 9 both as a category and for what is missing"),
        ({"code": {"nulls": "refused", "null_value": 9}}, "input 'code' has a value for what is missing, and refuses what is missing"),
        ({"big": {"null_value": 1 << 63}}, "input 'big' is tensor(int64), which cannot hold 9223372036854775808"),
        ({"*": {}}, "the contract file describes '*', which stands for the only input; the model has 5"),
        ({"age": {"nulls": "sometimes"}}, "the contract file is not one: Invalid enum value 'sometimes' - at `$.inputs[...].nulls`"),
        ({"age": {"unitt": "years"}}, "the contract file is not one: Object contains unknown field `unitt` - at `$.inputs[...]`"),
        ({"age": {"shape": [0]}}, "input 'age' has a size in the contract file that is neither above 0 nor -1"),
        ({"age": {"shape": [-2]}}, "the contract file is not one: "),
        ({"age": {"range": {"min": True}}}, "the contract file is not one: "),
        (["age"], "the contract file is not one: Expected `object`, got `array` - at `$.inputs`"),
    ],
)
def test_contradictions(terms: Any, reason: str, kind_of: Callable[..., str]) -> None:
    """Between author and graph, and within what the author says."""
    assert kind_of(lambda: _merged({"inputs": terms})).startswith("invalid_model: " + reason)


@pytest.mark.parametrize("plain", [None, [], {"format": 2}, {"version": 1}, {"outputs": {"q": {}}}])
def test_refused_files(plain: Any, kind_of: Callable[..., str]) -> None:
    """Other documents, other formats, an output that is not there."""
    assert kind_of(lambda: _merged(plain)).startswith("invalid_model: the contract file ")


def test_the_only_port() -> None:
    """It need not be named."""
    assert "share" == _merged({"outputs": {"*": {"unit": "share"}}}).outputs[0].unit


def test_a_shape_that_the_graph_does_not_know() -> None:
    """The author's shape stands where the graph has none."""
    assert (None, 7) == _merged({"inputs": {"big": {"shape": [-1, 7]}}}).inputs[3].shape


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format":2,"inputs":[],"outputs":[]}', b'{"inputs":[],"outputs":[]}', b"\xff"])
def test_damaged(content: bytes, kind_of: Callable[..., str]) -> None:
    """Stored bytes that are no schema of this format."""
    assert kind_of(lambda: schemas.decode(content, key="blobs/k")).startswith("damaged: blobs/k is not a schema: ")
