"""What is loaded where callers say so."""

from __future__ import annotations

import pytest

from gateway.errors import Code, TidegateError
from gateway.serving.explicit import EVERY, NOT_LOADED, Explicit
from gateway.serving.lifecycle import Desired, Wanted
from gateway.serving.sources import Wish

ONE, TWO, OTHER = Wanted("m", 1, "a"), Wanted("m", 2, "b"), Wanted("other", 1, "c")
WHOLE = Wish(
    Desired(frozenset({ONE, TWO, OTHER}), {}, {"m": 2}), {}, lazy=frozenset({"m"}), idle={"idle": "no alias stands for one"},
)  # fmt: skip


def test_nothing_is_loaded_that_nobody_asked_for() -> None:
    """What the repository has is idle, with the reason; nothing is loaded for being asked for."""
    found = Explicit(()).of(WHOLE)
    assert (frozenset(), frozenset()) == (found.desired.versions, found.lazy)
    assert {"m": NOT_LOADED, "other": NOT_LOADED, "idle": "no alias stands for one"} == found.idle


def test_models_are_loaded_and_unloaded_whole() -> None:
    """All versions that the settings choose of one; the others stay as they are."""
    explicit = Explicit(("other",))
    explicit.load("m", WHOLE)
    assert {ONE, TWO, OTHER} == explicit.of(WHOLE).desired.versions
    explicit.unload("other", WHOLE)
    found = explicit.of(WHOLE)
    assert ({ONE, TWO}, NOT_LOADED) == (found.desired.versions, found.idle["other"])
    assert {"m": 2} == found.desired.defaults


def test_a_model_that_the_repository_does_not_have_is_named() -> None:
    """It is not passed over."""
    assert ["idle", "typo"] == Explicit(("typo", "m", "idle", EVERY)).absent(WHOLE)


def test_every_model_is_what_there_is_when_the_repository_is_first_read() -> None:
    """One that comes later waits to be loaded."""
    explicit = Explicit((EVERY,))
    explicit.of(Wish(Desired(frozenset({ONE})), {}))
    assert {ONE, TWO} == explicit.of(WHOLE).desired.versions


def test_a_model_that_is_loaded_and_gone_from_the_repository_can_be_unloaded() -> None:
    """It is loaded as soon as it is back, otherwise."""
    explicit = Explicit(("gone",))
    explicit.unload("gone", WHOLE)
    assert set() == explicit.loaded


@pytest.mark.parametrize(
    ("model", "code", "text"),
    [
        ("nobody", Code.NOT_FOUND, "failed to load 'nobody': the repository has no such model"),
        ("idle", Code.FAILED_PRECONDITION, "failed to load 'idle': no version is available: no alias stands for one"),
    ],
)
def test_what_cannot_be_loaded(model: str, code: Code, text: str) -> None:
    """Says why, and changes nothing."""
    explicit = Explicit(())
    with pytest.raises(TidegateError) as caught:
        explicit.load(model, WHOLE)
    assert (code, text, set()) == (caught.value.code, caught.value.message, explicit.loaded)


def test_what_cannot_be_unloaded() -> None:
    """A model that is not loaded is unloaded already; one that nobody knows is a mistake."""
    explicit = Explicit(())
    for known in ("m", "idle"):
        explicit.unload(known, WHOLE)
    with pytest.raises(TidegateError, match="failed to unload 'nobody'") as caught:
        explicit.unload("nobody", WHOLE)
    assert caught.value.code is Code.NOT_FOUND
