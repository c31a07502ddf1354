"""What is kept of a version follows from its content and the settings, and from nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gateway.drift.plans import LEARN_BYTES, plan_of, segment_feature
from gateway.drift.segments import dividing
from gateway.drift_settings import Contract, DriftPlan, Segments
from gateway.protocol.tensors import Signature, TensorSpec
from gateway.serving.batch import Item
from registry.schema import Field, Range, Schema
from tests.gateway.drift.recorded import categorical, numeric, profile

PROFILE = profile(numeric("a", "x"), categorical("shop", "c", ["north", "south", "west"], 1), categorical("n", "k", [7, 9]))
SCHEMA = Schema(format=1, inputs=(Field(name="x", type="tensor(float)", shape=None, range=Range(min=0)),), outputs=())
BY_SHOP, BY_NUMBER = Segments(feature="shop", most=2), Segments(feature="n")
BY_PARAMETER = Segments(parameter="shop", values=("north", "south"))
SIGNATURE = Signature("m", (TensorSpec("x", "FP32", (-1, 1)), TensorSpec("c", "BYTES", (-1, 2)), TensorSpec("k", "INT64", (-1, 1))), (), 64)


def settings(**more: Any) -> DriftPlan:
    return DriftPlan(**{"watched": True, "learn_rows": 0, "bins": False, "segments": None} | more)


def item(rows: int, segment: int = -1) -> Item:
    made = Item()
    made.rows, made.segment = rows, segment
    return made


@pytest.mark.parametrize(
    ("reference", "schema", "given", "kept"),
    [
        (PROFILE, None, {}, (True, 0, 0)),
        (None, None, {}, None),
        (None, None, {"learn_rows": 9}, (False, 0, 9)),
        (PROFILE, None, {"learn_rows": 9}, (True, 0, 0)),
        (PROFILE, None, {"watched": False, "learn_rows": 9}, None),
        (PROFILE, SCHEMA, {"watched": False}, (False, 1, 0)),
        (None, SCHEMA, {"learn_rows": 9}, (False, 1, 9)),
    ],
)
def test_what_is_counted(reference: Any, schema: Any, given: Any, kept: Any) -> None:
    """A profile's bins, the rules of a contract, rows to learn from; nothing where there is nothing to count."""
    plan = plan_of(reference, schema, settings(**given), Contract())
    assert kept == (None if plan is None else (plan.profile is not None, len(plan.rules), plan.learn_rows))
    if plan is not None:
        room = 8 * (plan.layout.block_words - plan.layout.words)
        assert (LEARN_BYTES if plan.learn_rows else 0) == room


@pytest.mark.parametrize(
    ("segments", "names"),
    [
        (BY_SHOP, ("north", "south", "other")),
        (BY_NUMBER, ("7", "9", "other")),
        (BY_PARAMETER, ("north", "south", "other")),
        (Segments(feature="nothing"), ()),
        (Segments(feature="a"), ()),
        (None, ()),
    ],
)
def test_names_of_segments(segments: Any, names: tuple[str, ...]) -> None:
    """The last one is of all others. A feature that the profile lacks, or of numbers, divides nothing."""
    plan = plan_of(PROFILE, None, settings(segments=segments), Contract())
    assert plan is not None
    assert (names, len(names) or 1) == (plan.segments, plan.layout.segments)
    assert (segments is not None and segments.feature in {"shop", "n"}) == (segment_feature(plan) is not None)
    assert bool(names) == (dividing(plan, SIGNATURE) is not None)


def test_no_two_meanings_of_a_block_have_one_checksum() -> None:
    """Layouts may be alike where plans are not: as many segments by another name, or rules of other inputs."""
    renamed = Segments(parameter="shop", values=("east", "south"))
    field = Field(name="y", type="tensor(float)", shape=None, range=Range(min=0))
    plans = [
        plan_of(PROFILE, schema, settings(segments=segments), Contract())
        for schema in (None, SCHEMA, Schema(format=1, inputs=(field,), outputs=()))
        for segments in (None, BY_SHOP, BY_PARAMETER, renamed)
    ]
    assert len(plans) == len({plan.checksum for plan in plans if plan is not None})
    again = plan_of(PROFILE, SCHEMA, settings(segments=renamed, bins=True), Contract(mode="reject"))
    assert again is not None
    assert again.checksum in {plan.checksum for plan in plans if plan is not None}


def test_rows_are_divided_by_a_feature() -> None:
    """Texts however they come; categories beyond the most frequent, and unknown ones, are together."""
    plan = plan_of(PROFILE, None, settings(segments=BY_SHOP), Contract())
    assert plan is not None
    find = dividing(plan, SIGNATURE)
    assert find is not None
    texts = np.array([["x", "south"], ["x", b"north"], ["x", "west"], ["north", "?"], ["x", b"\xff"]], object)
    inputs = [np.zeros((5, 1)), texts, np.zeros((5, 1))]
    assert [1, 0, -1, -1, -1] == find([item(5)], inputs).tolist()
    numbers = plan_of(PROFILE, None, settings(segments=BY_NUMBER), Contract())
    assert numbers is not None
    find = dividing(numbers, SIGNATURE)
    assert find is not None
    assert [1, 0, -1] == find([item(3)], [inputs[0], texts, np.array([[9], [7], [8]])]).tolist()


def test_rows_are_divided_by_a_parameter() -> None:
    """All rows of a request alike."""
    plan = plan_of(PROFILE, None, settings(segments=BY_PARAMETER), Contract())
    assert plan is not None
    find = dividing(plan, SIGNATURE)
    assert find is not None
    assert [1, 1, -1, 0] == find([item(2, 1), item(1), item(0, 0), item(1, 0)], []).tolist()


def test_a_feature_of_a_tensor_that_the_version_lacks_divides_nothing() -> None:
    """Its traffic is in the last segment."""
    plan = plan_of(PROFILE, None, settings(segments=BY_SHOP), Contract())
    assert plan is not None
    assert dividing(plan, Signature("m", SIGNATURE.inputs[:1], (), 64)) is None
