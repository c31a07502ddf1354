"""From what somebody asks for to the description of a job: files are hashed, names are looked up, and what is not there is refused.

`Wish` is what a policy and a command line can say; it says nothing of a moment, so it is the same tomorrow.
"""

from __future__ import annotations

import glob
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from registry.medium import Progress, unseen
from registry.training import Plain
from retrain import provenance
from retrain.champion import Champion
from retrain.entry import resolve
from retrain.errors import RetrainError
from retrain.expectations import gate_of
from retrain.gate_settings import Gate, Gates, suited
from retrain.inputs import inputs_of
from retrain.log_source import LogSource, answer_chain, label_chain, tip_of
from retrain.snapshot import MAX_FILES, MAX_ROWS, File, Filter, Join, Snapshot
from retrain.sources import RowsFiles
from retrain.spec import JobSpec
from retrain.target import WORDS, target_of

Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rows."""

    rows: tuple[str, ...] = ()  # Parquet files, or patterns such as data/*.parquet
    log: str | None = None  # or the directory of an inference log with labels
    label: str = "label"  # their column with what came true; of a log, the name of the label
    time: str | None = None  # their column with when each row was; the order of the rows without it
    weight: str | None = None
    arrival: str | None = None  # their column with when the label came; it is not used before
    filters: tuple[Filter, ...] = ()
    days: Annotated[float, msgspec.Meta(gt=0)] | None = None  # the latest ones; all without it
    max_rows: Annotated[int, msgspec.Meta(ge=1)] = MAX_ROWS
    holdout: Share = 0.2
    gap_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    join: Join = Join()  # of a log: how labels come to answers
    weights: Literal["none", "inverse_sampling"] = "inverse_sampling"  # of a log: a row that was logged with probability p counts 1/p
    expectations: str | None = None  # path of a validation result of Great Expectations, JSON: it must be a success too


class Training(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to train."""

    entry_point: str | None = None  # module:function; null: a recipe
    parameters: dict[str, Plain] = {}
    seed: int = 0
    lock: str | None = None  # path of the lock file; null: the one in the current directory, or the packages that are installed
    memory_mib: Annotated[int, msgspec.Meta(ge=64)] = 2_048  # of DuckDB; what is larger goes to a temporary directory


