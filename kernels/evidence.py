"""Anytime-valid tests on counts: how strongly what has been counted so far speaks against "nothing changed", whenever somebody looks.

Each function gives the logarithm of an e-value: a number whose mean is at most 1 while the hypothesis holds, so that over all looks
together it exceeds 1 / α with probability at most α (Ville). They are functions of counts alone: rows in any order, from any worker, give
the same. Test A, `log_any`: the live rows are exchangeable with the reference. Test B, `log_tolerance`: the live distribution is within a
ball around the reference. `log_detector`: there was no change after a quiet period. `e_bh`: which features of many.

Rows that depend on one another break the promise. Live and reference counts are divided by `tau`, the autocorrelation time of the
reference, before anything else; counts may be fractions. Slots without a reference gap are conditioned out: their rows count for nothing,
so arrays may be padded with them. Nothing raises, whatever the counts: no rows give log 1 = 0.
"""

from __future__ import annotations

import math

import numpy as np

from kernels.jit import kernel
from kernels.stirling import deviance, remainder

__all__ = [
    "EARLIEST_AGE", "LEVELS", "dyadic_starts", "e_bh", "log_against", "log_any", "log_any_each", "log_detector", "log_detector_each",
    "log_mean_exp", "log_rate", "log_tolerance", "log_tolerance_each", "reference_error", "urn_gaps",
]  # fmt: skip

LEVELS = 14  # of starts of the e-detector; a start is kept for 2 to the power of its level, times EARLIEST_AGE, windows
EARLIEST_AGE = 2
_HUGE = 1e200  # a product of ratios is written into the logarithm before it overflows
_BISECTIONS = 100
_LOG_2, _LOG_3 = math.log(2.0), math.log(3.0)
_LOG_PRIORS = math.log(7.0)  # of test A


@kernel("float64(float64[::1], float64[::1], float64[::1], float64, float64)", releases_gil=False)
def log_against(n: np.ndarray, rho: np.ndarray, theta: np.ndarray, flat: float, scale: float) -> float:
    """ln [DirMult_a(n) / Π θ_k^n_k] of a sequence with counts n, for a_k = flat + scale ρ_k: a prior's predictions against a fixed point.

    n, rho, theta: [bins]; rho and theta sum to 1. Stirling's formula for every Γ; what cancels over bins is left out.
    """
    rows = 0.0
    for k in range(n.shape[0]):
        rows += n[k]
    mass = flat * n.shape[0] + scale
    shrunk = math.log1p(rows / mass)
    result = 0.5 * shrunk - remainder(mass + rows) + remainder(mass)
    ratios = 1.0
    for k in range(n.shape[0]):
        a = flat + scale * rho[k]
        if n[k] <= 0.0:
            result += rows * theta[k] - a * shrunk
            continue
        result += deviance(a + n[k], (mass + rows) * theta[k]) - deviance(a, mass * theta[k]) + remainder(a + n[k]) - remainder(a)
        ratios *= (a + n[k]) / a
        if ratios > _HUGE:
            result -= 0.5 * math.log(ratios)
            ratios = 1.0
    return result - 0.5 * math.log(ratios)


@kernel("float64(float64, float64, float64)", releases_gil=False)
def _log_sum_of_three(a: float, b: float, c: float) -> float:
    top = max(a, b, c)
    return top + math.log(math.exp(a - top) + math.exp(b - top) + math.exp(c - top))


@kernel("float64(float64[::1], float64[::1], float64[::1], float64, float64, float64, float64)", releases_gil=False)
def _log_sum_against_urn(  # noqa: PLR0917 - numba takes no keywords
    n: np.ndarray, rho: np.ndarray, pooled: np.ndarray, mass: float, wide: float, narrow: float, flat: float
) -> float:
    """ln of the sum of E over priors of `wide` and `narrow` rows of ρ and, where `flat` > 0, one of `flat` a bin. pooled is overwritten.

    Priors and urn are held against live and reference rows pooled: from there neither is far, whichever has more rows. No prior is surer of
    ρ than the urn: one that would be is replaced by it.
    """
    rows = 0.0
    for k in range(n.shape[0]):
        rows += n[k]
    for k in range(n.shape[0]):
        pooled[k] = (mass * rho[k] + n[k]) / (mass + rows)
    urn = log_against(n, rho, pooled, 0.0, mass)
    first = log_against(n, rho, pooled, 0.0, wide) if wide < mass else urn
    second = log_against(n, rho, pooled, 0.0, narrow) if narrow < mass else urn
    third = log_against(n, rho, pooled, flat, 0.0) if flat > 0.0 else -math.inf
    return _log_sum_of_three(first - urn, second - urn, third - urn)


