"""What kernels and models of the tests must compute, said again in plain loops: slow, obvious, and sharing no line with what they check."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
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
