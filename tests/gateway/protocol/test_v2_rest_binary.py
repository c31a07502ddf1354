"""REST bodies whose binary part is wrong, by their number in the catalogue of bad inputs: C (64 to 70)."""

from __future__ import annotations

import pytest

from gateway.errors import Code, TidegateError
from gateway.limits import RequestLimits
from gateway.protocol.binary import header_length_of
from gateway.protocol.binding import bind
from gateway.protocol.tensors import BoundRequest, Signature, TensorSpec
from gateway.protocol.v2_rest import decode

LIMITS = RequestLimits()
SIGNATURE = Signature("m", (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1,)),), 8)
PAIR = Signature("m", (TensorSpec("x", "FP32", (-1, 2)), TensorSpec("k", "INT64", (-1,))), (), 8)
GOOD = '{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}'
SIZED = '{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}'
EIGHT = bytes(8)


def infer(body: bytes | str, header_length: bytes | None = None, signature: Signature = SIGNATURE) -> BoundRequest:
    sent = body.encode() if isinstance(body, str) else body
    got, _ = decode(sent, header_length=header_length, model="m", version="1", signature=signature, limits=LIMITS)
    return bind(signature, got, LIMITS)


def inputs(text: str) -> str:
    return '{"inputs":[' + text + "]}"


def binary(text: str, tail: bytes = EIGHT) -> tuple[bytes, bytes]:
    return text.encode() + tail, b"%d" % len(text.encode())


def refusal(body: bytes | str, header_length: bytes | None = None, signature: Signature = SIGNATURE) -> tuple[Code, str]:
    with pytest.raises(TidegateError) as refused:
        infer(body, header_length, signature)
    text = refused.value.message
    assert text.isprintable()
    assert len(text.encode()) <= 512
    assert "msgspec" not in text
    return refused.value.code, text


def invalid(body: bytes | str, header_length: bytes | None = None, signature: Signature = SIGNATURE) -> str:
    code, text = refusal(body, header_length, signature)
    assert Code.INVALID_ARGUMENT == code
    return text


@pytest.mark.parametrize("size", ["-1", "8.0", '"8"', "true", "9", "16", "9223372036854775807", "18446744073709551624", "null"])
def test_case_64_bad_sizes(size: str) -> None:
    """Negative, float, string, boolean, beyond the body, beyond 64 bits."""
    invalid(*binary(inputs(SIZED.replace(":8}", f":{size}}}"))))


def test_case_64_no_size_and_sums_beyond_the_body() -> None:
    """The second input finds nothing left."""
    assert "unable to find data for input tensor 'x' for model 'm' in request." == invalid(
        *binary(inputs(SIZED.replace("binary_data_size", "size")))
    )
    assert "unable to find data for input tensor 'x' for model 'm' in request." == invalid(inputs(GOOD.replace(',"data":[1,2]', "")))
    second = '{"name":"k","shape":[1],"datatype":"INT64","parameters":{"binary_data_size":9223372036854775807}}'
    assert "0 are left in the body" in invalid(*binary(inputs(f"{SIZED},{second}")), signature=PAIR)


@pytest.mark.parametrize("size", [0, 4, 7])
def test_case_65_a_size_that_is_not_the_shapes(size: int) -> None:
    """In the words that clients know."""
    got = invalid(*binary(inputs(SIZED.replace(":8}", f":{size}}}")), bytes(size)))
    assert f"input byte size mismatch for input 'x' for model 'm'. Expected 8, got {size}" == got


def test_case_66_data_twice() -> None:
    """In the JSON and behind it."""
    assert "input 'x' for model 'm' has both 'data' and 'binary_data_size'" == invalid(
        *binary(inputs(GOOD.replace('"data"', '"parameters":{"binary_data_size":8},"data"')))
    )


@pytest.mark.parametrize(
    "header", [b"-1", b"abc", b"+5", b"99999999999", b"9" * 5_000, b"", b" 5", b"5 ", b"0x5", b"1_0", "٥".encode(), b"5.0", b"5, 5"]
)
def test_case_67_bad_header_lengths(header: bytes) -> None:
    """Digits only, and no more bytes than there are."""
    assert "Inference-Header-Content-Length must be a number of bytes within the body" == invalid(inputs(SIZED).encode() + EIGHT, header)


def test_case_67_lengths_beside_the_end_of_the_json() -> None:
    """One byte less, one more, the whole body, more than it."""
    text = inputs(SIZED).encode()
    for length in (len(text) - 1, len(text) + 1, len(text) + 8, len(text) + 9):
        invalid(text + EIGHT, b"%d" % length)


def test_case_67_a_raw_request_for_several_inputs() -> None:
    """Or for one whose shape does not follow from the bytes, or for bytes that do not fill rows."""
    invalid(EIGHT, b"0", PAIR)
    invalid(EIGHT, b"0", Signature("m", (TensorSpec("x", "FP32", (-1, -1, -1)),), (), 8))
    invalid(EIGHT, b"0", Signature("m", (TensorSpec("x", "BYTES", (-1, 2)),), (), 8))
    invalid(b"\xff", b"0", Signature("m", (TensorSpec("x", "BYTES", (-1, 1)),), (), 8))
    invalid(b"\2", b"0", Signature("m", (TensorSpec("x", "BOOL", (-1, 1)),), (), 8))
    invalid(b"", b"0")
    assert "input byte size mismatch for input 'x' for model 'm'. Expected 8, got 7" == invalid(bytes(7), b"0")


def test_case_67_the_header_twice() -> None:
    """Even with equal values."""
    assert b"5" == header_length_of([(b"a", b"b"), (b"inference-header-content-length", b"5")])
    assert header_length_of([]) is None
    with pytest.raises(TidegateError, match="sent twice"):
        header_length_of([(b"inference-header-content-length", b"5")] * 2)


def test_case_68_bytes_left() -> None:
    """Behind the last binary input, or where there is none."""
    assert "1 bytes are left behind the last binary input for model 'm'" == invalid(*binary(inputs(SIZED), bytes(9)))
    invalid(*binary(inputs(GOOD), b"\0"))


def test_case_69_sizes_without_the_header() -> None:
    """Without it a body is JSON to its end."""
    assert "the header Inference-Header-Content-Length is missing" in invalid(inputs(SIZED))
    invalid(inputs(SIZED).encode() + EIGHT)


@pytest.mark.parametrize("value", ['"yes"', "1", "0", "1.0"])
def test_case_70_wishes_that_are_no_boolean(value: str) -> None:
    """Of an output and of the request."""
    assert "parameter 'binary_data' of output 'y' must be true or false" == invalid(
        '{"outputs":[{"name":"y","parameters":{"binary_data":' + value + "}}]," + inputs(GOOD)[1:]
    )
    assert "parameter 'binary_data_output' of the request must be true or false" == invalid(
        '{"parameters":{"binary_data_output":' + value + "}," + inputs(GOOD)[1:]
    )
