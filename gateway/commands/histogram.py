"""Small histograms for a terminal: one character for each bar."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

CELLS = 16
_BARS = "▁▂▃▄▅▆▇█"


def bars(heights: Sequence[float]) -> str:
    """Beside the highest one; a blank for nothing at all."""
    most = max(heights, default=0)
    return "".join(_BARS[min(int(height / most * len(_BARS)), len(_BARS) - 1)] if height > 0 else " " for height in heights)


def even(edges: Sequence[float], counts: Sequence[float], *, cells: int = CELLS) -> list[float]:
    """Counts of bins between `edges` as counts of cells of one width, each bin spread evenly over its own.

    The cells leave out the outermost bins where there are many: one outlier would leave everything else in one cell.
    """
    inner = slice(1, -1) if len(counts) > cells // 2 else slice(None)
    low, high = edges[inner][0], edges[inner][-1]
    sums = [0.0, *accumulate(counts)]
    width = (high - low) / cells
    borders = [low + width * cell for cell in range(cells)] + [high]
    heights = [_at(border, edges, sums) for border in borders]
    return [after - before for before, after in pairwise(heights)]


def _at(border: float, edges: Sequence[float], sums: Sequence[float]) -> float:
    """How much lies at or below it."""
    place = next((place for place, edge in enumerate(edges) if edge >= border), len(edges) - 1)
    if place == 0 or edges[place] == edges[place - 1]:
        return sums[place]
    share = (min(border, edges[place]) - edges[place - 1]) / (edges[place] - edges[place - 1])
    return sums[place - 1] + share * (sums[place] - sums[place - 1])