@kernel("int64(float64[::1], float64[::1], int64, float64, float64[:, ::1])", releases_gil=False)
def _grouped(n: np.ndarray, weights: np.ndarray, groups: int, mass: float, room: np.ndarray) -> int:
    """Sums of neighbouring bins, of about equal weight, into room[2] and room[3]; returns how many there are, at most `groups`."""
    found, group = 0, -1
    cumulative = 0.0
    for k in range(n.shape[0]):
        belongs = max(group, 0)
        while groups * (cumulative + 0.5 * weights[k]) >= (belongs + 1) * mass:
            belongs += 1
        if belongs != group:
            group = belongs
            room[2, found] = room[3, found] = 0.0
            found += 1
        room[2, found - 1] += n[k]
        room[3, found - 1] += weights[k]
        cumulative += weights[k]
    return found


@kernel("float64(float64[::1], float64[::1], float64[::1], float64, float64[:, ::1])", releases_gil=False)
def _log_urn(now: np.ndarray, before: np.ndarray, gaps: np.ndarray, tau: float, room: np.ndarray) -> float:
    """Test A of the rows counted since `before`, which count as reference. room: [5, at least bins], overwritten."""
    bins = 0
    rows = mass = 0.0
    for k in range(gaps.shape[0]):
        if gaps[k] > 0.0:
            room[0, bins] = max(now[k] - before[k], 0.0)
            room[1, bins] = gaps[k] + max(before[k], 0.0)
            rows += room[0, bins]
            mass += room[1, bins]
            bins += 1
    if bins < 2 or not rows > 0.0:
        return 0.0
    n, rho = room[0, :bins], room[1, :bins]
    coarse, middling = _LOG_2, _LOG_2
    for groups in (4, 8):  # coarser views of the same urn; before the counts are divided, so that a bin's group is exact
        found = _grouped(n, rho, groups, mass, room)
        if found < 2:
            continue
        for k in range(found):
            room[2, k] /= tau
            room[3, k] /= mass
        summed = _log_sum_against_urn(room[2, :found], room[3, :found], room[4, :found], mass / tau, 30.0, 300.0, 0.0)
        if groups == 4:
            coarse = summed
        else:
            middling = summed
    for k in range(bins):
        n[k] /= tau
        rho[k] /= mass
    fine = _log_sum_against_urn(n, rho, room[4, :bins], mass / tau, 100.0, 1000.0, 0.5)
    return _log_sum_of_three(fine, middling, coarse) - _LOG_PRIORS


@kernel("float64(float64[::1], float64[::1], float64)", releases_gil=False)
def log_any(n: np.ndarray, gaps: np.ndarray, tau: float) -> float:
    """Test A, any change: ln E of live counts against a Pólya urn that starts with the gaps between order statistics of the reference.

    n: [slots] live counts. gaps: [slots], `urn_gaps` for a continuous feature. Exact under exchangeability, a finite reference included:
    the bins of new rows then follow the urn, and so do groups of neighbouring bins. The alternative is the mean of seven Dirichlet priors:
    of all bins ½ each (Krichevsky, Trofimov), and 100 and 1,000 rows with the reference's proportions; of eight and of four groups of about
    equal weight, 30 and 300 rows. Those of few groups find shifts of the mean in half the rows, those of many bins a change of any shape.
    No prior is surer of the reference's proportions than its urn: else rows that are more alike than chance makes them, as counts divided
    by a tau that is on the safe side are, would be evidence of a change. Slots are in the order of their values. Vovk et al., arXiv
    2102.10439; Lindon and Malek, arXiv 2011.03567.
    """
    return _log_urn(n, np.zeros_like(n), gaps, tau, np.empty((5, n.shape[0])))


@kernel("void(float64[:, ::1], float64[:, ::1], float64[::1], float64[::1])")
def log_any_each(n: np.ndarray, gaps: np.ndarray, tau: np.ndarray, out: np.ndarray) -> None:
    """`log_any` of many features in one call. n, gaps: [features, slots]; tau, out: [features]."""
    room, nothing = np.empty((5, n.shape[1])), np.zeros(n.shape[1])
    for feature in range(n.shape[0]):
        out[feature] = _log_urn(n[feature], nothing, gaps[feature], tau[feature], room)


@kernel("Tuple((float64, int64))(float64[:, ::1], float64[::1], float64[::1], float64, float64[:, ::1])", releases_gil=False)
def _log_sum_of_starts(starts: np.ndarray, now: np.ndarray, gaps: np.ndarray, tau: float, room: np.ndarray) -> tuple[float, int]:
    strongest, top, total = -1, -math.inf, 0.0
    for start in range(starts.shape[0]):
        log_e = _log_urn(now, starts[start], gaps, tau, room)
        if log_e > top:
            total = total * math.exp(top - log_e) + 1.0
            strongest, top = start, log_e
        else:
            total += math.exp(log_e - top)
    return (top + math.log(total) if strongest >= 0 else -math.inf), strongest


