"""`tidegate labels`: what came true of answers, brought into the inference log, joined with them, and what it says of versions."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from gateway.clock import SystemClock
from gateway.commands.output import Exit, Json, UsageError, command, document, fail, printable, say, table
from gateway.commands.watching import counted

if TYPE_CHECKING:
    from registry.label import Label
    from registry.label_source import Read, Source
    from registry.labels import Labels
    from retrain.join_spec import JoinReport, JoinSpec

app = typer.Typer(
    no_args_is_help=True, help="What came true of answers: bring it in, join it with what was answered, judge versions by it."
)
BATCH = 16_384  # labels of one commit
SHOWN = 20  # refused rows that are named
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

LogPlace = Annotated[Path, typer.Option("--log", help="Directory of the inference log.")]
Model = Annotated[str, typer.Option("--model", help="Model name.")]
Name = Annotated[str, typer.Option("--name", help="Name of the label.")]
AsOf = Annotated[str | None, typer.Option("--as-of", help="Only labels that had arrived by then, RFC 3339 [now].")]
Since = Annotated[str | None, typer.Option("--since", help="Only requests from then on, RFC 3339.")]
Until = Annotated[str | None, typer.Option("--until", help="Only requests before then, RFC 3339.")]
Mature = Annotated[str, typer.Option("--mature-after", help="How long after its request a label counts at the earliest: 30s, 5m, 2h, 14d.")]
Negative = Annotated[str | None, typer.Option("--negative-after", help="After so long without a label an answer counts as 0 [never].")]
Window = Annotated[str, typer.Option("--window", help="How long before an event the unit's request may be that it is for.")]


@app.command()
@command
def ingest(
    file: Annotated[Path, typer.Argument(help="Labels: .parquet, .csv, or .jsonl with one object a line.")],
    *,
    log: LogPlace,
    model: Annotated[str, typer.Option("--model", help="Model of rows that name none.")] = "",
    name: Annotated[str, typer.Option("--name", help="Name of labels of rows that name none.")] = "",
    source: Annotated[str, typer.Option("--source", help="Where they come from, of rows that do not say it.")] = "",
    columns: Annotated[
        list[str] | None, typer.Option("--map", metavar="FIELD=COLUMN", help="A field from a column of another name.")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option("--ignore", help="A column that is not meant; '*': all that are no fields.")] = None,
    backfill: Annotated[
        bool, typer.Option("--backfill", help="The column arrival_ts says when each label arrived; else it is now.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring labels of a file into the log, in batches; each row is accepted, a duplicate, or refused with its reason.

    The same file again changes nothing. Exits with 1 where a row was refused; the others are stored.
    """
    from registry.label_source import Source
    from registry.labels import Labels

    fixed = {key: value for key, value in (("model", model), ("name", name), ("source", source)) if value}
    chosen = Source(path=file, columns=_pairs(columns), fixed=fixed, ignore=frozenset(ignore or ()), backfill=backfill)
    _check_file(file)
    labels = Labels(log)
    counts = {"accepted": 0, "duplicate": 0, "refused": 0}
    refused: list[dict[str, Any]] = []
    with counted(f"Ingesting {file.name}", None, as_json=as_json) as progress:
        for batch in _batches(chosen):
            for read, fate, reason in _stored(labels, batch):
                counts[fate] += 1
                if reason and len(refused) < SHOWN:
                    refused.append({"row": read.number, "reason": reason})
            progress(len(batch))
    labels.close()
    _tell_ingested(counts, refused, as_json=as_json)
    if counts["refused"]:
        raise typer.Exit(Exit.FAILED)


