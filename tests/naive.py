"""What kernels and models of the tests must compute, said again in plain loops: slow, obvious, and sharing no line with what they check."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from typing import Any

Row = Sequence[float]


# --- the models of tests/gateway/serving/mixed_models.py ------------------------------------------------------------------------


def rows_answer(rows: Sequence[Row]) -> tuple[list[float], list[list[float]]]:
    """The sum of every row, and every row negated."""
    sums, negated = [], []
    for row in rows:
        total = 0.0
        for value in row:
            total += value
        sums.append(total)
        negated.append([-value for value in row])
    return sums, negated


def texts_answer(texts: Sequence[Sequence[str]], numbers: Sequence[Sequence[int]]) -> tuple[list[str], list[list[int]]]:
    """The texts of every row written one after the other with the row's number, and that number plus one."""
    written, raised = [], []
    for row, (number,) in zip(texts, numbers, strict=True):
        text = ""
        for word in row:
            text = text + word + ","
        written.append(text + str(number))
        raised.append([number + 1])
    return written, raised


def whole_answer(rows: Sequence[Row]) -> tuple[list[float], list[list[float]]]:
    """The sum of everything, and everything doubled."""
    total = 0.0
    for row in rows:
        for value in row:
            total += value
    return [total], [[value + value for value in row] for row in rows]


# --- kernels ---------------------------------------------------------------------------------------------------------------------


def bucket(value: float, edges: Sequence[float]) -> int:
    """The first bin whose inclusive upper edge holds `value`; the number of edges where none does."""
    for index, edge in enumerate(edges):
        if value <= edge:
            return index
    return len(edges)


def durations(
    arrivals: Sequence[float], started: float, ended: float, rows: float, edges_s: Sequence[float], edges_rows: Sequence[float]
) -> tuple[list[list[int]], list[float]]:
    """Histograms and sums of one batch: whole requests, their waiting, the run, the rows."""
    samples = [[ended - arrival for arrival in arrivals], [started - arrival for arrival in arrivals], [ended - started], [rows]]
    counts, sums = [], []
    for values, edges in zip(samples, (edges_s, edges_s, edges_s, edges_rows), strict=True):
        bins = [0] * (len(edges_s) + 1)
        total = 0.0
        for value in values:
            bins[bucket(value, edges)] += 1
            total += value
        counts.append(bins)
        sums.append(total)
    return counts, sums


def laid_out(constant: bytes, columns: Sequence[tuple[int, Sequence[bytes]]], rows: int) -> list[bytes]:
    """Copies of `constant`, each with its own piece of every column written over it from a given byte on."""
    written = []
    for row in range(rows):
        octets = list(constant)
        for at, pieces in columns:
            for place, octet in enumerate(pieces[row]):
                octets[at + place] = octet
        written.append(bytes(octets))
    return written


# --- JSON Schema, as far as the description of the HTTP surface uses it -------------------------------------------------------------

_TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int, "number": (int, float),
}  # fmt: skip
_NOTES = {"description", "title", "default", "contentMediaType"}


def schema_problem(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str = "$") -> str:
    """Why a value does not have the form of a schema, "" where it has; `root` is the document that references lead into."""
    for word, said in schema.items():
        if word not in _NOTES:
            problem = _KEYWORDS[word](value, said, schema, root, at)
            if problem:
                return problem
    return ""


def resolved(reference: str, root: dict[str, Any]) -> dict[str, Any]:
    """Where a reference leads."""
    found = root
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def _ref(value: Any, said: str, schema: Any, root: Any, at: str) -> str:
    return schema_problem(value, resolved(said, root), root, at)


def _type(value: Any, said: Any, schema: Any, root: Any, at: str) -> str:
    for name in [said] if isinstance(said, str) else said:
        if isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool)):
            return ""
    return f"{at} is no {said}: {value!r}"


def _either(value: Any, said: Any, root: Any, at: str) -> int:
    return sum(not schema_problem(value, one, root, at) for one in said)


def _members(value: Any, said: Any, schema: Any, root: Any, at: str) -> str:
    """`properties`, `patternProperties` and `additionalProperties`, each of which may be asked first."""
    if not isinstance(value, dict):
        return ""
    for name, member in value.items():
        known = [schema["properties"][name]] if name in schema.get("properties", {}) else []
        known += [each for pattern, each in schema.get("patternProperties", {}).items() if re.search(pattern, name)]
        known = known or [schema.get("additionalProperties", True)]
        for one in known:
            if one is False:
                return f"{at} must not have {name!r}"
            problem = "" if one is True else schema_problem(member, one, root, f"{at}.{name}")
            if problem:
                return problem
    return ""


