"""Bins of one numeric feature, cut once at order statistics of its reference, and which bin each value falls into. Pure.

Edges are values of the reference itself (numpy's quantile method "inverted_cdf", in whole numbers), never means of two: the urn test counts
the gaps between them (Vovk et al., arXiv 2102.10439), and a value of the reference must fall into its own bin in any arithmetic. All
are exact in the feature's datatype. A value that many rows share, an atom, gets a bin of its own: (the number next below it, itself].
"""

from __future__ import annotations

import numpy as np

from registry.profile import FIRST_BIN, MINUS_INF

BINS = 32  # about equally heavy ones, as many as PSI and the urn test gain from; with 5 more slots they fill 5 cache lines
LEAST_BINS, WORTH_A_BIN = 8, 3  # with fewer independent rows to a bin, what a bin holds is chance
BEYOND_BINS = 3  # slots behind the last bin: above, +inf, NaN


def cut(values: np.ndarray, *, bins: int = BINS, forced: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(edges, atoms): edges ascend, in the datatype of the float array `values`, whose order and special values do not matter.

    An atom is a value of at least 1/(2·bins) of the finite ones, and `forced` where it lies among them. Where nothing is finite, there is
    one bin, which holds 0 alone: everything else will be below or above it. The most negative number that there is stays outside of all
    bins, because no edge can lie below it.
    """
    known = np.sort(values[np.isfinite(values) & (values > np.finfo(values.dtype).min)]) + values.dtype.type(0)  # no -0.0
    if not len(known):
        zero = np.zeros(1, values.dtype)
        return np.concatenate([_below(zero), zero]), zero[:0]
    atoms = _atoms(known, bins, forced)
    loose = known[~np.isin(known, atoms)]
    parts = max(bins - len(atoms), 1)
    places = -(-np.arange(1, parts) * len(loose) // parts) - 1  # ceil(j · rows / parts), from 1
    quantiles = loose[places] if len(loose) else loose
    edges = np.unique(np.concatenate([_below(known[:1]), quantiles, _below(atoms), atoms, known[-1:]]))
    return edges, np.searchsorted(edges, atoms) - 1


def bins_worth(rows: float, *, most: int = BINS) -> int:
    """How many bins so many independent rows are worth (rows divided by their autocorrelation time).

    A month of weather is worth some 20 rows: cut into 32 bins and more, two months of the same climate have a PSI of 4 by chance
    ((K − 1)(1/n + 1/m)), and tests that must allow for it find nothing less.
    """
    return min(most, max(LEAST_BINS, int(rows / WORTH_A_BIN)))


def slots_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The slot of each value, int64 [rows], as `profile.Numeric` numbers them. `edges` are of the same datatype."""
    last = len(edges) - 1 + FIRST_BIN + BEYOND_BINS - 1
    found = np.searchsorted(edges, values) + FIRST_BIN - 1
    found[values == -np.inf] = MINUS_INF
    found[values == np.inf] = last - 1
    found[np.isnan(values)] = last
    return found


def moments_of(values: np.ndarray) -> tuple[float, float, float, float]:
    """Mean and second to fourth central moment of the finite values, in float64, 0 where there are none.

    What leaves the range of float64 is held at its end.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    if not len(finite):
        return 0.0, 0.0, 0.0, 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        mean = finite.mean()
        mean = mean if np.isfinite(mean) else (finite / len(finite)).sum()
        away = finite - mean
        squares = away * away
        found = np.nan_to_num([squares.mean(), (squares * away).mean(), (squares * squares).mean()])
    return float(mean), float(found[0]), float(found[1]), float(found[2])


def _below(values: np.ndarray) -> np.ndarray:
    below: np.ndarray = np.nextafter(values, values.dtype.type(-np.inf))
    return below


def _atoms(values: np.ndarray, bins: int, forced: float | None) -> np.ndarray:
    """Of ascending values: those that are equal to the one so many places before."""
    least = max(2, -(-len(values) // (2 * bins)))
    found = np.unique(values[least - 1 :][values[least - 1 :] == values[: len(values) - least + 1]])
    if forced is not None and values[0] <= forced <= values[-1] and len(found) < 2 * bins - 1:
        found = np.union1d(found, np.array([forced], values.dtype))
    return found
