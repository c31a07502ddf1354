"""What kernels and models of the tests must compute, said again in plain loops: slow, obvious, and sharing no line with what they check."""

from __future__ import annotations

from collections.abc import Sequence

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
