"""Totals to a checkpoint by names, and back: a release that counts more outcomes reads what one before it saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.errors import Code
from gateway.observe.slabs import EDGES, HISTOGRAMS, PROTOCOLS, SHADOW, SUMS, Slab, empty
from gateway.observe.totals import Key, Totals
from registry.checkpoint import Checkpoint, CheckpointFile, Row, moment

_OUTCOMES = {
    f"{protocol}/{code.name}": (index, int(code)) for index, protocol in enumerate(PROTOCOLS) for code in Code
}  # as rows and columns of `Slab.requests`
_EDGES = {name: tuple(edges.tolist()) for name, edges in zip(HISTOGRAMS, EDGES, strict=True)}


def checkpoint(totals: Totals, *, now_s: float) -> Checkpoint:
    """All that is counted until now; `now_s` is in seconds since the Unix epoch."""
    rows = tuple(_row(key, slab) for key, slab in totals.snapshot().items())
    return Checkpoint(saved=moment(now_s), edges=_EDGES, rows=rows, overflow=dict(totals.overflow), counters=totals.counters())


def restore(totals: Totals, file: CheckpointFile) -> str:
    """Go on counting from what was saved. Returns what was wrong with the file, which is then set aside; "" for nothing."""
    found, problem = file.load()
    if found is None:
        return problem
    if found.edges != _EDGES:
        return file.set_aside("the checkpoint has buckets of another release")
    try:
        rows = [((row.model, row.version), _slab(row)) for row in found.rows]
    except (KeyError, ValueError) as error:
        return file.set_aside(f"the checkpoint counts what this release does not know: {error}")
    totals.restore(rows, overflow=found.overflow, counters=found.counters)
    return ""


def _row(key: Key, slab: Slab) -> Row:
    requests, counts, sums = slab.requests.tolist(), slab.counts.tolist(), slab.sums.tolist()
    return Row(
        model=key[0],
        version=key[1],
        requests={name: requests[row][column] for name, (row, column) in _OUTCOMES.items() if requests[row][column]},
        counts={name: tuple(of_one[: len(_EDGES[name]) + 1]) for name, of_one in zip(HISTOGRAMS, counts, strict=True)},
        sums=dict(zip(SUMS, sums, strict=True)),
        shadow={name: count for name, count in zip(SHADOW, slab.shadow.tolist(), strict=True) if count},
    )


def _slab(row: Row) -> Slab:
    """Raises `KeyError` and `ValueError` for names and lengths that are not this release's."""
    slab = empty()
    for name, count in row.requests.items():
        slab.requests[_OUTCOMES[name]] = count
    for index, name in enumerate(HISTOGRAMS):
        slab.counts[index, : len(_EDGES[name]) + 1] = _of_length(row.counts, name)
    slab.sums[:] = [row.sums[name] for name in SUMS]
    for name, count in row.shadow.items():
        slab.shadow[SHADOW.index(name)] = count
    return slab


def _of_length(counts: Mapping[str, Sequence[int]], name: str) -> Sequence[int]:
    if len(counts[name]) != len(_EDGES[name]) + 1:
        raise ValueError(f"{len(counts[name])} buckets of {name}")
    return counts[name]
