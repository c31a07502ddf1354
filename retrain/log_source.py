"""Rows of the inference log with their labels, as the join writes them into one Parquet file: a source like any other.

A column `f` holds the inputs by their names, `ts` when the request arrived, `label_value` and `label_weight` what came true,
`sampling_prob` the share of requests that were logged.
Of shadows there are copies of the same requests, so they are left out unless a filter names arms.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrain.engine import Connection, quoted
from retrain.errors import RetrainError
from retrain.inputs import Input
from retrain.snapshot import Filter, Snapshot
from retrain.sources import KEY, LABEL, TIME, WEIGHT, asked, conditions_of

SERVED = Filter(column="arm", values=("stable", "canary", "forced", "fallback"))
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
        for sign, moment in ((">=", snapshot.since), ("<=", snapshot.as_of)):
            if moment is not None:
                conditions.append(f"epoch_us(ts) {sign} ?")
                values.append(round(moment.timestamp() * 1e6))
        weight = "coalesce(label_weight, 1)"
        if snapshot.weights == "inverse_sampling":
            weight = f"{weight} / sampling_prob"
        columns = [f"f.{quoted(one.name)} AS {quoted(one.name)}" for one in inputs if one.name in types]
        columns += [f"CAST(label_value AS DOUBLE) AS {LABEL}", f"epoch_us(ts) AS {TIME}", f"CAST({weight} AS DOUBLE) AS {WEIGHT}"]
        columns.append(f"{_key(snapshot.seed)} AS {KEY}")
        query = f"SELECT {', '.join(columns)} FROM read_parquet(?) WHERE {' AND '.join(conditions)}"  # noqa: S608 - names are quoted
        return asked(lambda: connection.sql(query, params=[str(self.path), *values]))

    def _columns(self, connection: Connection) -> dict[str, str]:
        found = asked(lambda: connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(self.path)]).fetchall())
        return {name: kind for name, kind, *_ in found}


def _key(seed: int) -> str:
    """The last 32 bits of a digest of the row's identity: an id's own bits are not all as good as random, and DuckDB's hash may change."""
    return f"CAST(('0x' || right(md5('{seed}:' || hex(request_id) || ':' || row || ':' || arm), 8)) AS BIGINT)"
