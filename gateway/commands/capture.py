"""`tidegate capture`: what an inference log holds, whether all of it is as it was committed, and sealing what is left of workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.clock import SystemClock
from gateway.commands.output import Exit, Json, command, document, moment, printable, say, size, table
from gateway.commands.place import Actor, user
from gateway.commands.watching import watched

if TYPE_CHECKING:
    from registry.log import Log
    from registry.log_commits import Erasure

app = typer.Typer(help="The inference log: what it holds, and whether it is whole.", no_args_is_help=True, rich_markup_mode=None)
Place = Annotated[str, typer.Argument(help="The log's directory, or its URL: s3://…, gs://…, az://…")]
Options = Annotated[list[str] | None, typer.Option("--option", help="NAME=VALUE, of an object store. Repeatable.")]


@app.command()
@command
def status(log: Place, *, option: Options = None, as_json: Json = False) -> None:
    """Show rows, drops and files of each model and arm, and what is not sealed yet."""
    opened = _opened(log, option)
    state = opened.state()
    segments, workers = opened.waiting()
    lines = [
        {"model": model, "arm": arm, "accepted": rows + sum(dropped.values()), "rows": rows, "dropped": dict(sorted(dropped.items()))}
        for model, arm, rows, dropped in sorted(state.account.lines(), key=lambda line: line[:2])
    ]
    files = list(state.files.values())
    found: dict[str, Any] = {
        "id": opened.id, "commits": state.seq, "files": len(files), "rows": sum(file.rows for file in files),
        "bytes": sum(file.bytes for file in files), "unsealed_segments": segments, "unsettled_workers": workers, "models": lines,
        "min_ts": min((file.min_ts for file in files), default=None), "max_ts": max((file.max_ts for file in files), default=None),
    }  # fmt: skip
    if as_json:
        document(found)
        return
    rows = [(line["model"], line["arm"], line["accepted"], line["rows"], _reasons(line["dropped"])) for line in lines]
    table(["model", "arm", "accepted", "rows", "dropped"], rows, right=["accepted", "rows"])
    say(f"{found['rows']:,} rows in {len(files):,} files, {size(found['bytes'])}, {state.seq:,} commits{_between(files)}")
    if segments or workers:
        say(f"{segments:,} raw segments are not sealed, accounts of {workers:,} workers are not settled")


def _reasons(dropped: Any) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in dropped.items())


def _between(files: list[Any]) -> str:
    from datetime import UTC, datetime

    if not files:
        return ""
    first, last = min(file.min_ts for file in files), max(file.max_ts for file in files)
    return f", {moment(datetime.fromtimestamp(first / 1e6, UTC))} to {moment(datetime.fromtimestamp(last / 1e6, UTC))}"


@app.command()
@command
def verify(log: Place, *, option: Options = None, as_json: Json = False) -> None:
    """Read all commits and files again. Exits with 1 where the chain is broken, a file is not what was committed, or sums differ."""
    opened = _opened(log, option)
    with watched("hashing", as_json=as_json, total_bytes=lambda: sum(file.bytes for file in opened.files())) as progress:
        problems = opened.verify(progress=progress)
    if as_json:
        document({"whole": not problems, "problems": [{"key": one.key, "message": one.message} for one in problems]})
    else:
        for one in problems:
            say(f"{printable(one.key)}: {printable(one.message)}")
        say(f"{len(problems)} {'problem' if len(problems) == 1 else 'problems'}" if problems else "all is as it was committed")
    if problems:
        raise typer.Exit(Exit.FAILED)


@app.command()
@command
def seal(log: Annotated[str, typer.Argument(help="The log's directory.")], *, as_json: Json = False) -> None:
    """Seal what workers that have ended left behind, as the server does: for a log whose server will not start again."""
    from pathlib import Path

    from registry.directory import DirectoryMedium
    from registry.log_sealing import Sealer

    sealer = Sealer(DirectoryMedium(Path(log)), wall=SystemClock.wall)
    with sealer.working():
        sealed = sealer.seal()
    if as_json:
        document({"sealed": sealed, "commits": sealer.state.seq})
    else:
        say(f"{sealed} {'segment' if sealed == 1 else 'segments'} sealed, {sealer.state.seq} commits")


@app.command()
@command
def erase(
    log: Annotated[str, typer.Argument(help="The log's directory.")],
    *,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why: it stays in the log's chain.")],
    model: Annotated[str, typer.Option("--model", help="Only of this model.")] = "",
    request_id: Annotated[list[str] | None, typer.Option("--request-id", help="Of this request, a UUID. Repeatable.")] = None,
    unit: Annotated[list[str] | None, typer.Option("--unit", help="Of this unit's hash, 16 hexadecimal digits. Repeatable.")] = None,
    before: Annotated[str | None, typer.Option("--before", help="That arrived before this time, with its zone.")] = None,
    now: Annotated[bool, typer.Option("--now", help="Remove the files that had them at once, and not ten minutes later.")] = False,
    actor: Actor = None,
    as_json: Json = False,
) -> None:
    """Erase inputs and outputs of rows, which stay: of requests, of units, or of all that is older. Also of rows that are sealed later."""
    from pathlib import Path

    from registry.directory import DirectoryMedium
    from registry.log_erasing import Eraser
    from registry.log_keeping import Keeper, Keeping
    from registry.log_sealing import Sealer

    wall = SystemClock.wall
    asked = _erasure(model, request_id or [], unit or [], before, actor=actor or user(), reason=reason, now_us=int(wall() * 1e6))
    sealer = Sealer(DirectoryMedium(Path(log)), wall=wall)
    with sealer.working():
        sealer.seal()
        files, rows = Eraser(sealer, wall=wall).erase(asked)
        if now:
            Keeper(sealer, Keeping(grace_s=-1.0), wall=wall).sweep()
    if as_json:
        document({"id": asked.id, "files": files, "rows": rows, "commits": sealer.state.seq})
    else:
        say(f"{rows:,} {'payload' if rows == 1 else 'payloads'} erased in {files:,} {'file' if files == 1 else 'files'}, as {asked.id}")


def _erasure(model: str, requests: list[str], units: list[str], before: str | None, *, actor: str, reason: str, now_us: int) -> Erasure:
    """What is meant. Raises `UsageError`."""
    import uuid
    from datetime import datetime

    from registry.label import micros, unit_bytes, uuid_bytes
    from registry.log_commits import Erasure

    if not (requests or units or before):
        raise typer.BadParameter("name requests, units or a time: nothing is erased for nothing")
    if not reason.strip():
        raise typer.BadParameter("a reason is needed")
    try:
        return Erasure(
            id=uuid.uuid4().hex, model=model, requests=tuple([(uuid_bytes(one) or b"").hex() for one in requests]),
            units=tuple([(unit_bytes(one) or b"").hex() for one in units]),
            before=None if before is None else micros(datetime.fromisoformat(before)), actor=actor, reason=reason, created=now_us,
        )  # fmt: skip
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _opened(place: str, options: list[str] | None) -> Log:
    from registry.log import Log, medium_at

    given = dict(option.partition("=")[::2] for option in options or [])
    return Log(medium_at(place, given))
