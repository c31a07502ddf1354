"""The rows that a profile was made of, counted as traffic, give its counts: reference and traffic are held to the same slots."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gateway.drift.layout import Views
from gateway.protocol.tensors import DATATYPES, TensorSpec
from registry.columns import Column
from registry.profile import Numeric, Profile
from registry.profiling import profile_of
from registry.schema import Field, Schema
from tests.gateway.drift.recorded import Recorded

FLOATS = ("FP16", "FP32", "FP64")
INTEGERS = tuple(name for name in DATATYPES if name.startswith(("INT", "UINT")))
ROWS = st.integers(1, 60)
SPLITS = st.lists(st.integers(0, 60), max_size=3)


def tensors(datatype: str) -> st.SearchStrategy[np.ndarray]:
    """[rows, 2], with few distinct numbers or many."""
    kind = np.dtype(DATATYPES[datatype].numpy)
    few: Any = st.sampled_from([0, 1, 2, 3]).map(kind.type)
    if kind.kind == "f":
        few |= st.sampled_from([np.nan, np.inf, -np.inf, -0.0, np.finfo(kind).max, np.finfo(kind).min, np.finfo(kind).tiny]).map(kind.type)
    many = arrays.from_dtype(kind)
    return st.one_of(
        [arrays.arrays(kind, st.tuples(ROWS, st.just(2)), elements=elements, fill=st.nothing()) for elements in (few, many, few | many)]
    )


def counted(columns: Sequence[Column], datatypes: Sequence[str], profile: Profile, cuts: Sequence[int]) -> tuple[Recorded, Views]:
    """The block, after the rows came in several batches."""
    rows = len(columns[0].values)
    specs = [TensorSpec(one.port, datatype, (-1, *one.values.shape[1:])) for one, datatype in zip(columns, datatypes, strict=True)]
    inputs = [at for at, one in enumerate(columns) if one.side == "input"]
    outputs = [at for at, one in enumerate(columns) if one.side == "output"]
    version = Recorded(profile, [specs[at] for at in inputs], [specs[at] for at in outputs])
    for start, end in itertools.pairwise(sorted({0, rows, *[cut for cut in cuts if cut < rows]})):
        parts = [one.values[start:end] for one in columns]
        version.record([parts[at] for at in inputs], [parts[at] for at in outputs], rows=end - start)
    return version, version.views


def assert_same(profile: Profile, version: Recorded) -> None:
    """Slot by slot."""
    for group, counts in zip(version.layout.groups, version.views.counts, strict=True):
        for feature, (*slots, missing) in zip(group.features, counts.sum(axis=0).tolist(), strict=True):
            assert feature.counts == (*slots[: len(feature.counts) - 1], missing), feature.name
            assert not any(slots[len(feature.counts) - 1 :])
    for place, found in zip(version.layout.categorical, version.views.categories, strict=True):
        assert place.feature.counts == tuple(found.sum(axis=0).tolist()), place.feature.name
    assert len(profile.numeric) == sum(len(group.features) for group in version.layout.groups)


@pytest.mark.parametrize("datatype", [*FLOATS, *INTEGERS, "BOOL"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_numbers(datatype: str, data: st.DataObject) -> None:
    """As inputs and as outputs, also where few values make categories."""
    column = Column("input", "x", data.draw(tensors(datatype)))
    other = Column("output", "y", column.values[::-1].copy())
    profile = profile_of([column, other]).profile
    version, _ = counted([column, other], [datatype, datatype], profile, data.draw(SPLITS))
    assert_same(profile, version)


@pytest.mark.parametrize("datatype", INTEGERS)
@pytest.mark.parametrize("rows", [40, 3_000])
def test_an_integer_that_stands_for_a_missing_value(datatype: str, rows: int) -> None:
    """Among categories, and as an atom among many numbers."""
    kind = DATATYPES[datatype].numpy
    top = np.iinfo(kind).max
    values = np.random.default_rng(rows).integers(0, min(top, rows), size=(rows, 1), endpoint=True).astype(kind)
    values[::7] = top
    field = Field(name="x", type=f"tensor({datatype.lower()})", shape=("batch", 1), null_value=int(top))
    schema = Schema(format=1, inputs=(field,), outputs=())
    profile = profile_of([Column("input", "x", values)], schema=schema).profile
    version, _ = counted([Column("input", "x", values)], [datatype], profile, [11])
    assert_same(profile, version)


TEXTS = st.text(max_size=3) | st.sampled_from(["a", "b", "ä", "", "\0", "b" * 2_000])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=60), SPLITS, st.booleans())
def test_texts(rows: list[tuple[str, str]], cuts: list[int], as_bytes: bool) -> None:
    """However they come, and however long they are."""
    values = np.empty((len(rows), 2), object)
    values[:] = [[text.encode() if as_bytes else text for text in row] for row in rows]
    column = Column("input", "x", values)
    profile = profile_of([column]).profile
    version, _ = counted([column], ["BYTES"], profile, cuts)
    assert_same(profile, version)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(FLOATS), st.integers(2, 20), st.integers(1, 60), SPLITS)
def test_probabilities(data: st.DataObject, datatype: str, classes: int, rows: int, cuts: list[int]) -> None:
    """Their elements, margins and entropies."""
    kind = DATATYPES[datatype].numpy
    weights = data.draw(arrays.arrays(np.float64, (rows, classes), elements=st.sampled_from([0.0, 1.0, 1.0, 3.0]) | st.floats(0, 100)))
    weights[weights.sum(axis=1) == 0, 0] = 1.0
    values = (weights / weights.sum(axis=1, keepdims=True)).astype(kind)
    if data.draw(st.booleans()):
        values[0] = np.nan
    column = Column("output", "p", values)
    profile = profile_of([column]).profile
    version, _ = counted([column], [datatype], profile, cuts)
    assert_same(profile, version)
    assert {"margin", "entropy"} <= {feature.kind for feature in profile.numeric} or np.isnan(values).any()


def test_many_rows_of_probabilities_agree_to_the_last_bit() -> None:
    """Every edge of a profile is a value of the reference: a last bit that differs moves a row into another bin."""
    logits = np.random.default_rng(1).normal(size=(50_000, 7))
    values = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    column = Column("output", "p", values)
    profile = profile_of([column]).profile
    version, _ = counted([column], ["FP32"], profile, [7_777])
    assert_same(profile, version)
    assert 9 == sum(isinstance(feature, Numeric) for feature in profile.numeric)
