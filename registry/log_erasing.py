"""Payloads that go while their rows stay: what somebody asked to have erased, and what is older than payloads are kept.

A row has what happened (ids, times, arm, propensity, sampling, status), and a payload: inputs, outputs, and what was read of these. Erasing
makes the payload null. A commit first says what is to be erased, by whom and why; from then on rows that are sealed later lose it too, if
they arrived before. Then each file that has such rows is replaced by one without, in a commit of its own, so that a reader who knows some
of the files finds what stands for each. Whoever is killed in between is followed by one who goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from registry.log_commits import Erasure, File
from registry.log_sealing import Sealer
from registry.log_stripping import stripped, struck

AGED = "age"  # as what payloads are erased for that are older than they are kept


class Eraser:
    """Of one log, beside its sealer. Every method is called within `Sealer.working`, and may raise `Kind.STORAGE`, `Kind.DAMAGED`."""

    def __init__(self, sealer: Sealer, *, wall: Callable[[], float]) -> None:
        self._sealer, self._wall = sealer, wall

    def erase(self, erasure: Erasure) -> tuple[int, int]:
        """Say that it is to be, and do it to all that is sealed. How many files, and rows that had a payload."""
        if erasure.id not in self._sealer.state.erasures:
            self._sealer.declare(erasure)
        return self.finish(erasure)

    def finish(self, erasure: Erasure) -> tuple[int, int]:
        """Do it to files that have such payloads still."""
        files = rows = 0
        for file in sorted(self._sealer.state.files.values(), key=lambda file: file.path):
            if not file.payload or not concerns(erasure, file):
                continue
            table = self._sealer.table(file)
            hit = struck(table, erasure)
            if count := int(np.count_nonzero(hit)):
                self._replace(file, stripped(table, hit), erasure.id)
                files, rows = files + 1, rows + count
        return files, rows

    def age(self, max_age_s: float | None) -> int:
        """Erase the payloads of files whose last arrival is older. The number of files."""
        if max_age_s is None:
            return 0
        before = (self._wall() - max_age_s) * 1e6
        old = [file for file in self._sealer.state.files.values() if file.payload and file.max_ts < before]
        for file in old:
            table = self._sealer.table(file)
            self._replace(file, stripped(table, np.ones(table.num_rows, bool)), AGED, payload=False)
        return len(old)

    def _replace(self, old: File, table: Any, why: str, *, payload: bool = True) -> None:
        new = self._sealer.write(renamed(old.path, self._sealer.state.seq + 1), old.model, table, payload=payload)
        self._sealer.replace([new], (old.path,), erased=why)


def concerns(erasure: Erasure, file: File) -> bool:
    """Whether a file may hold rows of it."""
    first = min(erasure.created, erasure.created if erasure.before is None else erasure.before)
    return erasure.model in ("", file.model) and file.min_ts < first


def renamed(path: str, seq: int) -> str:
    """The name of what stands for a file from commit `seq` on."""
    stem = path.removesuffix(".parquet").partition("~")[0]
    return f"{stem}~{seq}.parquet"
