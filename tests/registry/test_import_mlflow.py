"""MLflow model directories with the flavor onnx."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from registry.import_mlflow import import_mlflow
from registry.parts import read_parts
from registry.publish import publish
from registry.store import Store

NOW_S = 1_700_000_000.25
FLAVOR = {
    "code": None,
    "data": "model.onnx",
    "onnx_version": "1.19.0",
    "onnx_session_options": None,
    "providers": ["CUDAExecutionProvider", "CPUExecutionProvider"],
}


def _tensor(dtype: str, shape: list[int], name: str | None = None) -> dict[str, Any]:
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}} | ({"name": name} if name else {})


@pytest.fixture
def directory(tmp_path: Path, gemm: Callable[..., Any]) -> Callable[..., Path]:
    """A factory: an MLflow directory of a model with input x [batch, 4] and output y [batch, 3]; arguments replace fields of MLmodel."""

    def write(*, inputs: Any = None, outputs: Any = None, flavor: dict[str, Any] | None = None, **fields: Any) -> Path:
        folder = tmp_path / "mlflow"
        folder.mkdir(exist_ok=True)
        (folder / "model.onnx").write_bytes(gemm(2.0).SerializeToString())
        signature = {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None}
        document = {
            "artifact_path": "model",
            "flavors": {"onnx": FLAVOR | (flavor or {}), "python_function": {"loader_module": "mlflow.onnx"}},
            "mlflow_version": "2.20.0",
            "model_uuid": "a" * 32,
            "run_id": "b" * 32,
            "utc_time_created": "2026-01-01 10:00:00.000000",
            "signature": signature,
        }
        (folder / "MLmodel").write_text(yaml.safe_dump(document | fields))
        return folder

    return write


def test_a_whole_directory(store: Store, directory: Callable[..., Path]) -> None:
    """The signature is the contract, the ids of the run go into the training record; with the real trial."""
    imported = import_mlflow(directory(inputs=[_tensor("float32", [-1, 4], "x")], outputs=[_tensor("float32", [-1, 3], "y")]))
    assert ("", None, ()) == (imported.name, imported.version, imported.dropped)
    publish(store, imported.path, name="m", publisher="ann", now_s=NOW_S, parts=imported.parts)
    parts = read_parts(store.manifest("m", 1), store.read_blob)
    assert parts.training is not None
    assert {"mlflow_run_id": "b" * 32, "mlflow_model_uuid": "a" * 32} == parts.training.parameters
    assert parts.schema is not None
    assert ("x", "y") == (parts.schema.inputs[0].name, parts.schema.outputs[0].name)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ([_tensor("float32", [-1, 4])], None),
        ([_tensor("float32", [8, 4], "x")], None),
        ([{"type": "double", "name": "x", "required": True}], None),
        ([{"type": "float", "name": "x"}], None),
        (None, None),
        ([_tensor("float64", [-1, 4])], "input 'x' is tensor(float) in the model and FP64 in the contract file"),
        ([_tensor("float32", [-1, 5])], "input 'x' has shape [batch, 4] in the model and [-1, 5] in the contract file"),
        ([_tensor("float32", [-1, 4], "z")], "the contract file describes input 'z', which the model does not have"),
        ([{"type": "long", "name": "x"}], "input 'x' is tensor(float) in the model and INT64 in the contract file"),
        ([{"type": "double", "name": name} for name in "abcd"], "the contract file describes input 'a', which the model does not have"),
    ],
)
def test_signatures(
    store: Store, directory: Callable[..., Path], no_trial: Callable[..., None], inputs: Any, text: str | None, kind_of: Callable[..., str]
) -> None:
    """Held against the graph when the version is published; an unnamed tensor is the only one."""
    imported = import_mlflow(directory(inputs=inputs))

    def put() -> int:
        return publish(store, imported.path, name="m", publisher="ann", now_s=NOW_S, parts=imported.parts, trial=no_trial).version

    if text is None:
        assert 1 == put()
    else:
        assert "invalid_model: " + text == kind_of(put)


def test_without_a_signature(directory: Callable[..., Path]) -> None:
    """Absent, or let go."""
    assert import_mlflow(directory(signature=None)).parts.contract is None
    imported = import_mlflow(directory(inputs=[_tensor("float64", [1])]), may_drop=["signature"])
    assert (None, ("signature",)) == (imported.parts.contract, imported.dropped)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"flavors": {"sklearn": {}}}, "'MLmodel' has no flavor 'onnx', but sklearn"),
        ({"flavors": {}}, "'MLmodel' has no flavor 'onnx', but none"),
        ({"flavors": None}, "'MLmodel' is not one: "),
        ({"flavor": {"data": "../model.onnx"}}, "'MLmodel' does not name a file beside it as the ONNX model"),
        ({"flavor": {"data": None}}, "'MLmodel' does not name a file beside it as the ONNX model"),
        (
            {"flavor": {"onnx_session_options": {"intra_op_num_threads": 4}}},
            "MLmodel sets 'onnx_session_options', which cannot be honoured",
        ),
        ({"flavor": {"providers": ["CUDAExecutionProvider"]}}, "MLmodel sets 'providers', which cannot be honoured: versions run on the"),
        ({"flavor": {"new": 1}}, "MLmodel sets 'new', which cannot be honoured"),
        ({"signature": {"inputs": "["}}, "the inputs of the signature in 'MLmodel' cannot be read"),
        ({"signature": {"inputs": "{}x"}}, "the inputs of the signature in 'MLmodel' cannot be read"),
        ({"signature": {"params": '[{"name": "t"}]'}}, "MLmodel sets 'signature.params', which cannot be honoured"),
        ({"inputs": [_tensor("complex64", [1])]}, "the signature in 'MLmodel' has the type 'complex64', which is no tensor's"),
        ({"inputs": [{"type": "datetime", "name": "x"}]}, "the signature in 'MLmodel' has the type 'datetime', which is no tensor's"),
        ({"inputs": [_tensor("float32", [1], "x")] * 2}, "the inputs of the signature in 'MLmodel' are not one for each name"),
    ],
)
def test_refused(directory: Callable[..., Path], change: dict[str, Any], text: str, kind_of: Callable[..., str]) -> None:
    """What is missing, cannot be read, or cannot be honoured."""
    assert kind_of(lambda: import_mlflow(directory(**change))).startswith("invalid_model: " + text)


def test_mlmodel_is_a_plain_file(tmp_path: Path, directory: Callable[..., Path], kind_of: Callable[..., str]) -> None:
    """No link, no pipe, not absent, not huge, and YAML."""
    folder = directory()
    (folder / "MLmodel").rename(folder / "real")
    assert "invalid_model: 'MLmodel' cannot be read: No such file or directory" == kind_of(lambda: import_mlflow(folder))
    (folder / "MLmodel").symlink_to("real")
    assert "invalid_model: 'MLmodel' is a symbolic link" == kind_of(lambda: import_mlflow(folder))
    (folder / "MLmodel").unlink()
    (folder / "MLmodel").write_bytes(b"#" * ((1 << 20) + 1))
    assert "invalid_model: 'MLmodel' has more than the 1048576 bytes that are allowed" == kind_of(lambda: import_mlflow(folder))
    (folder / "MLmodel").write_text("a: &a [1]\nb: *a")
    assert "references are not allowed" in kind_of(lambda: import_mlflow(folder))
    assert kind_of(lambda: import_mlflow(tmp_path / "absent")).startswith("storage: cannot open the directory of MLmodel")
