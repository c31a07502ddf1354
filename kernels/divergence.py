"""How far live counts are from reference counts in the same bins: one number for each of nine questions, none of them a test.

n: live counts, c: reference counts, float64 of one length; p = c / Σc and q = n / Σn. They may be fractions. Exact for the counts; what
that says about the values behind them is in the docstrings of `ks` and `wasserstein`. PSI and KL are of smoothed proportions, since an
empty bin would make them infinite: p_k = (c_k + ½) / (m + K/2) and q_k = (n_k + p_k) / (n + 1), one row's worth of the reference. All are
0 where either side has no rows, and none raises. Plug-in divergences are biased upwards: see `psi_null_mean`.
"""

from __future__ import annotations

import math

import numpy as np

from kernels.jit import kernel

__all__ = [
    "DIVERGENCES", "chi_squared", "divergences", "divergences_categorical", "hellinger", "interquartile_range", "js_distance_bits", "kl",
    "ks", "l_infinity", "psi", "psi_null_mean", "psi_terms", "total_variation", "wasserstein",
]  # fmt: skip

DIVERGENCES = ("psi", "kl", "js_distance_bits", "hellinger", "total_variation", "l_infinity", "chi_squared", "ks", "wasserstein")
UNORDERED = 7  # of them, the first ones, need no order of the bins

_PAIR = "float64(float64[::1], float64[::1])"


@kernel("float64[::1](float64[::1], float64[::1])", releases_gil=False)
def psi_terms(n: np.ndarray, c: np.ndarray) -> np.ndarray:
    """What each bin adds to `psi`, [bins]."""
    rows, reference = n.sum(), c.sum()
    terms = np.zeros(n.shape[0])
    if rows > 0.0 and reference > 0.0:
        for k in range(n.shape[0]):
            p = (c[k] + 0.5) / (reference + 0.5 * n.shape[0])
            q = (n[k] + p) / (rows + 1.0)
            terms[k] = (q - p) * math.log(q / p)
    return terms


@kernel(_PAIR, releases_gil=False)
def psi(n: np.ndarray, c: np.ndarray) -> float:
    """Population stability index Σ (q − p) ln (q / p), nats, smoothed: KL in both directions."""
    return float(psi_terms(n, c).sum())


@kernel(_PAIR, releases_gil=False)
def kl(n: np.ndarray, c: np.ndarray) -> float:
    """Kullback-Leibler divergence KL(live‖reference) = Σ q ln (q / p), nats, smoothed."""
    rows, reference = n.sum(), c.sum()
    result = 0.0
    if rows > 0.0 and reference > 0.0:
        for k in range(n.shape[0]):
            p = (c[k] + 0.5) / (reference + 0.5 * n.shape[0])
            q = (n[k] + p) / (rows + 1.0)
            result += q * math.log(q / p)
    return max(result, 0.0)


@kernel(_PAIR, releases_gil=False)
def js_distance_bits(n: np.ndarray, c: np.ndarray) -> float:
    """Jensen-Shannon distance, base 2: √[(KL(p‖m) + KL(q‖m)) / 2] with m = (p + q) / 2; 0 … 1."""
    rows, reference = n.sum(), c.sum()
    result = 0.0
    if rows > 0.0 and reference > 0.0:
        for k in range(n.shape[0]):
            p, q = c[k] / reference, n[k] / rows
            if p == q:
                continue
            # p ln (p / m) + q ln (q / m) in v = (p − q) / (p + q), whose first orders cancel.
            v = (p - q) / (p + q)
            if abs(v) < 1e-4:
                result += 0.5 * (p + q) * v * v * (1.0 + v * v / 6.0)
            else:
                if p > 0.0:
                    result += p * math.log1p(v)
                if q > 0.0:
                    result += q * math.log1p(-v)
    return math.sqrt(max(result, 0.0) / (2.0 * math.log(2.0)))


@kernel(_PAIR, releases_gil=False)
def hellinger(n: np.ndarray, c: np.ndarray) -> float:
    """Hellinger distance √[½ Σ (√p − √q)²] = √[1 − Σ √(p q)]; 0 … 1."""
    rows, reference = n.sum(), c.sum()
    result = 0.0
    if rows > 0.0 and reference > 0.0:
        for k in range(n.shape[0]):
            result += (math.sqrt(c[k] / reference) - math.sqrt(n[k] / rows)) ** 2
    return math.sqrt(min(0.5 * result, 1.0))


@kernel(_PAIR, releases_gil=False)
def total_variation(n: np.ndarray, c: np.ndarray) -> float:
    """½ Σ |p − q|: the share of rows that would have to move to another bin; 0 … 1."""
    rows, reference = n.sum(), c.sum()
    result = 0.0
    if rows > 0.0 and reference > 0.0:
        for k in range(n.shape[0]):
            result += abs(c[k] / reference - n[k] / rows)
    return 0.5 * result


@kernel(_PAIR, releases_gil=False)
def l_infinity(n: np.ndarray, c: np.ndarray) -> float:
    """max |p − q|: the change of the bin that changed most; 0 … 1."""
    rows, reference = n.sum(), c.sum()
    result = 0.0
    if rows > 0.0 and reference > 0.0:
        for k in range(n.shape[0]):
            result = max(result, abs(c[k] / reference - n[k] / rows))
    return result


@kernel(_PAIR, releases_gil=False)
def chi_squared(n: np.ndarray, c: np.ndarray) -> float:
    """χ² of homogeneity, Σ (observed − expected)² / expected over the 2 × K table; bins that are empty on both sides are left out.

    Without drift its mean is one less than the bins that are not. It grows with the rows: for sizes of a change take the others.
    """
    rows, reference = n.sum(), c.sum()
    result = 0.0
    if rows > 0.0 and reference > 0.0:
        for k in range(n.shape[0]):
            if n[k] + c[k] > 0.0:
                result += (n[k] / rows - c[k] / reference) ** 2 / (n[k] + c[k])
    return float(result * rows * reference)


