"""Scopes: what may be written, and what each holds for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity.scopes import GENERAL, OF_MODELS, allow, problem_among, problem_of

MODELS = st.sampled_from(["a", "b", "a:b", "*", "", "A", "infer:a", "a*"])


@pytest.mark.parametrize("scope", [*GENERAL, "infer:*", "labels:*", "infer:iris", "labels:a.b-c_d", "infer:a:b", "infer:" + "m" * 128])
def test_scopes_that_may_be_written(scope: str) -> None:
    """The general ones alone, the others with a model or all of them."""
    assert "" == problem_of(scope)


@pytest.mark.parametrize(
    ("scope", "text"),
    [
        ("", "unknown"), ("infer", "write infer:MODEL"), ("infer:", "write infer:MODEL"), ("meta:x", "stands alone"), ("*", "unknown"),
        ("Infer:x", "unknown"), ("infer:a*", "not for a part"), ("infer:a b", "printable"), ("infer:a\n", "printable"),
        ("infer:" + "m" * 129, "128"), ("predict:x", "unknown"), (" meta", "unknown"),
    ],
)  # fmt: skip
def test_scopes_that_may_not_be_written(scope: str, text: str) -> None:
    """A mistake gives no right by chance."""
    assert text in problem_of(scope)
    assert text in problem_among(["meta", scope])


def test_a_credential_has_a_bounded_number_of_scopes() -> None:
    """As every list that somebody else writes."""
    assert "more than 256" in problem_among([f"infer:{number}" for number in range(257)])


@given(st.sets(st.sampled_from(["meta", "admin", "infer:a", "infer:*", "labels:a", "infer:a:b", "labels:*"])), MODELS)
def test_a_scope_of_models_holds_for_its_model_or_for_all_and_for_nothing_else(scopes: set[str], model: str) -> None:
    """Names are compared as they are; a model of a strange name is not all models."""
    for word in OF_MODELS:
        assert (f"{word}:*" in scopes or f"{word}:{model}" in scopes) == allow(scopes, word, model)
        assert not allow(scopes, word, None)
    for word in GENERAL:
        assert (word in scopes) == allow(scopes, word, None)
        assert not allow(scopes, word, model)
