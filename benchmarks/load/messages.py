"""Requests encoded beforehand: gRPC messages with raw or typed contents, and whole HTTP/1.1 requests with JSON or binary tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from benchmarks.models import Served
from gateway.pb import inference_pb2 as pb


@dataclass(frozen=True, slots=True)
class Prepared:
    """One request to send and what it asks for."""

    model: Served
    request_id: str
    row: np.ndarray  # [*model.row] float32; [n, *model.row] of `rows_message`
    wire: bytes


def grpc_message(model: Served, request_id: str, row: np.ndarray, *, typed: bool = False) -> Prepared:
    """A length-prefixed ModelInferRequest for one row."""
    return _grpc_message(model, request_id, row, (1, *row.shape), typed=typed)


def rows_message(model: Served, request_id: str, rows: np.ndarray) -> Prepared:
    """A length-prefixed ModelInferRequest for many rows [n, *model.row], in raw contents."""
    return _grpc_message(model, request_id, rows, rows.shape, typed=False)


def _grpc_message(model: Served, request_id: str, values: np.ndarray, shape: tuple[int, ...], *, typed: bool) -> Prepared:
    request = pb.ModelInferRequest(model_name=model.name, id=request_id)
    tensor = request.inputs.add(name="input", datatype="FP32", shape=shape)
    if typed:
        tensor.contents.fp32_contents.extend(values.ravel().tolist())
    else:
        request.raw_input_contents.append(values.astype("<f4").tobytes())
    body = request.SerializeToString()
    return Prepared(model, request_id, values, b"\0" + len(body).to_bytes(4, "big") + body)


def json_request(model: Served, request_id: str, row: np.ndarray, authority: str) -> Prepared:
    """A whole POST whose tensor is a JSON list."""
    tensor = {"name": "input", "shape": [1, *row.shape], "datatype": "FP32", "data": row.ravel().tolist()}
    body = msgspec.json.encode({"id": request_id, "inputs": [tensor]})
    return Prepared(model, request_id, row, _post(model, authority, ["Content-Type: application/json"], body))


def binary_request(model: Served, request_id: str, row: np.ndarray, authority: str) -> Prepared:
    """A whole POST whose tensor and whose answer follow the JSON as bytes (the protocol's binary extension)."""
    data = row.astype("<f4").tobytes()
    tensor = {"name": "input", "shape": [1, *row.shape], "datatype": "FP32", "parameters": {"binary_data_size": len(data)}}
    head = msgspec.json.encode({"id": request_id, "parameters": {"binary_data_output": True}, "inputs": [tensor]})
    headers = ["Content-Type: application/octet-stream", f"Inference-Header-Content-Length: {len(head)}"]
    return Prepared(model, request_id, row, _post(model, authority, headers, head + data))


def _post(model: Served, authority: str, headers: list[str], body: bytes) -> bytes:
    lines = [f"POST /v2/models/{model.name}/infer HTTP/1.1", f"Host: {authority}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def request_id(index: int) -> str:
    """A request id of constant length, so that messages differ in content and not in size."""
    return f"{index:08x}"


def pack(parts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Parts end to end as bytes, and int64 offsets, one more than there are parts."""
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    return np.frombuffer(b"".join(parts), np.uint8), offsets
