"""ModelInfer requests against protobuf itself, against the official client, and against bytes that mean harm."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc._utils import _get_inference_request

from gateway.errors import TidegateError
from gateway.limits import RequestLimits
from gateway.pb import inference_pb2 as pb
from gateway.protocol.prescan import PRESCAN_BYTES
from gateway.protocol.tensors import DATATYPES, InferRequest
from gateway.protocol.v2_grpc import Decoder

LIMITS = RequestLimits(max_inputs=4, max_outputs=4, max_parameters=3, max_rank=4, max_string_elements=64)
NAMES = st.text(max_size=6)
FIELDS = {
    "BOOL": "bool_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents",
}  # fmt: skip
LARGE = b"\x7a\x80\x80\x04" + bytes(PRESCAN_BYTES)

DECODER = Decoder(LIMITS)  # one for all examples, so that heads are met again
ROOMY = Decoder(msgspec.structs.replace(LIMITS, max_string_elements=4_096))  # for good requests, however many strings they have


@st.composite
def arrays(draw: st.DrawFn, datatypes: list[str]) -> tuple[str, np.ndarray]:
    """A datatype and an array of it; strings as bytes objects."""
    datatype = draw(st.sampled_from(datatypes))
    shape = draw(hnp.array_shapes(max_dims=3, max_side=4))
    if datatype == "BYTES":
        texts = draw(st.lists(st.text(max_size=5), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        return datatype, np.array([text.encode() for text in texts], object).reshape(shape)
    return datatype, draw(hnp.arrays(DATATYPES[datatype].numpy, shape))


def held(tensor: Any) -> list[bytes] | bytes:
    return bytes(tensor.data) if tensor.texts is None else [text.encode() for text in tensor.texts]


def sent(array: np.ndarray) -> list[bytes] | bytes:
    return list(array.ravel()) if array.dtype == object else array.tobytes()


CLIENT_DATATYPES = [name for name in DATATYPES if name != "BF16"]


@settings(max_examples=300)
@given(st.lists(arrays(CLIENT_DATATYPES), min_size=1, max_size=4), NAMES, st.lists(NAMES, max_size=4), st.booleans())
def test_the_official_clients_requests_arrive_whole(
    inputs: list[tuple[str, np.ndarray]], id_: str, outputs: list[str], large: bool
) -> None:
    """What tritonclient's InferInput and InferRequestedOutput serialize comes out as the same names, shapes and data."""
    tensors = []
    for index, (datatype, array) in enumerate(inputs):
        tensor = InferInput(f"x{index}", list(array.shape), datatype)
        tensors.append(tensor.set_data_from_numpy(array))
    asked = [InferRequestedOutput(name) for name in outputs]
    request = _get_inference_request("m", tensors, "2", id_, asked, 0, False, False, 0, None, {"mine": 1})
    decoded = ROOMY.decode(request.SerializeToString() + (LARGE if large else b""))
    assert ("m", "2", id_, {"mine": 1}) == (decoded.model, decoded.version, decoded.id, decoded.parameters)
    assert (outputs or None) == decoded.outputs
    assert [(d, a.shape, sent(a)) for d, a in inputs] == [(t.datatype, t.shape, held(t)) for t in decoded.inputs]


@settings(max_examples=300)
@given(arrays([*FIELDS, "BYTES"]))
def test_typed_contents_mean_what_protobuf_says(tensor: tuple[str, np.ndarray]) -> None:
    """Typed elements as protobuf serializes them give the bytes that numpy holds for them."""
    datatype, array = tensor
    field = FIELDS.get(datatype, "bytes_contents")
    if datatype in {"FP32", "FP64"}:
        array = np.nan_to_num(array)
    head = {"name": "x", "datatype": datatype, "shape": array.shape, "contents": {field: array.ravel().tolist()}}
    [got] = DECODER.decode(pb.ModelInferRequest(inputs=[head]).SerializeToString()).inputs
    assert sent(array) == held(got)


