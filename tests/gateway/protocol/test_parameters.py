"""Parameters that mean something, that are refused by name, that are ignored (case 43)."""

from __future__ import annotations

import pytest

from gateway.errors import Code, TidegateError
from gateway.limits import RequestLimits
from gateway.protocol.parameters import check_parameters

LIMITS = RequestLimits()


def refusal(parameters: dict[str, object], where: str = "the request") -> tuple[Code, str]:
    with pytest.raises(TidegateError) as refused:
        check_parameters(parameters, LIMITS, where=where)
    return refused.value.code, refused.value.message


@pytest.mark.parametrize("name", ["sequence_id", "sequence_start", "sequence_end", "shared_memory_region", "shared_memory_byte_size",
                                  "shared_memory_offset", "classification"])  # fmt: skip
def test_unsupported_features_are_refused_by_name(name: str) -> None:
    """UNIMPLEMENTED with the parameter and its owner in the text, whatever the value."""
    code, text = refusal({name: 0}, "output 'y'")
    assert Code.UNIMPLEMENTED == code
    assert text.startswith(f"parameter '{name}' of output 'y' is not supported: ")


@pytest.mark.parametrize("name", ["triton_final_response", "triton_\n", "headers"])
def test_reserved_names_are_refused(name: str) -> None:
    """Nobody may set what the protocol keeps for servers."""
    code, text = refusal({name: True})
    assert Code.INVALID_ARGUMENT == code
    assert "is reserved" in text
    assert text.isprintable()


def test_a_client_may_ask_for_empty_final_answers() -> None:
    """Triton's C++ client says in every request whether it does. There are none: the one answer of a request is its last."""
    for value in (True, False):
        check_parameters({"triton_enable_empty_final_response": value}, LIMITS)
    text = "parameter 'triton_enable_empty_final_response' of the request must be true or false"
    assert (Code.INVALID_ARGUMENT, text) == refusal({"triton_enable_empty_final_response": 1})


@pytest.mark.parametrize("name", ["priority", "timeout"])
@pytest.mark.parametrize("value", [-1, 1.5, True, "1", None])
def test_case_43_a_count_of_the_wrong_type_is_refused(name: str, value: object) -> None:
    """Priorities and timeouts are non-negative integers, and True is none."""
    assert (Code.INVALID_ARGUMENT, f"parameter '{name}' of the request must be a non-negative integer") == refusal({name: value})


def test_case_43_unknown_keys_are_ignored() -> None:
    """Up to the limit, with any value, beside those that mean something."""
    check_parameters({"priority": 1, "timeout": 0} | {f"k{i}": "x" for i in range(LIMITS.max_parameters - 2)}, LIMITS)


def test_case_43_too_many_are_refused_before_they_are_looked_at() -> None:
    """TOO_LARGE even where one of them has a refused name."""
    code, text = refusal({f"k{i}": 1 for i in range(LIMITS.max_parameters)} | {"sequence_id": 1})
    assert (Code.TOO_LARGE, "the request has 33 parameters, the limit is 32") == (code, text)
