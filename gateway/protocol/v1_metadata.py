"""What TensorFlow Serving tells of models, as its REST API writes it: 64-bit numbers are texts, fields without a value are there too.

Source: github.com/tensorflow/serving, apis/get_model_status.proto, apis/get_model_metadata.proto, model_servers/http_rest_api_util.cc;
github.com/tensorflow/tensorflow, core/protobuf/meta_graph.proto, core/framework/types.proto.
"""

from __future__ import annotations

from typing import Any

from gateway.protocol.tensors import Signature, TensorSpec
from gateway.protocol.v1_rest import SIGNATURE_NAME

# States of a version: loaded when asked for; being loaded; serving; serving nobody new; failed, or over.
START, LOADING, AVAILABLE, UNLOADING, END = "START", "LOADING", "AVAILABLE", "UNLOADING", "END"

_TYPES = {
    "BOOL": "DT_BOOL", "UINT8": "DT_UINT8", "UINT16": "DT_UINT16", "UINT32": "DT_UINT32", "UINT64": "DT_UINT64", "INT8": "DT_INT8",
    "INT16": "DT_INT16", "INT32": "DT_INT32", "INT64": "DT_INT64", "FP16": "DT_HALF", "BF16": "DT_BFLOAT16", "FP32": "DT_FLOAT",
    "FP64": "DT_DOUBLE", "BYTES": "DT_STRING",
}  # fmt: skip

Message = dict[str, Any]


def version_status(version: str, state: str, *, code: str = "OK", message: str = "") -> Message:
    """One element of `model_version_status`. `code` is the name of a google.rpc.Code."""
    return {"version": version, "state": state, "status": {"error_code": code, "error_message": message}}


def model_metadata(signature: Signature, version: str) -> Message:
    """The answer to `…/metadata`."""
    described = {
        "inputs": _tensors(signature.inputs), "outputs": _tensors(signature.outputs), "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }  # fmt: skip
    return {
        "model_spec": {"name": signature.model, "signature_name": "", "version": version},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE_NAME: described}}},
    }


def _tensors(specs: tuple[TensorSpec, ...]) -> Message:
    return {
        spec.name: {
            "dtype": _TYPES[spec.datatype],
            "tensor_shape": {"dim": [{"size": str(size), "name": ""} for size in spec.shape], "unknown_rank": False},
            "name": spec.name,
        }
        for spec in specs
    }
