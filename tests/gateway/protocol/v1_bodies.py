"""Signatures and bodies of `:predict`, read as the gateway reads them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from gateway.errors import Code, TidegateError
from gateway.limits import RequestLimits
from gateway.protocol.tensors import DATATYPES, InferRequest, InputTensor, Signature, TensorSpec
from gateway.protocol.v1_rest import decode

LIMITS = RequestLimits()
ONE = Signature("m", (TensorSpec("x", "FP32", (-1, 2)),), (), 8)
TEXT = Signature("m", (TensorSpec("text", "BYTES", (-1,)),), (), 8)
MIXED = Signature(
    "m", (TensorSpec("tag", "BYTES", (-1,)), TensorSpec("signal", "INT64", (-1, 5)), TensorSpec("sensor", "FP64", (-1, 2, 2))), (), 8
)
ROWS: list[dict[str, Any]] = [
    {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
    {"tag": "bar", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]},
]
COLUMNS: dict[str, Any] = {key: [row[key] for row in ROWS] for key in ROWS[0]}


def read(body: Any, signature: Signature = ONE, limits: RequestLimits = LIMITS) -> tuple[InferRequest, bool]:
    text = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return decode(text, model="m", version="3", signature=signature, limits=limits)


def array_of(tensor: InputTensor) -> np.ndarray:
    if tensor.texts is not None:
        array = np.empty(len(tensor.texts), object)
        array[:] = tensor.texts
        return array.reshape(tensor.shape)
    return np.frombuffer(tensor.data, DATATYPES[tensor.datatype].numpy).reshape(tensor.shape)


def values(body: Any, signature: Signature = ONE) -> dict[str, Any]:
    return {tensor.name: array_of(tensor).tolist() for tensor in read(body, signature)[0].inputs}


def refusal(body: Any, signature: Signature = ONE, limits: RequestLimits = LIMITS) -> tuple[Code, str]:
    with pytest.raises(TidegateError) as refused:
        read(body, signature, limits)
    text = refused.value.message
    assert text.isprintable()
    assert "msgspec" not in text
    return refused.value.code, text


def invalid(body: Any, signature: Signature = ONE) -> str:
    code, text = refusal(body, signature)
    assert Code.INVALID_ARGUMENT == code
    return text
