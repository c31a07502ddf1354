"""Which lazy models stay loaded: those that were asked last, as many as fit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.serving.drowsing import Drowsing

SIZES = {"a": 40, "b": 40, "c": 40}
DEEDS = st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), max_size=40)
ALL_SIZES = st.fixed_dictionaries({name: st.integers(0, 60) for name in "abcde"})


def test_nobody_is_awake_who_was_not_asked_for() -> None:
    """And who was asked stays so, without a bound."""
    drowsing = Drowsing(None)
    assert frozenset() == drowsing.awake(SIZES, 0)
    assert [True, False, True] == [drowsing.wake("a", 1.0), drowsing.wake("a", 2.0), drowsing.wake("c", 3.0)]
    assert {"a", "c"} == drowsing.awake(SIZES, 10**12)


def test_the_least_recently_used_falls_asleep() -> None:
    """Answers count as use; those that are always loaded come first."""
    drowsing = Drowsing(100)
    for time, model in enumerate("ab"):
        drowsing.wake(model, float(time))
    assert {"a", "b"} == drowsing.awake(SIZES, 20)
    drowsing.used("a", 5.0)
    drowsing.wake("c", 6.0)
    assert {"a", "c"} == drowsing.awake(SIZES, 20)
    assert drowsing.wake("b", 7.0)


def test_the_one_that_was_asked_last_stays_so_that_whoever_asked_is_told() -> None:
    """Also where it can never fit."""
    drowsing = Drowsing(100)
    drowsing.wake("a", 1.0)
    drowsing.wake("large", 2.0)
    assert {"large"} == drowsing.awake({**SIZES, "large": 1_000}, 0)


def test_a_model_that_is_not_lazy_any_more_is_forgotten() -> None:
    """It is loaded anyway, or gone."""
    drowsing = Drowsing(100)
    drowsing.wake("a", 1.0)
    assert frozenset() == drowsing.awake({"b": 1}, 0)
    drowsing.used("a", 2.0)
    assert frozenset() == drowsing.awake(SIZES, 0)


@given(DEEDS, ALL_SIZES, st.integers(0, 120))
def test_the_bound_holds_whatever_is_asked(deeds: list[tuple[str, bool]], sizes: dict[str, int], eager: int) -> None:
    """But for the one that was asked last, which is always awake."""
    drowsing = Drowsing(150)
    for time, (model, asked) in enumerate(deeds):
        if asked:
            drowsing.wake(model, float(time))
        else:
            drowsing.used(model, float(time))
        awake = drowsing.awake(sizes, eager)
        assert sum(sizes[one] for one in awake) + eager <= 150 or len(awake) <= 1
        assert not asked or model in awake
