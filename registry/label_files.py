"""Labels as Parquet, one file a batch. Importing this imports no pyarrow; writing and reading do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from registry.label import Label, id_digest

ROW_GROUP = 1 << 16
_READ_ROWS = 1 << 15


def parquet_of(labels: Sequence[Label], contents: Sequence[int], now_us: int) -> bytes:
    """One file; `contents` are the labels' digests. What has no time of its own has `now_us`."""
    import pyarrow

    times = [now_us if label.arrival_us is None else label.arrival_us for label in labels]
    columns: dict[str, Sequence[Any]] = {name: [getattr(label, name) for label in labels] for name in _PLAIN}
    columns["arrival_ts"] = times
    columns["event_ts"] = [time if label.event_us is None else label.event_us for label, time in zip(labels, times, strict=True)]
    columns["content"] = contents
    arrays = [pyarrow.array(columns[field.name], type=field.type) for field in schema()]
    return encoded(pyarrow.Table.from_arrays(arrays, schema=schema()))


def encoded(table: Any) -> bytes:
    """A table as the bytes of a file."""
    import pyarrow
    from pyarrow import parquet

    sink = pyarrow.BufferOutputStream()
    parquet.write_table(table, sink, compression="zstd", row_group_size=ROW_GROUP)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def ids_in(path: Path) -> Iterator[dict[bytes, int]]:
    """Digests of ids and contents of the labels of a file, some at a time. Raises `OSError`, also for what is no such file."""
    for batch in _batches(path, ["label_id", "content"]):
        names, contents = batch.column(0).to_pylist(), batch.column(1).to_pylist()
        yield dict(zip(map(id_digest, names), contents, strict=True))


def table_of(paths: Sequence[Path]) -> Any:
    """All labels of some files, in order. Raises `OSError`."""
    import pyarrow
    from pyarrow import parquet

    return _explained(lambda: pyarrow.concat_tables([parquet.read_table(path, schema=schema(), partitioning=None) for path in paths]))


def columns_in(path: Path, model: str, name: str) -> Iterator[dict[str, np.ndarray]]:
    """The labels of one name of a model, some at a time, as columns; ids are objects, None where there is none."""
    from pyarrow import compute

    for batch in _batches(path, [field.name for field in schema()]):
        wanted = compute.and_(compute.equal(batch["model"], model), compute.equal(batch["name"], name))
        kept = batch.filter(wanted)
        if kept.num_rows:
            yield {field.name: _numpy(kept[field.name]) for field in schema()}


def judged_in(path: Path) -> Iterator[tuple[np.ndarray, ...]]:
    """Of a join's file, answers whose label is a number, some at a time: versions, arms, classes, scores, labels. Missing is NaN."""
    from pyarrow import compute, float64

    for batch in _batches(path, ["version", "arm", "pred_class", "score", "label_value"]):
        kept = batch.filter(compute.is_valid(batch["label_value"]))
        if kept.num_rows:
            numbers = [_numpy(kept[name].cast(float64())) for name in ("pred_class", "score", "label_value")]
            yield _numpy(kept["version"]), _numpy(kept["arm"]), *numbers


def _numpy(column: Any) -> np.ndarray:
    from pyarrow import int64, types

    if types.is_timestamp(column.type):
        column = column.cast(int64())
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _batches(path: Path, columns: list[str]) -> Iterator[Any]:
    from pyarrow import parquet

    with path.open("rb") as file:
        reader = _explained(lambda: parquet.ParquetFile(file))
        batches = reader.iter_batches(_READ_ROWS, columns=columns, use_threads=False)
        while (batch := _explained(lambda: next(batches, None))) is not None:
            yield batch


def _explained(read: Callable[[], Any]) -> Any:
    """What pyarrow finds wrong with a file is an `OSError`."""
    import pyarrow

    try:
        return read()
    except pyarrow.ArrowException as error:
        raise OSError(" ".join(str(error).split())[:300]) from error


_PLAIN = (
    *("label_id", "request_id", "client_request_id", "unit_hash", "model", "row", "name", "value", "text"),
    *("source", "weight", "final", "supersedes"),
)


@cache
def schema() -> Any:
    """The columns of a file. `content` is the digest by which a repeated label is known."""
    import pyarrow as pa

    time, word = pa.timestamp("us", "UTC"), pa.dictionary(pa.int32(), pa.string())
    return pa.schema([
        pa.field("label_id", pa.string(), nullable=False),
        pa.field("request_id", pa.binary(16)),
        pa.field("client_request_id", pa.string()),
        pa.field("unit_hash", pa.binary(8)),
        pa.field("event_ts", time, nullable=False),
        pa.field("arrival_ts", time, nullable=False),
        pa.field("model", word, nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("name", word, nullable=False),
        pa.field("value", pa.float64()),
        pa.field("text", pa.string()),
        pa.field("source", word, nullable=False),
        pa.field("weight", pa.float32(), nullable=False),
        pa.field("final", pa.bool_(), nullable=False),
        pa.field("supersedes", pa.string()),
        pa.field("content", pa.uint64(), nullable=False),
    ])  # fmt: skip


def answers_in(path: Path) -> Iterator[dict[str, np.ndarray]]:
    """The answers of a file with status OK, some at a time: columns by name; texts are objects, request ids and units [n, bytes]."""
    from pyarrow import compute

    for batch in _batches(path, ["status", "request_id", *_OF_ANSWERS, "unit_hash"]):
        kept = batch.filter(compute.equal(batch["status"], 0))
        if kept.num_rows:
            found = {name: _numpy(kept[name]) for name in _OF_ANSWERS}
            yield found | {name: _fixed(kept[name], size) for name, size in (("request_id", 16), ("unit_hash", 8))}


def _fixed(column: Any, size: int) -> np.ndarray:
    """uint8 [n, size]; zeros where there is nothing."""
    empty = bytes(size)
    return np.frombuffer(b"".join([value or empty for value in column.to_pylist()]), np.uint8).reshape(-1, size)


_OF_ANSWERS = ("client_request_id", "ts", "version", "rollout_id", "step", "arm", "row", "pred_class", "score")