@kernel("Tuple((float64, int64))(float64[:, ::1], float64[::1], float64[::1], float64)")
def log_detector(starts: np.ndarray, now: np.ndarray, gaps: np.ndarray, tau: float) -> tuple[float, int]:
    """The e-detector: (ln M, which start is the strongest). M is the sum over starts of E of what was counted since.

    starts: [starts, slots] cumulative live counts at the beginnings of earlier windows, those that `dyadic_starts` names; now: [slots].
    What was counted before a start belongs to its reference. An alarm at M ≥ C comes on average after no fewer than C windows while
    nothing changes; the strongest start says when it did. ln M is -inf and the start -1 while there are none. Shin, Ramdas and Rinaldo,
    arXiv 2203.03532.
    """
    return _log_sum_of_starts(starts, now, gaps, tau, np.empty((5, now.shape[0])))


@kernel("void(float64[:, :, ::1], float64[:, ::1], float64[:, ::1], float64[::1], float64[::1], int64[::1])")
def log_detector_each(  # noqa: PLR0917 - numba takes no keywords
    starts: np.ndarray, now: np.ndarray, gaps: np.ndarray, tau: np.ndarray, out: np.ndarray, strongest: np.ndarray
) -> None:
    """`log_detector` of many features. starts: [features, starts, slots]; now, gaps: [features, slots]; tau, out, strongest: [features]."""
    room = np.empty((5, now.shape[1]))
    for feature in range(now.shape[0]):
        out[feature], strongest[feature] = _log_sum_of_starts(starts[feature], now[feature], gaps[feature], tau[feature], room)


@kernel("float64(float64[::1], float64[::1], float64[::1], float64)", releases_gil=False)
def _divergence_of_mixture(n: np.ndarray, rho: np.ndarray, theta: np.ndarray, share: float) -> float:
    """KL(ρ‖θ) in nats for θ = share n + (1 − share) ρ, which is written; n and rho are proportions.

    As Σ ρ ln (ρ / θ) + θ − ρ, whose terms are as small as it is: what rounding leaves of Σ θ − ρ does not count.
    """
    result = 0.0
    for k in range(n.shape[0]):
        theta[k] = rho[k] + share * (n[k] - rho[k])
        if rho[k] <= 0.0:
            result += theta[k]
            continue
        if theta[k] <= 0.0:
            return math.inf
        result += deviance(rho[k], theta[k])
    return result


@kernel("float64(float64[::1], float64[::1], float64, float64, float64[:, ::1])", releases_gil=False)
def _log_ball(n: np.ndarray, rho: np.ndarray, epsilon: float, tau: float, room: np.ndarray) -> float:
    """Test B. room: [4, at least bins], overwritten."""
    counts, reference, live, theta = room[0], room[1], room[2], room[3]
    bins = 0
    rows = mass = 0.0
    for k in range(n.shape[0]):
        if rho[k] >= 0.0:
            counts[bins], reference[bins] = max(n[k], 0.0) / tau, rho[k]
            rows += counts[bins]
            mass += reference[bins]
            bins += 1
    if bins < 2 or not (rows > 0.0 and mass > 0.0):
        return 0.0
    counts, reference, live, theta = counts[:bins], reference[:bins], live[:bins], theta[:bins]
    for k in range(bins):
        reference[k] /= mass
        live[k] = counts[k] / rows
    if _divergence_of_mixture(live, reference, theta, 1.0) > epsilon:
        low, high = 0.0, 1.0
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            if middle in (low, high):  # no other double lies between them
                break
            if _divergence_of_mixture(live, reference, theta, middle) > epsilon:
                high = middle
            else:
                low = middle
        _divergence_of_mixture(live, reference, theta, high)
    wide, near = log_against(counts, reference, theta, 0.5, 0.0), log_against(counts, reference, theta, 0.5, 100.0)
    return _log_sum_of_three(wide, near, log_against(counts, reference, theta, 0.5, 1000.0)) - _LOG_3


@kernel("float64(float64[::1], float64[::1], float64, float64)", releases_gil=False)
def log_tolerance(n: np.ndarray, rho: np.ndarray, epsilon: float, tau: float) -> float:
    """Test B, a change that matters: ln E against every live distribution θ with KL(ρ‖θ) ≤ epsilon nats at once (universal inference).

    n: [slots] live counts; rho: [slots] reference counts or proportions, which may be 0; negative ones are no slots. PSI is about twice
    epsilon: 0.05 nats for 0.1, 0.125 for 0.25. The likeliest of those θ is a mixture of live and reference proportions, found by
    bisection. The alternative is the mean of three Dirichlet priors: ½ a slot, and that with 100 and 1,000 rows of the reference's
    proportions. Of the reference's own error epsilon must leave room for `reference_error`. With two slots it is a test of a rate, on
    both sides. Wasserman, Ramdas and Balakrishnan, PNAS 2020.
    """
    return _log_ball(n, rho, epsilon, tau, np.empty((4, n.shape[0])))


