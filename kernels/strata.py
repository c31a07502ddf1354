"""A test of which of two arms is slower, where what makes calls slow is not spread evenly over the arms: within blocks of like calls.

A small arm makes small batches, and a call's time depends on its batch. So calls, one of each batch, are laid into strata of equal batch
size, and each stratum's into blocks of `BLOCK`, in the order in which they come. Where the arm makes no difference to a call of a given
stratum, any calls of a block are as likely to be the candidate's as any others: how many of those above an edge are is hypergeometric,
given how many calls are above it and how many are the candidate's. That holds for any split and any load, also those that move from block
to block. Where the odds of being above the edge are ψ times as high in the candidate it is Fisher's noncentral distribution, and likelihood
ratios of several ψ multiply over blocks and strata to an e-value: exact for ψ = 1 and, since the ratio is monotone, for every candidate
that is faster.

Of the difference of rates above an edge, block by block it is at most 1 and in the mean that of its stratum: a bet of λ on its staying
below δ multiplies capital by 1 + λ (δ − difference), whose mean is at most 1 while it does not.

Assumed is that calls of a stratum and a block are alike but for the arm: within one, load and split must not move together. All calls of a
batch take as long, so of each batch one may be given: many would count one run many times.
"""

from __future__ import annotations

import math

import numpy as np

from kernels.jit import kernel, part

__all__ = ["BLOCK", "STAKES", "STRATA", "add_calls", "close_blocks", "strata_of"]

BLOCK = 64  # calls; a block of n tells 1 − 1/n of what the true split would
STRATA = 96
STAKES = 12  # from a fiftieth to nine tenths of what is ever possible
_LEAST_STAKE, _GREATEST_STAKE = math.log(0.02), math.log(0.9)
_EXACT_ROWS = 16  # batch sizes up to here are strata of their own, then there are eight to each doubling


def strata_of(batch_rows: np.ndarray) -> np.ndarray:
    """The stratum of each call, int64 [calls]. batch_rows: of the run that it was part of."""
    rows = np.maximum(batch_rows.astype(np.float64), 1.0)
    wide = _EXACT_ROWS + np.floor(8.0 * np.log2(rows / _EXACT_ROWS) + 1e-9)
    return np.where(rows <= _EXACT_ROWS, rows - 1, np.minimum(wide, STRATA - 1)).astype(np.int64)


@part()
def _add_edge(  # noqa: PLR0917 - numba takes no keywords
    calls: int, ours: int, above: int, log_points: np.ndarray, log_mass: np.ndarray, edge: int, chances: np.ndarray
) -> None:
    """ln of the mean of ψ^X for each ψ, X hypergeometric: added to log_mass[edge]."""
    least, most = max(0, above - (calls - ours)), min(above, ours)
    chances[0] = 1.0
    total = 1.0
    for x in range(least, most):
        at = x - least
        chances[at + 1] = chances[at] * ((above - x) * (ours - x)) / ((x + 1.0) * (calls - ours - above + x + 1.0))
        total += chances[at + 1]
    for p in range(log_points.shape[0]):
        psi = math.exp(log_points[p])
        value = 0.0
        for at in range(most - least, -1, -1):
            value = value * psi + chances[at]
        log_mass[edge, p] += math.log(value / total) + least * log_points[p]


@kernel(
    "void(float64[::1], boolean[::1], int64, float64[::1], float64[::1], float64, float64[::1], float64[:, ::1], float64[:, ::1])",
    releases_gil=False,
)
def _add_block(  # noqa: PLR0917 - numba takes no keywords
    values: np.ndarray, ours: np.ndarray, calls: int, edges: np.ndarray, log_points: np.ndarray, margin: float, hits: np.ndarray,
    log_mass: np.ndarray, log_capital: np.ndarray,
) -> None:  # fmt: skip
    """One block: values, ours: [at least calls]."""
    chances = np.empty(BLOCK + 1)
    candidates = 0
    for i in range(calls):
        candidates += ours[i]
    if candidates in (0, calls):
        return
    for edge in range(edges.shape[0]):
        above = both = 0
        for i in range(calls):
            if values[i] > edges[edge]:
                above += 1
                both += ours[i]
        difference = both / candidates - (above - both) / (calls - candidates)
        for k in range(log_capital.shape[1]):
            stake = math.exp(_LEAST_STAKE + k * (_GREATEST_STAKE - _LEAST_STAKE) / (STAKES - 1)) / (1.0 - margin)
            log_capital[edge, k] += math.log1p(stake * (margin - difference))
        if 0 < above < calls:
            hits[edge] += both
            _add_edge(calls, candidates, above, log_points, log_mass, edge, chances)


@kernel(
    "void(float64[::1], boolean[::1], int64[::1], float64[:, ::1], boolean[:, ::1], int64[::1], float64[::1], float64[::1], float64,"
    " float64[::1], float64[:, ::1], float64[:, ::1])"
)
def add_calls(  # noqa: PLR0917 - numba takes no keywords
    values: np.ndarray, ours: np.ndarray, strata: np.ndarray, waiting: np.ndarray, waiting_ours: np.ndarray, filled: np.ndarray,
    edges: np.ndarray, log_points: np.ndarray, margin: float, hits: np.ndarray, log_mass: np.ndarray, log_capital: np.ndarray,
) -> None:  # fmt: skip
    """Lay calls into their blocks, and count the blocks that are full.

    values: [calls] latencies, inf for one that was never answered; ours: [calls] whether it is the candidate's; strata: [calls].
    waiting, waiting_ours: [STRATA, BLOCK] and filled: [STRATA], the open blocks, in place. edges: [edges], a call above counts;
    log_points: [points] ln ψ; margin: δ, above 0 and below 1. Added to: hits [edges], the candidate's calls above, and log_mass [edges,
    points], such that hits · ln ψ − log_mass is the log-likelihood of ψ; log_capital [edges, STAKES], ln of what each stake has come to.
    """
    for i in range(values.shape[0]):
        k = strata[i]
        waiting[k, filled[k]], waiting_ours[k, filled[k]] = values[i], ours[i]
        filled[k] += 1
        if filled[k] == BLOCK:
            _add_block(waiting[k], waiting_ours[k], BLOCK, edges, log_points, margin, hits, log_mass, log_capital)
            filled[k] = 0


@kernel(
    "void(float64[:, ::1], boolean[:, ::1], int64[::1], float64[::1], float64[::1], float64, float64[::1], float64[:, ::1],"
    " float64[:, ::1])"
)
def close_blocks(  # noqa: PLR0917 - numba takes no keywords
    waiting: np.ndarray, waiting_ours: np.ndarray, filled: np.ndarray, edges: np.ndarray, log_points: np.ndarray, margin: float,
    hits: np.ndarray, log_mass: np.ndarray, log_capital: np.ndarray,
) -> None:  # fmt: skip
    """Count the open blocks as they are, because the split changes now. Arguments as of `add_calls`."""
    for k in range(filled.shape[0]):
        _add_block(waiting[k], waiting_ours[k], filled[k], edges, log_points, margin, hits, log_mass, log_capital)
        filled[k] = 0
