"""Whether sampled answers are ONNX Runtime's: decodes gRPC messages, JSON and binary tensors, and compares row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from benchmarks.load.messages import Prepared
from gateway.pb import inference_pb2 as pb

DTYPES = {"INT64": np.dtype("<i8"), "FP32": np.dtype("<f4")}
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}  # the order of float32 sums depends on the batch
NEAR_TIE = 1e-4  # class labels may differ where two probabilities are this close

Answer = tuple[str, list[tuple[str, np.ndarray]]]  # id, and per output its name and values


def decode_grpc(payload: bytes) -> Answer:
    """A length-prefixed ModelInferResponse with raw contents."""
    size = int.from_bytes(payload[1:5], "big")
    if payload[0] != 0 or size != len(payload) - 5:
        raise ValueError(f"a message of {size} bytes in {len(payload)} bytes of DATA")
    response = pb.ModelInferResponse.FromString(payload[5:])
    pairs = zip(response.outputs, response.raw_output_contents, strict=True)
    return response.id, [(tensor.name, np.frombuffer(raw, DTYPES[tensor.datatype]).reshape(tuple(tensor.shape))) for tensor, raw in pairs]


def decode_http(payload: bytes) -> Answer:
    """A whole HTTP/1.1 response with JSON or binary tensors."""
    head, _, body = payload.partition(b"\r\n\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    split = int(headers.get(b"inference-header-content-length", len(body)))
    document, binary = msgspec.json.decode(body[:split]), body[split:]
    outputs = []
    for tensor in document["outputs"]:
        size = tensor.get("parameters", {}).get("binary_data_size")
        dtype = DTYPES[tensor["datatype"]]
        values = np.frombuffer(binary[:size], dtype) if size is not None else np.array(tensor["data"], dtype)
        binary = binary[size or 0 :]
        outputs.append((tensor["name"], values.reshape(tensor["shape"])))
    return document.get("id", ""), outputs


def difference(prepared: Prepared, answer: Answer, expected: Sequence[np.ndarray]) -> str | None:
    """What is wrong with an answer, or None."""
    request_id, outputs = answer
    if request_id != prepared.request_id:
        return f"the answer to {prepared.request_id} carries the id {request_id!r}"
    names = [name for name, _ in prepared.model.outputs]
    if names != [name for name, _ in outputs]:
        return f"outputs {[name for name, _ in outputs]}, expected {names}"
    tied = _tied(dict(zip(names, expected, strict=True)))
    for (name, values), wanted in zip(outputs, expected, strict=True):
        if name == "label" and tied:
            continue
        if values.shape != wanted.shape or not np.allclose(values, wanted, **TOLERANCE):
            return f"output {name} of request {request_id} is {values.ravel()[:4]}, ONNX Runtime says {wanted.ravel()[:4]}"
    return None


def _tied(expected: dict[str, np.ndarray]) -> bool:
    scores = expected.get("probabilities")
    if scores is None:
        return False
    low, high = np.sort(scores.ravel())[-2:]
    return bool(high - low < NEAR_TIE)


def wrong_answers(
    payloads: Sequence[bytes],
    requests: Sequence[Prepared],
    *,
    decode: Callable[[bytes], Answer],
    expected: Callable[[Prepared], Sequence[np.ndarray]],
) -> list[str]:
    """What is wrong with sampled answers, each beside its request."""
    wrong = []
    for payload, prepared in zip(payloads, requests, strict=True):
        try:
            fault = difference(prepared, decode(payload), expected(prepared))
        except Exception as error:
            fault = f"undecodable answer to {prepared.request_id}: {error}"
        if fault:
            wrong.append(fault)
    return wrong