class Wish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a job shall do, whenever it does."""

    model: str
    base: str = "champion"  # alias or number of the version to replace
    data: Data
    training: Training = Training()
    gates: Gates = Gates()
    run_url: str | None = None


@dataclass(frozen=True, slots=True)
class Located:
    """A description with the source that it speaks of."""

    spec: JobSpec
    source: RowsFiles | LogSource


def planned(
    wish: Wish, champion: Champion, *, now_s: float, as_of_s: float | None = None, folder: Path, progress: Progress = unseen
) -> Located:
    """The job of this moment: nothing later than `as_of_s`, or now, is in its data. Raises `RetrainError`."""
    if wish.training.entry_point is not None:
        resolve(wish.training.entry_point)
    target = target_of(champion.schema)
    if target.kind != "yes_no" and wish.data.join.negative_after_s is not None:
        raise RetrainError(f"negative_after_s stands for a no, and the labels of this model are {WORDS[target.kind]}")
    _check_slices(wish.gates, {one.name for one in inputs_of(champion.schema)})
    as_of_s = now_s if as_of_s is None else as_of_s
    files = () if wish.data.log is not None else RowsFiles(_paths(wish.data.rows)).files(progress=progress)
    snapshot = snapshot_of(wish, champion, as_of_s=as_of_s, files=files)
    source = source_of(wish.data, snapshot)
    lock = None if wish.training.lock is None else Path(wish.training.lock)
    spec = JobSpec(
        model=wish.model,
        base_version=champion.version,
        base_manifest=champion.manifest,
        snapshot=snapshot,
        locations=tuple(str(path.absolute()) for path in ([source.root] if isinstance(source, LogSource) else source.paths)),
        entry_point=wish.training.entry_point,
        parameters=wish.training.parameters,
        seed=wish.training.seed,
        bootstrap_seed=wish.training.seed,
        gates=suited(wish.gates, target.kind),
        checked=None if wish.data.expectations is None else _checked(Path(wish.data.expectations)),
        lock_digest=provenance.lock_digest(folder, lock),
        run_url=wish.run_url,
    )
    return Located(spec, source)


def source_of(data: Data, snapshot: Snapshot) -> RowsFiles | LogSource:
    """The files or the log that a wish names. Raises `RetrainError` where there are none."""
    return RowsFiles(_paths(data.rows)) if data.log is None else LogSource(Path(data.log), snapshot)


def snapshot_of(wish: Wish, champion: Champion, *, as_of_s: float, files: tuple[File, ...] = ()) -> Snapshot:
    """The rows of a wish as of a time; without `files`, for one look at them that nobody has to repeat."""
    data = wish.data
    if data.log is not None and data.rows:
        raise RetrainError("rows come from files or from a log, not from both")
    log = {} if data.log is None else _of_log(Path(data.log), data)
    return Snapshot(
        kind="rows" if data.log is None else "log",
        model=wish.model,
        columns=tuple((one.name, one.kind) for one in inputs_of(champion.schema)),
        label=data.label,
        time=data.time,
        weight=data.weight,
        arrival=data.arrival,
        files=files,
        as_of=_moment(as_of_s),
        since=None if data.days is None else _moment(as_of_s - data.days * 86_400),
        filters=data.filters,
        max_rows=data.max_rows,
        seed=wish.training.seed,
        holdout=data.holdout,
        gap_s=data.gap_s,
        **log,
    )


def _of_log(root: Path, data: Data) -> dict[str, Any]:
    if data.time or data.weight or data.arrival:
        raise RetrainError("a log has times, weights and arrivals of its own: name no columns for them")
    answers, labels = tip_of(root, answer_chain(root)), tip_of(root, label_chain(root))
    return {"log_commits": answers, "label_commits": labels, "join": data.join, "weights": data.weights}


def relocated(spec: JobSpec, paths: tuple[Path, ...] = (), *, progress: Progress = unseen) -> Located:
    """The source of a description again, where it was or in `paths`. Raises `RetrainError` where its files are not the same."""
    if spec.snapshot.kind == "log":
        return Located(spec, LogSource(paths[0] if paths else Path(spec.locations[0]), spec.snapshot))
    source = RowsFiles(paths or tuple(Path(place) for place in spec.locations))
    found, wanted = source.files(progress=progress), spec.snapshot.files
    for now, then in zip(found, wanted, strict=False):
        if now.digest != then.digest:
            raise RetrainError(f"{now.name} is not what the job was given: {now.digest} instead of {then.digest} of {then.name}")
    if len(found) != len(wanted):
        raise RetrainError(f"the job was given {len(wanted)} files, and there are {len(found)}")
    return Located(spec, source)


def _paths(patterns: tuple[str, ...]) -> tuple[Path, ...]:
    """In an order that the names decide."""
    found = []
    for pattern in patterns:
        matched = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else [pattern]
        if not matched:
            raise RetrainError(f"{pattern}: no such file")
        found += [Path(path) for path in matched]
    if not 0 < len(found) <= MAX_FILES:
        raise RetrainError(f"there are {len(found)} files of rows, where 1 to {MAX_FILES} are expected")
    return tuple(found)


def _checked(path: Path) -> Gate:
    try:
        return gate_of(msgspec.json.decode(path.read_bytes()))
    except OSError as error:
        raise RetrainError(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, RetrainError) as error:
        raise RetrainError(f"{path}: {error}") from error


def _check_slices(gates: Gates, inputs: set[str]) -> None:
    for column in (*gates.slices.columns, *(cross.column for cross in gates.cross_slices)):
        if column not in inputs:
            raise RetrainError(f"slices of '{column}': the model has no such input; it has {', '.join(sorted(inputs))}")


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
