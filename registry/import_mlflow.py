"""An MLflow model directory with the flavor `onnx` as a version to publish. Its signature is held against the graph when it is published.

Read are `MLmodel` (mlflow.org/docs/latest/ml/model, "MLModel Configuration") and the ONNX file beside it; code and environments of the
directory are neither read nor run.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec

from registry.errors import refused
from registry.imported import Imported, Settings
from registry.names import is_plain_file_name
from registry.parts import Parts
from registry.schema import ONLY, ContractFile, Terms
from registry.submission import read_plain
from registry.training import TrainingRecord
from registry.yaml_text import MAX_YAML_BYTES, read_yaml

MLMODEL = "MLmodel"
_HONOURED = {"data", "onnx_version", "providers", "code"}  # of the flavor; `code` belongs to MLflow's own way of loading
# numpy's names of a tensor signature → ours.
_TENSORS = {"float16": "FP16", "float32": "FP32", "float64": "FP64", "bool": "BOOL", "object": "BYTES", "str": "BYTES"}
_TENSORS |= {f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
# A column signature → ours. MLflow casts doubles to what the model takes, so a double says no type.
_COLUMNS = {"float": "FP32", "double": None, "integer": "INT32", "long": "INT64", "string": "BYTES", "boolean": "BOOL"}


class _TensorSpec(msgspec.Struct):
    dtype: str
    shape: tuple[int, ...]


class _Column(msgspec.Struct, rename={"spec": "tensor-spec"}):
    """One entry of a signature: a tensor, or a column of a table that is an input of its own."""

    type: str
    name: str | None = None
    spec: _TensorSpec | None = None


class _Signature(msgspec.Struct):
    inputs: str | None = None  # JSON within the YAML
    outputs: str | None = None
    params: str | None = None


class _MLmodel(msgspec.Struct):
    """What is read of the file; other fields are MLflow's own business."""

    flavors: dict[str, dict[str, Any]]
    signature: _Signature | None = None
    run_id: str | None = None
    model_uuid: str | None = None


def import_mlflow(directory: Path, *, may_drop: Collection[str] = ()) -> Imported:
    """The model of an MLflow directory.

    `may_drop` names what may be let go: "signature", or a setting of the flavor such as "onnx_session_options". Raises
    `Kind.INVALID_MODEL` for a directory without the flavor `onnx`, a setting that cannot be honoured, or a signature that cannot be read.
    """
    model = _mlmodel(read_plain(directory / MLMODEL, max_bytes=MAX_YAML_BYTES))
    settings = Settings(MLMODEL, may_drop)
    file = _file(model, settings)
    contract = None if model.signature is None else _contract(model.signature, settings)
    ids = {"mlflow_run_id": model.run_id, "mlflow_model_uuid": model.model_uuid}
    training = TrainingRecord(format=1, parameters={name: value for name, value in ids.items() if value})
    return Imported("", None, directory / file, Parts(contract=contract, training=training), tuple(settings.dropped))


def _mlmodel(content: bytes) -> _MLmodel:
    try:
        return msgspec.convert(read_yaml(content, name=MLMODEL), _MLmodel)
    except msgspec.ValidationError as error:
        raise refused(f"'{MLMODEL}' is not one: {error}") from error


def _file(model: _MLmodel, settings: Settings) -> str:
    """The name of the ONNX file in the directory."""
    flavor = model.flavors.get("onnx")
    if flavor is None:
        raise refused(f"'{MLMODEL}' has no flavor 'onnx', but {', '.join(sorted(model.flavors))[:200] or 'none'}")
    for name in sorted(name for name, value in flavor.items() if value is not None and name not in _HONOURED):
        settings.refuse(name)
    providers = flavor.get("providers") or ["CPUExecutionProvider"]
    if not isinstance(providers, list) or "CPUExecutionProvider" not in providers:
        settings.refuse("providers", "versions run on the processor")
    file = flavor.get("data")
    if not isinstance(file, str) or not is_plain_file_name(file):
        raise refused(f"'{MLMODEL}' does not name a file beside it as the ONNX model")
    return file


def _contract(signature: _Signature, settings: Settings) -> ContractFile | None:
    if "signature" in settings.may_drop:
        settings.refuse("signature")
        return None
    if signature.params not in {None, "null", "[]"}:
        settings.refuse("signature.params", "a request has inputs only")
    return ContractFile(inputs=_terms(signature.inputs, "inputs"), outputs=_terms(signature.outputs, "outputs"))


def _terms(text: str | None, what: str) -> dict[str, Terms]:
    """Type and shape by name. The one tensor of a signature may have no name."""
    try:
        columns = msgspec.convert(json.loads(text or "[]") or [], list[_Column])
    except (ValueError, RecursionError) as error:
        raise refused(f"the {what} of the signature in '{MLMODEL}' cannot be read") from error
    found = {column.name or ONLY: _term(column) for column in columns}
    if len(found) != len(columns):
        raise refused(f"the {what} of the signature in '{MLMODEL}' are not one for each name")
    return found


def _term(column: _Column) -> Terms:
    kind, known = (column.type, _COLUMNS) if column.spec is None else (column.spec.dtype.removeprefix("<").removeprefix("="), _TENSORS)
    if kind not in known:
        raise refused(f"the signature in '{MLMODEL}' has the type {kind[:64]!r}, which is no tensor's")
    return Terms(dtype=known[kind], shape=None if column.spec is None else column.spec.shape)
