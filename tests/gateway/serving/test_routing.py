"""Names to versions: which one is meant, and which error is given where none is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.errors import Code, TidegateError
from gateway.serving.routing import Routes

NINE, TEN, ZERO = (SimpleNamespace(number=number) for number in (9, 10, 0))
ROUTES = Routes({"m": {9: NINE, 10: TEN}, "zero": {0: ZERO}}, {("m", 11): "broken", ("gone", 1): "broken"})  # type: ignore[dict-item]


@pytest.mark.parametrize(("model", "version", "found"), [("m", "", TEN), ("m", "9", NINE), ("m", "10", TEN), ("zero", "0", ZERO)])
def test_a_version_is_found_by_its_number_and_the_highest_without_one(model: str, version: str, found: Any) -> None:
    """Numbers are compared as numbers."""
    assert found is ROUTES.resolve(model, version)
    assert ROUTES.ready(model, version)


@pytest.mark.parametrize(
    ("model", "version"),
    [("n", ""), ("n", "1"), ("m", "8"), ("m", "09"), ("m", "+9"), ("m", " 9"), ("m", "9 "), ("m", "٩"), ("m", "9.0"), ("m", "-1"),
     ("m", "9" * 400), ("m", "latest"), ("", ""), ("zero", "00")],
)  # fmt: skip
def test_what_does_not_exist_is_not_found(model: str, version: str) -> None:
    """A number has one spelling; whatever else is asked for is NOT_FOUND, also when readiness is asked for, in a short text."""
    for ask in (ROUTES.resolve, ROUTES.ready):
        with pytest.raises(TidegateError) as caught:
            ask(model, version)
        assert Code.NOT_FOUND == caught.value.code
        assert len(caught.value.message) < 256


@pytest.mark.parametrize(("model", "version"), [("m", "11"), ("gone", ""), ("gone", "1")])
def test_what_should_serve_and_cannot_is_unavailable(model: str, version: str) -> None:
    """Another replica may have it; readiness is False, not an error."""
    with pytest.raises(TidegateError) as caught:
        ROUTES.resolve(model, version)
    assert Code.UNAVAILABLE == caught.value.code
    assert "broken" not in caught.value.message
    assert not ROUTES.ready(model, version)


def test_the_table_lists_what_serves() -> None:
    """Numbers ascending, all versions."""
    assert ([9, 10], [], []) == (ROUTES.numbers("m"), ROUTES.numbers("gone"), ROUTES.numbers("n"))
    assert [NINE, TEN, ZERO] == list(ROUTES.all())
