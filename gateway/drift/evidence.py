"""How strongly all that was counted speaks against the reference: stakes of every feature on every test, and what they have grown to.

For "any change" a feature has a test for each way in which it can move: A (the urn) of its continuous values, B with no more tolerance than
the reference's own error for atoms and for categories, and for the rates of null and of outside values. For the two tolerances it has B
of all its slots, and of the two rates. Its stake is divided equally among them, and each divides its part as `starts` says.
Tests of later starts are done where the likelihood ratio promises something; what is left out only makes a sum smaller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gateway.drift.cells import Cells, few_of, nats, urn_of
from gateway.drift.policy import Policy
from gateway.drift.starts import ARM_START, Arms, Starts
from kernels.evidence import log_any, log_detector, log_tolerance, reference_error

LEAST = -50.0  # stands for an e-value of nothing where a number is shown
_PROMISING = 3.0  # nats of the likelihood ratio above what it has on average where nothing has moved


@dataclass(frozen=True, slots=True)
class Signs:
    """What one look saw, by feature [F]. `drift`, `warn`, `alarm`: log of what the stakes have grown to. `any`, `tolerance` (of WARN): log
    E of everything since the arm began, with the whole stake on it; `detector`: log M, -inf where no start promises anything."""

    drift: np.ndarray
    warn: np.ndarray
    alarm: np.ndarray
    any: np.ndarray
    tolerance: np.ndarray
    detector: np.ndarray
    start: np.ndarray  # int64: where the change is most likely to have begun, an index of `Starts`, or ARM_START


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something is so, by feature: hits of rows, reference as [F, 2] counts of (hit, not)."""

    hits: np.ndarray  # bool [C]
    rows: np.ndarray  # bool [C]
    reference: np.ndarray
    error: np.ndarray  # float64 [F]: nats of the reference's own error

    def pairs(self, cells: Cells, counts: np.ndarray) -> np.ndarray:
        """[…, C] to (hit, not), […, F, 2]."""
        hits = cells.sums(np.where(self.hits, counts, 0.0))
        return np.stack([hits, cells.sums(np.where(self.rows, counts, 0.0)) - hits], axis=-1)


@dataclass(frozen=True, slots=True)
class Later:
    """What was counted since each of J starts: likelihood ratios of all slots in nats, what they are on average where nothing has moved,
    both [J, F], and for each rate pairs [J, F, 2] and their ratios."""

    ratios: np.ndarray
    by_chance: np.ndarray
    rates: tuple[tuple[np.ndarray, np.ndarray], ...]