@kernel("void(float64[:, ::1], float64[:, ::1], float64[::1], float64[::1], float64[::1])")
def log_tolerance_each(n: np.ndarray, rho: np.ndarray, epsilon: np.ndarray, tau: np.ndarray, out: np.ndarray) -> None:
    """`log_tolerance` of many features in one call. n, rho: [features, slots]; epsilon, tau, out: [features]."""
    room = np.empty((4, n.shape[1]))
    for feature in range(n.shape[0]):
        out[feature] = _log_ball(n[feature], rho[feature], epsilon[feature], tau[feature], room)


@kernel("float64(float64, float64, float64, float64)", releases_gil=False)
def log_rate(hits: float, rows: float, limit: float, tau: float) -> float:
    """ln E against "at most `limit` of all rows are hits", for rates of null, out-of-range or unseen values; only an excess speaks.

    hits of rows, both counts; limit: a proportion, the reference's rate with what is tolerated above it. The alternative is Beta(½, ½).
    """
    n = np.empty(2)
    n[0], n[1] = max(hits, 0.0) / tau, max(rows - hits, 0.0) / tau
    total = n[0] + n[1]
    if not total > 0.0 or not limit < 1.0:
        return 0.0
    theta = np.empty(2)
    theta[0] = max(min(limit, n[0] / total), 0.0)
    theta[1] = 1.0 - theta[0]
    if n[0] > 0.0 and theta[0] <= 0.0:
        return math.inf
    return log_against(n, theta, theta, 0.5, 0.0)


def urn_gaps(counts: np.ndarray) -> np.ndarray:
    """Gaps of the urn for a continuous feature, [bins + 2]: below, every bin, above. Their sum is one more than the reference's rows.

    counts: [bins] reference rows in bins (edge, next edge] whose edges are order statistics, the first one just below the least.
    """
    gaps = np.concatenate(([1.0], np.asarray(counts, np.float64), [1.0]))
    gaps[1] = max(gaps[1] - 1.0, 0.0)
    return gaps


def dyadic_starts(windows: int) -> list[int]:
    """Which beginnings of windows are kept when `windows` of them have passed, ascending; each was kept since it was the newest.

    A beginning is the number of windows before it. It is kept for EARLIEST_AGE times the greatest power of two that divides it, at most
    2 ** (LEVELS - 1): one of each level, so ages double, memory is bounded, and the oldest is younger than 2 ** LEVELS windows.
    """
    kept = []
    for level in range(LEVELS):
        step = 1 << level
        oldest = max(windows - EARLIEST_AGE * step + 1, 0)
        candidates = range(-(-oldest // step) * step, windows, step)
        kept += [start for start in candidates if (start >> level) & 1 or level == LEVELS - 1]
    return sorted(kept)


def e_bh(log_e: np.ndarray, q: float) -> np.ndarray:
    """Which of many hypotheses fall, bool [features]: at most a share q of those is expected to be true, whatever their dependence.

    log_e: [features] of one moment, not the greatest so far. Wang and Ramdas, 2022.
    """
    log_e = np.asarray(log_e, np.float64)
    order = np.argsort(-log_e, kind="stable")
    ranks = np.arange(1, log_e.size + 1)
    passed = np.flatnonzero(log_e[order] >= np.log(log_e.size / (ranks * q))) if log_e.size else order
    fallen = np.zeros(log_e.size, bool)
    fallen[order[: passed[-1] + 1 if passed.size else 0]] = True
    return fallen


def log_mean_exp(log_e: np.ndarray) -> float:
    """ln of the mean of e-values, which is an e-value under any dependence between them; 0 of none."""
    log_e = np.asarray(log_e, np.float64)
    if not log_e.size:
        return 0.0
    top = float(log_e.max())
    return top if math.isinf(top) else top + math.log(float(np.exp(log_e - top).mean()))


def reference_error(bins: int, rows: float, delta: float) -> float:
    """Nats within which KL(reference‖truth) lies with probability 1 − delta: a bound of χ² (Laurent, Massart 2000) over twice the rows."""
    freedom, odds = max(bins - 1, 0), math.log(1.0 / delta)
    return (freedom + 2.0 * math.sqrt(freedom * odds) + 2.0 * odds) / (2.0 * max(rows, 1.0))
