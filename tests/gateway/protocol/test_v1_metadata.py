"""TensorFlow Serving's messages, as its REST API writes them."""

from __future__ import annotations

from gateway.protocol.tensors import DATATYPES, Signature, TensorSpec
from gateway.protocol.v1_metadata import END, model_metadata, version_status


def test_metadata_has_the_form_of_tensorflow_serving() -> None:
    """Sizes are texts, free ones "-1"; every field is there."""
    signature = Signature("m", (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "BYTES", ()),), 8)
    x = {
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}, {"size": "4", "name": ""}], "unknown_rank": False},
        "name": "x",
    }
    y = {"dtype": "DT_STRING", "tensor_shape": {"dim": [], "unknown_rank": False}, "name": "y"}
    default = {"inputs": {"x": x}, "outputs": {"y": y}, "method_name": "tensorflow/serving/predict", "defaults": {}}
    assert {
        "model_spec": {"name": "m", "signature_name": "", "version": "3"},
        "metadata": {"signature_def": {"signature_def": {"serving_default": default}}},
    } == model_metadata(signature, "3")


def test_every_datatype_has_a_type_of_tensorflow() -> None:
    """Each its own."""
    signature = Signature("m", tuple(TensorSpec(name, name, (-1,)) for name in DATATYPES), (), 8)
    inputs = model_metadata(signature, "1")["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
    assert len(DATATYPES) == len({one["dtype"] for one in inputs.values()})
    assert {"DT_HALF", "DT_BFLOAT16", "DT_DOUBLE", "DT_BOOL", "DT_UINT64"} < {one["dtype"] for one in inputs.values()}


def test_a_status_has_its_code_and_its_reason() -> None:
    """OK without a word, unless there is one."""
    assert {"version": "3", "state": "END", "status": {"error_code": "UNAVAILABLE", "error_message": "no memory"}} == version_status(
        "3", END, code="UNAVAILABLE", message="no memory"
    )
    assert {"error_code": "OK", "error_message": ""} == version_status("3", END)["status"]
