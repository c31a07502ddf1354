"""The REST form of the Open Inference Protocol v2: bodies to requests, answers and states to bodies.

Knows no sockets, paths or status codes; `json_body`, `json_data` and `binary` read, `rest_answer` writes tensors.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from gateway.errors import invalid
from gateway.limits import RequestLimits
from gateway.protocol import json_body
from gateway.protocol.binary import (
    ALL_BINARY,
    ALL_JSON,
    ResponsePlan,
    binary_size,
    flag,
    raw_request,
    response_plan,
    split_body,
)  # fmt: skip
from gateway.protocol.json_body import JsonBody, JsonInput, JsonOutput, Parameters
from gateway.protocol.json_data import from_json
from gateway.protocol.parameters import check_parameters
from gateway.protocol.payload import check_shape, datatype_of, raw
from gateway.protocol.tensors import InferRequest, InputTensor, Signature, shown

_NONE: Parameters = {}


def decode(
    body: bytes, *, header_length: bytes | None, model: str, version: str, signature: Signature | None = None, limits: RequestLimits
) -> tuple[InferRequest, ResponsePlan]:
    """The request in an infer body for `model` and `version` ("" for none) of its path.

    `header_length` is the value of Inference-Header-Content-Length, None where it is absent. `signature` is needed where that
    is 0. Raises INVALID_ARGUMENT, UNIMPLEMENTED or TOO_LARGE; the request is not yet held against the signature (`bind`).
    """
    text, binary = body, None
    if header_length is not None:
        text, binary = split_body(body, header_length)
        if not text:
            return raw_request(body, signature, model=model, version=version, limits=limits), ALL_BINARY
    wire, nonfinite = json_body.parse(text, limits)
    request_id = _request_id(wire, model, version, limits)
    inputs, rest = [], binary
    for item in wire.inputs:
        parameters = json_body.parameters_of(item.parameters) if item.parameters else _NONE
        size = _own_size(item, parameters, limits) if parameters else None
        if size is None:
            inputs.append(_json_input(item, nonfinite=nonfinite, model=model, limits=limits))
        else:
            tensor, rest = _binary_input(item, size, rest, model=model, limits=limits)
            inputs.append(tensor)
    if rest:
        raise invalid(f"{len(rest)} bytes are left behind the last binary input for model '{shown(model)}'")
    parameters, default = _request_parameters(wire)
    names, plan = _outputs(wire.outputs, default=default, limits=limits) if wire.outputs else (None, ALL_BINARY if default else ALL_JSON)
    return InferRequest(model, version, request_id, inputs, names, parameters), plan


def _request_id(wire: JsonBody, model: str, version: str, limits: RequestLimits) -> str:
    """The caller's id, once what the body says about model and version agrees with the path."""
    if wire.model_name is not UNSET and wire.model_name not in (None, model):
        raise invalid(f"the request is for model '{shown(model)}', its body names '{shown(wire.model_name)}'")
    if wire.model_version is not UNSET and wire.model_version not in (None, "", version):
        asked = f"is for version '{shown(version)}'" if version else "names no version in its path"
        raise invalid(f"the request {asked}, its body names version '{shown(wire.model_version)}'")
    if not wire.id:
        return ""
    if len(wire.id) > limits.max_id_bytes or len(wire.id.encode()) > limits.max_id_bytes:
        raise invalid(f"the id of the request is longer than {limits.max_id_bytes} bytes")
    return wire.id


def _own_size(item: JsonInput, parameters: Parameters, limits: RequestLimits) -> int | None:
    """`binary_data_size` of an input whose other parameters have been checked."""
    if len(parameters) > 1 or "binary_data_size" not in parameters:
        check_parameters(parameters, limits, where=f"input '{shown(item.name)}'")
    return binary_size(parameters, tensor=item.name)


def _json_input(item: JsonInput, *, nonfinite: bool, model: str, limits: RequestLimits) -> InputTensor:
    if not item.data:
        raise invalid(f"unable to find data for input tensor '{shown(item.name)}' for model '{shown(model)}' in request.")
    datatype_of(item.datatype, tensor=item.name)
    shape = json_body.shape_of(item.shape, tensor=item.name)
    count = check_shape(shape, tensor=item.name, model=model, limits=limits)
    return from_json(item.name, item.datatype, shape, bytes(item.data), count=count, nonfinite=nonfinite, model=model, limits=limits)


def _binary_input(
    item: JsonInput, size: int, rest: memoryview | None, *, model: str, limits: RequestLimits
) -> tuple[InputTensor, memoryview]:
    """The next `size` bytes behind the JSON, and what is left of them."""
    if item.data:
        raise invalid(f"input '{shown(item.name)}' for model '{shown(model)}' has both 'data' and 'binary_data_size'")
    if rest is None:
        raise invalid(f"input '{shown(item.name)}' has 'binary_data_size', but the header Inference-Header-Content-Length is missing")
    if size > len(rest):
        raise invalid(f"input '{shown(item.name)}' for model '{shown(model)}' has {size} binary bytes, {len(rest)} are left in the body")
    shape = json_body.shape_of(item.shape, tensor=item.name)
    return raw(item.name, item.datatype, shape, rest[:size], model=model, limits=limits), rest[size:]


def _request_parameters(wire: JsonBody) -> tuple[dict[str, bool | int | float | str], bool]:
    """The parameters that `bind` will see, and `binary_data_output`."""
    if not wire.parameters:
        return {}, False
    parameters = dict(json_body.parameters_of(wire.parameters))
    default = flag(parameters, "binary_data_output", default=False, where="the request")
    parameters.pop("binary_data_output", None)
    return parameters, default


def _outputs(items: Sequence[JsonOutput], *, default: bool, limits: RequestLimits) -> tuple[list[str], ResponsePlan]:
    named = []
    for item in items:
        if not item.parameters:
            continue
        parameters = json_body.parameters_of(item.parameters)
        where = f"output '{shown(item.name)}'"
        if len(parameters) > 1 or "binary_data" not in parameters:
            check_parameters(parameters, limits, where=where)
        named.append((item.name, flag(parameters, "binary_data", default=default, where=where)))
    return [item.name for item in items], response_plan(default, tuple(named))
