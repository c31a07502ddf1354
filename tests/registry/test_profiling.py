"""From columns to a profile: which features there are, and that no content refuses it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.columns import MAX_ELEMENTS, Column, entropies, margins
from registry.contract import Contract, Port
from registry.profile import Numeric, Profile, decode, encode
from registry.profiling import profile_of
from registry.schema import Schema, contract_file, merge


def table(rows: int = 2_000, *, seed: int = 0) -> list[Column]:
    """Four floats in one tensor, a text, an integer, a boolean; a label and probabilities."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, 4)).astype(np.float32)
    late = 1 / (1 + np.exp(-x[:, 0].astype(np.float64)))
    return [
        Column("output", "label", (late > 0.5).astype(np.int64)),
        Column("output", "probabilities", np.stack([1 - late, late], axis=1).astype(np.float32)),
        Column("input", "x", x, ("age", "income", "debt", "years")),
        Column("input", "city", generator.choice(np.array(["Bern", "Genf", "Uri"], object), (rows, 1), p=[0.6, 0.3, 0.1])),
        Column("input", "age", generator.integers(18, 90, (rows, 1)).astype(np.int32)),
        Column("input", "is_new", generator.uniform(size=rows) < 0.5),
    ]


def schema_of(**null_values: int | str) -> Schema:
    """Of inputs with what stands for a missing value."""
    types = {name: "tensor(string)" if isinstance(null, str) else "tensor(int64)" for name, null in null_values.items()}
    ports = tuple(Port(name=name, type=types[name], shape=(None, 1)) for name in null_values)
    contract = Contract(ir_version=8, opsets={"": 17}, producer="", inputs=ports, outputs=())
    return merge(contract, contract_file({"inputs": {name: {"null_value": null} for name, null in null_values.items()}}))


def test_every_element_is_a_feature() -> None:
    """Inputs before outputs, elements in their order, and two numbers that are computed of probabilities."""
    profile = profile_of(table()).profile
    numeric = [(feature.name, feature.side, feature.port, feature.element, feature.kind) for feature in profile.numeric]
    expected = [(name, "input", "x", place, "value") for place, name in enumerate(("age", "income", "debt", "years"))]
    expected += [(f"probabilities[{place}]", "output", "probabilities", place, "value") for place in (0, 1)]
    expected += [(f"probabilities.{kind}", "output", "probabilities", 0, kind) for kind in ("margin", "entropy")]
    assert expected == numeric
    assert ["city", "age (input)", "is_new", "label"] == [feature.name for feature in profile.categorical]
    assert ("Bern", "Genf", "Uri") == profile.categorical[0].categories
    assert (2_000, "training", None) == (profile.rows, profile.source, profile.calibration)
    assert profile.windows is not None


def test_the_bytes_come_back() -> None:
    """What is written is what was made, each edge to the last bit."""
    profile = profile_of(table()).profile
    assert profile == decode(encode(profile), key="k")
    edges = profile.numeric[0].edges
    assert list(edges) == [float(np.float32(edge)) for edge in edges]


def test_the_order_of_rows_changes_only_what_depends_on_it() -> None:
    """Counts, edges and moments are the same; times between independent rows and windows are not asked to be."""
    columns = table()
    order = np.random.default_rng(1).permutation(2_000)
    moved = [Column(column.side, column.port, column.values[order], column.names) for column in columns]
    for one, other in zip(profile_of(columns).profile.numeric, profile_of(moved).profile.numeric, strict=True):
        assert (one.edges, one.counts, one.atoms) == (other.edges, other.counts, other.atoms)
        assert one.m4 == pytest.approx(other.m4, rel=1e-12)


def test_times_put_rows_in_their_order() -> None:
    """Labels follow; a smooth series has long times between independent rows, which shuffled rows do not show."""
    walk = np.cumsum(np.random.default_rng(0).normal(size=4_000)).astype(np.float32)
    yes = walk > np.median(walk)
    score = np.where(yes, 0.9, 0.1).astype(np.float32)
    order = np.random.default_rng(1).permutation(4_000)
    columns = [Column("input", "x", walk[order]), Column("output", "s", score[order])]
    times_s = 1e9 + 60.0 * np.arange(4_000)
    sorted_ = profile_of(columns, labels=yes[order], times_s=times_s[order]).profile
    shuffled = profile_of(columns, labels=yes[order]).profile
    assert sorted_.numeric[0].tau > 50 > 3 > shuffled.numeric[0].tau
    assert sorted_.calibration is not None
    assert shuffled.calibration is not None
    assert (1.0, 1.0) == (sorted_.calibration.accuracy, shuffled.calibration.auc)
    assert sorted_.windows is not None
    assert {-1} != set(sorted_.windows.hours)


