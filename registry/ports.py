"""Inputs and outputs as a `config.pbtxt` has them: held against the graph, and seen by callers in shapes of their own. Pure data."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from registry.schema import ContractFile

CONFIG_FILE = "config.pbtxt"


class View(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two shapes of the same elements, -1 where a size is free; the free ones of both belong together in their order."""

    seen: tuple[int, ...]  # by callers
    graph: tuple[int, ...]

    def to_graph(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The graph's shape of a tensor of `shape`. Raises `ValueError` where that is not as callers see it."""
        return _follow(shape, self.seen, self.graph)

    def to_seen(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The inverse of `to_graph`."""
        return _follow(shape, self.graph, self.seen)


class Ports(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of them. `inputs` and `outputs` have the ports whose shapes differ, by name."""

    contract: ContractFile  # as the graph has them, in the order in which they shall be shown
    batched: bool  # the first dimension of all of them is the batch
    inputs: dict[str, View] = {}
    outputs: dict[str, View] = {}


def hold_the_same(dims: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether tensors of these two shapes have the same elements: between free sizes, the products must agree (Triton's rule)."""
    return _products(dims) == _products(shape)


def _products(shape: Sequence[int]) -> list[int]:
    stretches: list[list[int]] = [[]]
    for size in shape:
        if size < 0:
            stretches.append([])
        else:
            stretches[-1].append(size)
    return [math.prod(stretch) for stretch in stretches]


def _follow(shape: Sequence[int], known: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    pairs = list(zip(shape, known, strict=True))
    if any(size not in {ours, -1} and ours != -1 for size, ours in pairs):
        raise ValueError("another shape")
    free = iter([size for size, ours in pairs if ours == -1])
    return tuple(next(free) if size == -1 else size for size in wanted)
