"""Answers to ModelInfer as message bytes, assembled by hand around what a version's answers have in common.

Everything but the id and the tensors' data is the same for all answers of one version with the same rows and shapes. It is
serialized once by protobuf and kept; an answer is then a concatenation. Fields stand in the order id, names and metadata, raw
contents: parsers take any order, and so the part that is kept is in one piece. Knows neither batches nor sockets.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.pb import inference_pb2 as pb
from gateway.protocol.tensors import DATATYPES, Signature, TensorSpec

MAX_PLANS = 4_096  # of one encoder; a model with free output dimensions could make any number of them

_ID = b"\x1a"  # ModelInferResponse.id
_RAW = b"\x32"  # ModelInferResponse.raw_output_contents
_STREAM_ERROR = b"\x0a"  # ModelStreamInferResponse.error_message
_STREAM_ANSWER = b"\x12"  # ModelStreamInferResponse.infer_response
# ModelInferResponse.parameters: a request has one answer here, which is its last. Clients of streams wait for the word.
_FINAL = pb.ModelInferResponse(parameters={"triton_final_response": pb.InferParameter(bool_param=True)}).SerializeToString()

# ModelInferResponse.parameters with the id under which a request is logged, but for the 36 characters of it.
NAME_LEAD = pb.ModelInferResponse(parameters={"tidegate-request-id": pb.InferParameter(string_param="0" * 36)}).SerializeToString()[:-36]

Buffer = bytes | bytearray | memoryview
Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class AnswerPlan:
    """What answers with the same rows and shapes share.

    `leads[i]` is what precedes the data of output i: `prefix` too in the first, then the field's key and length. Where all
    outputs are of fixed width, an answer is `id_field(id) + leads[0] + data[0] + leads[1] + …`; where one is BYTES, whose
    length is in no shape, `leads` is empty and `ResponseEncoder.join` writes the lengths.
    """

    prefix: bytes
    leads: tuple[bytes, ...]


class ResponseEncoder:
    """Answers of one version for one selection of its outputs (`BoundRequest.outputs`; None: all)."""

    __slots__ = ("_batched", "_model", "_parameters", "_plans", "_version", "outputs")

    def __init__(self, signature: Signature, version: str, outputs: tuple[int, ...] | None = None, *, arm: str = "") -> None:
        """`arm` of a rollout, which answers then name."""
        self.outputs = signature.outputs if outputs is None else tuple(signature.outputs[index] for index in outputs)
        self._batched = signature.max_batch_size > 0
        self._model = signature.model
        self._version = version
        self._parameters = {"arm": pb.InferParameter(string_param=arm)} if arm else {}
        self._plans: dict[tuple[int, Shapes], AnswerPlan] = {}

    def plan(self, rows: int, shapes: Shapes) -> AnswerPlan:
        """The shared part for `rows` rows whose outputs have these shapes, without the batch dimension where there is one."""
        plan = self._plans.get((rows, shapes))
        if plan is None:
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            plan = self._plans[rows, shapes] = self._make_plan(rows, shapes)
        return plan

    def _make_plan(self, rows: int, shapes: Shapes) -> AnswerPlan:
        full = [(rows, *shape) if self._batched else shape for shape in shapes]
        prefix = pb.ModelInferResponse(
            model_name=self._model,
            model_version=self._version,
            parameters=self._parameters,
            outputs=[_metadata(spec, shape) for spec, shape in zip(self.outputs, full, strict=True)],
        ).SerializeToString()
        if any(spec.datatype == "BYTES" for spec in self.outputs):
            return AnswerPlan(prefix, ())
        sizes = (DATATYPES[spec.datatype].itemsize * math.prod(shape) for spec, shape in zip(self.outputs, full, strict=True))
        first, *rest = (raw_header(size) for size in sizes)
        return AnswerPlan(prefix, (prefix + first, *rest))


def _metadata(spec: TensorSpec, shape: tuple[int, ...]) -> pb.ModelInferResponse.InferOutputTensor:
    return pb.ModelInferResponse.InferOutputTensor(name=spec.name, datatype=spec.datatype, shape=shape)


def join(id_part: bytes, plan: AnswerPlan, raws: Sequence[Buffer]) -> list[Buffer]:
    """The parts of one message: `id_part` from `id_field`, one buffer of bytes per output. No data is copied."""
    parts: list[Buffer] = []
    lead = id_part + plan.prefix
    for data in raws:
        parts.append(lead + raw_header(len(data)))
        parts.append(data)
        lead = b""
    return parts


def id_field(request_id: str) -> bytes:
    """The caller's id as it stands in an answer; nothing where it named none."""
    if not request_id:
        return b""
    value = request_id.encode()
    return _ID + varint(len(value)) + value


@functools.lru_cache(maxsize=4_096)
def raw_header(size: int) -> bytes:
    """What precedes `size` bytes of one output's data."""
    return _RAW + varint(size)


def stream_ok(parts: Sequence[Buffer]) -> list[Buffer]:
    """The parts of a ModelStreamInferResponse around those of an answer, which is the request's last."""
    return [_STREAM_ANSWER + varint(sum(map(len, parts)) + len(_FINAL)), *parts, _FINAL]


def stream_error(message: str, *, id_part: bytes = b"") -> bytes:
    """A failed request of a stream that lives on. The id lets a caller with several in flight tell which one failed."""
    text = message.encode()
    return _STREAM_ERROR + varint(len(text)) + text + _STREAM_ANSWER + varint(len(id_part) + len(_FINAL)) + id_part + _FINAL


_SHORT_VARINTS = tuple(bytes([value]) for value in range(128))


def varint(value: int) -> bytes:
    """A non-negative number as protobuf writes it: seven bits a byte, the lowest first."""
    if value < 128:
        return _SHORT_VARINTS[value]
    if value < 1 << 14:
        return bytes((value & 127 | 128, value >> 7))
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
