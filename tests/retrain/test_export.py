"""From a fitted pipeline to an ONNX model that says the same."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.pipeline import Pipeline

from retrain import export, train
from retrain.dataset import Dataset

pytestmark = pytest.mark.demo


def dataset(*, seed: int = 0) -> Dataset:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=300).astype(np.float32)
    t = generator.choice(np.array(["a", "b", ""], object), 300)
    return Dataset({"x": x, "t": t}, ((x > 0) & (t == "a")).astype(np.int64))


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return train.fit(dataset())


@pytest.fixture(scope="module")
def model(pipeline: Pipeline) -> bytes:
    return export.to_model(pipeline, dataset())


def test_the_model_has_one_input_per_column(model: bytes) -> None:
    """Named and typed as the columns, with plain names for the outputs."""
    graph = onnx.load_from_string(model).graph
    kinds = {item.name: item.type.tensor_type.elem_type for item in (*graph.input, *graph.output)}
    expected = {
        "x": onnx.TensorProto.FLOAT,
        "t": onnx.TensorProto.STRING,
        "label": onnx.TensorProto.INT64,
        "probabilities": onnx.TensorProto.FLOAT,
    }
    assert expected == kinds


def test_the_model_agrees_with_its_pipeline(model: bytes, pipeline: Pipeline) -> None:
    """On rows that it was not fitted to."""
    parity = export.check_parity(model, pipeline, dataset(seed=1))
    assert parity.holds
    assert (300, 0) == (parity.rows, parity.labels_differ)
    assert parity.max_difference < export.TOLERANCE


def test_another_model_does_not_pass_for_it(model: bytes) -> None:
    """Parity fails where labels or probabilities differ."""
    flipped = Dataset(dataset().columns, 1 - dataset().labels)
    parity = export.check_parity(model, train.fit(flipped), dataset(seed=1))
    assert not parity.holds
    assert parity.labels_differ > 200


@settings(max_examples=60, deadline=None)
@given(x=st.floats(width=32, allow_nan=False, allow_infinity=False), t=st.text(max_size=4))
def test_any_row_gets_the_same_answer(model: bytes, pipeline: Pipeline, x: float, t: str) -> None:
    """Extreme numbers and unseen texts included."""
    if t != t.rstrip("\0"):
        return  # numpy drops trailing NULs of a text
    row = Dataset({"x": np.array([x], np.float32), "t": np.array([t], object)}, np.zeros(1, np.int64))
    assert export.check_parity(model, pipeline, row).holds


def test_the_conversion_is_deterministic(model: bytes, pipeline: Pipeline) -> None:
    """The same pipeline gives the same bytes, so publishing it twice stores it once."""
    assert model == export.to_model(pipeline, dataset())


def test_a_model_runs_without_the_packages_that_made_it(model: bytes) -> None:
    """Only standard operators: nothing custom has to be installed where it is served."""
    assert {"", "ai.onnx.ml"} >= {opset.domain for opset in onnx.load_from_string(model).opset_import}
    session = onnxruntime.InferenceSession(model)
    assert [(0,), (0, 2)] == [output.shape for output in session.run(None, dataset().take(slice(0, 0)).tensors())]


def test_the_offline_job_does_not_know_the_gateway() -> None:
    """They meet only through what the registry stores."""
    folder = Path(importlib.util.find_spec("retrain").submodule_search_locations[0])  # type: ignore[union-attr,index]
    assert not [path.name for path in folder.glob("*.py") if "gateway" in path.read_text().replace("the gateway", "")]
