"""Runs of a graph on a device of its own memory: inputs go to places that are kept there, outputs come back once.

A session that is simply asked to run takes memory on the device for each input of each run, and waits. Here a shape of inputs has its
places and its binding, made once; a run copies into them, computes, and copies what came out. Several sessions run at once, each with
places and a stream of its own, so that one copies while another computes. Imports no runtime: it is handed sessions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

_PLANS = 16  # shapes of one session that are remembered, each with its inputs' places on the device; the one longest unused goes first


class Place(Protocol):
    """An array on a device."""

    def update_inplace(self, array: np.ndarray) -> None:
        """Copy into it; done when it returns."""
        ...


Reserve = Callable[[tuple[int, ...], np.dtype, str, int], Place]  # (shape, dtype, device, its number)


@dataclass(frozen=True, slots=True)
class Target:
    """Where inputs and outputs lie."""

    device: str  # as the runtime names it: "cuda"
    number: int
    reserve: Reserve


@dataclass(frozen=True, slots=True)
class Plan:
    """One shape of inputs."""

    binding: Any  # the runtime's
    places: tuple[Place, ...]


class BoundSession:
    """One session with its plans. From one thread at a time."""

    def __init__(self, session: Any, inputs: Sequence[str], outputs: Sequence[str], target: Target) -> None:
        """Names in the order of arrays."""
        self._session = session
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self._target = target
        self._plans: dict[tuple[tuple[int, ...], ...], Plan] = {}

    def run(self, arrays: Sequence[np.ndarray], options: Any) -> list[np.ndarray]:
        """All outputs. Raises what the runtime raises."""
        if not all([array.size for array in arrays]):  # nothing to copy: a device has no array of no bytes
            made: list[np.ndarray] = self._session.run(self._outputs, dict(zip(self._inputs, arrays, strict=True)), options)
            return made
        plan = self._plan(arrays)
        for place, array in zip(plan.places, arrays, strict=True):
            place.update_inplace(np.ascontiguousarray(array))
        for name in self._outputs:  # anew: what is bound from the last run would have to have the shape of this one's
            plan.binding.bind_output(name, self._target.device, self._target.number)
        try:
            self._session.run_with_iobinding(plan.binding, options)
            copied: list[np.ndarray] = plan.binding.copy_outputs_to_cpu()
            return copied
        finally:
            plan.binding.clear_binding_outputs()  # back to the arena, rather than kept until this shape comes again

    def _plan(self, arrays: Sequence[np.ndarray]) -> Plan:
        shapes = tuple([array.shape for array in arrays])
        plan = self._plans.pop(shapes, None) or self._made(arrays)
        if len(self._plans) >= _PLANS:
            del self._plans[next(iter(self._plans))]
        self._plans[shapes] = plan  # at the end: used last
        return plan

    def _made(self, arrays: Sequence[np.ndarray]) -> Plan:
        target, binding = self._target, self._session.io_binding()
        places = tuple([target.reserve(array.shape, array.dtype, target.device, target.number) for array in arrays])
        for name, place in zip(self._inputs, places, strict=True):
            binding.bind_ortvalue_input(name, place)
        return Plan(binding, places)


class BoundSessions:
    """Several sessions of one graph: as many threads may run at once."""

    def __init__(self, sessions: Sequence[BoundSession]) -> None:
        self._free = deque(sessions)

    def run(self, arrays: Sequence[np.ndarray], options: Any) -> list[np.ndarray]:
        """All outputs, from the session that was used last: its places are the likeliest to fit. Raises what the runtime raises."""
        session = self._free.pop()
        try:
            return session.run(arrays, options)
        finally:
            self._free.append(session)