def _items(value: Any, said: Any, schema: Any, root: Any, at: str) -> str:
    if isinstance(value, list):
        for index, item in enumerate(value):
            problem = schema_problem(item, said, root, f"{at}[{index}]")
            if problem:
                return problem
    return ""


def _bound(holds: Callable[[Any, Any], bool], kinds: Any) -> Callable[..., str]:
    return lambda value, said, schema, root, at: (
        f"{at} is out of bounds: {value!r}" if isinstance(value, kinds) and not isinstance(value, bool) and not holds(value, said) else ""
    )


_KEYWORDS: dict[str, Callable[..., str]] = {
    "$ref": _ref,
    "type": _type,
    "const": lambda value, said, schema, root, at: "" if value == said else f"{at} is not {said!r}",
    "enum": lambda value, said, schema, root, at: "" if value in said else f"{at} is not one of {said!r}: {value!r}",
    "anyOf": lambda value, said, schema, root, at: "" if _either(value, said, root, at) else f"{at} is none of several forms",
    "oneOf": lambda value, said, schema, root, at: "" if _either(value, said, root, at) == 1 else f"{at} is not one of several forms",
    "required": lambda value, said, schema, root, at: (
        f"{at} lacks {sorted(set(said) - set(value))}" if isinstance(value, dict) and set(said) - set(value) else ""
    ),
    "properties": _members,
    "patternProperties": _members,
    "additionalProperties": _members,
    "items": _items,
    "minItems": _bound(lambda value, said: len(value) >= said, list),
    "maxItems": _bound(lambda value, said: len(value) <= said, list),
    "minimum": _bound(lambda value, said: value >= said, (int, float)),
    "maximum": _bound(lambda value, said: value <= said, (int, float)),
    "exclusiveMinimum": _bound(lambda value, said: value > said, (int, float)),
    "exclusiveMaximum": _bound(lambda value, said: value < said, (int, float)),
    "pattern": _bound(lambda value, said: bool(re.search(said, value)), str),
    "format": lambda value, said, schema, root, at: "" if said == "date-time" else f"{at}: unknown format {said}",
}


# --- quotas --------------------------------------------------------------------------------------------------------------------------


def bucket_verdicts(asked: Sequence[tuple[int, int]], *, per_s: int, burst: int) -> list[bool]:
    """A bucket of tokens that starts full: for each (nanosecond, tokens), whether so many can be taken. Exact, in billionths of a token."""
    whole = 1_000_000_000
    level, before, verdicts = burst * whole, asked[0][0] if asked else 0, []
    for now, tokens in asked:
        level = min(burst * whole, level + (now - before) * per_s)
        before = now
        fits = level >= tokens * whole
        if fits:
            level -= tokens * whole
        verdicts.append(fits)
    return verdicts


# --- queues ----------------------------------------------------------------------------------------------------------------------


class Request:
    """One that waits, in the order of the list that it stands in. `late_from`: when it begins to let others pass [s]."""

    def __init__(self, number: int, level: int, tenant: str, rows: int, late_from: float) -> None:
        self.number, self.level, self.tenant, self.rows, self.late_from = number, level, tenant, rows, late_from


