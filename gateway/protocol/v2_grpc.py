"""ModelInfer requests of the Open Inference Protocol: message bytes to an `InferRequest`, with every excess refused on the way.

A request is a head (which model, which inputs of which shape) and data. A caller's heads repeat, so a `Decoder` keeps the ones it has
parsed and finds them again by their bytes; protobuf is asked once for each. Knows no signature: what a model expects is `binding`'s.
Raises nothing but `TidegateError`, whatever the bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from gateway.errors import invalid, too_large
from gateway.limits import RequestLimits
from gateway.pb.unparsed import UnparsedInferRequest
from gateway.protocol import payload
from gateway.protocol.binding import check_input_count, check_output_count
from gateway.protocol.contents import typed_input
from gateway.protocol.parameters import check_parameters
from gateway.protocol.prescan import PRESCAN_BYTES, malformed, prescan
from gateway.protocol.tensors import InferRequest, InputTensor, shown

MAX_HEADS = 512  # kept by one decoder; 10 MiB if all are as bad as can be
MAX_HEAD_BYTES = 2_048  # of one kept head
MAX_HEAD_FIELDS = 256  # of a message whose head is looked for; one with more is rare and goes to protobuf

_ID, _RAW = 0x1A, 0x3A  # keys of id and raw_input_contents
_WITH_RULES = frozenset(("BOOL", "BYTES"))  # datatypes not all of whose bytes are good
_HEAD_KEYS = frozenset((0x0A, 0x12, 0x22, 0x2A, 0x32))  # model_name, model_version, parameters, inputs, outputs

AnyMessage = TypeVar("AnyMessage", bound=Message)
Buffer = bytes | memoryview


class InputHead(NamedTuple):
    """An input without its raw contents."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    size: int  # bytes of its numbers; 0 for strings, which no shape gives the size of
    any_bytes: bool  # whether any `size` bytes are good raw contents: not so for BOOL and BYTES
    contents: bytes | None  # typed contents, serialized


class Head(NamedTuple):
    """A request without its id and raw contents, all counts and shapes checked."""

    model: str
    version: str
    inputs: tuple[InputHead, ...]
    outputs: tuple[str, ...] | None
    parameters: Mapping[str, bool | int | float | str]


class Decoder:
    """Decodes ModelInfer requests. One per event loop."""

    __slots__ = ("_heads", "_limits")

    def __init__(self, limits: RequestLimits) -> None:
        self._heads: dict[bytes, Head] = {}
        self._limits = limits

    def decode(self, message: Buffer) -> InferRequest:
        """A request. One whose head was met before takes about half of what protobuf alone would.

        Raw contents of a message above `PRESCAN_BYTES` are views of it and keep it alive. Raises INVALID_ARGUMENT, TOO_LARGE for what
        is over a limit, UNIMPLEMENTED for parameters of a tensor that are refused by name (the request's own are `bind`'s to judge).
        """
        raws: Sequence[Buffer] = ()
        if len(message) > PRESCAN_BYTES:
            message, raws = prescan(message, self._limits)
        plain = _split(message)
        if plain is None or not (raws or plain[2]):
            return _decode_any(message, raws, self._limits)
        head_bytes, id_bytes, more = plain
        try:
            request_id = str(id_bytes, "utf-8")
        except UnicodeDecodeError:
            raise malformed() from None
        head = self._heads.get(head_bytes)
        if head is None:
            head = _read_head(_parse(head_bytes), self._limits)
            self._keep(head_bytes, head)
        return _assemble(head, request_id, raws or more, self._limits)

    def _keep(self, head_bytes: bytes, head: Head) -> None:
        if len(head_bytes) > MAX_HEAD_BYTES:
            return
        if len(self._heads) >= MAX_HEADS:
            self._heads.clear()
        self._heads[head_bytes] = head