@kernel(_PAIR, releases_gil=False)
def ks(n: np.ndarray, c: np.ndarray) -> float:
    """Kolmogorov-Smirnov statistic max |F − G| at the edges of ordered bins. That of the values lies above it by at most max(p_k, q_k)."""
    rows, reference = n.sum(), c.sum()
    result = 0.0
    if rows > 0.0 and reference > 0.0:
        difference = 0.0
        for k in range(n.shape[0]):
            difference += c[k] / reference - n[k] / rows
            result = max(result, abs(difference))
    return result


@kernel("float64(float64[::1], float64[::1], float64[::1], float64, float64)", releases_gil=False)
def wasserstein(n: np.ndarray, c: np.ndarray, edges: np.ndarray, tail_low: float, tail_high: float) -> float:
    """Wasserstein-1 distance ∫ |F − G| in the feature's unit, by the trapezoid rule between edges, and exactly outside them.

    n, c: [bins + 2], below, the bins, above. edges: [bins + 1], of which the outer ones are the reference's least and greatest value.
    tail_low, tail_high: Σ (edges[0] − x) over live values below and Σ (x − edges[bins]) over those above. It is the mean of the distances
    with every bin's mass at its lower and at its upper edge; from that of the values it differs by at most Σ width_k max(p_k, q_k).
    """
    rows, reference = n.sum(), c.sum()
    if not (rows > 0.0 and reference > 0.0):
        return 0.0
    result: float = (tail_low + tail_high) / rows
    difference = c[0] / reference - n[0] / rows
    for k in range(edges.shape[0] - 1):
        before = abs(difference)
        difference += c[k + 1] / reference - n[k + 1] / rows
        result += 0.5 * (before + abs(difference)) * (edges[k + 1] - edges[k])
    return result


@kernel("float64(float64[::1], float64[::1])", releases_gil=False)
def interquartile_range(c: np.ndarray, edges: np.ndarray) -> float:
    """Between the quartiles of reference counts, in the feature's unit, interpolated in bins: what `wasserstein` may be divided by.

    c: [bins]; edges: [bins + 1]. 0 of no rows, and of a feature of which one value has half of all rows or more it may be tiny.
    """
    reference = c.sum()
    low = high = 0.0
    seen = 0.0
    for k in range(c.shape[0]):
        for quarter in (1, 3):
            wanted = 0.25 * quarter * reference
            if seen < wanted <= seen + c[k]:
                at = edges[k] + (edges[k + 1] - edges[k]) * ((wanted - seen) / c[k])
                if quarter == 1:
                    low = at
                else:
                    high = at
        seen += c[k]
    return max(high - low, 0.0)


@kernel("void(float64[::1], float64[::1], float64[::1])", releases_gil=False)
def _unordered(n: np.ndarray, c: np.ndarray, out: np.ndarray) -> None:
    out[0], out[1], out[2], out[3] = psi(n, c), kl(n, c), js_distance_bits(n, c), hellinger(n, c)
    out[4], out[5], out[6] = total_variation(n, c), l_infinity(n, c), chi_squared(n, c)


@kernel("void(float64[::1], float64[::1], float64[::1])", releases_gil=False)
def divergences_categorical(n: np.ndarray, c: np.ndarray, out: np.ndarray) -> None:
    """The first seven of DIVERGENCES into out [9]; the last two become NaN: categories have no order. n, c: [slots]."""
    _unordered(n, c, out)
    out[7] = out[8] = math.nan


@kernel("void(float64[:, ::1], float64[:, ::1], int64[::1], float64[:, ::1], float64[:, ::1], float64[:, ::1])")
def divergences(  # noqa: PLR0917 - numba takes no keywords
    n: np.ndarray, c: np.ndarray, bins: np.ndarray, edges: np.ndarray, tails: np.ndarray, out: np.ndarray
) -> None:
    """DIVERGENCES of all features of a group of numeric features in one call, into out [features, 9].

    n, c: [features, slots] as a profile orders them: -inf, below, bins, above, +inf, padding, and NaN in the last slot. bins: [features];
    edges: [features, at least the most bins + 1]; tails: [2, features], as `wasserstein` takes them. The first seven are of all slots,
    so that missing and infinite values are part of the distribution; `ks` leaves NaN out; `wasserstein` is of finite values.
    """
    live, reference = np.empty(n.shape[1]), np.empty(n.shape[1])
    for feature in range(n.shape[0]):
        count = bins[feature]
        ordered = count + 4
        live[:ordered], reference[:ordered] = n[feature, :ordered], c[feature, :ordered]
        live[ordered], reference[ordered] = n[feature, -1], c[feature, -1]
        _unordered(live[: ordered + 1], reference[: ordered + 1], out[feature])
        out[feature, 7] = ks(live[:ordered], reference[:ordered])
        out[feature, 8] = wasserstein(
            live[1 : ordered - 1], reference[1 : ordered - 1], edges[feature, : count + 1], tails[0, feature], tails[1, feature]
        )


def psi_null_mean(bins: int, rows: float, reference_rows: float) -> float:
    """What PSI is on average when nothing changed: (K − 1)(1/n + 1/m), to be shown beside it. inf while either side has no rows.

    bins: those that the reference has rows in. Yurdakul 2018: PSI is then about (1/n + 1/m) χ² with K − 1 degrees of freedom.
    """
    if not (rows > 0 and reference_rows > 0):
        return math.inf
    return max(bins - 1, 0) * (1.0 / rows + 1.0 / reference_rows)
