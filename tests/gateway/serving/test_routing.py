"""Names to versions: which one is meant, and which error is given where none is."""

from __future__ import annotations

from collections.abc import Iterator
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


ALIASED = Routes(
    {"m": {2: NINE, 3: TEN}, "headless": {3: TEN}, "lost": {2: NINE}},  # type: ignore[dict-item]
    {("lost", 1): "broken", ("all-lost", 4): "broken"},
    aliases={"m": {"champion": 2, "challenger": 3, "other": 7}, "headless": {"challenger": 3}, "lost": {"champion": 1},
             "all-lost": {"champion": 4}, "idle": {"champion": 5}},
    defaults={"m": 2, "headless": None, "lost": 1, "all-lost": 4, "idle": None, "bare": None},
    idle={"idle": "none of the chosen aliases is there", "bare": "no alias stands for one"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("model", "version", "found"),
    [("m", "", NINE), ("m", "champion", NINE), ("m", "challenger", TEN), ("m", "3", TEN), ("headless", "challenger", TEN),
     ("lost", "2", NINE)],
)  # fmt: skip
def test_an_alias_is_looked_up_and_the_champion_is_the_default(model: str, version: str, found: Any) -> None:
    """Digits are a number, anything else an alias; without a version the champion answers, not the highest number."""
    assert found is ALIASED.resolve(model, version)


@pytest.mark.parametrize(
    ("model", "version", "code", "text"),
    [
        ("m", "nobody", Code.NOT_FOUND, "Request for unknown model: 'm' alias nobody is not found"),
        ("m", "Champion", Code.NOT_FOUND, "Request for unknown model: 'm' alias Champion is not found"),
        ("m", "4", Code.NOT_FOUND, "Request for unknown model: 'm' version 4 is not found"),
        ("m", "other", Code.UNAVAILABLE, "Request for unknown model: 'm' alias other stands for version 7, which is not at ready state"),
        ("lost", "", Code.UNAVAILABLE,
         "Request for unknown model: 'lost' alias champion stands for version 1, which is not at ready state"),
        ("lost", "1", Code.UNAVAILABLE, "Request for unknown model: 'lost' version 1 is not at ready state"),
        ("all-lost", "champion", Code.UNAVAILABLE,
         "Request for unknown model: 'all-lost' alias champion stands for version 4, which is not at ready state"),
        ("all-lost", "4", Code.UNAVAILABLE, "Request for unknown model: 'all-lost' has no version that is ready"),
        ("headless", "", Code.UNAVAILABLE, "model 'headless' has no champion: name a version or alias"),
        ("bare", "", Code.UNAVAILABLE, "model 'bare' serves no version: no alias stands for one"),
        ("bare", "1", Code.UNAVAILABLE, "model 'bare' serves no version: no alias stands for one"),
        ("idle", "champion", Code.UNAVAILABLE,
         "Request for unknown model: 'idle' alias champion stands for version 5, which is not at ready state"),
    ],
)  # fmt: skip
def test_an_alias_that_leads_nowhere_says_why(model: str, version: str, code: Code, text: str) -> None:
    """An unknown one is NOT_FOUND; one whose version does not serve is UNAVAILABLE and never another version."""
    with pytest.raises(TidegateError) as caught:
        ALIASED.resolve(model, version)
    assert (code, text) == (caught.value.code, caught.value.message)


def test_every_model_that_exists_is_ready_or_not() -> None:
    """Ready is what answers a request without a version."""
    expected = {"all-lost": False, "bare": False, "headless": False, "idle": False, "lost": False, "m": True}
    assert expected == ALIASED.readiness()
    assert {"gone": False, "m": True, "zero": True} == ROUTES.readiness()


def test_the_table_lists_what_serves() -> None:
    """Numbers ascending, all versions."""
    assert ([9, 10], [], []) == (ROUTES.numbers("m"), ROUTES.numbers("gone"), ROUTES.numbers("n"))
    assert [NINE, TEN, ZERO] == list(ROUTES.all())


def test_a_thousand_models_that_do_not_serve_yet_are_looked_up_in_no_time() -> None:
    """Readiness of all takes a look for each, not a look at all for each: the names are asked for once."""
    asked = 0

    class Failed(dict[tuple[str, int], str]):
        def __iter__(self) -> Iterator[tuple[str, int]]:
            nonlocal asked
            asked += 1
            return super().__iter__()

    routes = Routes(failed=Failed({(f"m{number}", 1): "no memory" for number in range(1_000)}))
    assert 1_000 == len(routes.readiness())
    assert not any(routes.readiness().values())
    assert asked <= 1
