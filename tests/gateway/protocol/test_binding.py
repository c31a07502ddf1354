"""Requests held against signatures (cases 1 to 8, 12, 13, 16 and 22 to 25)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Code, TidegateError
from gateway.limits import RequestLimits
from gateway.protocol.binding import bind, check_input_count, check_output_count
from gateway.protocol.tensors import BoundRequest, InferRequest, InputTensor, Signature, TensorSpec

LIMITS = RequestLimits()
ONE = Signature("m", (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("label", "INT64", (-1,)), TensorSpec("p", "FP32", (-1, 2))), 8)
THREE = Signature(
    "m3",
    (TensorSpec("a", "FP32", (-1, 2)), TensorSpec("b", "BYTES", (-1, -1)), TensorSpec("c", "INT64", (-1,))),
    (TensorSpec("y", "FP32", (-1,)),),
    8,
)
UNBATCHED = Signature("u", (TensorSpec("x", "FP32", (-1, 2)), TensorSpec("k", "INT64", ())), (TensorSpec("y", "FP32", (-1,)),), 0)


def x(*shape: int, name: str = "x", datatype: str = "FP32") -> InputTensor:
    count = 1
    for size in shape:
        count *= size
    return InputTensor(name, datatype, shape, bytes(4 * count))


def request(*inputs: InputTensor, outputs: list[str] | None = None, **parameters: Any) -> InferRequest:
    return InferRequest("m", "", "", list(inputs), outputs, parameters)


def three(rows: int = 2) -> list[InputTensor]:
    texts = InputTensor("b", "BYTES", (rows, 1), texts=["t"] * rows)
    return [x(rows, 2, name="a"), texts, InputTensor("c", "INT64", (rows,), bytes(8 * rows))]


def refusal(signature: Signature, sent: InferRequest) -> tuple[Code, str]:
    with pytest.raises(TidegateError) as refused:
        bind(signature, sent, LIMITS)
    return refused.value.code, refused.value.message


# --- what fits ---------------------------------------------------------------------------------------------------------------------


def test_one_input_is_bound_as_it_is() -> None:
    """Rows from the first dimension, the rest of the shape, the data itself, its bytes."""
    sent = x(3, 2)
    assert BoundRequest(3, ((2,),), (sent.data,), None, 24) == bind(ONE, request(sent), LIMITS)


@given(st.permutations(three()))
def test_inputs_come_in_the_order_of_the_signature(inputs: list[InputTensor]) -> None:
    """However the caller ordered them; strings cost their objects."""
    got = bind(THREE, request(*inputs), LIMITS)
    a, b, c = three()
    assert (2, ((2,), (1,), ()), (a.data, b.texts, c.data)) == (got.rows, got.shapes, got.data)
    assert 16 + 16 + 2 * (50 + 8) == got.size


def test_a_model_without_a_batch_dimension_takes_whole_shapes() -> None:
    """One row whatever the shape, a scalar too."""
    scalar = InputTensor("k", "INT64", (), bytes(8))
    got = bind(UNBATCHED, request(x(5, 2), scalar), LIMITS)
    assert (1, ((5, 2), ())) == (got.rows, got.shapes)


def test_case_22_more_rows_than_a_batch_holds_fit() -> None:
    """They are split later."""
    assert ONE.max_batch_size + 1 == bind(ONE, request(x(9, 2)), LIMITS).rows


def test_case_25_a_free_dimension_takes_what_the_byte_limit_takes() -> None:
    """It is one more shape, in a lane of its own."""
    texts = InputTensor("b", "BYTES", (1, 50_000), texts=["t"] * 50_000)
    a, _, c = three(1)
    assert (50_000,) == bind(THREE, request(a, texts, c), LIMITS).shapes[1]


@pytest.mark.parametrize(
    ("names", "indices"), [(None, None), ([], None), (["label", "p"], None), (["p"], (1,)), (["label"], (0,)), (["p", "label"], (1, 0))]
)
def test_outputs_become_indices_in_the_order_asked_for(names: list[str] | None, indices: tuple[int, ...] | None) -> None:
    """None stands for all of them in their own order."""
    assert indices == bind(ONE, request(x(1, 2), outputs=names), LIMITS).outputs


def test_unknown_parameters_do_not_matter() -> None:
    """A good request stays good."""
    assert 1 == bind(ONE, request(x(1, 2), priority=1, timeout=5, color="red"), LIMITS).rows


# --- what does not -----------------------------------------------------------------------------------------------------------------


def test_case_1_no_input_names_the_required_ones() -> None:
    """In the words that clients know."""
    text = (
        "expected 3 inputs but got 0 inputs for model 'm3'. Got input(s) [], but missing required input(s) ['a','b','c']. "
        "Please provide all required input(s)."
    )
    assert (Code.INVALID_ARGUMENT, text) == refusal(THREE, request())


def test_case_2_a_missing_input_is_named() -> None:
    """Beside those that came."""
    code, text = refusal(THREE, request(*three()[:2]))
    assert (Code.INVALID_ARGUMENT, True) == (code, "Got input(s) ['a','b'], but missing required input(s) ['c']" in text)


def test_case_3_an_extra_input_is_named() -> None:
    """Also where all required ones are there."""
    assert (Code.INVALID_ARGUMENT, "unexpected inference input 'z' for model 'm'") == refusal(ONE, request(x(1, 2), x(1, 2, name="z")))


@pytest.mark.parametrize("extra", [0, 1])
def test_case_4_an_input_twice_is_refused(extra: int) -> None:
    """Whether the count is right or not."""
    inputs = [*three()[: 2 + extra], three()[0]]
    assert (Code.INVALID_ARGUMENT, "input 'a' already exists in request for model 'm3'") == refusal(THREE, request(*inputs))


@pytest.mark.parametrize("name", ["", "x" * 2**20, "x\0", "\ud800", "X", "x "])
def test_case_5_odd_names_are_unknown_and_shown_safely(name: str) -> None:
    """Cut, on one line, encodable."""
    code, text = refusal(ONE, request(x(1, 2, name=name)))
    assert Code.INVALID_ARGUMENT == code
    assert text.startswith("unexpected inference input '")
    assert text.isprintable()
    assert len(text.encode()) < 512


def test_case_6_an_unknown_output_is_named() -> None:
    """The first of them."""
    assert (Code.INVALID_ARGUMENT, "unexpected inference output 'q' for model 'm'") == refusal(ONE, request(x(1, 2), outputs=["p", "q"]))


def test_case_7_an_output_twice_is_refused_and_too_many_are_counted_first() -> None:
    """100,000 equal names are not compared with each other."""
    twice = request(x(1, 2), outputs=["p", "p"])
    assert (Code.INVALID_ARGUMENT, "output 'p' already exists in request") == refusal(ONE, twice)
    many = request(x(1, 2), outputs=["p"] * 100_000)
    assert (Code.TOO_LARGE, "the request asks for 100000 outputs, the limit is 64") == refusal(ONE, many)


def test_case_8_another_datatype_is_refused() -> None:
    """Even one of the same width."""
    text = "inference input 'x' data-type is 'INT32', but model 'm' expects 'FP32'"
    assert (Code.INVALID_ARGUMENT, text) == refusal(ONE, request(x(1, 2, datatype="INT32")))


@pytest.mark.parametrize(("shape", "text"), [((2,), "[2]"), ((1, 1, 2), "[1,1,2]"), ((), "[]"), ((1, 3), "[1,3]"), ((2, 1), "[2,1]")])
def test_case_12_13_24_another_rank_or_fixed_dimension_is_refused(shape: tuple[int, ...], text: str) -> None:
    """Missing batch dimension, one too many, a scalar, a wrong number of features."""
    expected = f"unexpected shape for input 'x' for model 'm'. Expected [-1,2], got {text}"
    assert (Code.INVALID_ARGUMENT, expected) == refusal(ONE, request(x(*shape)))


def test_case_12_a_scalar_model_takes_only_scalars() -> None:
    """Rank 0 is a rank."""
    text = "unexpected shape for input 'k' for model 'u'. Expected [], got [1]"
    assert (Code.INVALID_ARGUMENT, text) == refusal(UNBATCHED, request(x(1, 2), InputTensor("k", "INT64", (1,), bytes(8))))


@pytest.mark.parametrize("shape", [(0, 2), (0, 3), (3, 0)])
def test_case_16_empty_tensors_are_refused(shape: tuple[int, ...]) -> None:
    """Whichever dimension is zero."""
    assert Code.INVALID_ARGUMENT == refusal(ONE, request(x(*shape)))[0]
    text = "input 'x' for model 'm' is an empty tensor: shape [0,2]"
    assert text == refusal(ONE, request(x(0, 2)))[1]
    b = InputTensor("b", "BYTES", (2, 0), texts=[])
    assert "input 'b' for model 'm3' is an empty tensor: shape [2,0]" == refusal(THREE, request(three()[0], b, three()[2]))[1]


def test_case_16_a_model_may_allow_empty_tensors() -> None:
    """No rows, or rows of nothing."""
    got = bind(ONE, request(x(0, 2)), LIMITS, allow_empty=True)
    assert (0, ((2,),), 0) == (got.rows, got.shapes, got.size)
    with pytest.raises(TidegateError, match="Expected"):
        bind(ONE, request(x(2, 0)), LIMITS, allow_empty=True)


def test_case_23_batch_dimensions_must_agree() -> None:
    """The one that differs from the first is named."""
    inputs = [three(2)[0], three(2)[1], three(3)[2]]
    text = "input 'c' batch size does not match other inputs for model 'm3': 3 rows, 'a' has 2"
    assert (Code.INVALID_ARGUMENT, text) == refusal(THREE, request(*inputs))


def test_case_40_61_inputs_are_counted_first() -> None:
    """In `bind`, and for decoders before they look at one."""
    text = "the request has 65 inputs, the limit is 64"
    assert (Code.INVALID_ARGUMENT, text) == refusal(ONE, request(*[x(1, 2)] * 65))
    check_input_count(64, LIMITS)
    check_output_count(64, LIMITS)
    with pytest.raises(TidegateError, match="limit is 64"):
        check_input_count(65, LIMITS)
    with pytest.raises(TidegateError, match="limit is 64"):
        check_output_count(65, LIMITS)


def test_refused_parameters_are_refused_here() -> None:
    """Both transports come through."""
    assert Code.UNIMPLEMENTED == refusal(ONE, request(x(1, 2), sequence_id=1))[0]
    assert Code.INVALID_ARGUMENT == refusal(ONE, request(x(1, 2), timeout=-1))[0]


NAMES = st.sampled_from(["a", "b", "c", "x", "", "\n"])
DIMENSIONS = st.lists(st.integers(0, 3), max_size=3).map(tuple)
TENSORS = st.builds(InputTensor, NAMES, st.sampled_from(["FP32", "INT64", "BYTES", "?"]), DIMENSIONS, st.just(b""))


@given(
    st.lists(TENSORS, max_size=4),
    st.none() | st.lists(st.sampled_from(["y", "p", "z"]), max_size=3),
    st.sampled_from([ONE, THREE, UNBATCHED]),
    st.booleans(),
)
def test_whatever_comes_fits_or_is_refused(
    inputs: list[InputTensor], outputs: list[str] | None, signature: Signature, allow_empty: bool
) -> None:
    """Nothing but TidegateError escapes, and what fits has one entry per input of the signature."""
    try:
        bound = bind(signature, request(*inputs, outputs=outputs), LIMITS, allow_empty=allow_empty)
    except TidegateError as error:
        got = error.message.isprintable()
    else:
        got = len(signature.inputs) == len(bound.shapes) == len(bound.data)
    assert got
