"""An inference log and its labels of any size, as the files that a recorder and a label store write. The seed decides all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from registry.label_files import schema

START_US = 1_700_000_000_000_000
APART_US = 8_640  # between two requests: ten million a day
AS_OF_US = START_US + 400 * 86_400_000_000
FEATURES = 16
FILE_ROWS = 500_000
_TIME, _WORD = pa.timestamp("us", "UTC"), pa.dictionary(pa.int32(), pa.string())


def write(folder: Path, rows: int, seed: int) -> dict[str, Any]:
    """`answers/` and `labels/` of so many rows each. Returns what a join must find.

    Labels come in another order than their requests. One request in a hundred has a second label instead of another having one,
    one label in a thousand is for a request that there is not.
    """
    draw = np.random.default_rng(seed)
    for name in ("answers", "labels"):
        (folder / name).mkdir()
    ids = np.concatenate([_answers(folder, begin, min(FILE_ROWS, rows - begin), draw) for begin in range(0, rows, FILE_ROWS)])
    aims = draw.permutation(rows)
    twice, astray = draw.choice(rows, (2, rows // 100), replace=False)
    aims[twice] = aims[(twice + 1) % rows]
    astray = astray[: rows // 1_000]
    targets = ids[aims]
    targets[astray] = draw.integers(0, 256, (len(astray), 16), np.uint8)
    for begin in range(0, rows, FILE_ROWS):
        _labels(folder, begin, targets[begin : begin + FILE_ROWS], aims[begin : begin + FILE_ROWS], draw)
    kept = np.ones(rows, bool)
    kept[astray] = False
    labelled = len(np.unique(aims[kept]))
    found = {"labelled": labelled, "orphans": len(astray), "replaced": int(kept.sum()) - labelled}
    size = sum(path.stat().st_size for path in folder.glob("*/*"))
    return {"expected": found, "bytes": size}


def _answers(folder: Path, begin: int, rows: int, draw: np.random.Generator) -> np.ndarray:
    """One file; the ids [rows, 16] of its requests."""
    times = START_US + np.arange(begin, begin + rows) * APART_US
    ids = draw.integers(0, 256, (rows, 16), np.uint8)
    ids[:, :6] = (times // 1000).astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
    features = {f"x{number}": draw.random(rows, np.float32) for number in range(FEATURES)}
    score = draw.random(rows, np.float32)
    columns = {
        "request_id": _fixed(ids), "client_request_id": pa.nulls(rows, pa.string()), "ts": pa.array(times, _TIME),
        "model": _same("m", rows),
        "version": pa.array(np.ones(rows, np.int32)), "manifest": _same("sha256:" + "a" * 64, rows), "rollout_id": pa.nulls(rows, _WORD),
        "step": pa.nulls(rows, pa.int16()), "arm": _same("stable", rows), "propensity": pa.array(np.ones(rows, np.float32)),
        "unit_hash": pa.nulls(rows, pa.binary(8)), "status": pa.array(np.zeros(rows, np.int16)), "row": pa.array(np.zeros(rows, np.int32)),
        "rows": pa.array(np.ones(rows, np.int32)), "sampling_prob": pa.array(np.ones(rows, np.float32)),
        "violations": pa.array(np.zeros(rows, np.uint32)),
        "f": pa.StructArray.from_arrays(list(map(pa.array, features.values())), list(features)),
        "y": pa.StructArray.from_arrays([pa.array(score)], ["p"]),
        "pred_class": pa.array((score > 0.5).astype(np.int32)), "score": pa.array(score),
    }  # fmt: skip
    parquet.write_table(pa.table(columns), folder / f"answers/{begin:09d}.parquet", compression="zstd", compression_level=1)
    return ids


def _labels(folder: Path, begin: int, targets: np.ndarray, aims: np.ndarray, draw: np.random.Generator) -> None:
    rows = len(targets)
    events = START_US + aims * APART_US + 1_000_000
    columns = {
        "label_id": pa.array([f"label-{number}" for number in range(begin, begin + rows)]),
        "request_id": _fixed(np.ascontiguousarray(targets)),
        "client_request_id": pa.nulls(rows, pa.string()), "unit_hash": pa.nulls(rows, pa.binary(8)), "event_ts": pa.array(events, _TIME),
        "arrival_ts": pa.array(events + draw.integers(0, 30 * 86_400_000_000, rows), _TIME), "model": _same("m", rows),
        "row": pa.array(np.zeros(rows, np.int32)), "name": _same("label", rows), "value": pa.array(draw.integers(0, 2, rows).astype(float)),
        "text": pa.nulls(rows, pa.string()), "source": _same("bench", rows), "weight": pa.array(np.ones(rows, np.float32)),
        "final": pa.array(np.zeros(rows, bool)), "supersedes": pa.nulls(rows, pa.string()),
        "content": pa.array(draw.integers(0, 1 << 63, rows, np.uint64)),
    }  # fmt: skip
    table = pa.Table.from_arrays([columns[field.name] for field in schema()], schema=schema())
    parquet.write_table(table, folder / f"labels/{begin:09d}.parquet", compression="zstd")


def _fixed(rows: np.ndarray) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(rows.shape[1]), len(rows), [None, pa.py_buffer(rows.tobytes())])


def _same(word: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([word]))
