"""Sessions as the gateway holds them: which models batch, what a run may take, what a caller is told when one fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from gateway.errors import Code
from gateway.limits import ServingLimits
from gateway.serving.model import Model, RunFault, bound_memory
from gateway.serving.sessions import SessionSettings
from tests.e2e import models

ROW = np.zeros(1, np.float32)


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """The arena is the process's: other tests get the default again."""
    yield
    bound_memory(ServingLimits().max_arena_bytes)


def load(folder: Path, built: onnx.ModelProto) -> Model:
    """A session of a model from a file."""
    path = folder / "model.onnx"
    onnx.save(built, path)
    return Model("m", str(path), SessionSettings())


@pytest.mark.parametrize(
    ("build", "batch"), [(lambda: models.rows(1.0), 256), (models.embedding, 256), (models.spread, 0), (models.loop, 0)]
)
def test_a_model_batches_where_rows_are_independent(tmp_path: Path, build: Callable[[], onnx.ModelProto], batch: int) -> None:
    """`spread` takes a shape as an input whose length is free: two of its "rows" do not run together, so they are none."""
    model = load(tmp_path, build())
    assert batch == model.signature.max_batch_size
    assert model.run(model.zeros(1))


@pytest.mark.parametrize("size", [1 << 25, 1 << 28, 1 << 40, 1 << 62, -4])
def test_an_output_that_explodes_fails_alone(tmp_path: Path, size: int) -> None:
    """Before the memory is taken, with a text that names no source; the next run is served."""
    bound_memory(64 << 20)
    model = load(tmp_path, models.spread())
    with pytest.raises(RunFault) as raised:
        model.run([ROW, np.array([size, 1])])
    assert Code.INTERNAL == raised.value.code
    reason = raised.value.message.removeprefix("model 'm' failed on this input: ")
    assert "::" not in reason
    assert ".cc" not in reason
    assert (1 << 25 <= size <= 1 << 40) == (reason == "it needs more memory than limits.serving.max_arena_bytes")
    assert (1 << 20, 1) == model.run([ROW, np.array([1 << 20, 1])])[0].shape


def test_weights_are_not_bounded_by_the_arena(tmp_path: Path) -> None:
    """A model larger than the arena loads and runs."""
    bound_memory(1 << 20)
    table = models.constant("table", np.ones((1_000, 1_000), np.float32))
    node = models.helper.make_node("MatMul", ["x", "table"], ["y"])
    kinds = [models.value(name, models.FLOAT, "n", 1_000) for name in "xy"]
    model = load(tmp_path, models.model([node], kinds[:1], kinds[1:], (table,)))
    assert 1_000.0 == model.run([np.ones((2, 1_000), np.float32)])[0].max()


def test_a_failed_run_tells_what_was_wrong_with_the_input(tmp_path: Path) -> None:
    """An id beyond the table is the caller's affair."""
    model = load(tmp_path, models.embedding())
    with pytest.raises(RunFault, match=r"^model 'm' failed on this input: indices element out of data bounds, idx=10") as raised:
        model.run([np.array([models.TABLE])])
    assert Code.INVALID_ARGUMENT == raised.value.code
