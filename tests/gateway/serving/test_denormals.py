"""Denormal inputs cost no more than others, in whatever thread a model runs, and the thread's other arithmetic is left alone."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest

from gateway.serving import denormals
from gateway.serving.model import Model, RunFault
from gateway.serving.sessions import SessionSettings
from tests.e2e import models

TINY = np.float32(1e-38)

pytestmark = pytest.mark.skipif(sys.platform != "linux" or platform.machine() not in denormals._LAYOUT, reason="nothing is done there")


@pytest.fixture(autouse=True)
def _left_alone() -> Iterator[None]:
    """Whatever a test does, this thread computes with denormals before and after."""
    assert computes_with_denormals()
    yield
    computed = computes_with_denormals()
    denormals.keep()
    assert computed


def computes_with_denormals() -> bool:
    """Of this thread, now."""
    return bool(np.full(1, TINY, np.float32)[0] * np.float32(1e-3) > 0)


def scaled(folder: Path, factor: float) -> Model:
    """y = factor * x, on one thread: whose answer tells whether products that are denormal are kept."""
    node = models.helper.make_node("Mul", ["x", "factor"], ["y"])
    x, y = (models.value(name, models.FLOAT, "n", 4) for name in "xy")
    path = folder / "model.onnx"
    onnx.save(models.model([node], [x], [y], (models.constant("factor", np.array(factor, np.float32)),)), path)
    return Model("m", str(path), SessionSettings())


def greatest(model: Model, rows: np.ndarray) -> float:
    """Of all answers."""
    return float(model.run([rows])[0].max())


def here(call: Callable[[], object]) -> object:
    """In this thread."""
    return call()


def elsewhere(call: Callable[[], object]) -> object:
    """In another thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


@pytest.mark.parametrize("loads", [here, elsewhere])
@pytest.mark.parametrize("runs", [here, elsewhere])
def test_a_run_takes_them_for_zero_in_any_thread(tmp_path: Path, loads: Callable, runs: Callable) -> None:
    """As inputs and as results; a session is loaded in one thread and run in another."""
    model = loads(lambda: scaled(tmp_path, 1e-3))
    tiny, normal = np.full((2, 4), 1e-40, np.float32), np.full((2, 4), TINY, np.float32)
    assert 0.0 == runs(partial(greatest, model, tiny))
    assert 0.0 == runs(partial(greatest, model, normal))
    assert 1e-3 == pytest.approx(runs(partial(greatest, model, np.ones((2, 4), np.float32))))
    assert computes_with_denormals()


def test_a_thread_is_put_back_after_a_run_that_fails(tmp_path: Path) -> None:
    """Also where the session refuses its input."""
    model = scaled(tmp_path, 1.0)
    with pytest.raises(RunFault):
        model.run([np.ones((2, 5), np.float32)])
    assert computes_with_denormals()


def test_switching_can_be_done_again_and_again() -> None:
    """Nothing is counted."""
    denormals.flush()
    denormals.flush()
    assert not computes_with_denormals()
    denormals.keep()
    assert computes_with_denormals()
