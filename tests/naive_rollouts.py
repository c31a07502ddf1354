"""What the statistics of rollouts must compute, said again in plain loops: slow, obvious, and sharing no line with what they check."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction

from tests.naive import decimal_log_mean, log_sequence

_PRECISION = 50


# --- a ratio of rates --------------------------------------------------------------------------------------------------------------------


def log_likelihood(a: int, b: int, w: float, ratio: float) -> Decimal:
    """Of a events in the candidate and b in stable, each of them the candidate's by chance."""
    with localcontext() as context:
        context.prec = _PRECISION
        share, r = Decimal(w), Decimal(ratio)
        ours = share * r / (share * r + 1 - share)
        return a * ours.ln() + b * (1 - ours).ln()


def log_bet(a: int, b: int, both: int, ratio: float, rho: float) -> Decimal:
    """Of pairs: the stake λ on 1{a} − ρ 1{b} − (ρ − 1) 1{both} that is best if only one of the two ever fails."""
    with localcontext() as context:
        context.prec = _PRECISION
        r, at = Decimal(ratio), Decimal(rho)
        stake = (r - at) / (at * (1 + r))
        return a * (1 + stake).ln() + b * (1 - stake * at).ln() + both * (1 - stake * (at - 1)).ln()


def log_odds(levels: Sequence[tuple[int, int, int, float]], alternatives: Sequence[float], rho: float) -> Decimal:
    """ln E against the ratio rho. levels: (a, b, both, w); those with `both` are pairs, w = ½."""
    with localcontext() as context:
        context.prec = _PRECISION
        logs = []
        for ratio in alternatives:
            total = Decimal(0)
            for a, b, both, w in levels:
                if not 0 < w < 1:
                    continue
                if both:
                    total += log_bet(a, b, both, ratio, rho)
                else:
                    total += log_likelihood(a, b, w, ratio) - log_likelihood(a, b, w, rho)
            logs.append(total)
        return decimal_log_mean(logs)


# --- proportions --------------------------------------------------------------------------------------------------------------------------


def log_proportion(hits: int, rows: int, p: float) -> Decimal:
    """ln of the mixture over Beta(½, ½) against p, for 0 < p < 1."""
    with localcontext() as context:
        context.prec = _PRECISION
        counts, half = [Decimal(hits), Decimal(rows - hits)], Decimal("0.5")
        return log_sequence(counts, [half, half]) - hits * Decimal(p).ln() - (rows - hits) * (1 - Decimal(p)).ln()


def quantile_interval(counts: Sequence[int], share: float, log_level: float) -> tuple[int, int]:
    """The outermost bins that the quantile may lie in, each asked whether its edges contradict that."""
    rows = sum(counts)
    first, last = 0, len(counts) - 1
    if not rows:
        return first, last
    possible = []
    for k in range(len(counts)):
        before, up_to = sum(counts[:k]), sum(counts[: k + 1])
        # In bin k: rows before it are below the quantile, rows after it are above.
        too_many = before > share * rows and log_proportion(before, rows, share) >= log_level
        too_few = up_to < share * rows and log_proportion(up_to, rows, share) >= log_level
        if not too_many and not too_few:
            possible.append(k)
    return min(possible), max(possible)


# --- assignment ---------------------------------------------------------------------------------------------------------------------------


def log_sample_ratio(counts: Sequence[Sequence[int]], weights: Sequence[Sequence[float]], concentration: int) -> Decimal:
    """Dirichlet predictions against the weights, level by level."""
    total = Decimal(0)
    with localcontext() as context:
        context.prec = _PRECISION
        for row, shares in zip(counts, weights, strict=True):
            used = [(Decimal(n), Decimal(w)) for n, w in zip(row, shares, strict=True) if w > 0]
            total += log_sequence([n for n, _ in used], [concentration * w for _, w in used])
            total -= sum((n * w.ln() for n, w in used), Decimal(0))
    return total


# --- mixes --------------------------------------------------------------------------------------------------------------------------------


