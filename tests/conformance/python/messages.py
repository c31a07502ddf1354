"""Requests to the conformance models as protobuf messages, and how their answers are judged. Shared by the grpcio clients."""

from __future__ import annotations

import os

import inference_pb2 as pb
import numpy as np
from report import equal

SERVICE = "inference.GRPCInferenceService"
TARGET, TLS_TARGET = os.environ["TARGET"], os.environ["TLS_TARGET"]


def row(start: float) -> np.ndarray:
    """Four values that no other start gives."""
    return np.array([start, start + 0.25, start + 0.5, -start], "<f4")


def request(model: str, name: str, data: np.ndarray, ident: str = "") -> pb.ModelInferRequest:
    """One FP32 input, raw."""
    tensor = pb.ModelInferRequest.InferInputTensor(name=name, datatype="FP32", shape=data.shape)
    return pb.ModelInferRequest(model_name=model, id=ident, inputs=[tensor], raw_input_contents=[data.astype("<f4").tobytes()])


def row_request(ident: str, start: float) -> pb.ModelInferRequest:
    """Asks plus_one for the successors of a row."""
    return request("plus_one", "ROW", row(start).reshape(1, 4), ident)


def slow_request(steps: float) -> pb.ModelInferRequest:
    """Asks our own copy of the slow model for so many steps of half a millisecond or so."""
    return request(os.environ["SLOW_MODEL"], "STEPS", np.array([[steps]], "<f4"))


def check_row(answer: pb.ModelInferResponse, ident: str, start: float) -> None:
    """The answer to `row_request`, exactly."""
    equal((ident, "plus_one", "1"), (answer.id, answer.model_name, answer.model_version))
    equal([("NEXT", "FP32", [1, 4])], [(output.name, output.datatype, list(output.shape)) for output in answer.outputs])
    equal([(row(start) + 1).tobytes()], list(answer.raw_output_contents))


def typed_request(ident: str, start: float) -> pb.ModelInferRequest:
    """The same row in `fp32_contents`."""
    message = row_request(ident, start)
    del message.raw_input_contents[:]
    message.inputs[0].contents.fp32_contents.extend(row(start).tolist())
    return message


TYPED = {
    "BOOL": ("bool_contents", [True, False]), "UINT8": ("uint_contents", [0, 255]), "UINT16": ("uint_contents", [0, 65_535]),
    "UINT32": ("uint_contents", [0, 2**32 - 1]), "UINT64": ("uint64_contents", [0, 2**64 - 1]), "INT8": ("int_contents", [-128, 127]),
    "INT16": ("int_contents", [-32_768, 32_767]), "INT32": ("int_contents", [-(2**31), 2**31 - 1]),
    "INT64": ("int64_contents", [-(2**63), 2**63 - 1]), "FP32": ("fp32_contents", [0.5, -2.0]), "FP64": ("fp64_contents", [0.1, -1e300]),
    "BYTES": ("bytes_contents", ["grüß".encode(), b""]),
}  # fmt: skip
NUMPY = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2", "INT32": "<i4",
    "INT64": "<i8", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip


def raw(datatype: str, values: list) -> bytes:
    """The raw form of one tensor: little-endian, row-major; strings behind their 4-byte lengths."""
    if datatype == "BYTES":
        return b"".join(len(value).to_bytes(4, "little") + value for value in values)
    return np.array(values, NUMPY[datatype]).tobytes()


HALVES = {"FP16": b"\x00\x38\xff\xfb", "BF16": b"\x80\x3f\x40\xc0"}  # 0.5, -65504; 1, -3


def mirror_request(*, typed: bool) -> pb.ModelInferRequest:
    """Every datatype at once, raw or typed."""
    message = pb.ModelInferRequest(model_name="mirror")
    for datatype, (field, values) in TYPED.items():
        tensor = message.inputs.add(name=f"IN_{datatype}", datatype=datatype, shape=[1, 2])
        if typed:
            getattr(tensor.contents, field).extend(values)
        else:
            message.raw_input_contents.append(raw(datatype, values))
    return message


def half_request() -> pb.ModelInferRequest:
    """FP16 and BF16, for which protobuf has no field."""
    tensors = [pb.ModelInferRequest.InferInputTensor(name=f"IN_{datatype}", datatype=datatype, shape=[1, 2]) for datatype in HALVES]
    return pb.ModelInferRequest(model_name="mirror_half", inputs=tensors, raw_input_contents=list(HALVES.values()))


def check_mirror(answer: pb.ModelInferResponse) -> None:
    """The same bytes came back under OUT_ names."""
    sent = HALVES if answer.model_name == "mirror_half" else {datatype: raw(datatype, values) for datatype, (_, values) in TYPED.items()}
    got = {output.name: content for output, content in zip(answer.outputs, answer.raw_output_contents, strict=True)}
    equal({f"OUT_{datatype}": content for datatype, content in sent.items()}, got)