def test_integers_are_categories_up_to_256_and_numbers_past_that() -> None:
    """An integer that nearly every row has for itself is a number as well."""
    rows = np.arange(6_000)
    columns = [
        Column("input", "few", rows % 256),
        Column("input", "many", rows % 257),
        Column("input", "unsigned", (rows % 9).astype(np.uint64)),
    ]
    profile = profile_of(columns).profile
    assert ["few", "unsigned"] == [feature.name for feature in profile.categorical]
    assert ["many"] == [feature.name for feature in profile.numeric]
    small = profile_of([Column("input", "small", np.random.default_rng(0).integers(0, 1 << 40, 100))]).profile
    assert ["small"] == [feature.name for feature in small.numeric]


def test_missing_values_of_integers_and_texts() -> None:
    """A slot of their own among categories, a bin of their own among numbers."""
    generator = np.random.default_rng(0)
    wide = generator.integers(0, 100_000, 3_000)
    wide[:10] = -999
    few = generator.integers(0, 3, 3_000)
    few[:7] = -1
    texts = np.array(["a", "b", ""] * 1_000, object)
    columns = [Column("input", "wide", wide), Column("input", "few", few), Column("input", "text", texts)]
    profile = profile_of(columns, schema=schema_of(wide=-999, few=-1, text="")).profile
    (number,) = profile.numeric
    assert [(-999.0, 10)] == [(number.edges[atom + 1], number.counts[2 + atom]) for atom in number.atoms]
    assert [(-1, 7), ("", 1_000)] == [(feature.null, feature.counts[-1]) for feature in profile.categorical]
    assert ("a", "b") == profile.categorical[1].categories


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("content", ["nan", "inf", "constant", "range", "mixed"])
def test_no_content_refuses_a_profile(dtype: type, content: str) -> None:
    """The profile is whole, for its reader too."""
    info = np.finfo(dtype)
    values = {
        "nan": [np.nan],
        "inf": [np.inf, -np.inf],
        "constant": [3.0],
        "range": [info.min, info.max, info.tiny, -info.tiny, 0.0],
        "mixed": [np.nan, np.inf, 1.0, -np.inf, info.max],
    }[content]
    column = Column("input", "x", np.array((values * 200)[:200], dtype))
    profile = profile_of([column]).profile
    assert profile == decode(encode(profile), key="k")
    assert 200 == sum(profile.numeric[0].counts)


@settings(max_examples=100)
@given(st.lists(st.lists(st.floats(width=32) | st.sampled_from([0.0, np.nan, np.inf]), min_size=3, max_size=3), min_size=1, max_size=60))
def test_any_table_of_floats_has_a_profile(rows: list[list[float]]) -> None:
    """And an output of any numbers, whether or not they look like probabilities."""
    values = np.array(rows, np.float32)
    profile = profile_of([Column("input", "x", values), Column("output", "y", values)]).profile
    assert profile == decode(encode(profile), key="k")
    for feature in profile.numeric:
        assert all(low < high for low, high in pairwise(feature.edges))


def test_margins_and_entropies() -> None:
    """Of three rows; a row with NaN has neither."""
    rows = np.array([[0.2, 0.7, 0.1], [1, 0, 0], [np.nan, 0.5, 0.5]], np.float32)
    entropy = -(0.2 * np.log(0.2) + 0.7 * np.log(0.7) + 0.1 * np.log(0.1))
    np.testing.assert_allclose(margins(rows), [0.5, 1, np.nan], rtol=1e-6)
    np.testing.assert_allclose(entropies(rows), [entropy, 0, np.nan], rtol=1e-6)
    assert "0.0" == str(entropies(rows)[1])


def test_other_outputs_have_neither() -> None:
    """Numbers that do not add up, a single class; of many classes the first sixteen are features."""
    many = np.full((50, 40), 1 / 40, np.float32)
    columns = [Column("output", "scores", np.ones((50, 2), np.float32)), Column("output", "one", np.ones((50, 1), np.float32))]
    found = profile_of([*columns, Column("output", "many", many)])
    kinds = {(feature.port, feature.kind) for feature in found.profile.numeric}
    assert {("scores", "value"), ("one", "value"), ("many", "value"), ("many", "margin"), ("many", "entropy")} == kinds
    assert 16 + 2 == sum(feature.port == "many" for feature in found.profile.numeric)
    assert ("of output 'many' the first 16 of 40 elements are profiled",) == found.notes


