"""The binary-tensor extension of the REST protocol: tensor bytes behind the JSON, and which outputs come back so.

Owns the keys `binary_data_size`, `binary_data`, `binary_data_output` and the length header. Every length is held against
the bytes that came. Knows no JSON syntax.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.errors import invalid
from gateway.limits import RequestLimits
from gateway.protocol.payload import raw
from gateway.protocol.tensors import DATATYPES, InferRequest, InputTensor, Signature, shown

LENGTH_HEADER = b"inference-header-content-length"
_MAX_DIGITS = 12


@dataclass(frozen=True, slots=True, eq=False)
class ResponsePlan:
    """Which outputs of an answer are binary: those in `named` as it says, the others by `default`.

    Plans come from `response_plan`, which makes one per meaning: equal ones are the same object, so they hash by identity.
    """

    default: bool
    named: Mapping[str, bool]

    def is_binary(self, output: str) -> bool:
        """Whether that output goes behind the JSON."""
        return self.named.get(output, self.default)


@functools.lru_cache(maxsize=512)
def response_plan(default: bool, named: tuple[tuple[str, bool], ...] = ()) -> ResponsePlan:
    """The plan for `binary_data_output` and the `binary_data` of the outputs that have one."""
    return ResponsePlan(default, dict(named))


ALL_JSON = response_plan(default=False)
ALL_BINARY = response_plan(default=True)


def header_length_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The value of Inference-Header-Content-Length among lower-case headers; INVALID_ARGUMENT where it is sent twice."""
    values = [value for name, value in headers if name == LENGTH_HEADER]
    if len(values) > 1:
        raise invalid("Inference-Header-Content-Length is sent twice")
    return values[0] if values else None


def split_body(body: bytes, header_length: bytes) -> tuple[bytes, memoryview]:
    """The JSON and the bytes behind it. The header holds ASCII digits and no more than the body's length."""
    if not header_length.isdigit() or len(header_length) > _MAX_DIGITS or int(header_length) > len(body):
        raise invalid("Inference-Header-Content-Length must be a number of bytes within the body")
    size = int(header_length)
    return body[:size], memoryview(body)[size:]


def binary_size(parameters: Mapping[str, object], *, tensor: str) -> int | None:
    """`binary_data_size` of an input, None where it has none."""
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise invalid(f"parameter 'binary_data_size' of input '{shown(tensor)}' must be a non-negative integer")
    return size


def flag(parameters: Mapping[str, object], name: str, *, default: bool, where: str) -> bool:
    """A boolean parameter; "yes" and 1 are none."""
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise invalid(f"parameter '{name}' of {where} must be true or false")
    return value


def raw_request(body: bytes, signature: Signature | None, *, model: str, version: str, limits: RequestLimits) -> InferRequest:
    """The whole body as the data of the only input: one row, whose one free dimension follows from the number of bytes.

    A BYTES input takes the body as its one string, without a length in front. All outputs of the answer are binary.
    """
    if signature is None or len(signature.inputs) != 1:
        raise invalid(f"a raw binary request needs a model with exactly one input, '{shown(model)}' has another number")
    spec = signature.inputs[0]
    batch = (1,) if signature.max_batch_size else ()
    row = spec.shape[len(batch) :]
    itemsize = DATATYPES[spec.datatype].itemsize
    if row.count(-1) > 1 or (not itemsize and math.prod(row) not in (1, -1)):
        raise invalid(f"a raw binary request cannot tell the shape of input '{spec.name}' for model '{signature.model}'")
    fixed = math.prod(size for size in row if size != -1) * itemsize
    free = len(body) // fixed if fixed else 1
    shape = batch + tuple([free if size == -1 else size for size in row])
    if itemsize:
        tensor = raw(spec.name, spec.datatype, shape, body, model=signature.model, limits=limits)
    else:
        tensor = _one_text(spec.name, shape, body, model=signature.model, limits=limits)
    return InferRequest(model, version, "", [tensor])


def _one_text(tensor: str, shape: tuple[int, ...], body: bytes, *, model: str, limits: RequestLimits) -> InputTensor:
    prefixed = len(body).to_bytes(4, "little") + body
    return raw(tensor, "BYTES", shape, prefixed, model=model, limits=limits)