class Evidence:
    """Of one version. `look` at cumulative counts as they grow; rows are those of the version."""

    def __init__(self, cells: Cells, policy: Policy, *, counts: np.ndarray, row: int, wall_s: float) -> None:
        """From the first look on: counts int64 [C], rows and seconds since the epoch then."""
        features = len(cells.features)
        self.cells, self.policy = cells, policy
        self.any, self.tolerance = (Arms.first(features, counts, row, wall_s) for _ in range(2))
        self.starts = Starts.none(policy.window_rows, len(counts), row)
        self._errors = self._error(cells.slots, cells.sums(cells.reference))
        self._gaps = np.zeros(len(counts))
        self._few = []
        for index, feature in enumerate(cells.features):
            slots, gaps = urn_of(feature)
            self._gaps[cells.offsets[index] + slots] = gaps
            self._few.append([slots + cells.offsets[index] for slots in few_of(feature)])
        self._few_reference = [self._few_counts(index, cells.reference) for index in range(features)]
        few = [(len(found), found.sum()) for found in self._few_reference]
        self._few_error = self._error(*np.array(few).T)
        self._urn = cells.sums(self._gaps) > 0
        self._rates = self._rates_of()

    def look(self, counts: np.ndarray, row: int, wall_s: float) -> Signs:
        """The evidence in cumulative counts, int64 [C]."""
        self.starts.advance(counts, row, wall_s)
        later = self._later(counts)
        drift, any_, detector, start = self._drift(counts, later)
        levels = [self._beyond(counts, later, epsilon) for epsilon in self.policy.tolerances]
        return Signs(drift, levels[0][0], levels[1][0], any_, levels[0][1], detector, start)

    def again(self, feature: int, counts: np.ndarray, row: int, wall_s: float, *, tolerance_only: bool) -> None:
        """Begin anew with a feature, at the next smaller stake."""
        for arms in (self.tolerance,) if tolerance_only else (self.any, self.tolerance):
            arms.again(feature, self.cells.of(feature), counts, window=self.starts.opened, row=row, wall_s=wall_s)

    def begin(self, feature: int, start: int) -> tuple[int, float, np.ndarray]:
        """Row, time and cumulative counts of the feature's slots [K] at a start."""
        slots = self.cells.of(feature)
        if start == ARM_START:
            return int(self.any.row[feature]), float(self.any.wall_s[feature]), self.any.base[slots].copy()
        return int(self.starts.row[start]), float(self.starts.wall_s[start]), self.starts.counts[start, slots].copy()

    # --- any change ----------------------------------------------------------------------------------------------------------------

    def _drift(self, counts: np.ndarray, later: Later) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(log of the stakes on any change, log E since the arm began, log M, the likeliest start), each [F]."""
        first, stakes = self.any.stakes(), self.starts.log_stakes(self.any)
        ratios = np.where(np.isfinite(stakes), later.ratios, -np.inf)
        best = _best(ratios, stakes)
        excess = ratios - later.by_chance
        promising = np.any(excess > _PROMISING, axis=0)
        since = (counts - self.any.base).astype(np.float64)
        rates = [self._rate(place, counts, later, self.any, radius=rate.error) for place, rate in enumerate(self._rates)]
        drift, whole, detector = (np.full(len(first), -np.inf) for _ in range(3))
        for index in range(len(first)):
            grown = [(float(rate[0][index]), float(rate[1][index])) for rate in rates]
            start = int(best[index]) if promising[index] else ARM_START
            if self._urn[index]:
                staked, plain, detector[index] = self._urn_test(
                    index, since, first=float(first[index]), stakes=stakes[:, index], start=start
                )
                grown.append((staked, plain))
            if self._few[index]:
                grown.append(self._few_test(index, counts, since, first=float(first[index]), stakes=stakes[:, index], start=start))
            drift[index], whole[index] = (_log_sum(terms) - math.log(len(grown)) for terms in zip(*grown, strict=True))
        return drift, whole, detector, self._likeliest(since, excess)

    def _urn_test(self, index: int, since: np.ndarray, *, first: float, stakes: np.ndarray, start: int) -> tuple[float, float, float]:
        """Test A: (log of its stakes, log E since the arm began, log M)."""
        slots = self.cells.of(index)
        gaps, tau = self._gaps[slots], float(self.cells.tau[index])
        plain = float(log_any(since[slots], gaps, tau))
        if start == ARM_START:
            return first + plain, plain, -math.inf
        open_ = np.flatnonzero(np.isfinite(stakes))
        begins = np.ascontiguousarray(self.starts.counts[open_, slots] - self.any.base[slots], np.float64)
        detector, strongest = log_detector(begins, since[slots], gaps, tau)
        log_e, _ = log_detector(begins[strongest : strongest + 1], since[slots], gaps, tau)
        return _log_sum((first + plain, float(stakes[open_[strongest]]) + log_e)), plain, float(detector)

    def _few_test(
        self, index: int, counts: np.ndarray, since: np.ndarray, *, first: float, stakes: np.ndarray, start: int
    ) -> tuple[float, float]:
        """Test B of atoms or categories: (log of its stakes, log E since the arm began)."""
        reference, error, tau = self._few_reference[index], float(self._few_error[index]), float(self.cells.tau[index])
        plain = float(log_tolerance(self._few_counts(index, since), reference, error, tau))
        if start == ARM_START:
            return first + plain, plain
        later = self._few_counts(index, counts - self.starts.counts[start])
        return _log_sum((first + plain, float(stakes[start]) + log_tolerance(later, reference, error, tau))), plain

    # --- more than a tolerance -------------------------------------------------------------------------------------------------------

    def _beyond(self, counts: np.ndarray, later: Later, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
        """(log of the stakes on a change of more than epsilon nats, log E since the arm began), each [F]."""
        arms, stakes = self.tolerance, self.starts.log_stakes(self.tolerance)
        radius = np.maximum(self._errors, epsilon)
        rates = enumerate(self._rates)
        parts = [self._rate(place, counts, later, arms, radius=np.maximum(rate.error, epsilon)) for place, rate in rates]
        plain = self._ball(counts - arms.base, radius)
        staked = arms.stakes() + plain
        best = _best(later.ratios, stakes)
        if len(best):
            stake = stakes[best, np.arange(len(best))]
            since = counts - self.starts.counts[self.cells.spread(best), np.arange(len(counts))]
            since = np.where(self.cells.spread(np.isfinite(stake)), since, 0)
            staked = np.logaddexp(staked, stake + self._ball(since, radius))
        parts.append((staked, plain))
        staked, plain = (np.logaddexp.reduce(terms) - math.log(len(parts)) for terms in zip(*parts, strict=True))
        return staked, plain

    def _ball(self, counts: np.ndarray, radius: np.ndarray) -> np.ndarray:
        """Test B of all slots, [F]; -inf where E is at most e in any case."""
        live, reference = counts.astype(np.float64), self.cells.reference
        result = np.full(len(radius), -np.inf)
        for index in np.flatnonzero(self._nats_away(live) > radius).tolist():
            slots = self.cells.of(index)
            result[index] = log_tolerance(live[slots], reference[slots], float(radius[index]), float(self.cells.tau[index]))
        return result

    def _nats_away(self, live: np.ndarray) -> np.ndarray:
        """KL(ρ ‖ θ) by feature for θ = (n + ρ) / (rows + 1). Where that is within a ball, no E against the ball exceeds
        (1 + 1 / rows)^rows < e."""
        share = self.cells.reference / self.cells.spread(self.cells.sums(self.cells.reference))
        theta = (live + share) / self.cells.spread(self.cells.sums(live) + 1)
        return self.cells.sums(nats(share, theta))

    # --- rates -------------------------------------------------------------------------------------------------------------------------

    def _rate(self, place: int, counts: np.ndarray, later: Later, arms: Arms, *, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Test B of a rate: (log of its stakes, log E since the arm began), each [F]."""
        rate, (pairs, ratios) = self._rates[place], later.rates[place]
        stakes = self.starts.log_stakes(arms)
        plain = self._pairs_test(rate, rate.pairs(self.cells, counts - arms.base), radius)
        staked = arms.stakes() + plain
        if len(stakes):
            best, features = _best(ratios, stakes), np.arange(len(radius))
            stake = stakes[best, features]
            grown = self._pairs_test(rate, np.where(np.isfinite(stake)[:, None], pairs[best, features], 0.0), radius)
            staked = np.logaddexp(staked, stake + grown)
        return staked, plain

    def _pairs_test(self, rate: Rate, pairs: np.ndarray, radius: np.ndarray) -> np.ndarray:
        share = rate.reference / rate.reference.sum(axis=1, keepdims=True)
        theta = (pairs + share) / (pairs.sum(axis=1, keepdims=True) + 1)
        away = nats(share, theta).sum(axis=1)
        result = np.full(len(pairs), -np.inf)
        for index in np.flatnonzero(away > radius).tolist():
            result[index] = log_tolerance(pairs[index], rate.reference[index], float(radius[index]), float(self.cells.tau[index]))
        return result

    # --- starts ------------------------------------------------------------------------------------------------------------------------

    def _later(self, counts: np.ndarray) -> Later:
        since = (counts - self.starts.counts).astype(np.float64)
        pairs = [rate.pairs(self.cells, since) for rate in self._rates]
        ratios = [_pair_ratios(found, rate.reference, self.cells.tau) for found, rate in zip(pairs, self._rates, strict=True)]
        return Later(self._nats(since) / self.cells.tau, self._by_chance(since), tuple(zip(pairs, ratios, strict=True)))

    def _by_chance(self, live: np.ndarray) -> np.ndarray:
        """What the likelihood ratio of counts [..., C] is on average where nothing has moved, in nats, [..., F]: half of χ² for the live
        rows, and for the reference's own error."""
        rows = self.cells.sums(live) / self.cells.sums(self.cells.reference)
        return np.asarray((self.cells.slots - 1) / 2 * (1 + rows))

    def _likeliest(self, since: np.ndarray, excess: np.ndarray) -> np.ndarray:
        """Where the change of each feature began, if it has moved: the start since when the ratio is most above chance, or the begin of the
        arm. `excess`: [J, F] of the starts."""
        whole = self._nats(since) / self.cells.tau - self._by_chance(since)
        every = np.concatenate([whole[None], excess])
        return np.asarray(np.argmax(every, axis=0) + ARM_START)  # which is the first

    def _nats(self, live: np.ndarray) -> np.ndarray:
        """n KL(live ‖ ρ) by feature: [..., C] to [..., F]."""
        rows = np.maximum(self.cells.spread(self.cells.sums(live)), 1.0)
        return self.cells.sums(nats(live, rows * self.cells.rho))

    # --- the reference -------------------------------------------------------------------------------------------------------------------

    def _rates_of(self) -> tuple[Rate, ...]:
        everywhere = np.ones(len(self.cells.reference), bool)
        null = np.zeros_like(everywhere)
        null[self.cells.null] = True
        return tuple(self._rate_of(hits, rows) for hits, rows in ((null, everywhere), (self.cells.outside, ~null)))

    def _rate_of(self, hits: np.ndarray, rows: np.ndarray) -> Rate:
        found = Rate(hits, rows, np.empty(0), np.empty(0)).pairs(self.cells, self.cells.reference)
        errors = self._error(np.full(len(found), 2), found.sum(axis=1))
        return Rate(hits, rows, np.where(found.sum(axis=1, keepdims=True) > 0, found, [0.0, 1.0]), errors)

    def _error(self, slots: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Nats of the error of reference counts in so many slots, by feature [F]; the chance that one is farther from the truth is divided
        over all features and their four tests."""
        delta = self.policy.reference_delta / (4 * len(slots))
        pairs = zip(slots.tolist(), (rows / self.cells.tau).tolist(), strict=True)
        return np.array([reference_error(int(bins), count, delta) for bins, count in pairs])

    def _few_counts(self, index: int, counts: np.ndarray) -> np.ndarray:
        return np.array([counts[slots].sum() for slots in self._few[index]], np.float64)


def _best(ratios: np.ndarray, stakes: np.ndarray) -> np.ndarray:
    """The start of each feature whose stake promises most, int64 [F]; empty while there are no starts."""
    return np.argmax(ratios + stakes, axis=0) if len(ratios) else np.zeros(0, np.int64)


def _pair_ratios(pairs: np.ndarray, reference: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """n KL(live ‖ reference) / tau of rates: pairs [J, F, 2] to [J, F]."""
    rho = (reference + 0.5) / (reference.sum(axis=1, keepdims=True) + 1)
    rows = np.maximum(pairs.sum(axis=2, keepdims=True), 1.0)
    return np.asarray(nats(pairs, rows * rho).sum(axis=2) / tau)


def _log_sum(terms: tuple[float, ...] | list[float]) -> float:
    return float(np.logaddexp.reduce(terms))