def _tell_ingested(counts: dict[str, int], refused: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        document(counts | {"reasons": refused})
        return
    say(f"{counts['accepted']:,} labels accepted, {counts['duplicate']:,} duplicates, {counts['refused']:,} refused")
    for one in refused:
        say(f"  row {one['row']}: {printable(one['reason'])}")
    if counts["refused"] > len(refused):
        say(f"  and {counts['refused'] - len(refused):,} more")


def _stored(labels: Labels, batch: Sequence[Read]) -> Iterator[tuple[Read, str, str]]:
    """Each row, the word for what became of it, and why it was refused."""
    good: list[Label] = [read.label for read in batch if read.label is not None]
    outcomes = iter(labels.ingest(good, int(SystemClock().wall() * 1e6)))
    for read in batch:
        if read.label is None:
            yield read, "refused", read.problem
        else:
            outcome = next(outcomes)
            yield read, outcome.fate.value, outcome.reason


def _batches(source: Source) -> Iterator[list[Read]]:
    import itertools

    from registry.label_source import read

    rows = read(source)
    while batch := list(itertools.islice(rows, BATCH)):
        yield batch


@app.command()
@command
def status(
    *,
    log: LogPlace,
    model: Model,
    name: Name = "label",
    as_of: AsOf = None,
    since: Since = None,
    until: Until = None,
    mature_after: Mature = "0s",
    negative_after: Negative = None,
    window: Window = "1d",
    alpha: Annotated[float, typer.Option("--alpha", min=1e-9, max=0.5, help="Error of the bounds of each figure, over all looks.")] = 0.05,
    max_error: Annotated[
        float | None, typer.Option("--max-error", min=0, help="Largest absolute error of one answer; bounds need one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Join the log with its labels and show how many came, how late, and how good each version in each arm was by them.

    Bounds are confidence sequences: they hold at all looks together. Needs the extra `train`.
    """
    spec = _spec(model, name, as_of, since, until, mature_after, negative_after, window)
    with tempfile.TemporaryDirectory(prefix="tidegate-labels-") as folder:
        report = _joined(log, spec, Path(folder) / "joined.parquet", columns=("ts", "version", "arm", "pred_class", "score"), in_order=True)
        figures = _judged(Path(folder) / "joined.parquet", alpha, max_error)
    if as_json:
        document({"join": msgspec.to_builtins(spec), **report.document(), "quality": figures})
        return
    _show(report)
    cells = [(one["version"], one["arm"], one["metric"], f"{one['rows']:,}", f"{one['value']:.4f}", _bounds(one)) for one in figures]
    table(["version", "arm", "metric", "rows", "value", "bounds"], cells, right=["version", "rows", "value"], whole=["bounds"])


def _bounds(figure: dict[str, Any]) -> str:
    return "" if figure["low"] is None else f"{figure['low']:.4f} to {figure['high']:.4f}"


def _show(report: JoinReport) -> None:
    say(f"{report.rows:,} answers, {report.mature:,} of them mature, {report.labelled:,} of these with a label ({report.match_rate:.1%})")
    if report.timeouts:
        say(f"{report.timeouts:,} count as 0, for no label came in time")
    matched = ", ".join(f"{count:,} by {key}" for key, count in report.matched.items() if count) or "none of them is for an answer"
    say(f"{report.labels:,} labels: {matched}; {report.orphans:,} orphans, {report.replaced:,} replaced, {report.superseded:,} superseded")
    if report.delays_s:
        say("delay: " + ", ".join(f"{name} {seconds:,.0f} s" for name, seconds in report.delays_s.items()))


def _judged(joined: Path, alpha: float, max_error: float | None) -> list[dict[str, Any]]:
    """Figures of each version in each arm."""
    from gateway.quality.sheet import Sheet
    from registry.label_files import judged_in

    sheets: dict[tuple[int, str], Sheet] = {}
    for versions, arms, classes, scores, labels in judged_in(joined):
        for version, arm in sorted(set(zip(versions.tolist(), arms.tolist(), strict=True))):
            here = (versions == version) & (arms == arm)
            sheets.setdefault((version, arm), Sheet(max_error=max_error)).add(classes[here], scores[here], labels[here])
    return [
        {"version": version, "arm": arm, **msgspec.to_builtins(figure)}
        for (version, arm), sheet in sorted(sheets.items())
        for figure in sheet.figures(alpha)
    ]


@app.command()
@command
def join(
    *,
    log: LogPlace,
    model: Model,
    out: Annotated[Path, typer.Option("--out", help="The Parquet file to write.")],
    name: Name = "label",
    as_of: AsOf = None,
    since: Since = None,
    until: Until = None,
    mature_after: Mature = "0s",
    negative_after: Negative = None,
    window: Window = "1d",
    as_json: Json = False,
) -> None:
    """Write every answer of a model with its label. The same join of the same log is the same file. Needs the extra `train`."""
    spec = _spec(model, name, as_of, since, until, mature_after, negative_after, window)
    report = _joined(log, spec, out, in_order=True)
    if as_json:
        document({"join": msgspec.to_builtins(spec), **report.document()})
    else:
        _show(report)


def _joined(log: Path, spec: JoinSpec, out: Path, **options: Any) -> JoinReport:
    from registry.labels import LabelLog
    from registry.log import Log

    try:
        from retrain import label_join

        answers = [log / file.path for file in Log(log).files(spec.model, spec.since_us / 1e6, spec.end_us / 1e6)]
        return label_join.join(spec, answers=answers, labels=[log / file.path for file in LabelLog(log).files()], to=out, **options)
    except ModuleNotFoundError as error:
        fail(Exit.USAGE, f"{error.name} is not installed: joins need the extra train, pip install tidegate[train]")


def _spec(  # noqa: PLR0917 - in the order of the options
    model: str, name: str, as_of: str | None, since: str | None, until: str | None, mature: str, negative: str | None, window: str
) -> JoinSpec:  # fmt: skip
    from retrain.join_spec import JoinSpec

    return JoinSpec(
        model=model,
        name=name,
        as_of_us=int(SystemClock().wall() * 1e6) if as_of is None else _moment("--as-of", as_of),
        since_us=0 if since is None else _moment("--since", since),
        until_us=None if until is None else _moment("--until", until),
        mature_after_s=_seconds("--mature-after", mature),
        negative_after_s=None if negative is None else _seconds("--negative-after", negative),
        window_s=_seconds("--window", window),
    )


def _moment(option: str, text: str) -> int:
    from registry.label import micros

    try:
        return micros(msgspec.convert(text, datetime, strict=False))
    except ValueError:
        raise UsageError(f"{option}: {text!r} is no time with a zone, such as 2026-01-31T00:00:00Z") from None


def _seconds(option: str, text: str) -> float:
    number, unit = text[:-1], _UNITS.get(text[-1:])
    if unit is None or not number.replace(".", "", 1).isdigit():
        raise UsageError(f"{option}: {text!r} is no duration: a number and s, m, h or d")
    return float(number) * unit


def _pairs(given: Sequence[str] | None) -> dict[str, str]:
    pairs = [text.partition("=") for text in given or ()]
    if any(not (key and value) for key, _, value in pairs):
        raise UsageError("--map: expected FIELD=COLUMN")
    return {key: value for key, _, value in pairs}


def _check_file(file: Path) -> None:
    from gateway.commands.files import check_readable

    check_readable(file)
