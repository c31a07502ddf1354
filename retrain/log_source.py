"""Rows of the inference log with their labels, as the join writes them into one Parquet file: a source like any other.

A column `f` holds the inputs by their names, `ts` when the request arrived, `label_value` and `label_weight` what came true and
`label_event_ts` when, which is the time of a row where the snapshot's join says so; `sampling_prob` the share of requests that were logged.
Rows whose payload was erased are left out. Of shadows there are copies of the same requests, so they are left out unless a filter names
arms.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.commit_chain import Chain
from registry.directory import DirectoryMedium
from registry.entries import NO_ENTRY
from registry.errors import Kind, RegistryError
from registry.labels import COMMITS as LABELS
from registry.labels import LabelCommit
from registry.log_accounts import Account
from registry.log_commits import LogChain
from registry.log_layout import open_log
from retrain import label_join
from retrain.engine import Connection, quoted
from retrain.errors import RetrainError
from retrain.inputs import Input
from retrain.join_spec import JoinSpec
from retrain.snapshot import Commits, Filter, Snapshot
from retrain.sources import KEY, LABEL, TIME, WEIGHT, asked, conditions_of

SERVED = Filter(column="arm", values=("stable", "canary", "forced", "fallback"))
_KEPT = ("request_id", "ts", "row", "arm", "sampling_prob", "status", "version", "f")
_OURS = ("f", "ts", "request_id", "row", "label_value", "label_weight", "sampling_prob", "arm")


@dataclass(frozen=True, slots=True)
class LogRows:
    """One joined file."""

    path: Path

    def types(self, connection: Connection) -> dict[str, str]:
        """The inputs that were logged, with DuckDB's names of their types. Raises `RetrainError`."""
        columns = self._columns(connection)
        lacking = [name for name in _OURS if name not in columns]
        if lacking:
            raise RetrainError(f"{self.path.name}: no rows of an inference log with labels: there is no column '{lacking[0]}'")
        found = asked(lambda: connection.execute("DESCRIBE SELECT unnest(f) FROM read_parquet(?)", [str(self.path)]).fetchall())
        return {name: kind for name, kind, *_ in found}

    def relation(self, connection: Connection, snapshot: Snapshot, inputs: tuple[Input, ...]) -> Any:
        """As `sources.Source`."""
        types = self.types(connection)
        filters = snapshot.filters if any(one.column == "arm" for one in snapshot.filters) else (*snapshot.filters, SERVED)
        conditions, values = conditions_of(filters, self._columns(connection))
        by_event = snapshot.join is not None and snapshot.join.time == "event"
        at = "label_event_ts" if by_event else "ts"
        if by_event:
            conditions.append(f"{at} IS NOT NULL")
        conditions.append("f IS NOT NULL")  # else its payload was erased
        for sign, moment in ((">=", snapshot.since), ("<=", snapshot.as_of)):
            if moment is not None:
                conditions.append(f"epoch_us({at}) {sign} ?")
                values.append(round(moment.timestamp() * 1e6))
        weight = "coalesce(label_weight, 1)"
        if snapshot.weights == "inverse_sampling":
            weight = f"{weight} / sampling_prob"
        columns = [f"f.{quoted(one.name)} AS {quoted(one.name)}" for one in inputs if one.name in types]
        columns += [f"CAST(label_value AS DOUBLE) AS {LABEL}", f"epoch_us({at}) AS {TIME}", f"CAST({weight} AS DOUBLE) AS {WEIGHT}"]
        columns.append(f"{_key(snapshot.seed)} AS {KEY}")
        query = f"SELECT {', '.join(columns)} FROM read_parquet(?) WHERE {' AND '.join(conditions)}"  # noqa: S608 - names are quoted
        return asked(lambda: connection.sql(query, params=[str(self.path), *values]))

    def _columns(self, connection: Connection) -> dict[str, str]:
        found = asked(lambda: connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(self.path)]).fetchall())
        return {name: kind for name, kind, *_ in found}