def parse(kind: type[AnyMessage], message: Buffer) -> AnyMessage:
    """A message of any other call. Raises INVALID_ARGUMENT for bytes that are none."""
    try:
        return kind.FromString(message)  # type: ignore[arg-type]  # takes any buffer
    except DecodeError:
        raise invalid(f"the message is not a valid {kind.DESCRIPTOR.name}") from None


def read_parameters(message: Buffer, limits: RequestLimits) -> dict[str, bool | int | float | str]:
    """The parameters of a ModelInfer message, or of the part of one that has them all. Raises INVALID_ARGUMENT, TOO_LARGE."""
    return _parameters(_parse(message).parameters, "the request", limits)


def _split(message: Buffer) -> tuple[bytes, bytes, list[Buffer]] | None:
    """A message's head, id and raw contents, in the order of the wire; None where it holds anything but well-formed known fields.

    Taking id and raw contents out changes nothing else: a message means the same wherever its fields stand among other fields.
    """
    at = kept = 0
    head: list[Buffer] = []
    request_id: Buffer = b""
    raws: list[Buffer] = []
    try:
        for _ in range(MAX_HEAD_FIELDS):
            key, length, begin = message[at], message[at + 1], at + 2
            if length > 127:
                length, begin = _long_length(message, at + 1)
            end = begin + length
            if key == _RAW or key == _ID:  # noqa: PLR1714, SIM109 - half the time of a set
                if kept < at:
                    head.append(message[kept:at])
                kept = end
                if key == _RAW:
                    raws.append(message[begin:end])
                else:
                    request_id = message[begin:end]
            elif key not in _HEAD_KEYS:
                return None
            at = end
            if at >= len(message):
                break
    except IndexError:
        return None
    if at != len(message):
        return None
    head.append(message[kept:])
    return b"".join(head), bytes(request_id), raws


def _long_length(message: Buffer, at: int) -> tuple[int, int]:
    """A varint of up to five bytes and where it ends; IndexError where it is longer."""
    length = 0
    for place in range(5):
        byte = message[at + place]
        length |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return length, at + place + 1
    raise IndexError


def _parse(message: Buffer) -> Any:
    try:
        return UnparsedInferRequest.FromString(message)  # type: ignore[arg-type]  # takes any buffer
    except DecodeError:
        raise malformed() from None


def _decode_any(message: Buffer, raws: Sequence[Buffer], limits: RequestLimits) -> InferRequest:
    """A message in whatever form protobuf takes, and any with typed contents; `raws` are those that have been cut out of it."""
    request = _parse(message)
    raws = raws or request.raw_input_contents[:]
    if len(raws) > limits.max_inputs:
        raise invalid(f"the request has more than {limits.max_inputs} raw input contents")
    return _assemble(_read_head(request, limits), request.id, raws, limits)


def _read_head(request: Any, limits: RequestLimits) -> Head:
    """Raises what `Decoder.decode` does, save for what the id and the data can be wrong in."""
    model = request.model_name
    check_input_count(len(request.inputs), limits)
    inputs = tuple([_read_input(tensor, model, limits) for tensor in request.inputs[:]])  # protobuf iterates slower than it slices
    if len(inputs) > 1:
        _check_texts(inputs, limits)
    return Head(
        model=model,
        version=request.model_version,
        inputs=inputs,
        outputs=_outputs(request.outputs, limits) if request.outputs else None,
        parameters=_parameters(request.parameters, "the request", limits) if request.parameters else {},
    )


def _read_input(tensor: Any, model: str, limits: RequestLimits) -> InputHead:
    name, datatype, shape, contents = tensor.name, tensor.datatype, tensor.shape[:], tensor.contents[:]
    if tensor.parameters:
        where = f"input '{shown(name)}'"
        check_parameters(_parameters(tensor.parameters, where, limits), limits, where=where)
    itemsize = payload.datatype_of(datatype, tensor=name).itemsize
    count = payload.check_shape(shape, tensor=name, model=model, limits=limits)
    return InputHead(
        name=name,
        datatype=datatype,
        shape=tuple(shape),
        size=count * itemsize,
        any_bytes=datatype not in _WITH_RULES,
        contents=b"".join(contents) if contents else None,
    )


