"""Workers that log without a gateway: a ledger, segments, and rows that can be told apart."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from registry.directory import DirectoryMedium
from registry.log_accounts import Account
from registry.log_layout import make_log, segment_id
from registry.log_ledger import ACCEPTED, ARM_WORDS, Ledger
from registry.log_rows import PAYLOAD, REQUEST, Contract, Field, Head, Meta, contract_frame, head_frame, rows_frame, rows_pieces
from registry.log_segment import SegmentFile

IDENTITY = "0123456789abcdef" * 2
NOW_US = 1_764_590_400_000_000  # 2025-12-01 12:00 UTC
CODES = (("OK", 0), ("INTERNAL", 13))
CONTRACT = Contract(
    number=1, model="m", version=3, manifest="sha256:aa", inputs=(Field("x", "FP32", (2,), "keep"),),
    outputs=(Field("label", "INT64", (), "keep"), Field("p", "FP32", (2,), "keep")), class_of=0, score_of=1,
)  # fmt: skip


def medium_of(root: Path, calls: Any = os) -> DirectoryMedium:
    medium = DirectoryMedium(root, calls=calls)
    make_log(medium, IDENTITY)
    return medium


def requests(count: int, *, first: int = 0, rows: int = 1, arm: int = 0, ts_us: int = NOW_US) -> np.ndarray:
    found = np.zeros(count, REQUEST)
    found["id"][:, 8:] = np.arange(first, first + count).astype(">u8").view("u1").reshape(-1, 8)
    found["ts_us"] = ts_us + np.arange(count)
    found["rows"], found["flags"], found["arm"] = rows, PAYLOAD, arm
    return found


def frame_of(found: np.ndarray, *, number: int = 1, ids: bytes = b"", seed: int = 0) -> bytes:
    """Of the payload of `CONTRACT`."""
    rows = int(found["rows"][(found["flags"] & PAYLOAD) != 0].sum())
    x = np.arange(seed, seed + 2 * rows, dtype=np.float32)
    columns = (x.tobytes(), np.arange(seed, seed + rows).tobytes(), (x / 2).tobytes())
    meta = Meta(number, len(found), rows, NOW_US, (), len(ids), False, ((2,), (), (2,)), tuple(map(len, columns)))
    return rows_frame(rows_pieces(meta, found, ids, None, columns))


class Worker:
    """One process that logs, by its number."""

    def __init__(self, root: Path, number: int, calls: Any = os) -> None:
        self.id = f"{number:024x}"
        self._root, self._calls = root, calls
        self.ledger = Ledger.create(root, self.id)
        self.segments = 0
        self.file: SegmentFile | None = None
        words = self.ledger.words("m")
        assert words is not None
        self.words = words

    def open(self) -> SegmentFile:
        if self.file is None:
            segment = segment_id(self.id, self.segments)
            self.segments += 1
            head = Head(segment=segment, worker=self.id, node="node", place=1, created_us=NOW_US, codes=CODES)
            self.file = SegmentFile.create(self._root, segment, head_frame(head), calls=self._calls)
            self.file.append(contract_frame(CONTRACT))
        return self.file

    def accept(self, rows: int, arm: int = 0) -> None:
        self.words[arm * ARM_WORDS + ACCEPTED] += rows

    def drop(self, word: int, rows: int, arm: int = 0) -> None:
        self.words[arm * ARM_WORDS + word] += rows

    def write(self, count: int, *, first: int = 0, arm: int = 0, ts_us: int = NOW_US) -> None:
        self.accept(count, arm)
        self.open().append(frame_of(requests(count, first=first, arm=arm, ts_us=ts_us)))

    def rotate(self) -> None:
        if self.file is not None:
            self.file.close()
        self.file = None

    def die(self) -> None:
        """Locks end with it, whatever it has written."""
        self.rotate()
        self.ledger.close()


def flat(account: Account) -> dict[tuple[str, str], tuple[int, dict[str, int]]]:
    """(model, arm) → rows that were logged, and dropped by reason."""
    return {(model, arm): (rows, dropped) for model, arm, rows, dropped in account.lines()}