@dataclass(slots=True, weakref_slot=True, eq=False)
class LogSource:
    """A log in a directory as of two commits, joined when it is first read into a file that ends with this object."""

    root: Path
    snapshot: Snapshot
    _folder: Path | None = None

    def types(self, connection: Connection) -> dict[str, str]:
        """As `sources.Source`."""
        return self._rows().types(connection)

    def relation(self, connection: Connection, snapshot: Snapshot, inputs: tuple[Input, ...]) -> Any:
        """As `sources.Source`."""
        return self._rows().relation(connection, snapshot, inputs)

    def _rows(self) -> LogRows:
        if self._folder is None:
            folder = Path(tempfile.mkdtemp(prefix="tidegate-retrain-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            self._join(folder)
            self._folder = folder
        return LogRows(self._folder / "joined.parquet")

    def _join(self, folder: Path) -> None:
        found = self.snapshot
        assert found.log_commits is not None
        assert found.label_commits is not None
        assert found.join is not None
        assert found.as_of is not None
        answers = [self.root / path for path in files_at(answer_chain(self.root), found.log_commits.seq, found.model)]
        labels = [self.root / path for path in files_at(label_chain(self.root), found.label_commits.seq)]
        spec = JoinSpec(
            model=found.model,
            name=found.label,
            as_of_us=round(found.as_of.timestamp() * 1e6),
            since_us=0 if found.since is None or found.join.time == "event" else round(found.since.timestamp() * 1e6),
            window_s=found.join.window_s,
            mature_after_s=found.join.mature_after_s,
            negative_after_s=found.join.negative_after_s,
            time=found.join.time,
        )
        label_join.join(spec, answers=answers, labels=labels, to=folder / "joined.parquet", columns=_KEPT, aside=folder)


def answer_chain(root: Path) -> Chain[Any]:
    """Commits of what was answered."""
    return LogChain(DirectoryMedium(root))


def label_chain(root: Path) -> Chain[Any]:
    """Commits of labels."""
    return Chain(DirectoryMedium(root), LABELS, LabelCommit, what="a commit of labels")


def opened(root: Path) -> str:
    """The id of a log. Raises `RetrainError` for a directory that is none."""
    try:
        return open_log(DirectoryMedium(root)).id
    except RegistryError as error:
        if error.kind is Kind.NOT_FOUND:
            raise RetrainError(f"{root} is no inference log") from error
        raise


def tip_of(root: Path, chain: Chain[Any]) -> Commits:
    """The last commit that there is; 0 where there is none. Raises `RetrainError` for a directory that is no log."""
    identity = opened(root)
    for _ in chain.news():
        pass
    return Commits(log=identity, seq=chain.seq, tip=chain.tip or NO_ENTRY)


def drop_share(root: Path, model: str, *, since_us: int) -> float | None:
    """Share of the rows that were to be logged since then, by when they were committed, and were lost; copies of shadows do not count.

    None where there were no rows. Raises `RetrainError` for a directory that is no log, `Kind.DAMAGED`.
    """
    opened(root)
    accepted = lost = 0
    for commit in answer_chain(root).news():
        for name, arm, kept, dropped in Account(accepted=commit.accepted, dropped=commit.dropped).lines():
            if commit.created >= since_us and name == model and arm in (SERVED.values or ()):
                lost += sum(dropped.values())
                accepted += kept + sum(dropped.values())
    return lost / accepted if accepted else None


def files_at(chain: Chain[Any], seq: int, model: str | None = None) -> list[str]:
    """Files with what had been committed up to `seq`, in the order of their names: of those that were merged since, the merged ones."""
    named: dict[str, Any] = {}
    for commit in chain.news():
        merges = bool(commit.removed) and set(commit.removed) <= named.keys()
        if commit.seq > seq and not merges:
            continue
        for path in commit.removed:
            named.pop(path, None)
        named |= {file.path: file for file in commit.files}
    return sorted(path for path, file in named.items() if model is None or file.model == model)


def _key(seed: int) -> str:
    """The last 32 bits of a digest of the row's identity: an id's own bits are not all as good as random, and DuckDB's hash may change."""
    return f"CAST(('0x' || right(md5('{seed}:' || hex(request_id) || ':' || row || ':' || arm), 8)) AS BIGINT)"
