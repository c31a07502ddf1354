"""Answers of the inference log with their labels, by DuckDB: larger than memory, on all cores. `join_spec` says what is joined.

The result is a Parquet file of the answers' columns with `label_*` beside them. What does not fit in memory is put aside on disk.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from registry.errors import Kind, RegistryError
from retrain.join_spec import DELAY_STEP, JoinReport, JoinSpec, delay_quantiles, shown

MEMORY = 3 << 30  # bytes that DuckDB may use; the rest of the process comes on top
KEYS = ("client", "request", "unit")
ANSWER = (
    *(
        "request_id",
        "client_request_id",
        "ts",
        "version",
        "manifest",
        "rollout_id",
        "step",
        "arm",
        "propensity",
        "unit_hash",
        "row",
        "rows",
    ),
    *("sampling_prob", "violations", "f", "y", "pred_class", "score"),
)

_ANSWERS = """
CREATE TEMP VIEW answers AS
SELECT COLUMNS(lambda name: list_contains(getvariable('wanted'), name)), epoch_us(ts) AS at_us
FROM read_parquet(getvariable('answer_files'), hive_partitioning = false, union_by_name = true)
WHERE model = getvariable('model') AND status = 0
  AND ts >= make_timestamptz(getvariable('since_us')) AND ts < make_timestamptz(getvariable('until_us'))
  AND (len(getvariable('arms')) = 0 OR list_contains(getvariable('arms'), arm))
"""
_ARRIVED = """
CREATE TEMP VIEW arrived AS
SELECT label_id, request_id, client_request_id, unit_hash, row, value, text, weight, final, supersedes,
  model = getvariable('model') AND name = getvariable('name') AS meant,
  epoch_us(event_ts) AS event_us, epoch_us(arrival_ts) AS arrival_us
FROM read_parquet(getvariable('label_files'), hive_partitioning = false)
WHERE arrival_ts <= make_timestamptz(getvariable('as_of_us'))
"""
_NONE_ARRIVED = """
CREATE TEMP VIEW arrived AS
SELECT ''::VARCHAR AS label_id, NULL::BLOB AS request_id, NULL::VARCHAR AS client_request_id, NULL::BLOB AS unit_hash, 0::INTEGER AS row,
  NULL::DOUBLE AS value, NULL::VARCHAR AS text, 1::FLOAT AS weight, false AS final, NULL::VARCHAR AS supersedes, true AS meant,
  0::BIGINT AS event_us, 0::BIGINT AS arrival_us
