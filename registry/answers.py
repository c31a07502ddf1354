"""What a model says of reference rows, asked in the child processes of trials: many rows a run, and as many children as that takes.

Each child has the limits of a trial and does a part: so a slow model takes long and is not taken for one that hangs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from registry.columns import MAX_ELEMENTS
from registry.contract import Contract
from registry.errors import refused, storage_errors
from registry.golden import NUMPY_TYPES, Tensor, array_of
from registry.limits import RegistryLimits
from registry.packed import Packed, pack
from registry.trial import Answer, Asked, Submitted

ROWS_PER_RUN = 256
MAX_ANSWERED_BYTES = 1 << 30  # of all rows together
Trial = Callable[[Submitted, RegistryLimits], Answer | None]


def answers_of(
    files: Submitted, contract: Contract, rows: Mapping[str, np.ndarray], limits: RegistryLimits, trial: Trial
) -> dict[str, np.ndarray]:
    """The outputs, arrays [rows, …], of a model for arrays [rows, …] of every input; without those that `columns` would leave out.

    Raises `Kind.INVALID_MODEL` with the model's own reason, or where `trial` tries nothing.
    """
    packed, pieces = pack(rows, {port.name: port.type for port in contract.inputs})
    outputs = tuple(port.name for port in contract.outputs if port.type in NUMPY_TYPES)
    with os.fdopen(os.memfd_create("rows", os.MFD_CLOEXEC), "w+b") as memory:
        with storage_errors("hold the reference rows in memory"):
            memory.writelines(pieces)
            memory.flush()
        asked = Asked(
            fd=memory.fileno(),
            packed=packed,
            start=0,
            rows_per_run=rows_per_run(contract),
            outputs=outputs,
            max_elements=MAX_ELEMENTS,
        )
        files = replace(files, size_bytes=files.size_bytes + packed.size_bytes, golden=None, asked=asked)
        return _joined(_runs(files, asked, limits, trial), packed)


def rows_per_run(contract: Contract) -> int:
    """Those of a batch, or the number that the graph fixes. Raises `Kind.INVALID_MODEL` for a fixed one above 1."""
    sizes = {port.shape[0] for port in contract.inputs if port.shape}
    fixed = {size for size in sizes if isinstance(size, int)}
    if fixed <= {1}:
        return 1 if fixed else ROWS_PER_RUN
    raise refused(f"the model takes {max(fixed)} rows at a time: give its outputs as columns of the reference rows")


def _runs(files: Submitted, asked: Asked, limits: RegistryLimits, trial: Trial) -> list[dict[str, Tensor]]:
    """Every run, by one child after another."""
    found: list[dict[str, Tensor]] = []
    size = 0
    while len(found) * asked.rows_per_run < asked.packed.rows:
        part = msgspec.structs.replace(asked, start=len(found) * asked.rows_per_run)
        answer = trial(replace(files, asked=part), limits)
        if answer is None or not answer.answered:
            raise refused("reference rows without the model's outputs need a trial that asks it")
        found += answer.answered
        size += sum(len(tensor.data) + sum(map(len, tensor.texts)) for run in answer.answered for tensor in run.values())
        if size > MAX_ANSWERED_BYTES:
            raise refused(f"the model's outputs for the reference rows have more than {MAX_ANSWERED_BYTES} bytes: give fewer rows")
    return found


def _joined(runs: Sequence[Mapping[str, Tensor]], packed: Packed) -> dict[str, np.ndarray]:
    """Outputs that every run gave, in rows of one shape."""
    found = {}
    try:
        for name in runs[0]:
            arrays = [array_of(run[name]) for run in runs if name in run]
            if len(arrays) == len(runs) and len({array.shape[1:] for array in arrays}) == 1:
                found[name] = np.concatenate(arrays)
    except (ValueError, KeyError) as error:  # the child is not trusted
        raise refused("the trial of the model gave something that is no answer") from error
    if any(len(array) != packed.rows for array in found.values()):
        raise refused("the trial of the model gave another number of rows than it was asked")
    return found