def _check_texts(inputs: tuple[InputHead, ...], limits: RequestLimits) -> None:
    """Strings count over all inputs, before the first is made: each costs many times its bytes on the wire."""
    if sum([math.prod(tensor.shape) for tensor in inputs if tensor.datatype == "BYTES"]) > limits.max_string_elements:
        raise too_large(f"the request has more than {limits.max_string_elements} string elements")


def _outputs(outputs: Any, limits: RequestLimits) -> tuple[str, ...]:
    check_output_count(len(outputs), limits)
    names: list[str] = []
    for output in outputs[:]:
        name = output.name
        names.append(name)
        if output.parameters:
            where = f"output '{shown(name)}'"
            check_parameters(_parameters(output.parameters, where, limits), limits, where=where)
    return tuple(names)


def _parameters(parameters: Mapping[str, Any], where: str, limits: RequestLimits) -> dict[str, bool | int | float | str]:
    """Names and values; a parameter without a value, which a later protocol might give another kind, is left out."""
    if len(parameters) > limits.max_parameters:
        raise too_large(f"{where} has {len(parameters)} parameters, the limit is {limits.max_parameters}")
    values: dict[str, bool | int | float | str] = {}
    for name, parameter in parameters.items():
        kind = parameter.WhichOneof("parameter_choice")
        if kind is not None:
            values[name] = getattr(parameter, kind)
    return values


def _assemble(head: Head, request_id: str, raws: Sequence[Buffer], limits: RequestLimits) -> InferRequest:
    """Head and data. Either all inputs have raw contents or none has."""
    if 4 * len(request_id) > limits.max_id_bytes and len(request_id.encode()) > limits.max_id_bytes:
        raise invalid(f"the request's id has more than {limits.max_id_bytes} bytes")
    model = head.model
    if raws and len(raws) != len(head.inputs):
        raise invalid(f"expected {len(head.inputs)} raw input contents but got {len(raws)} for model '{shown(model)}'")
    if raws:
        tensors = [_raw(tensor, data, model, limits) for tensor, data in zip(head.inputs, raws, strict=True)]
    else:
        if sum([tensor.size for tensor in head.inputs]) > limits.max_typed_bytes:
            raise too_large(f"typed contents of more than {limits.max_typed_bytes} bytes: send the tensors in raw_input_contents")
        tensors = [_typed(tensor, model, limits) for tensor in head.inputs]
    outputs = None if head.outputs is None else list(head.outputs)
    return InferRequest(model, head.version, request_id, tensors, outputs, dict(head.parameters))


def _raw(tensor: InputHead, data: Buffer, model: str, limits: RequestLimits) -> InputTensor:
    if tensor.contents is not None:
        raise invalid(
            f"contents field must not be specified when using raw_input_contents for '{shown(tensor.name)}' for model '{shown(model)}'"
        )
    if tensor.any_bytes and len(data) == tensor.size:
        return InputTensor(tensor.name, tensor.datatype, tensor.shape, data)
    return payload.raw(tensor.name, tensor.datatype, tensor.shape, data, model=model, limits=limits)


def _typed(tensor: InputHead, model: str, limits: RequestLimits) -> InputTensor:
    """An input from its own contents, which may be absent only where the shape says that there are no elements."""
    contents = tensor.contents
    if contents is None:
        if 0 not in tensor.shape:
            raise invalid(f"unable to find data for input tensor '{shown(tensor.name)}' for model '{shown(model)}' in request.")
        contents = b""
    return typed_input(tensor.name, tensor.datatype, tensor.shape, contents, size=tensor.size, model=model, limits=limits)