class Queue:
    """What waits for the runs of one row shape. All that fits one run goes at once; else it is sorted, and fair from then on."""

    def __init__(self, limit: int, weights: dict[str, float], second_per_row: float) -> None:
        self.limit, self.weights, self.second_per_row = limit, weights, second_per_row
        self.waiting: list[Request] = []
        self.sorted: set[int] = set()
        self.now: dict[int, float] = {}
        self.finish: dict[tuple[int, str], float] = {}

    def take(self, clock: float) -> list[int]:
        """The numbers of the next batch."""
        total = 0
        for request in self.waiting:
            total += request.rows
        if total <= self.limit and not self.sorted:
            batch = [request.number for request in self.waiting]
            self.waiting = []
            return batch
        self.sorted = {request.number for request in self.waiting}
        batch, rows = [], 0
        while self.waiting:
            request = self.next(clock)
            if batch and rows + request.rows > self.limit:
                break
            self.start(request)
            batch.append(request.number)
            rows += request.rows
        return batch

    def next(self, clock: float) -> Request:
        """By level; those that are not late; the tenant whose start is earliest, and of that the one that came, or became late, first."""
        best, best_key = None, None
        for place, request in enumerate(self.waiting):
            late = request.late_from <= clock
            start = max(self.now.get(request.level, 0.0), self.finish.get((request.level, request.tenant), 0.0))
            mine = [other for other in self.waiting if (other.level, other.tenant) == (request.level, request.tenant)]
            mine = [other for other in mine if (other.late_from <= clock) == late]
            if request is not (min(mine, key=lambda other: other.late_from) if late else mine[0]):
                continue
            key = (request.level, late, start, place)
            if best_key is None or key < best_key:
                best, best_key = request, key
        assert best is not None
        return best

    def start(self, request: Request) -> None:
        """It runs, and its tenant has had what that costs."""
        begin = max(self.now.get(request.level, 0.0), self.finish.get((request.level, request.tenant), 0.0))
        self.now[request.level] = begin
        cost = request.rows * self.second_per_row
        self.finish[request.level, request.tenant] = begin + cost / self.weights.get(request.tenant, 1.0)
        self.waiting.remove(request)
        self.sorted.discard(request.number)


def who_yields(item: tuple[int, str, int], waiting: Sequence[tuple[int, str, int]], bound: int, weights: dict[str, float]) -> int | None:
    """Whose place a request takes in a queue of `bound` rows: the index of who leaves first, or None. All are (level, tenant, rows)."""
    lowest = max(level for level, _, _ in waiting)
    over = sum(rows for _, _, rows in waiting) + item[2] - bound
    if lowest < item[0]:
        return None
    loads: dict[str, int] = {}
    for level, tenant, rows in waiting:
        if level == lowest:
            loads[tenant] = loads.get(tenant, 0) + rows
    heaviest, most = "", -1.0
    for tenant in sorted(loads):
        if loads[tenant] / weights.get(tenant, 1.0) > most:
            heaviest, most = tenant, loads[tenant] / weights.get(tenant, 1.0)
    after = loads[heaviest] - over
    if after < 0:
        return None
    if lowest == item[0]:
        mine = loads.get(item[1], 0) + item[2]
        if heaviest == item[1] or after / weights.get(heaviest, 1.0) < mine / weights.get(item[1], 1.0):
            return None
    return max(index for index, (level, tenant, _) in enumerate(waiting) if (level, tenant) == (lowest, heaviest))


# --- drift: divergences and evidence, in decimals of 50 digits ------------------------------------------------------------------------

_DIGITS = Context(prec=50, Emax=10**15, Emin=-(10**15))


def _bernoulli(count: int) -> list[Fraction]:
    """B_0, B_1 … by their recurrence."""
    numbers = [Fraction(1)]
    for m in range(1, count):
        numbers.append(-sum(math.comb(m + 1, k) * number for k, number in enumerate(numbers)) / (m + 1))
    return numbers


_BERNOULLI = _bernoulli(42)
_HALF_LOG_2PI = Decimal("0.91893853320467274178032973640561763986139747363778341281715")


def log_gamma(x: Decimal) -> Decimal:
    """ln Γ(x), x > 0: up to 60 by its recurrence, from there by Stirling's series."""
    with localcontext(_DIGITS):
        product = Decimal(1)
        while x < 60:
            product *= x
            x += 1
        result = (x - Decimal("0.5")) * x.ln() - x + _HALF_LOG_2PI - product.ln()
        for k in range(1, 20):
            number = _BERNOULLI[2 * k]
            result += Decimal(number.numerator) / Decimal(number.denominator) / (2 * k * (2 * k - 1) * x ** (2 * k - 1))
        return result


def log_sequence(n: Sequence[Decimal], a: Sequence[Decimal]) -> Decimal:
    """ln of the probability of a sequence with counts n under a Pólya urn, or Dirichlet prior, that starts with a."""
    with localcontext(_DIGITS):
        result = log_gamma(sum(a, Decimal(0))) - log_gamma(sum(a, Decimal(0)) + sum(n, Decimal(0)))
        for count, weight in zip(n, a, strict=True):
            result += log_gamma(weight + count) - log_gamma(weight)
        return result


