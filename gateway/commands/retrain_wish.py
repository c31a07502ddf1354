"""What the options of `tidegate retrain` ask for, laid over a policy where one is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from gateway.commands.output import UsageError

if TYPE_CHECKING:
    from retrain.planning import Wish

Rows = Annotated[
    list[str] | None, typer.Option("--data", metavar="ROWS.parquet", help="Rows to train on: files, or patterns in quotes; repeatable.")
]
FromLog = Annotated[str | None, typer.Option("--log", metavar="DIRECTORY", help="Or those of an inference log with its labels.")]
Label = Annotated[str | None, typer.Option("--label", metavar="COLUMN", help="Of the rows: what came true; of a log, its name [label].")]
Time = Annotated[str | None, typer.Option("--time", metavar="COLUMN", help="Of the rows: when each was; their order without it.")]
Weight = Annotated[str | None, typer.Option("--weight", metavar="COLUMN", help="Of the rows: how many each stands for.")]
Arrival = Annotated[str | None, typer.Option("--arrival", metavar="COLUMN", help="Of the rows: when the label came.")]
Where = Annotated[
    list[str] | None, typer.Option("--where", metavar="FILTER", help="COLUMN=VALUE[,VALUE], COLUMN>=NUMBER or COLUMN<=NUMBER; repeatable.")
]
Days = Annotated[float | None, typer.Option("--days", min=0.0, help="Only the latest ones.")]
Holdout = Annotated[float | None, typer.Option("--holdout", help="Share of the latest rows that both models are judged by [0.2].")]
EntryPoint = Annotated[
    str | None, typer.Option("--entry", metavar="MODULE:FUNCTION", help="What trains: train(dataset, params) -> estimator [a recipe].")
]
Parameter = Annotated[list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="Of the entry point or the recipe; repeatable.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Of samples, training and bounds [0].")]
Slice = Annotated[list[str] | None, typer.Option("--slice", metavar="INPUT", help="Judge each of its values by itself; repeatable.")]
MinRows = Annotated[int | None, typer.Option("--min-rows", min=1, help="Labelled rows without which nothing is trained [1000].")]
Lock = Annotated[Path | None, typer.Option("--lock", help="Lock file of the packages [the one that lies here, or what is installed].")]
Expectations = Annotated[
    Path | None,
    typer.Option("--expectations", metavar="RESULT.json", help="A validation result of Great Expectations, which must be a success."),
]
RunUrl = Annotated[str | None, typer.Option("--run-url", metavar="URL", help="Where people follow the run; it stands in the record.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options; None where nothing was said."""

    rows: list[str] | None = None
    log: str | None = None
    label: str | None = None
    time: str | None = None
    weight: str | None = None
    arrival: str | None = None
    where: list[str] | None = None
    days: float | None = None
    holdout: float | None = None
    entry: str | None = None
    parameters: list[str] | None = None
    seed: int | None = None
    slices: list[str] | None = None
    min_rows: int | None = None
    lock: Path | None = None
    run_url: str | None = None
    expectations: Path | None = None

    @property
    def any(self) -> bool:
        """Whether anything was said."""
        return any(getattr(self, name) is not None for name in self.__slots__)


@contextmanager
def understood() -> Iterator[None]:
    """What a job cannot understand is a mistake of whoever asked."""
    from retrain.errors import RetrainError

    try:
        yield
    except RetrainError as error:
        raise UsageError(str(error)) from error


def wish_of(model: str, base: str | None, asked: Asked, under: Wish | None) -> Wish | None:
    """The wish of the options, over that of a policy; None where neither says what to train on. Raises `UsageError`."""
    from retrain.planning import Wish
    from retrain.snapshot import filter_of

    if under is None and asked.rows is None and asked.log is None:
        if asked.any:
            raise UsageError("--data: missing; which rows shall be trained on?")
        return None
    plain: dict[str, Any] = {"model": model, "data": {}} if under is None else msgspec.to_builtins(under)
    with understood():
        filters = None if asked.where is None else [msgspec.to_builtins(filter_of(text)) for text in asked.where]
    data = {
        "rows": asked.rows, "log": asked.log, "label": asked.label,
        "time": asked.time, "weight": asked.weight, "arrival": asked.arrival, "filters": filters,
        "days": asked.days, "holdout": asked.holdout, "expectations": None if asked.expectations is None else str(asked.expectations),
    }  # fmt: skip
    training = {
        "entry_point": asked.entry,
        "parameters": None if asked.parameters is None else dict(_parameter(text) for text in asked.parameters),
        "seed": asked.seed,
        "lock": None if asked.lock is None else str(asked.lock),
    }
    gates = {"slices": None if asked.slices is None else {"columns": asked.slices}, "validation": _min_rows(asked.min_rows)}
    said = {"data": data, "training": training, "gates": gates, "run_url": asked.run_url, "base": base}
    try:
        return msgspec.convert(_over(plain, said), Wish)
    except msgspec.ValidationError as error:
        raise UsageError(f"{error}") from error


def moment_s(flag: str, text: str | None) -> float | None:
    """Seconds since the Unix epoch of `2026-12-01` or `2026-12-01T10:00:00Z`; UTC without a zone. Raises `UsageError`."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{flag}: expected a date or a time such as 2026-12-01T10:00:00Z, got {text!r}") from None
    if found.tzinfo is None:
        from datetime import UTC

        found = found.replace(tzinfo=UTC)
    return found.timestamp()


def _min_rows(count: int | None) -> dict[str, int] | None:
    return None if count is None else {"min_rows": count}


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--param: expected NAME=VALUE, got {text!r}")
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value


def _over(under: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """What was said counts, mapping by mapping; what was not said stays."""
    both = dict(under)
    for name, value in said.items():
        if isinstance(value, dict) and isinstance(under.get(name, {}), dict) and name != "parameters":
            both[name] = _over(under.get(name, {}), value)
        elif value is not None:
            both[name] = value
    return both


def paths(rows: Sequence[str] | None) -> tuple[Path, ...]:
    """Files that stand for those of a record."""
    return tuple(Path(row) for row in rows or ())