def mix_bets(units: Sequence[tuple[int, bool, float]], classes: int) -> list[float]:
    """ln E after each unit (class, whether the candidate's, w): predict the arm from what came before, then look."""
    ours, theirs = [Fraction(1, 2)] * classes, [Fraction(1, 2)] * classes
    value, path = 0.0, []
    for k, candidate, w in units:
        if 0 < w < 1:
            here, there = Fraction(w) * ours[k] / sum(ours), (1 - Fraction(w)) * theirs[k] / sum(theirs)
            predicted = here / (here + there)
            value += math.log(predicted / Fraction(w) if candidate else (1 - predicted) / (1 - Fraction(w)))
        path.append(value)
        (ours if candidate else theirs)[k] += 1
    return path


# --- calls of equal batch size ------------------------------------------------------------------------------------------------------------


def log_block(values: Sequence[float], ours: Sequence[bool], edge: float, psi: float) -> float:
    """ln of the likelihood ratio of ψ to 1 of one block, from binomial coefficients as whole numbers."""
    calls, candidates = len(values), sum(ours)
    above = [value > edge for value in values]
    hits = sum(one and mine for one, mine in zip(above, ours, strict=True))
    ratio = Fraction(psi)
    mean = sum(
        Fraction(math.comb(candidates, x) * math.comb(calls - candidates, sum(above) - x), math.comb(calls, sum(above))) * ratio**x
        for x in range(max(0, sum(above) - calls + candidates), min(sum(above), candidates) + 1)
    )
    return math.log(ratio**hits / mean)


def log_blocks(calls: Sequence[tuple[float, bool, int]], block: int, edge: float, psi: float) -> float:
    """Over all full blocks of the calls (latency, whether the candidate's, stratum)."""
    total = 0.0
    for stratum in {stratum for _, _, stratum in calls}:
        own = [(value, mine) for value, mine, where in calls if where == stratum]
        for start in range(0, len(own) - block + 1, block):
            part = own[start : start + block]
            total += log_block([value for value, _ in part], [mine for _, mine in part], edge, psi)
    return total


def log_capitals(calls: Sequence[tuple[float, bool, int]], block: int, edge: float, margin: float) -> list[float]:
    """What stakes from a fiftieth to nine tenths of the greatest possible one have come to, over all full blocks with both arms."""
    capitals = [0.0] * 12
    for stratum in {stratum for _, _, stratum in calls}:
        own = [(value > edge, mine) for value, mine, where in calls if where == stratum]
        for start in range(0, len(own) - block + 1, block):
            ours = [slow for slow, mine in own[start : start + block] if mine]
            theirs = [slow for slow, mine in own[start : start + block] if not mine]
            if not ours or not theirs:
                continue
            difference = sum(ours) / len(ours) - sum(theirs) / len(theirs)
            for k in range(12):
                stake = 0.02 * 45 ** (k / 11) / (1 - margin)
                capitals[k] += math.log(1 + stake * (margin - difference))
    return capitals


# --- units --------------------------------------------------------------------------------------------------------------------------------


def fresh_marks(records: Sequence[tuple[int, int]], first: int) -> list[int]:
    """Which of the marks of each (unit, marks) its unit did not have; `first` where it was not known."""
    seen: dict[int, int] = {}
    fresh = []
    for unit, marks in records:
        fresh.append(marks & ~seen[unit] if unit in seen else marks | first)
        seen[unit] = seen.get(unit, 0) | marks
    return fresh


# --- what a tally counts of flags --------------------------------------------------------------------------------------------------------


Call = tuple[int, int, int, int]  # unit, step, arm, flags


def first_events(calls: Sequence[Call], flag: int) -> dict[tuple[int, int], int]:
    """Units with the flag by (step, arm) of their first call that has it."""
    counts: dict[tuple[int, int], int] = {}
    seen = set()
    for unit, step, arm, flags in calls:
        if flags & flag and unit not in seen:
            seen.add(unit)
            counts[step, arm] = counts.get((step, arm), 0) + 1
    return counts


def first_calls(calls: Sequence[Call], sampled: int, flag: int, step: int) -> dict[int, tuple[int, int]]:
    """By arm: sampled units in a step, and those whose first call in it has the flag."""
    counts: dict[int, tuple[int, int]] = {}
    seen = set()
    for unit, at, arm, flags in calls:
        if flags & sampled and at == step and unit not in seen:
            seen.add(unit)
            looked_at, hit = counts.get(arm, (0, 0))
            counts[arm] = looked_at + 1, hit + bool(flags & flag)
    return counts
