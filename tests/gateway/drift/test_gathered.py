"""Rows of small batches are put one below the other, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from gateway.drift.gathered import MAX_ROWS, Gathered, joined, room_for
from gateway.protocol.tensors import Signature, TensorSpec


def signature(*shapes: tuple[int, ...], kind: str = "FP32", most: int = 64) -> Signature:
    """The first tensor is the input."""
    specs = [TensorSpec(f"t{k}", kind, shape) for k, shape in enumerate(shapes)]
    return Signature("m", tuple(specs[:1]), tuple(specs[1:]), most)


def rows(values: Sequence[int], width: int = 2) -> np.ndarray:
    """Each number `width` times."""
    return np.repeat(np.array(values, np.float32), width).reshape(-1, width)


def test_what_was_added_is_taken_in_its_order_and_only_once() -> None:
    """Requests, inputs and outputs apart, as one batch."""
    gathered = Gathered(8)
    for item, values in zip("ab", ([1, 2], [3]), strict=True):
        gathered.add([item], [rows(values)], [rows(values)[:, 0]])  # type: ignore[list-item]
    assert 3 == gathered.rows
    batches = gathered.take()
    whole = joined(batches, with_items=True)
    assert whole is not None
    items, (inputs,), (outputs,) = whole
    assert (["a", "b"], [[1, 1], [2, 2], [3, 3]], [1, 2, 3]) == (items, inputs.tolist(), outputs.tolist())
    assert ([], 0) == (gathered.take(), gathered.rows)
    assert [] == joined(batches, with_items=False)[0]  # type: ignore[index]


def test_one_batch_is_as_it_was() -> None:
    """Nothing is copied."""
    batch = [], [rows([1])], []
    assert batch is joined([batch], with_items=False)


@pytest.mark.parametrize("width", [1, 3])
def test_rows_of_another_shape_are_not_joined(width: int) -> None:
    """Also where numpy would repeat their values."""
    assert joined([([], [rows([1])], []), ([], [rows([2], width)], [])], with_items=False) is None


def test_texts_are_joined_as_they_are() -> None:
    """As references."""
    whole = joined([([], [np.array([[text]], object)], []) for text in ("a", "b")], with_items=False)
    assert whole is not None
    assert [["a"], ["b"]] == whole[1][0].tolist()


def test_room_is_for_many_rows_of_few_bytes() -> None:
    """None for rows that differ in shape, that are no rows of a batch, or that are wide."""
    assert MAX_ROWS == room_for(signature((-1, 16), (-1, 2)))
    assert 0 < room_for(signature((-1, 256), (-1, 2))) < MAX_ROWS
    assert 2 * room_for(signature((-1, 128), kind="FP64")) == room_for(signature((-1, 128)))
    assert 0 == room_for(signature((-1, 100_000)))
    assert 0 == room_for(signature((-1, -1), (-1, 2))) == room_for(signature((-1, 2), (-1, -1)))
    assert 0 == room_for(signature((1, 16), most=0))
