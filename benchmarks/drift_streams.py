"""Streams of one feature for the detection bench: a reference and what follows it, from one process, of which the seed is the caller's.

Every series has mean 0 and standard deviation 1. A change is made to live rows alone, and keeps both where it does not say otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.signal import lfilter

from kernels.evidence import urn_gaps
from registry.autocorrelation import autocorrelation_time

REFERENCE_ROWS, BINS, LOOK_ROWS = 20_000, 32, 100
BURST_ROWS = 20  # of one client on average, geometric
CLIENT_SHARE = 0.5  # of the variance is between clients
DAY_ROWS, HOUR_ROWS = 4_800, 200
DAY_SWING = 0.5  # standard deviations from the mean to the crest

Series = Callable[[np.random.Generator, int], np.ndarray]
Change = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def independent(random: np.random.Generator, rows: int) -> np.ndarray:
    """Normal rows."""
    return random.standard_normal(rows)


def autoregressive(random: np.random.Generator, rows: int, *, rho: float) -> np.ndarray:
    """Normal rows with correlation ρ to the power of the lag, stationary from the first on."""
    noise = random.standard_normal(rows) * (1 - rho**2) ** 0.5
    noise[0] /= (1 - rho**2) ** 0.5
    return lfilter([1.0], [1.0, -rho], noise)


def clients(random: np.random.Generator, rows: int) -> np.ndarray:
    """Bursts of rows of one client each, with a level of its own."""
    lengths = random.geometric(1 / BURST_ROWS, rows // BURST_ROWS * 2 + 20)
    levels = np.repeat(random.standard_normal(lengths.size), lengths)[:rows]
    return CLIENT_SHARE**0.5 * levels + (1 - CLIENT_SHARE) ** 0.5 * random.standard_normal(rows)


def daily(random: np.random.Generator, rows: int) -> np.ndarray:
    """A sine of the time of day, with noise. The series begins at midnight."""
    swing = DAY_SWING * np.sin(2 * np.pi * np.arange(rows) / DAY_ROWS)
    return swing + (1 - DAY_SWING**2 / 2) ** 0.5 * random.standard_normal(rows)


KINDS: dict[str, Series] = {
    "independent": independent, "ar_0.5": partial(autoregressive, rho=0.5), "ar_0.9": partial(autoregressive, rho=0.9),
    "clients": clients, "daily": daily,
}  # fmt: skip


def shifted(by: float) -> Change:
    """The mean moves by so many standard deviations."""
    return lambda random, rows: rows + by


def widened(by: float) -> Change:
    """The standard deviation grows by a factor."""
    return lambda random, rows: rows * by


def bimodal(random: np.random.Generator, rows: np.ndarray) -> np.ndarray:
    """Independent rows of two humps at ± 0.8."""
    return 0.6 * rows + random.choice((-0.8, 0.8), rows.size)


def heavy_tailed(random: np.random.Generator, rows: np.ndarray) -> np.ndarray:
    """Independent rows from Laplace's distribution."""
    return random.laplace(scale=0.5**0.5, size=rows.size)


@dataclass(frozen=True, slots=True)
class Stream:
    """One feature. Slots: below, BINS, above."""

    reference: np.ndarray  # values in the order of time
    live: np.ndarray
    edges: np.ndarray  # order statistics of the reference
    at: np.ndarray  # slot of each live row

    @property
    def counts(self) -> np.ndarray:
        """Of the reference, [slots]."""
        return slots_of(self.reference, self.edges)

    @property
    def gaps(self) -> np.ndarray:
        """Of the urn, [slots]."""
        return urn_gaps(self.counts[1:-1])

    @property
    def tau(self) -> float:
        """Estimated from the reference, as a profile has it."""
        return autocorrelation_time(self.reference)

    def cumulative(self, rows: int = LOOK_ROWS) -> np.ndarray:
        """Live counts before the first window of so many rows and after each, [windows + 1, slots]."""
        windows = self.at.size // rows
        flat = self.at[: windows * rows] + (BINS + 2) * (np.arange(windows * rows) // rows)
        counted = np.bincount(flat, minlength=windows * (BINS + 2)).reshape(windows, BINS + 2)
        return np.concatenate((np.zeros((1, BINS + 2)), np.cumsum(counted, axis=0, dtype=np.float64)))


def slots_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Counts of values, [slots]."""
    return np.bincount(np.searchsorted(edges, values, side="left"), minlength=BINS + 2).astype(np.float64)


def stream(
    random: np.random.Generator, kind: str, rows: int, *, reference_rows: int = REFERENCE_ROWS, change: Change | None = None, after: int = 0
) -> Stream:
    """A reference and `rows` live ones that follow it; those from `after` on are changed."""
    series = KINDS[kind](random, reference_rows + rows)
    reference, live = series[:reference_rows], series[reference_rows:]
    if change is not None:
        live = np.concatenate((live[:after], change(random, live[after:])))
    ordered = np.sort(reference)
    ranks = np.ceil(np.arange(1, BINS + 1) * reference_rows / BINS).astype(np.int64) - 1
    edges = np.concatenate(([np.nextafter(ordered[0], -np.inf)], ordered[ranks]))
    return Stream(reference, live, edges, np.searchsorted(edges, live, side="left"))


def streams(seed: int, name: str, count: int, kind: str, rows: int, *, change: Change | None = None, after: int = 0) -> Iterator[Stream]:
    """`count` of them, whose random numbers depend on the seed, the name and the place in the series alone."""
    for number in range(count):
        random = np.random.default_rng([seed, *name.encode(), number])
        yield stream(random, kind, rows, change=change, after=after)