PARAMETERS = st.dictionaries(
    NAMES.filter(lambda name: name not in {"headers"}),
    st.one_of(
        st.booleans().map(lambda value: {"bool_param": value}),
        st.integers(-(1 << 63), (1 << 63) - 1).map(lambda value: {"int64_param": value}),
        st.text(max_size=4).map(lambda value: {"string_param": value}),
    ),
    max_size=4,
)
INPUTS = st.fixed_dictionaries(
    {"name": NAMES, "datatype": st.sampled_from([*DATATYPES, "FP7"]), "shape": st.lists(st.integers(-1, 3), max_size=5)},
    optional={
        "parameters": PARAMETERS,
        "contents": st.fixed_dictionaries(
            {},
            optional={
                "fp32_contents": st.lists(st.floats(width=32), max_size=4),
                "int_contents": st.lists(st.integers(-(1 << 31), (1 << 31) - 1), max_size=4),
                "uint64_contents": st.lists(st.integers(0, (1 << 64) - 1), max_size=4),
                "bytes_contents": st.lists(st.binary(max_size=4), max_size=4),
                "bool_contents": st.lists(st.booleans(), max_size=4),
            },
        ),
    },
)
REQUESTS = st.fixed_dictionaries(
    {"model_name": NAMES},
    optional={
        "model_version": NAMES,
        "id": st.text(max_size=100),
        "parameters": PARAMETERS,
        "inputs": st.lists(INPUTS, max_size=5),
        "outputs": st.lists(st.fixed_dictionaries({"name": NAMES}, optional={"parameters": PARAMETERS}), max_size=5),
        "raw_input_contents": st.lists(st.binary(max_size=20), max_size=5),
    },
).map(lambda fields: pb.ModelInferRequest(**fields).SerializeToString())


def outcome(decoder: Decoder, message: bytes) -> InferRequest | TidegateError:
    try:
        return decoder.decode(message)
    except TidegateError as error:
        return error


def alike(one: InferRequest | TidegateError, other: InferRequest | TidegateError) -> bool:
    """Equal requests, or both refused: of several faults, each way may meet another first."""
    if isinstance(one, TidegateError):
        return isinstance(other, TidegateError)
    return one == other


@settings(max_examples=300)
@given(REQUESTS)
def test_every_way_to_decode_agrees(message: bytes) -> None:
    """A fresh decoder, one that has met many heads, and one that scans the wire first agree on the request."""
    fresh = outcome(Decoder(LIMITS), message)
    assert alike(fresh, outcome(DECODER, message))
    assert alike(fresh, outcome(DECODER, message))
    assert alike(fresh, outcome(DECODER, message + LARGE))


@settings(max_examples=300)
@given(REQUESTS, st.data())
def test_fields_may_come_in_any_order(message: bytes, data: st.DataObject) -> None:
    """A request cut into its top-level fields and put together in another order that keeps repeated fields in theirs is the same."""
    fields = pb.ModelInferRequest.FromString(message)
    pieces = [pb.ModelInferRequest(**{name: getattr(fields, name)}).SerializeToString() for name in _FIELD_NAMES]
    shuffled = b"".join(data.draw(st.permutations(pieces)))
    assert alike(outcome(DECODER, message), outcome(DECODER, shuffled))


_FIELD_NAMES = [field.name for field in pb.ModelInferRequest.DESCRIPTOR.fields]


@settings(max_examples=300)
@given(st.binary(max_size=300), st.booleans())
def test_garbage_raises_nothing_but_our_error(message: bytes, large: bool) -> None:
    """Random bytes are a request or a TidegateError."""
    outcome(DECODER, message + (LARGE if large else b""))


@settings(max_examples=300)
@given(REQUESTS, st.data())
def test_damaged_requests_raise_nothing_but_our_error(message: bytes, data: st.DataObject) -> None:
    """Requests with bytes changed, removed or repeated are a request or a TidegateError, and the scan agrees."""
    damaged = bytearray(message or b"\0")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        what = data.draw(st.sampled_from(["change", "cut", "repeat"]))
        if what == "change":
            damaged[at] = data.draw(st.integers(0, 255))
        elif what == "cut":
            del damaged[at + 1 : at + 1 + data.draw(st.integers(1, 8))]
        else:
            damaged[at:at] = damaged[at : at + data.draw(st.integers(1, 8))]
    first = outcome(DECODER, bytes(damaged))
    assert alike(first, outcome(Decoder(LIMITS), bytes(damaged)))
    scanned = outcome(DECODER, LARGE + bytes(damaged))
    # The scan bounds what the parser is given, so it counts entries that protobuf drops: of a repeated name, or with an unknown field.
    assert alike(first, scanned) or (isinstance(scanned, TidegateError) and "parameters" in scanned.message)


@pytest.mark.parametrize("size", [1, PRESCAN_BYTES + 1])
def test_protobuf_agrees_on_what_is_a_message(size: int) -> None:
    """A message of zeros is none, at any size."""
    with pytest.raises(TidegateError, match="not a valid ModelInferRequest"):
        DECODER.decode(bytes(size))