def decimal_log_mean(logs: Sequence[Decimal]) -> Decimal:
    """ln of the mean of what these are logarithms of."""
    with localcontext(_DIGITS):
        top = max(logs)
        total = Decimal(0)
        for log in logs:
            total += (log - top).exp() if log - top > -200 else Decimal(0)
        return top + (total / len(logs)).ln()


def in_groups(values: Sequence[Decimal], weights: Sequence[Decimal], groups: int) -> list[Decimal]:
    """Sums over neighbours whose middle, on the scale of cumulative weight, lies in the same of so many equal parts."""
    total = sum(weights)
    sums: dict[int, Decimal] = {}
    for index, value in enumerate(values):
        middle = sum(weights[:index]) + weights[index] / 2
        part = int(groups * middle / total)
        sums[part] = sums.get(part, Decimal(0)) + value
    return [sums[part] for part in sorted(sums)]


def log_any(live: Sequence[float], gaps: Sequence[float], tau: float = 1.0) -> Decimal:
    """Test A as it is defined: seven priors, none surer of the reference's proportions than its urn, each against the urn of its groups."""
    with localcontext(_DIGITS):
        kept = [(Decimal(n), Decimal(c)) for n, c in zip(live, gaps, strict=True) if c > 0]
        if len(kept) < 2 or sum(n for n, _ in kept) == 0:
            return Decimal(0)
        counts, weights = [count for count, _ in kept], [gap for _, gap in kept]
        logs = []
        for groups, priors in ((None, (None, 100, 1000)), (8, (30, 300)), (4, (30, 300))):
            n, c = counts, weights
            if groups is not None:
                n, c = in_groups(counts, weights, groups), in_groups(weights, weights, groups)
            n, c = [count / Decimal(tau) for count in n], [gap / Decimal(tau) for gap in c]
            mass = sum(c)
            for rows in priors:
                prior = [Decimal("0.5")] * len(c) if rows is None else [min(rows, mass) * gap / mass for gap in c]
                logs.append(log_sequence(n, prior) - log_sequence(n, c) if len(n) > 1 else Decimal(0))
        return decimal_log_mean(logs)


def log_tolerance(live: Sequence[float], reference: Sequence[float], epsilon: float, tau: float = 1.0) -> Decimal:
    """Test B as it is defined; the multiplier λ of the likeliest distribution in the ball, (n + λρ) / (Σn + λ), by bisection."""
    with localcontext(_DIGITS):
        n = [Decimal(count) / Decimal(tau) for count in live]
        rho = [Decimal(count) / sum(map(Decimal, reference)) for count in reference]
        rows = sum(n)
        if len(n) < 2 or rows == 0:
            return Decimal(0)

        def point(multiplier: Decimal) -> list[Decimal]:
            return [(count + multiplier * share) / (rows + multiplier) for count, share in zip(n, rho, strict=True)]

        def outside(multiplier: Decimal) -> bool:
            theta = point(multiplier)
            if any(share > 0 and at == 0 for share, at in zip(rho, theta, strict=True)):
                return True
            return sum(share * (share / at).ln() for share, at in zip(rho, theta, strict=True) if share > 0) > Decimal(epsilon)

        low, high = Decimal(0), Decimal(1)
        if outside(low):
            while outside(high):
                high *= 4
            for _ in range(110):
                middle = (low + high) / 2
                low, high = (middle, high) if outside(middle) else (low, middle)
        likeliest = sum(count * at.ln() for count, at in zip(n, point(low), strict=True) if count > 0)
        half = Decimal("0.5")
        priors = [[half + scale * share for share in rho] for scale in (0, 100, 1000)]
        return decimal_log_mean([log_sequence(n, prior) for prior in priors]) - likeliest


def log_rate(hits: float, rows: float, limit: float) -> Decimal:
    """Beta(½, ½) against the likeliest rate that is at most `limit`."""
    with localcontext(_DIGITS):
        n = [Decimal(hits), Decimal(rows) - Decimal(hits)]
        rate = min(n[0] / Decimal(rows), Decimal(limit))
        likeliest = sum(count * at.ln() for count, at in zip(n, (rate, 1 - rate), strict=True) if count > 0)
        return log_sequence(n, [Decimal("0.5")] * 2) - likeliest


