"""A writer of inference logs as the contract has them: Parquet files of answers, and commits that name them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

_TIME, _WORD = pa.timestamp("us", "UTC"), pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema([
    ("request_id", pa.binary(16)), ("client_request_id", pa.string()), ("ts", _TIME), ("recorded_ts", _TIME), ("node", _WORD),
    ("worker", pa.int16()), ("protocol", _WORD), ("tenant", _WORD), ("model", _WORD), ("version", pa.int32()), ("manifest", _WORD),
    ("rollout_id", _WORD), ("step", pa.int16()), ("arm", _WORD), ("propensity", pa.float32()), ("unit_hash", pa.binary(8)),
    ("status", pa.int16()), ("error", _WORD), ("queue_us", pa.int32()), ("infer_us", pa.int32()), ("total_us", pa.int32()),
    ("batch_rows", pa.int16()), ("row", pa.int32()), ("rows", pa.int32()), ("sampling_prob", pa.float32()), ("violations", pa.uint32()),
    ("f", pa.struct([("x", pa.float32())])), ("y", pa.struct([("p", pa.float32())])), ("pred_class", pa.int32()), ("score", pa.float32()),
])  # fmt: skip
_USUAL: dict[str, Any] = {
    "client_request_id": None, "node": "n", "worker": 0, "protocol": "grpc", "tenant": None, "model": "m", "version": 1,
    "manifest": "sha256:" + "a" * 64, "rollout_id": None, "step": None, "arm": "stable", "propensity": 1.0, "unit_hash": None, "status": 0,
    "error": None, "queue_us": 10, "infer_us": 20, "total_us": 40, "batch_rows": 1, "row": 0, "rows": 1, "sampling_prob": 1.0,
    "violations": 0, "f": {"x": 1.0}, "y": {"p": 0.5}, "pred_class": None, "score": None,
}  # fmt: skip


def write_answers(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """One file of rows, each with `request_id`, `ts` in microseconds, and what is unusual of it. Returns how many."""
    whole = [_USUAL | {"recorded_ts": row["ts"]} | row for row in rows]
    arrays = [pa.array([row[field.name] for row in whole], field.type) for field in SCHEMA]
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), path, compression="zstd")
    return len(whole)


def commit_answers(root: Path, rows: Sequence[dict[str, Any]], *, model: str = "m", removed: Sequence[str] = ()) -> Path:
    """Rows as one more file of the log under `root`, and the commit that names it."""
    commits = root / "_commits"
    commits.mkdir(parents=True, exist_ok=True)
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tidegate-log.json").write_text(json.dumps({"layout": 1, "id": "0" * 32}))
    seq = 1 + len(list(commits.iterdir()))
    key = f"model={model}/date=2023-11-14/hour=22/n-{seq:08d}.parquet"
    write_answers(root / key, rows)
    before = (commits / f"{seq - 1:08d}.json").read_bytes() if seq > 1 else None
    content = (root / key).read_bytes()
    times = [row["ts"] for row in rows]
    file = {
        "path": key, "model": model, "rows": len(rows), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
        "min_ts": min(times), "max_ts": max(times),
    }  # fmt: skip
    commit = {
        "format": 1, "seq": seq, "prev": "" if before is None else _digest(before), "created": max(times),
        "files": [file], "accepted": {model: {"stable": len(rows)}}, "dropped": {}, "removed": list(removed),
    }  # fmt: skip
    (commits / f"{seq:08d}.json").write_text(json.dumps(commit))
    return root / key


def request_id(number: int, at_us: int) -> bytes:
    """A UUID of version 7."""
    return (at_us // 1000).to_bytes(6, "big") + b"\x70\x00" + number.to_bytes(8, "big")


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
