"""From a fitted pipeline to an ONNX model that says the same."""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.pipeline import Pipeline

from registry import profile as profiles
from registry.errors import RegistryError
from registry.parts import Parts, read_parts
from registry.publish import publish
from registry.store import Store
from registry.training import TrainingRecord
from retrain import export, train
from retrain.dataset import Dataset
from tests.retrain.disturbed import disturbed

pytestmark = pytest.mark.demo


def dataset(*, seed: int = 0) -> Dataset:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=300).astype(np.float32)
    t = generator.choice(np.array(["a", "b", ""], object), 300)
    return Dataset({"x": x, "t": t}, ((x > 0) & (t == "a")).astype(np.int64))


@pytest.fixture
def kind_of() -> Callable[[Callable[[], object]], str]:
    """Calls something that must raise a `RegistryError` and gives "kind: message"."""

    def call(deed: Callable[[], object]) -> str:
        with pytest.raises(RegistryError) as caught:
            deed()
        return f"{caught.value.kind.value}: {caught.value.message}"

    return call


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


@settings(max_examples=60)
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


@pytest.mark.parametrize("seed", range(5))
def test_the_converters_order_does_not_matter(model: bytes, pipeline: Pipeline, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """skl2onnx orders nodes by where they lie in memory, which is another place in every process; the model's order is its own."""
    convert = export.to_onnx
    monkeypatch.setattr(export, "to_onnx", lambda *given, **options: _moved(convert(*given, **options), seed))
    assert model == export.to_model(pipeline, dataset())


def _moved(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """In another order, and so other bytes."""
    moved = disturbed(model, random.Random(seed))
    assert model.SerializeToString() != moved.SerializeToString()
    return moved


def test_every_process_writes_the_same_bytes() -> None:
    """Fitted and exported in two processes, each with hashes of its own."""
    child, root = Path(__file__).with_name("export_child.py"), Path(__file__).parents[2]
    printed = {
        subprocess.run(
            [sys.executable, str(child)],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert [64] == [len(digest) for digest in printed]


class TestExport:
    """A model with what a version holds beside it."""

    def test_from_a_pipeline_to_a_version(self, pipeline: Pipeline, tmp_path: Path) -> None:
        """The registry's trial asks the model what scikit-learn answered."""
        record = TrainingRecord(format=1, seed=0)
        exported = export.export(pipeline, dataset(seed=1), training=record, card="# A card")
        store = Store.create(tmp_path / "registry")
        published = publish(store, exported.save(tmp_path), name="m", publisher="ann", now_s=1e9, parts=exported.parts)
        parts = read_parts(store.manifest("m", published.version), store.read_blob)
        assert (record, "# A card", exported.parts.golden) == (parts.training, parts.card, parts.golden)
        assert parts.golden is not None
        assert [1] * 8 + [8] == [request.outputs["label"].shape[0] for request in parts.golden.requests]

    def test_the_rows_that_it_was_fitted_to_are_the_reference(self, pipeline: Pipeline, model: bytes, tmp_path: Path) -> None:
        """With the exported model's answers, calibrated by the labels, by hour of the week where times are known."""
        fitted = dataset()
        times_s = 1e9 + 3_600 * np.arange(300.0)
        exported = export.export(pipeline, dataset(seed=1), fitted=Dataset(fitted.columns, fitted.labels, times_s))
        store = Store.create(tmp_path / "registry")
        publish(store, exported.save(tmp_path), name="m", publisher="ann", now_s=1e9, parts=exported.parts)
        content = read_parts(store.manifest("m", 1), store.read_blob).profile
        assert content is not None
        found = profiles.decode(content, key="k")
        assert ["x", *(f"probabilities{what}" for what in ("[0]", "[1]", ".margin", ".entropy"))] == [one.name for one in found.numeric]
        assert ["t", "label"] == [one.name for one in found.categorical]
        assert found.calibration is not None
        assert (300, "probabilities", 1) == (found.rows, found.calibration.port, found.calibration.element)
        assert found.calibration.accuracy > 0.95
        assert found == export.reference_profile(model, Dataset(fitted.columns, fitted.labels, times_s)).profile

    def test_another_model_is_refused(self, pipeline: Pipeline) -> None:
        """By how much it differs, and on how many rows, is in the error."""
        with pytest.raises(
            export.ParityError, match=r"on 300 rows, 0 labels differ, and probabilities by up to .* where 0 is allowed"
        ) as caught:
            export.export(_Slanted(pipeline.steps), dataset(seed=1), tolerance=0.0)
        assert 1e-3 == pytest.approx(caught.value.parity.max_difference, rel=1e-2)

    def test_the_trial_finds_what_parity_did_not(self, pipeline: Pipeline, tmp_path: Path, kind_of: Callable[..., str]) -> None:
        """Golden answers of another model are noticed where the model is published."""
        golden = export.golden_requests(_Slanted(pipeline.steps), dataset().take(slice(0, 2)), tolerance=1e-5)
        path = export.export(pipeline, dataset()).save(tmp_path)
        store = Store.create(tmp_path / "registry")
        text = kind_of(lambda: publish(store, path, name="m", publisher="ann", now_s=1e9, parts=Parts(golden=golden)))
        assert text.startswith("invalid_model: golden request 1 is answered otherwise: output 'probabilities' has 2 of 2 values differ")

    def test_what_cannot_be_exported(self, pipeline: Pipeline) -> None:
        """No rows to compare on, a column with the name of an output, an estimator that no converter knows."""
        with pytest.raises(export.ExportError, match="there are no reference rows"):
            export.export(pipeline, dataset().take(slice(0, 0)))
        with pytest.raises(export.ExportError, match="a column is named 'label', as an output is"):
            export.to_model(pipeline, Dataset({"label": dataset().columns["x"]}, dataset().labels))
        with pytest.raises(export.ExportError, match="_Stranger cannot be converted to ONNX: "):
            export.to_model(Pipeline([("stranger", _Stranger())]), dataset())


class _Slanted(Pipeline):
    """A pipeline that says a thousandth more than its steps."""

    def predict_proba(self, x: Any) -> np.ndarray:
        return super().predict_proba(x) + np.array([-1e-3, 1e-3])


class _Stranger(ClassifierMixin, BaseEstimator):
    """A classifier of nobody's."""

    def fit(self, x: Any, y: Any) -> Self:
        return self


class TestBoosting:
    """Classifiers of other packages at the end of a pipeline."""

    @pytest.mark.parametrize("kind", ["xgboost", "lightgbm"])
    def test_export(self, pipeline: Pipeline, kind: str, tmp_path: Path) -> None:
        """Converted through onnxmltools, held against the package's own answers, and accepted by the registry."""
        fitted = _boosted(pipeline, kind)
        exported = export.export(fitted, dataset(seed=1))
        assert (300, 0) == (exported.parity.rows, exported.parity.labels_differ)
        assert exported.model == export.to_model(fitted, dataset())
        store = Store.create(tmp_path / "registry")
        assert publish(store, exported.save(tmp_path), name="m", publisher="ann", now_s=1e9, parts=exported.parts).new

    def test_without_onnxmltools(self, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
        """The extra to install is named."""
        monkeypatch.setitem(sys.modules, "onnxmltools.convert.xgboost.operator_converters.XGBoost", None)
        with pytest.raises(export.ExportError, match=r"XGBClassifier needs onnxmltools: pip install 'tidegate\[boosting\]'"):
            export.to_model(_boosted(pipeline, "xgboost"), dataset())


def _boosted(pipeline: Pipeline, kind: str) -> Pipeline:
    classifier: Any
    if kind == "xgboost":
        import xgboost

        classifier = xgboost.XGBClassifier(n_estimators=8, max_depth=3, n_jobs=1, random_state=0)
    else:
        import lightgbm

        classifier = lightgbm.LGBMClassifier(n_estimators=8, n_jobs=1, random_state=0, verbose=-1)
    return Pipeline([("columns", clone(pipeline.steps[0][1]).set_params(sparse_threshold=0)), ("trees", classifier)]).fit(
        train.frame(dataset()), dataset().labels
    )


def test_a_model_runs_without_the_packages_that_made_it(model: bytes) -> None:
    """Only standard operators: nothing custom has to be installed where it is served."""
    assert {"", "ai.onnx.ml"} == {opset.domain for opset in onnx.load_from_string(model).opset_import}
    session = onnxruntime.InferenceSession(model)
    assert [(0,), (0, 2)] == [output.shape for output in session.run(None, dataset().take(slice(0, 0)).tensors())]


def test_the_offline_job_does_not_know_the_gateway() -> None:
    """They meet only through what the registry stores."""
    folder = Path(importlib.util.find_spec("retrain").submodule_search_locations[0])  # type: ignore[union-attr,index]
    assert not [path.name for path in folder.glob("*.py") if "gateway" in path.read_text().replace("the gateway", "")]
