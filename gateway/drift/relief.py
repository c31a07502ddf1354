"""Whether a feature that had moved has come back: what recent rows say for the reference, against what the feature had moved to. Pure."""

from __future__ import annotations

import math

import numpy as np

from gateway.drift.policy import Policy
from gateway.drift.states import Event, State
from kernels.divergence import psi, psi_null_mean

_SPREADS = 5.0  # of PSI by chance above its mean: more is no chance, also where the reference happens to lie far from its own truth
_ODDS = 1_000.0  # for the reference; asked every second, smaller odds would come up by themselves


def relief(state: State, recent: np.ndarray, moved: np.ndarray, reference: np.ndarray, *, tau: float, policy: Policy) -> Event | None:
    """CALM, EASED or nothing. Counts of one feature's slots [K]: of the cool-down, of the time since the change before that, of the
    reference."""
    if recent.sum() < policy.min_rows:
        return None
    distance, by_chance, spread = _psi(recent, reference, tau)
    if distance <= by_chance + _SPREADS * spread and came_back(recent, moved, reference, tau=tau):
        return Event.CALM
    level = {State.WARN: policy.warn_psi, State.ALARM: policy.alarm_psi}.get(state)
    return Event.EASED if level is not None and distance - by_chance < policy.hysteresis * level else None


def came_back(recent: np.ndarray, moved: np.ndarray, reference: np.ndarray, *, tau: float) -> bool:
    """Whether recent rows are 1,000 times as likely under the reference's proportions as under what was learned of the rows that had moved.

    "Learned" is the prediction of a Dirichlet prior with ½ a slot that has seen those rows: it knows how little it has seen. Rows beyond as
    many as the reference has count no more, since its own error would speak louder than they.
    """
    rows = float(reference.sum())
    n = recent / tau * min(1.0, rows / max(float(recent.sum()), 1.0))
    rho = (reference + 0.5) / (rows + len(reference) / 2)
    return float(n @ np.log(rho)) - _predicted(n, np.maximum(moved, 0) / tau) >= math.log(_ODDS)


def _psi(recent: np.ndarray, reference: np.ndarray, tau: float) -> tuple[float, float, float]:
    """(PSI, its mean and its spread by chance); by chance it is (1/n + 1/m) χ², Yurdakul 2018."""
    filled, n, m = int((reference > 0).sum()), float(recent.sum()) / tau, float(reference.sum()) / tau
    spread = math.sqrt(2 * max(filled - 1, 1)) * (1 / n + 1 / m)
    return float(psi(recent.astype(np.float64), reference)), psi_null_mean(filled, n, m), spread


def _predicted(n: np.ndarray, seen: np.ndarray) -> float:
    """ln of the probability of a sequence with counts n, after counts `seen`: Dirichlet-multinomial, [K] both."""
    prior = (seen + 0.5).tolist()
    gained = sum(math.lgamma(a + more) - math.lgamma(a) for a, more in zip(prior, n.tolist(), strict=True))
    return gained + math.lgamma(sum(prior)) - math.lgamma(sum(prior) + float(n.sum()))
