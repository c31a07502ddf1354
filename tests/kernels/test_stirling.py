"""Stirling's remainder and the deviance, against decimals of 50 digits."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernels.stirling import deviance, remainder
from tests import naive

POSITIVE = st.floats(min_value=1e-6, max_value=2e9)


@settings(max_examples=500)
@given(POSITIVE)
@example(0.5)
@example(8.0)
@example(math.nextafter(8.0, 0.0))
def test_the_remainder_is_what_stirling_leaves_of_log_gamma(x: float) -> None:
    """To 1e-14, from counts of a millionth of a row to two thousand million."""
    with localcontext(naive._DIGITS):
        exact = Decimal(x)
        expected = naive.log_gamma(exact) - (exact - Decimal("0.5")) * exact.ln() + exact - naive._HALF_LOG_2PI
        assert abs(expected - Decimal(remainder(x))) < Decimal("2e-14")


@settings(max_examples=500)
@given(POSITIVE, POSITIVE | st.floats(min_value=-0.3, max_value=0.3))
@example(1e9, 1e-9)
def test_a_deviance_is_right_relative_to_itself(x: float, other: float) -> None:
    """Also of two counts that are nearly equal, where its terms cancel."""
    mean = other if other > 0.3 else x * (1 + other)
    with localcontext(naive._DIGITS):
        exact, at = Decimal(x), Decimal(mean)
        expected = exact * (exact / at).ln() + at - exact
        assert abs(expected - Decimal(deviance(x, mean))) <= Decimal("1e-13") * abs(expected) + Decimal("1e-40")


def test_a_deviance_of_equals_is_nothing() -> None:
    """Whatever they are, and what is no number ends as well."""
    assert [0.0, 0.0] == [deviance(3.0, 3.0), deviance(1e9, 1e9)]
    assert math.isnan(deviance(math.nan, 1.0))