def smoothed(live: Sequence[float], reference: Sequence[float]) -> tuple[list[float], list[float]]:
    """(q, p): the reference with half a row more in every bin, the live counts with one row of that."""
    total = sum(reference) + 0.5 * len(reference)
    p = [(count + 0.5) / total for count in reference]
    return [(count + share) / (sum(live) + 1) for count, share in zip(live, p, strict=True)], p


def fallen(log_e: Sequence[float], q: float) -> list[bool]:
    """e-BH by trying every number of rejections, the greatest first."""
    ranked = sorted(log_e, reverse=True)
    for count in range(len(ranked), 0, -1):
        if ranked[count - 1] >= math.log(len(ranked) / (count * q)):
            return [value >= ranked[count - 1] for value in log_e]
    return [False] * len(log_e)


# --- performance without labels --------------------------------------------------------------------------------------------------


def estimated_accuracy(scores: Sequence[float], positives: Sequence[float], threshold: float) -> float:
    """How often answers are right, if a score is right as often as its bin of the calibration table says."""
    total = 0.0
    for score in scores:
        chance = positives[min(int(score * len(positives)), len(positives) - 1)]
        total += chance if score >= threshold else 1 - chance
    return total / len(scores)


def estimated_auc(scores: Sequence[float], positives: Sequence[float]) -> float:
    """The area under the ROC of raw scores, each of which is a yes by a part and a no by the rest."""
    area = above = 0.0
    yes = no = 0.0
    for score in sorted(scores, reverse=True):
        chance = positives[min(int(score * len(positives)), len(positives) - 1)]
        area += (1 - chance) * (above + chance / 2)
        above += chance
        yes, no = yes + chance, no + 1 - chance
    return area / (yes * no)


# --- drift: counting ---------------------------------------------------------------------------------------------------------------


def numeric_slot(value: float, edges: Sequence[float], slots: int) -> int:
    """-inf, below, the bins, above, +inf, one after the other; NaN in the last slot."""
    if math.isnan(value):
        return slots - 1
    if value == -math.inf:
        return 0
    if value == math.inf:
        return len(edges) + 2
    for place, edge in enumerate(edges):
        if value <= edge:
            return place + 1
    return len(edges) + 1


def drift_sums(values: Sequence[float], mean: float, edges: Sequence[float]) -> list[float]:
    """Exact sums over finite values: four powers of the deviation, at most 1e70 each way, and the tails."""
    finite = [value for value in values if math.isfinite(value)]
    deviations = [min(max(value - mean, -1e70), 1e70) for value in finite]
    powers = [math.fsum(d**power for d in deviations) for power in (1, 2, 3, 4)]
    low = math.fsum(min(edges[0] - value, 1e70) for value in finite if value < edges[0])
    high = math.fsum(min(value - edges[-1], 1e70) for value in finite if value > edges[-1])
    return [*powers, low, high]


def drift_scales(values: Sequence[float], mean: float, edges: Sequence[float]) -> list[float]:
    """The same sums of absolute values: what an error of rounding is measured by."""
    finite = [value for value in values if math.isfinite(value)]
    deviations = [min(abs(value - mean), 1e70) for value in finite]
    tails = drift_sums(finite, mean, edges)[4:]
    return [*(math.fsum(d**power for d in deviations) for power in (1, 2, 3, 4)), *tails]


def category_slot(value: object, categories: Sequence[object], null: object) -> int:
    """A category's place; then other, then null."""
    if null is not None and value == null:
        return len(categories) + 1
    for place, category in enumerate(categories):
        if value == category:
            return place
    return len(categories)


def margin(row: Sequence[float]) -> float:
    """First minus second; of a single number, of it and what it leaves to 1."""
    if not row or any(math.isnan(value) for value in row):
        return math.nan
    ranked = sorted(row if len(row) > 1 else [row[0], 1.0 - row[0]])
    return ranked[-1] - ranked[-2]


def entropy(row: Sequence[float]) -> float:
    """In nats."""
    if not row or any(math.isnan(value) for value in row):
        return math.nan
    return -math.fsum(p * math.log(p) for p in (row if len(row) > 1 else [row[0], 1.0 - row[0]]) if p > 0)


def score_bin(value: float, bins: int) -> int | None:
    """The bin of a score, None for NaN."""
    if math.isnan(value):
        return None
    if value <= 0:
        return 0
    return bins - 1 if value >= 1 else int(value * bins)
