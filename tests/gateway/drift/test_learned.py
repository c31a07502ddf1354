"""Rows that are kept to learn a profile from come back as they were served."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.drift.layout import layout_of
from gateway.drift.learned import Learner, kept, learned_path, read_profile
from gateway.protocol.tensors import Signature, TensorSpec
from registry import profile as profiles
from registry.errors import RegistryError
from tests.gateway.drift.profiles import profile

SIGNATURE = Signature(
    model="m",
    inputs=(TensorSpec("x", "FP32", (-1, 2)), TensorSpec("t", "BYTES", (-1, 1))),
    outputs=(TensorSpec("y", "INT64", (-1,)),),
    max_batch_size=8,
)
LAYOUT = layout_of(None, rules=1, learn_bytes=4_096)


def batch(rows: int, start: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    numbers = np.arange(start, start + 2 * rows, dtype=np.float32).reshape(rows, 2)
    texts = np.array([f"ü{start + row}" * (row % 3) for row in range(rows)], dtype=object).reshape(rows, 1)
    return [numbers, texts], [np.arange(rows, dtype=np.int64) + start]


def test_batches_come_back_in_order() -> None:
    """Numbers, texts and outputs, as they were."""
    views = LAYOUT.views(np.zeros(LAYOUT.block_words, np.int64))
    learner = Learner(views, SIGNATURE, rows=5)
    learner.keep(*batch(3, 0))
    assert not learner.full
    learner.keep(*batch(2, 10))
    assert learner.full
    found = kept(views)
    assert found is not None
    tensors, arrays = found
    assert [(tensor.side, tensor.name, tensor.datatype, tensor.shape) for tensor in tensors] == [
        ("input", "x", "FP32", (2,)), ("input", "t", "BYTES", (1,)), ("output", "y", "INT64", ()),
    ]  # fmt: skip
    assert arrays[0].tolist() == [[0, 1], [2, 3], [4, 5], [10, 11], [12, 13]]
    assert arrays[1].ravel().tolist() == ["", "ü1", "ü2ü2", "", "ü11"]
    assert arrays[2].tolist() == [0, 1, 2, 10, 11]


def test_a_worker_goes_on_where_the_one_before_it_stopped() -> None:
    """In the same place."""
    views = LAYOUT.views(np.zeros(LAYOUT.block_words, np.int64))
    Learner(views, SIGNATURE, rows=100).keep(*batch(3, 0))
    Learner(views, SIGNATURE, rows=100).keep(*batch(2, 10))
    found = kept(views)
    assert found is not None
    assert len(found[1][0]) == 5


def test_what_does_not_fit_is_not_kept_in_part() -> None:
    """And nothing more is tried."""
    views = LAYOUT.views(np.zeros(LAYOUT.block_words, np.int64))
    learner = Learner(views, SIGNATURE, rows=100_000)
    while not learner.full:
        learner.keep(*batch(8, 0))
    found = kept(views)
    assert found is not None
    assert len(found[1][0]) % 8 == 0


def test_nothing_kept_is_nothing() -> None:
    """Before the first batch."""
    assert kept(LAYOUT.views(np.zeros(LAYOUT.block_words, np.int64))) is None


def test_a_model_without_a_batch_dimension_has_no_rows_to_keep() -> None:
    """Its inputs are no rows of one table."""
    signature = Signature(model="m", inputs=SIGNATURE.inputs, outputs=SIGNATURE.outputs, max_batch_size=0)
    assert Learner(LAYOUT.views(np.zeros(LAYOUT.block_words, np.int64)), signature, rows=5).full


def test_profiles_are_the_version_s_own_or_learned_ones(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """One that is damaged is not used."""
    content = profiles.encode(profile())
    path = learned_path(tmp_path, "m", 1, "sha256:0")
    assert read_profile(content, "") == profile()
    assert read_profile(None, "") is None
    with pytest.raises(RegistryError, match="No such file"):
        read_profile(None, str(path))
    path.write_bytes(content)
    assert read_profile(None, str(path)) == profile()
    path.write_bytes(content[:-2])
    with pytest.raises(RegistryError, match="not a reference profile"):
        read_profile(None, str(path))
