"""Rows of small batches are put one below the other, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from gateway.drift.gathered import MAX_ROWS, Gathered, room_for
from gateway.protocol.tensors import Signature, TensorSpec


def signature(*shapes: tuple[int, ...], kind: str = "FP32", most: int = 64) -> Signature:
    """The first tensor is the input."""
    specs = [TensorSpec(f"t{k}", kind, shape) for k, shape in enumerate(shapes)]
    return Signature("m", tuple(specs[:1]), tuple(specs[1:]), most)


def rows(values: Sequence[int], width: int = 2) -> np.ndarray:
    """Each number `width` times."""
    return np.repeat(np.array(values, np.float32), width).reshape(-1, width)


def test_what_was_added_is_taken_in_its_order_and_only_once() -> None:
    """Inputs and outputs apart; what was added is not needed any more."""
    gathered = Gathered(8)
    for values in ([1, 2], [3]):
        given = rows(values)
        assert gathered.add([given], [given[:, 0]])
        given[:] = -1
    assert (3, 2) == (gathered.rows, gathered.batches)
    (inputs,), (outputs,) = gathered.take()
    assert ([[1, 1], [2, 2], [3, 3]], [1, 2, 3]) == (inputs.tolist(), outputs.tolist())
    assert (0, 0) == (gathered.rows, gathered.batches)


def test_what_is_let_go_stays_with_who_took_it() -> None:
    """New memory is taken for what comes then."""
    gathered = Gathered(4)
    gathered.add([rows([1])], [])
    (inputs,), _ = gathered.take()
    gathered.let_go()
    gathered.add([rows([2])], [])
    assert [[1, 1]] == inputs.tolist()


@pytest.mark.parametrize("width", [1, 3])
def test_rows_of_another_shape_are_not_added(width: int) -> None:
    """Also where numpy would repeat their values; what is there stays."""
    gathered = Gathered(8)
    assert gathered.add([rows([1])], [])
    assert not gathered.add([rows([2], width)], [])
    assert [[1, 1]] == gathered.take()[0][0].tolist()


def test_texts_are_gathered_as_they_are() -> None:
    """As references."""
    gathered = Gathered(4)
    for text in ("a", "b"):
        assert gathered.add([np.array([[text]], object)], [])
    assert [["a"], ["b"]] == gathered.take()[0][0].tolist()


def test_room_is_for_many_rows_of_few_bytes() -> None:
    """None for rows that differ in shape, that are no rows of a batch, or that are wide."""
    assert MAX_ROWS == room_for(signature((-1, 16), (-1, 2)))
    assert 0 < room_for(signature((-1, 256), (-1, 2))) < MAX_ROWS
    assert 2 * room_for(signature((-1, 128), kind="FP64")) == room_for(signature((-1, 128)))
    assert 0 == room_for(signature((-1, 100_000)))
    assert 0 == room_for(signature((-1, -1), (-1, 2))) == room_for(signature((-1, 2), (-1, -1)))
    assert 0 == room_for(signature((1, 16), most=0))