def test_large_tensors_are_left_out_and_named() -> None:
    """An image says nothing by its pixels."""
    image = Column("input", "image", np.zeros((2, 3, 64, 64), np.float32))
    found = profile_of([image, Column("input", "x", np.zeros((2, 1), np.float32))])
    assert ["x"] == [feature.name for feature in found.profile.numeric]
    assert (f"input 'image' is not profiled: a row of it has 12288 elements, more than {MAX_ELEMENTS}",) == found.notes
    wide = [Column("input", name, np.zeros((2, MAX_ELEMENTS), np.float32)) for name in ("a", "b")]
    assert ("input 'b' is not profiled: there would be more than 4096 features",) == profile_of(wide).notes


X = np.zeros((3, 2), np.float32)


@pytest.mark.parametrize(
    ("columns", "options", "text"),
    [
        ([], {}, "there are no reference columns"),
        ([Column("input", "x", X[:0])], {}, "there are no reference rows"),
        ([Column("input", "x", X), Column("input", "x", X)], {}, "the reference of input 'x' is there twice"),
        (
            [Column("input", "x", X), Column("input", "y", X[:2])],
            {},
            "the reference of input 'y' has another number of rows than that of 'x'",
        ),
        ([Column("input", "x", X.astype(np.complex64))], {}, "the reference of input 'x' is complex64, which is no tensor"),
        ([Column("input", "x", X.astype(np.longdouble))], {}, "the reference of input 'x' is float128, which is no tensor"),
        ([Column("input", "x", np.array(["a", 1], object))], {}, "the reference of input 'x' holds something that is no text"),
        ([Column("input", "x", X, ("a",))], {}, "the reference of input 'x' has 2 elements and 1 names"),
        ([Column("input", "x", np.zeros((3, 1, 5_000)))], {}, "nothing can be profiled: input 'x' is not profiled"),
        ([Column("input", "x", X)], {"labels": np.zeros(2)}, "there are 3 reference rows and labels of shape [2]"),
        ([Column("input", "x", X)], {"times_s": np.array([1, np.nan, 2])}, "the times of the reference rows are not all numbers"),
        ([Column("input", "x", X)], {"labels": np.array([0, 1, 0])}, "labels need a model with one binary score"),
    ],
)
def test_refusals(columns: list[Column], options: dict[str, np.ndarray], text: str, kind_of: Callable[..., str]) -> None:
    """What is no table, by name."""
    assert kind_of(lambda: profile_of(columns, **options)).startswith(f"invalid_model: {text}")  # type: ignore[arg-type]


def test_calibration_comes_from_labels() -> None:
    """Rows without one are left out."""
    columns = table()
    labels = np.where(
        np.arange(2_000) % 2 == 0, (np.random.default_rng(2).uniform(size=2_000) < columns[1].values[:, 1]).astype(float), np.nan
    )
    profile = profile_of(columns, labels=labels).profile
    assert profile.calibration is not None
    assert ("probabilities", 1, 1_000) == (profile.calibration.port, profile.calibration.element, sum(profile.calibration.counts))
    assert 0.6 < profile.calibration.accuracy < 0.8
    assert profile == decode(encode(profile), key="k")


def test_what_became_bins_holds_in_float32() -> None:
    """Every reference value falls into a bin in the arithmetic of the kernels: compared as it is, with edges as float32."""
    x = np.random.default_rng(0).normal(size=3_000).astype(np.float32)
    (feature,) = profile_of([Column("input", "x", x)]).profile.numeric
    assert isinstance(feature, Numeric)
    edges = np.array(feature.edges, np.float32)
    naive = [int(((x > low) & (x <= high)).sum()) for low, high in pairwise(edges)]
    assert [0, 0, *naive, 0, 0, 0] == list(feature.counts)


def test_equal_profiles_have_equal_digests() -> None:
    """The same rows, the same bytes; another row, others."""
    one, again, other = (profile_of(table(seed=seed)).profile for seed in (0, 0, 1))
    assert isinstance(one, Profile)
    assert one.digest == again.digest != other.digest


def test_rows_that_depend_on_each_other_have_wide_bins() -> None:
    """A slow sensor tells little in 20,000 rows; the same values in another order are all news."""
    slow = np.cumsum(np.random.default_rng(5).normal(size=20_000)).astype(np.float32)
    (in_order,), (dealt_out,) = (
        profile_of([Column("input", "x", values)]).profile.numeric for values in (slow, np.random.default_rng(6).permutation(slow))
    )
    assert in_order.tau > 20_000 / 27 > 2 > dealt_out.tau
    assert (8, 32) == (in_order.bins, dealt_out.bins)