WHERE false
"""
_SUPERSEDED = "CREATE TEMP TABLE superseded AS SELECT DISTINCT supersedes AS label_id FROM arrived WHERE supersedes IS NOT NULL"
_VALID = "CREATE TEMP VIEW valid AS SELECT * FROM arrived WHERE meant"
_VALID_WITHOUT = "CREATE TEMP VIEW valid AS SELECT * FROM arrived ANTI JOIN superseded USING (label_id) WHERE meant"
_COUNTS = "SELECT count(*), count(client_request_id), count(request_id), count(unit_hash) FROM valid"
_PUT_ASIDE = "SELECT count(*) FROM arrived SEMI JOIN superseded USING (label_id) WHERE meant"

# Labels by the request that they are for. Each way takes what the ways before it left over.
_BY_CLIENT = """
CREATE TEMP TABLE by_client AS
SELECT requests.request_id AS target, row, 0 AS way, valid.* EXCLUDE (row)
FROM valid JOIN (SELECT DISTINCT client_request_id, row, request_id FROM answers WHERE client_request_id IS NOT NULL) AS requests
USING (client_request_id, row)
"""
_NO_CLIENT = "CREATE TEMP VIEW by_client AS SELECT request_id AS target, row, 0 AS way, * EXCLUDE (row) FROM valid WHERE false"
_REST = "CREATE TEMP VIEW rest AS SELECT * FROM valid ANTI JOIN by_client USING (label_id)"
_ALL_REST = "CREATE TEMP VIEW rest AS SELECT * FROM valid"
_BY_REQUEST = """
CREATE TEMP VIEW by_request AS SELECT request_id AS target, row, 1 AS way, * EXCLUDE (row) FROM rest WHERE request_id IS NOT NULL
"""
_BY_KNOWN_REQUEST = """
CREATE TEMP TABLE by_request AS
SELECT request_id AS target, row, 1 AS way, * EXCLUDE (row)
FROM rest SEMI JOIN (SELECT request_id, row FROM answers) AS requests USING (request_id, row)
"""
_BY_UNIT = """
CREATE TEMP VIEW by_unit AS
SELECT requests.request_id AS target, last.row, 2 AS way, last.* EXCLUDE (row)
FROM (SELECT * FROM rest ANTI JOIN by_request USING (label_id) WHERE unit_hash IS NOT NULL) AS last
ASOF JOIN (
  SELECT unit_hash, row, at_us, max(request_id) AS request_id FROM answers WHERE unit_hash IS NOT NULL GROUP BY unit_hash, row, at_us
) AS requests
ON last.unit_hash = requests.unit_hash AND last.row = requests.row AND last.event_us >= requests.at_us
WHERE last.event_us - requests.at_us <= getvariable('window_us')
"""
_NO_UNIT = "CREATE TEMP VIEW by_unit AS SELECT request_id AS target, row, 2 AS way, * EXCLUDE (row) FROM rest WHERE false"

# Nearly all rows have one label at most. Those with more are told by a hash, and only they are put in order.
_AIMED = """
CREATE TEMP VIEW aimed AS
SELECT target, row, way, label_id, value, text, weight, final, event_us, arrival_us, hash(target, row) AS place FROM (
  SELECT * FROM by_client UNION ALL BY NAME SELECT * FROM by_request UNION ALL BY NAME SELECT * FROM by_unit
)
"""
_CROWDED = "CREATE TEMP TABLE crowded AS SELECT place FROM aimed GROUP BY place HAVING count(*) > 1"
_ORDERED = """
CREATE TEMP TABLE ordered AS
SELECT * EXCLUDE (place),
  row_number() OVER (PARTITION BY target, row ORDER BY final DESC, arrival_us DESC, label_id DESC, way) AS standing,
  row_number() OVER (PARTITION BY target, row, label_id ORDER BY arrival_us) AS copy
FROM aimed SEMI JOIN crowded USING (place)
"""
_BEST = """
CREATE TEMP VIEW best AS
SELECT target AS request_id, row, way, label_id, value, text, weight, event_us, arrival_us FROM aimed ANTI JOIN crowded USING (place)
UNION ALL
SELECT target AS request_id, row, way, label_id, value, text, weight, event_us, arrival_us FROM ordered WHERE standing = 1
"""
_JOINED = """
CREATE TEMP VIEW joined AS
SELECT * EXCLUDE (at_us, is_over, way, known_id, value, text, weight, event_us, arrival_us, counts, times_out),
  CASE WHEN counts THEN value WHEN times_out THEN 0.0 END AS label_value,
  CASE WHEN counts THEN text END AS label_text,
  CASE WHEN counts THEN weight WHEN times_out THEN 1.0 END::FLOAT AS label_weight,
  CASE WHEN counts THEN make_timestamptz(event_us) WHEN times_out THEN make_timestamptz(over_us) END AS label_event_ts,
  CASE WHEN counts THEN make_timestamptz(arrival_us) WHEN times_out THEN make_timestamptz(over_us) END AS label_arrival_ts,
  CASE WHEN counts THEN known_id END AS label_id,
  CASE WHEN counts THEN ['client', 'request', 'unit'][way + 1] WHEN times_out THEN 'timeout' END AS label_key,
  way AS label_way, CASE WHEN counts THEN arrival_us - at_us END AS label_delay_us
FROM (
  SELECT answers.*, way, best.label_id AS known_id, value, text, weight, event_us, arrival_us,
    label_mature AND best.label_id IS NOT NULL AS counts, is_over AND label_mature AND best.label_id IS NULL AS times_out
  FROM (
    SELECT *, at_us + getvariable('mature_us') <= getvariable('as_of_us') AS label_mature, at_us + getvariable('negative_us') AS over_us,
      coalesce(at_us + getvariable('negative_us') <= getvariable('as_of_us'), false) AS is_over FROM answers
  ) AS answers
  LEFT JOIN best USING (request_id, row)
)
"""
_JOINED_BY_EVENT = """
CREATE TEMP VIEW joined AS
SELECT * EXCLUDE (at_us, way, known_id, value, text, weight, event_us, arrival_us, counts),
  CASE WHEN counts THEN value END AS label_value,
  CASE WHEN counts THEN text END AS label_text,
  CASE WHEN counts THEN weight END::FLOAT AS label_weight,
  CASE WHEN counts THEN make_timestamptz(event_us) END AS label_event_ts,
  CASE WHEN counts THEN make_timestamptz(arrival_us) END AS label_arrival_ts,
  CASE WHEN counts THEN known_id END AS label_id,
  CASE WHEN counts THEN ['client', 'request', 'unit'][way + 1] END AS label_key,
  way AS label_way, CASE WHEN counts THEN arrival_us - event_us END AS label_delay_us
