"""When detectors alarm on a stream: ours, from counts, and the two rules that most monitoring runs on, from counts and values.

Detectors of other projects run in an environment of their own (`peers.drift`).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from scipy import stats

from benchmarks.drift_streams import BINS, DAY_ROWS, HOUR_ROWS, LOOK_ROWS, Stream, slots_of
from kernels.betting import bet, conformal_p, new_capital, oddities, oddity
from kernels.divergence import psi
from kernels.evidence import dyadic_starts, log_any, log_detector, log_tolerance

KS_LEVEL, PSI_LEVEL = 0.05, 0.1
PSI_BINS, PSI_ROWS, KS_ROWS = 30, 500, 1_000
EMPTY_BIN = 1e-4  # what a share of 0 is often taken for


def log_e_any(stream: Stream, tau: float | None = None) -> np.ndarray:
    """ln E at every look."""
    gaps, tau = stream.gaps, stream.tau if tau is None else tau
    return np.array([log_any(now, gaps, tau) for now in stream.cumulative()[1:]])


def log_e_tolerance(stream: Stream, epsilon: float) -> np.ndarray:
    """ln E at every look."""
    counts, tau = stream.counts, stream.tau
    return np.array([log_tolerance(now, counts, epsilon, tau) for now in stream.cumulative()[1:]])


def detector(stream: Stream, *, until: float = math.inf) -> np.ndarray:
    """ln M after every window, to the first that reaches `until`."""
    gaps, tau, cumulative = stream.gaps, stream.tau, stream.cumulative()
    path = []
    for windows in range(1, len(cumulative)):
        path.append(log_detector(cumulative[_starts(windows)], cumulative[windows], gaps, tau)[0])
        if path[-1] >= until:
            break
    return np.array(path)


@cache
def _starts(windows: int) -> np.ndarray:
    return np.array(dyadic_starts(windows))


def by_hour(stream: Stream) -> np.ndarray:
    """ln of the capital after every hour: how odd the PSI of its rows is for the hour of the day, ranked among the hours before it."""
    counts, day = stream.counts, DAY_ROWS // HOUR_ROWS
    reference = stream.reference[: stream.reference.size // HOUR_ROWS * HOUR_ROWS].reshape(-1, HOUR_ROWS)
    windows = [slots_of(rows, stream.edges) for rows in reference]
    scores, hours = np.array([psi(rows, counts - rows) for rows in windows]), np.arange(len(windows)) % day
    clean, capital, path = oddities(scores, hours).tolist(), new_capital(), []
    for hour, rows in enumerate(np.diff(stream.cumulative(HOUR_ROWS), axis=0), start=len(windows)):
        clean.append(oddity(psi(rows, counts), hour % day, scores, hours))
        path.append(bet(capital, conformal_p(clean[-1], np.array(clean[:-1]))))
    return np.array(path)


def ks_windows(stream: Stream) -> np.ndarray:
    """Whether the two-sample test of scipy has p < 0.05, for each window of 1,000 rows."""
    size = stream.live.size // KS_ROWS * KS_ROWS
    found = [_ks(np.sort(window), np.sort(stream.reference)) for window in stream.live[:size].reshape(-1, KS_ROWS)]
    return np.array(found) > critical_ks(KS_ROWS, stream.reference.size)


def ks_cumulative(stream: Stream) -> np.ndarray:
    """The same of all rows so far, at every look."""
    ordered = np.sort(stream.reference)
    places = np.searchsorted(ordered, stream.live, side="left")  # rows in (x_i-1, x_i] fall at i
    seen, found = np.zeros(ordered.size + 1), []
    below = np.arange(ordered.size + 1) / ordered.size
    for look in range(1, stream.live.size // LOOK_ROWS + 1):
        seen += np.bincount(places[(look - 1) * LOOK_ROWS : look * LOOK_ROWS], minlength=ordered.size + 1)
        share = np.cumsum(seen) / (look * LOOK_ROWS)
        greatest = max(np.abs(below - share).max(), np.abs(below[1:] - share[:-1]).max())
        found.append(greatest > critical_ks(look * LOOK_ROWS, ordered.size))
    return np.array(found)


def _ks(one: np.ndarray, other: np.ndarray) -> float:
    """The statistic of two sorted samples without ties."""
    below = np.searchsorted(other, one, side="right") / other.size
    steps = np.arange(one.size + 1) / one.size
    return float(max((steps[1:] - below).max(), (below - steps[:-1]).max()))


@cache
def critical_ks(rows: int, reference_rows: int) -> float:
    """The statistic above which scipy's asymptotic two-sample p-value is below 0.05."""
    return float(stats.kstwo.isf(KS_LEVEL, round(rows * reference_rows / (rows + reference_rows))))


def psi_windows(stream: Stream) -> np.ndarray:
    """Whether PSI exceeds 0.1, for each window of 500 rows, in 30 bins of the reference's quantiles, empty bins taken for 1e-4."""
    edges = np.quantile(stream.reference, np.arange(1, PSI_BINS) / PSI_BINS)
    windows = stream.live.size // PSI_ROWS
    flat = np.searchsorted(edges, stream.live[: windows * PSI_ROWS]) + PSI_BINS * (np.arange(windows * PSI_ROWS) // PSI_ROWS)
    q = np.maximum(np.bincount(flat, minlength=windows * PSI_BINS).reshape(windows, PSI_BINS) / PSI_ROWS, EMPTY_BIN)
    p = np.bincount(np.searchsorted(edges, stream.reference), minlength=PSI_BINS) / stream.reference.size
    return ((q - p) * np.log(q / p)).sum(axis=1) > PSI_LEVEL


def first(path: np.ndarray, level: float, rows: int = LOOK_ROWS) -> float:
    """After how many rows a path reaches a level; inf if never."""
    reached = np.flatnonzero(path >= level)
    return float((reached[0] + 1) * rows) if reached.size else math.inf


def check() -> None:
    """The fast forms of the rules agree with scipy's own on one stream. BINS is not theirs."""
    assert BINS != PSI_BINS
    random = np.random.default_rng(1)
    one, other = random.normal(size=300), random.normal(0.1, size=900)
    assert abs(_ks(np.sort(one), np.sort(other)) - stats.ks_2samp(one, other, method="asymp").statistic) < 1e-12
    test = stats.ks_2samp(one, other, method="asymp")
    assert (test.pvalue < KS_LEVEL) == (test.statistic > critical_ks(300, 900))
