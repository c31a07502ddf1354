"""Bets on ranks of windows: their promise while windows are exchangeable, and that a change is found, also late."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import betting


@given(st.floats(-5, 5), st.lists(st.floats(-5, 5), max_size=30))
def test_a_p_value_is_a_rank(score, clean) -> None:
    """Ties count against the score."""
    expected = Fraction(1 + sum(other >= score for other in clean), 1 + len(clean))
    assert float(expected) == betting.conformal_p(score, np.array(clean))


def test_what_is_no_score_says_nothing() -> None:
    """NaN ranks last; so does everything where there is no clean window."""
    assert [1.0, 1.0] == [betting.conformal_p(math.nan, np.arange(3.0)), betting.conformal_p(9.0, np.empty(0))]


def test_odd_is_what_differs_from_its_hour() -> None:
    """Up or down, in roots; a clean window is compared with the others of its hour, not with itself."""
    scores, hours = np.array([0.04, 0.04, 0.09, 0.25, 0.25, 0.36]), np.array([3, 3, 3, 20, 20, 20])
    assert [0.05, 0.05, 0.1, 0.05, 0.05, 0.1] == pytest.approx(betting.oddities(scores, hours).tolist())
    night, day = 0.7 / 3, 1.6 / 3
    assert night - 0.1 == pytest.approx(betting.oddity(0.01, 3, scores, hours))
    assert 0.9 - day == pytest.approx(betting.oddity(0.81, 20, scores, hours))


def test_an_hour_without_windows_takes_its_hour_of_the_day_and_then_all() -> None:
    """Hour 3 of Tuesday is 27; hour 5 is of no day; -1 is no time; no window at all is level 0."""
    scores, hours = np.array([0.04, 0.04, 0.16]), np.array([3, 51, 10])
    assert [0.0, 0.2 / 3] == pytest.approx([betting.oddity(0.04, hour, scores, hours) for hour in (27, 5)])
    assert 0.2 == pytest.approx(betting.oddity(0.16, -1, np.array([0.04, 0.04, 1.0]), np.array([-1, -1, 7])))
    assert [0.5, 0.0] == [
        betting.oddity(0.25, 4, np.empty(0), np.empty(0, np.int64)),
        betting.oddities(np.zeros(1), np.zeros(1, np.int64))[0],
    ]


@pytest.mark.parametrize("ranks", [1, 2, 5, 40])
def test_a_bet_on_a_uniform_rank_pays_at_most_its_stake(ranks) -> None:
    """The mean over ranks of the capital after a bet is no more than before it, whatever lies on which exponent."""
    start = np.log(np.random.default_rng(1).dirichlet(np.ones(betting.BETS)))
    paid = []
    for rank in range(1, ranks + 1):
        capital = start.copy()
        total = betting.bet(capital, rank / ranks)
        assert total == pytest.approx(np.logaddexp.reduce(capital))
        paid.append(math.exp(total))
    assert np.mean(paid) <= 1 + 1e-12


def run(random, *, windows, change=None):
    """The greatest ln capital over a series of windows, ranked among 30 clean ones and those that came before."""
    clean, capital, most = list(random.normal(size=30)), betting.new_capital(), -math.inf
    for window in range(windows):
        score = random.normal(3.0 if change is not None and window >= change else 0.0)
        most = max(most, betting.bet(capital, betting.conformal_p(score, np.array(clean))))
        clean.append(score)
    return most


def test_clean_windows_keep_villes_bound_and_a_late_change_is_found() -> None:
    """300 series of 200 windows at α = 20 %; a change after 150 quiet windows within 20."""
    random = np.random.default_rng(6)
    assert sum(run(random, windows=200) >= math.log(5) for _ in range(300)) <= 60
    assert sum(run(random, windows=170, change=150) >= math.log(20) for _ in range(50)) >= 45