FROM (
  SELECT *, label_mature AS counts FROM (
    SELECT answers.*, coalesce(event_us + getvariable('mature_us') <= getvariable('as_of_us'), false) AS label_mature,
      NULL::BIGINT AS over_us, way, best.label_id AS known_id, value, text, weight, event_us, arrival_us
    FROM answers LEFT JOIN best USING (request_id, row)
  )
)
"""
# A dictionary is tried for each column, which takes a seventh of the whole join and hardly any of them has one.
_WRITE = """
COPY (SELECT * EXCLUDE (over_us) FROM joined) TO ? (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, DICTIONARY_SIZE_LIMIT 64)
"""
_WRITE_SORTED = """
COPY (SELECT * EXCLUDE (over_us) FROM joined ORDER BY ts, request_id, row, arm) TO ?
(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, DICTIONARY_SIZE_LIMIT 64)
"""
_ROWS = """
SELECT count(*), count(*) FILTER (label_mature), count(label_id), count(*) FILTER (label_key = 'timeout'),
  count(*) FILTER (label_way IS NOT NULL AND NOT label_mature)
FROM read_parquet(?)
"""
_DELAYS = """
SELECT ceil(ln(greatest(label_delay_us, 1) / 1e6) / ln(?))::INTEGER AS bucket, count(*) FROM read_parquet(?)
WHERE label_delay_us IS NOT NULL GROUP BY bucket
"""
_WINNERS = """
SELECT way, count(*) FROM (
  SELECT any_value(label_way) AS way FROM read_parquet(?) WHERE label_way IS NOT NULL GROUP BY hash(request_id, row)
) GROUP BY way
"""
_LOSERS = """
SELECT way, count(*), count(*) FILTER (copy > 1) FROM ordered
SEMI JOIN (SELECT request_id AS target, row FROM read_parquet(?) WHERE label_way IS NOT NULL) AS met USING (target, row)
WHERE standing > 1 GROUP BY way
"""


def join(
    spec: JoinSpec, *, answers: Sequence[Path], labels: Sequence[Path], to: Path,
    columns: Sequence[str] = ANSWER, in_order: bool = False, memory: int = MEMORY, threads: int | None = None, aside: Path | None = None,
) -> JoinReport:  # fmt: skip
    """Join files of the inference log with files of labels, write the result, and say what was found.

    Columns: those of the answers that are kept, then label_mature, label_value, label_text, label_weight, label_event_ts, label_arrival_ts,
    label_id, label_key (client, request, unit, timeout), label_way and label_delay_us; null where there is no label, and of rows that are
    not mature. `in_order`: by time and id, so that equal joins are equal files; else as it comes. `memory` in bytes, for DuckDB; what does
    not fit lies under `aside` meanwhile. Raises `Kind.NOT_FOUND` where there are no answers, `Kind.STORAGE`, `Kind.DAMAGED`.
    """
    if not answers:
        raise RegistryError(Kind.NOT_FOUND, f"the inference log has no answers for {shown(spec)}")
    with _engine(memory, threads, aside) as run:
        _declare(run, spec, answers, labels, columns)
        superseded = _valid(run, bool(labels))
        counted = _aim(run, _JOINED_BY_EVENT if spec.time == "event" else _JOINED)
        run(_WRITE_SORTED if in_order else _WRITE, [str(to)])
        return _report(run, to, labels=counted, superseded=superseded)


Run = Any  # (statement, parameters) → a DuckDB connection with the result


@contextmanager
def _engine(memory: int, threads: int | None, aside: Path | None) -> Iterator[Run]:
    """A database of its own, in memory and on disk as needed. Its errors are ours."""
    import duckdb

    with tempfile.TemporaryDirectory(prefix="tidegate-join-", dir=aside) as folder:
        connection = duckdb.connect(config={
            "memory_limit": f"{memory >> 20}MiB", "threads": threads or len(os.sched_getaffinity(0)), "temp_directory": folder,
            "preserve_insertion_order": False, "enable_external_access": True, "autoinstall_known_extensions": False,
        })  # fmt: skip
        try:
            yield lambda statement, values=(): connection.execute(statement, list(values))
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            raise RegistryError(Kind.STORAGE, f"cannot join: {_plain(error)}") from error
        except (
            duckdb.BinderException,
            duckdb.DataError,
            duckdb.InvalidInputException,
        ) as error:  # columns that are not there, or other ones
            raise RegistryError(Kind.DAMAGED, f"the log or the labels cannot be joined: {_plain(error)}") from error
        finally:
            connection.close()


def _declare(run: Run, spec: JoinSpec, answers: Sequence[Path], labels: Sequence[Path], columns: Sequence[str]) -> None:
    negative = None if spec.negative_after_s is None else int(spec.negative_after_s * 1e6)
    needed = ("request_id", "client_request_id", "ts", "arm", "unit_hash", "row")
    values: dict[str, tuple[Any, str]] = {
        "answer_files": (list(map(str, answers)), "VARCHAR[]"), "label_files": (list(map(str, labels)), "VARCHAR[]"),
        "wanted": ([*dict.fromkeys([*needed, *columns])], "VARCHAR[]"), "arms": (list(spec.arms), "VARCHAR[]"),
        "model": (spec.model, "VARCHAR"), "name": (spec.name, "VARCHAR"), "since_us": (spec.since_us, "BIGINT"),
        "until_us": (spec.end_us, "BIGINT"), "as_of_us": (spec.as_of_us, "BIGINT"), "mature_us": (int(spec.mature_after_s * 1e6), "BIGINT"),
        "negative_us": (negative, "BIGINT"), "window_us": (int(spec.window_s * 1e6), "BIGINT"),
    }  # fmt: skip
    for name, (value, kind) in values.items():
        run(f"SET VARIABLE {name} = ?::{kind}", [value])
    run(_ANSWERS)


def _valid(run: Run, any_labels: bool) -> int:
    """Declare the labels that count. Returns how many others would count, were they not superseded."""
    run(_ARRIVED if any_labels else _NONE_ARRIVED)
    run(_SUPERSEDED)
    (corrections,) = run("SELECT count(*) FROM superseded").fetchone()
    run(_VALID_WITHOUT if corrections else _VALID)
    return int(run(_PUT_ASIDE).fetchone()[0]) if corrections else 0


def _aim(run: Run, joined: str) -> int:
    """Declare which request each label is for, and the best of each row. Returns how many labels there are."""
    labels, by_client, by_request, by_unit = run(_COUNTS).fetchone()
    run(_BY_CLIENT if by_client else _NO_CLIENT)
    run(_REST if by_client else _ALL_REST)
    run(_BY_KNOWN_REQUEST if by_unit and by_request else _BY_REQUEST)
    run(_BY_UNIT if by_unit else _NO_UNIT)
    for statement in (_AIMED, _CROWDED, _ORDERED, _BEST, joined):
        run(statement)
    return int(labels)


def _report(run: Run, to: Path, *, labels: int, superseded: int) -> JoinReport:
    rows, mature, labelled, timeouts, early = run(_ROWS, [str(to)]).fetchone()
    buckets = dict(run(_DELAYS, [DELAY_STEP, str(to)]).fetchall())
    matched = dict.fromkeys(KEYS, 0)
    for way, count in run(_WINNERS, [str(to)]).fetchall():
        matched[KEYS[way]] += count
    replaced = duplicates = 0
    for way, losers, copies in run(_LOSERS, [str(to)]).fetchall():
        matched[KEYS[way]] += losers
        replaced, duplicates = replaced + losers - copies, duplicates + copies
    matched["client"] = int(run("SELECT count(DISTINCT label_id) FROM by_client").fetchone()[0])  # one may be for several requests
    return JoinReport(
        rows=rows,
        mature=mature,
        labelled=labelled,
        timeouts=timeouts,
        early=early,
        delays_s=delay_quantiles(buckets),
        labels=labels,
        superseded=superseded,
        matched=matched,
        orphans=max(0, labels - sum(matched.values())),
        replaced=replaced,
        duplicates=duplicates,
    )


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
