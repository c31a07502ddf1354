"""How often evidence is looked at: by what a look costs."""

from __future__ import annotations

from gateway.control.referee import DECIDE_S, REST, TICK_S, pause_s


def test_few_rollouts_are_looked_at_in_every_tick_and_many_once_a_second() -> None:
    """So looks take a twentieth of a core at most, unless one takes longer than that of a second."""
    assert pause_s(0.002) < TICK_S
    assert 20 * 0.03 == pause_s(0.03)
    assert DECIDE_S == pause_s(1.0)
    assert all(cost_s / pause_s(cost_s) <= 1 / REST + 1e-9 for cost_s in (0.001, 0.01, 0.049))
