"""A decoded request held against the signature of a version: what fits becomes a `BoundRequest`, the rest a clear text.

Knows no transport and no runtime. A request with more rows than `max_batch_size` fits: batching splits it.
"""

from __future__ import annotations

import sys

from gateway.errors import TidegateError, invalid, too_large
from gateway.limits import RequestLimits
from gateway.protocol.parameters import check_parameters
from gateway.protocol.tensors import BoundRequest, InferRequest, InputTensor, Signature, TensorSpec, shape_text, shown


def bind(signature: Signature, request: InferRequest, limits: RequestLimits, *, allow_empty: bool = False) -> BoundRequest:
    """Hold `request` against `signature`.

    `allow_empty` lets tensors without elements through (`rows` may then be 0). Raises INVALID_ARGUMENT, UNIMPLEMENTED for
    parameters that are refused by name, TOO_LARGE for too many outputs or parameters.
    """
    if request.parameters:
        check_parameters(request.parameters, limits)
    outputs = _outputs(signature, request.outputs, limits) if request.outputs else None
    inputs, specs = request.inputs, signature.inputs
    if len(inputs) == 1 == len(specs) and signature.max_batch_size:
        tensor, spec, shape = inputs[0], specs[0], inputs[0].shape
        row = shape[1:]
        exact = tensor.name == spec.name and tensor.datatype == spec.datatype and row == spec.shape[1:]
        if exact and shape and 0 not in shape and tensor.texts is None:  # nearly every request: a third of the time below
            return BoundRequest(shape[0], (row,), (tensor.data,), outputs, len(tensor.data))
    return _bind_any(signature, _in_order(signature, inputs, limits), outputs, allow_empty=allow_empty)


def _bind_any(signature: Signature, inputs: list[InputTensor], outputs: tuple[int, ...] | None, *, allow_empty: bool) -> BoundRequest:
    for tensor, spec in zip(inputs, signature.inputs, strict=True):
        _check_tensor(signature, tensor, spec, allow_empty=allow_empty)
    rows, shapes = 1, tuple([tensor.shape for tensor in inputs])
    if signature.max_batch_size and shapes:
        rows = _rows(signature, shapes)
        shapes = tuple([shape[1:] for shape in shapes])
    data = tuple([tensor.data if tensor.texts is None else tensor.texts for tensor in inputs])
    return BoundRequest(rows, shapes, data, outputs, sum([_size(tensor) for tensor in inputs]))


def _in_order(signature: Signature, inputs: list[InputTensor], limits: RequestLimits) -> list[InputTensor]:
    """The inputs in the signature's order, each exactly once."""
    specs = signature.inputs
    if len(inputs) == len(specs):
        for tensor, spec in zip(inputs, specs, strict=True):
            if tensor.name != spec.name:
                break
        else:
            return inputs
    check_input_count(len(inputs), limits)
    by_name: dict[str, InputTensor] = {}
    known = {spec.name for spec in specs}
    for tensor in inputs:
        if tensor.name not in known:
            raise invalid(f"unexpected inference input '{shown(tensor.name)}' for model '{signature.model}'")
        if tensor.name in by_name:
            raise invalid(f"input '{tensor.name}' already exists in request for model '{signature.model}'")
        by_name[tensor.name] = tensor
    if len(by_name) != len(specs):
        raise _missing(signature, by_name)
    return [by_name[spec.name] for spec in specs]


def check_input_count(count: int, limits: RequestLimits) -> None:
    """For decoders: before the first input is looked at."""
    if count > limits.max_inputs:
        raise invalid(f"the request has {count} inputs, the limit is {limits.max_inputs}")


def check_output_count(count: int, limits: RequestLimits) -> None:
    """For decoders: before the first requested output is looked at."""
    if count > limits.max_outputs:
        raise too_large(f"the request asks for {count} outputs, the limit is {limits.max_outputs}")


def _missing(signature: Signature, got: dict[str, InputTensor]) -> TidegateError:
    missing = [spec.name for spec in signature.inputs if spec.name not in got]
    return invalid(
        f"expected {len(signature.inputs)} inputs but got {len(got)} inputs for model '{signature.model}'. "
        f"Got input(s) {_names(list(got))}, but missing required input(s) {_names(missing)}. Please provide all required input(s)."
    )


def _names(names: list[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return f"[{','.join(quoted)}]"


def _check_tensor(signature: Signature, tensor: InputTensor, spec: TensorSpec, *, allow_empty: bool) -> None:
    shape, expected = tensor.shape, spec.shape
    if tensor.datatype != spec.datatype:
        raise invalid(
            f"inference input '{spec.name}' data-type is '{shown(tensor.datatype)}', "
            f"but model '{signature.model}' expects '{spec.datatype}'"
        )
    if shape != expected:
        fits = len(shape) == len(expected)
        for size, wanted in zip(shape, expected):  # noqa: B905 - a different rank has been noted above
            fits = fits and wanted in (size, -1)
        if not fits:
            raise invalid(
                f"unexpected shape for input '{spec.name}' for model '{signature.model}'. "
                f"Expected {shape_text(expected)}, got {shape_text(shape)}"
            )
    if 0 in shape and not allow_empty:
        raise invalid(f"input '{spec.name}' for model '{signature.model}' is an empty tensor: shape {shape_text(shape)}")


def _rows(signature: Signature, shapes: tuple[tuple[int, ...], ...]) -> int:
    rows = shapes[0][0]
    for shape, spec in zip(shapes, signature.inputs, strict=True):
        if shape[0] != rows:
            raise invalid(
                f"input '{spec.name}' batch size does not match other inputs for model '{signature.model}': "
                f"{shape[0]} rows, '{signature.inputs[0].name}' has {rows}"
            )
    return rows


def _outputs(signature: Signature, names: list[str], limits: RequestLimits) -> tuple[int, ...] | None:
    """Indices in the order asked for; None for all of them in the signature's order, whose answers are cheapest."""
    check_output_count(len(names), limits)
    position = {spec.name: index for index, spec in enumerate(signature.outputs)}
    indices: list[int] = []
    for name in names:
        if name not in position:
            raise invalid(f"unexpected inference output '{shown(name)}' for model '{signature.model}'")
        if position[name] in indices:
            raise invalid(f"output '{name}' already exists in request")
        indices.append(position[name])
    return None if indices == list(range(len(position))) else tuple(indices)


def _size(tensor: InputTensor) -> int:
    """Bytes held. A string costs its object and the list's pointer to it."""
    if tensor.texts is None:
        return len(tensor.data)
    return sum(map(sys.getsizeof, tensor.texts)) + 8 * len(tensor.texts)
