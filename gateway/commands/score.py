"""`tidegate score`: the rows of Parquet files through a version of a registry, offline, into another Parquet file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gateway.clock import SystemClock, process_cpu_s
from gateway.commands import files, place
from gateway.commands.output import Exit, Json, UsageError, command, document, fail, printable, say, size
from gateway.commands.watching import counted
from registry.errors import Kind, RegistryError

if TYPE_CHECKING:
    from gateway.scoring import Answered
    from gateway.serving.versions import Version
    from registry.answer_file import AnswerFile, Output
    from registry.profile import Categorical, Numeric
    from registry.row_stream import Choice, Layout, Piece, RowStream
    from registry.store import Store

OnError = Literal["fail", "null", "drop"]
SUFFIX = ".parquet"


@dataclass(frozen=True, slots=True)
class Target:
    """What answers."""

    store: Store
    model: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How it is done."""

    threads: int
    run_rows: int | None  # None: found out
    on_error: OnError
    out: Path
    replace: bool  # what is there
    as_json: bool


@dataclass(slots=True)
class Summary:
    """What was done. `seconds` are from the first row to the file's end; `start_s` is what came before: loading and trying."""

    model: str
    version: int
    out: str
    rows: int = 0
    failed: int = 0
    runs: int = 0
    run_rows: int = 0
    threads: int = 0
    bytes: int = 0
    start_s: float = 0.0
    seconds: float = 0.0
    rows_per_second: float = 0.0
    cpu_s: float = 0.0  # processor seconds of `seconds`, of all threads
    first_failure: str = ""


@command
def score(
    *,
    rows: Annotated[list[Path], typer.Option("--in", metavar="ROWS.parquet", help="Rows: a file, or a directory of them; repeatable.")],
    model: Annotated[str, typer.Option("--model", metavar="MODEL[@VERSION]", help="Which version: a number or an alias [champion].")],
    out: Annotated[Path, typer.Option("--out", metavar="ANSWERS.parquet", help="Where the answers go.")],
    registry: place.Registry,
    keep: Annotated[list[str] | None, typer.Option("--keep", metavar="COLUMN", help="Goes along with the answers; * for all.")] = None,
    ignore: Annotated[list[str] | None, typer.Option("--ignore", metavar="COLUMN", help="No feature of the model's only input.")] = None,
    features: Annotated[
        str | None, typer.Option("--features", metavar="A,B,…", help="Columns of the model's only input, in its order.")
    ] = None,
    on_error: Annotated[OnError, typer.Option(help="A row that the model cannot answer ends it, has nulls, or is left out.")] = "fail",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, max=1_024, help="Runs at once [one a core].")] = None,
    run_rows: Annotated[int | None, typer.Option(min=1, max=1 << 20, help="Rows of a run [what is fastest].")] = None,
    option: place.Options = None,
    key: place.Keys = None,
    as_json: Json = False,
) -> None:
    """Answer the rows of files with a version of a registry, without a server.

    The file of answers is there as a whole or not at all. Exit codes: 1 where the model cannot be loaded or a row has no answer, 2 where
    the rows are not the model's.
    """
    inputs = _inputs(rows, out, overwrite=overwrite)
    store = place.existing(registry, option, key)
    target = _target(store, model)
    from registry.row_stream import Choice

    choice = Choice(keep=keep or (), ignore=frozenset(ignore or ()), features=[name for name in (features or "").split(",") if name])
    cores = len(os.sched_getaffinity(0))
    terms = Terms(threads=threads or cores, run_rows=run_rows, on_error=on_error, out=out, replace=overwrite, as_json=as_json)
    summary = Summary(printable(target.model), target.version, str(out), threads=terms.threads)
    with _understood():
        _score(inputs, target, choice, terms, summary)
    _tell(summary, as_json=as_json)


def _inputs(rows: list[Path], out: Path, *, overwrite: bool) -> list[Path]:
    """The files, those of a directory by name. Raises `UsageError`, also where the answers cannot go where they shall."""
    found: list[Path] = []
    for path in rows:
        found += sorted(inner for inner in path.rglob(f"*{SUFFIX}") if not inner.name.startswith(".")) if path.is_dir() else [path]
        if path.is_dir() and not found:
            raise UsageError(f"--in: {path} has no file *{SUFFIX}")
    for path in found:
        files.check_readable(path)
        if out.exists() and out.samefile(path):
            raise UsageError(f"--out: {out} is one of the files that are read")
    if out.is_dir() or not out.parent.is_dir():
        raise UsageError(f"--out: {out} is a directory" if out.is_dir() else f"--out: there is no directory {out.parent}")
    if out.exists() and not overwrite:
        raise UsageError(f"--out: {out} is there already; --overwrite replaces it")
    return found


def _target(store: Store, text: str) -> Target:
    """Raises `Kind.NOT_FOUND`, and `UsageError` for a model without a version to mean."""
    name, at, label = text.partition("@")
    if at and not label:
        raise UsageError("--model: no version after @")
    place.check_model(store, name)
    if label:
        return Target(store, name, place.version(store, name, label))
    champion = store.aliases(name).all().get("champion")
    if champion is None:
        raise UsageError(f"--model: model '{name}' has no champion: say which version, as {name}@3")
    return Target(store, name, champion)


@contextmanager
def _understood() -> Iterator[None]:
    """Rows that are none of the model's are the caller's matter, not the registry's; what the model cannot do is nobody's."""
    from gateway.scoring import RowFault
    from gateway.serving.model import ModelFault, RunFault

    try:
        yield
    except RegistryError as error:
        if error.kind is not Kind.INVALID_MODEL:
            raise
        raise UsageError(error.message) from None
    except (RowFault, ModelFault) as fault:
        fail(Exit.FAILED, str(fault))
    except RunFault as fault:
        fail(Exit.FAILED, fault.message)
    except FileExistsError as error:
        raise UsageError(f"--out: {error.filename2 or error.filename} is there already; --overwrite replaces it") from None
    except OSError as error:
        fail(Exit.FAILED, f"{error.filename or 'the answers'}: {error.strerror}")


def _score(inputs: list[Path], target: Target, choice: Choice, terms: Terms, summary: Summary) -> None:
    from gateway.scoring import Scorer, score
    from registry.answer_file import AnswerFile
    from registry.row_stream import RowStream

    clock = SystemClock()
    began = clock.now()
    with RowStream(inputs) as stream, _loaded(target, terms.threads) as version:
        layout = _layout(stream, target, choice)
        summary.run_rows = _run_rows(version, target, stream, layout, terms)
        scorer = Scorer(version.model, layout, run_rows=summary.run_rows)
        summary.start_s = round(clock.now() - began, 3)
        began, before_s, errors = clock.now(), process_cpu_s(), terms.on_error == "null"
        with AnswerFile(terms.out, stream.types(layout.keep), _outputs(version), replace=terms.replace, errors=errors) as file:
            with counted(f"{target.model} version {target.version}", stream.rows, as_json=terms.as_json) as told:
                for found in score(stream.pieces(layout), scorer.answer, threads=terms.threads):
                    _write(file, layout, found, terms.on_error, summary)
                    told(found.piece.rows)
            file.finish()
            summary.bytes = file.bytes
        summary.seconds = round(clock.now() - began, 3)
        summary.cpu_s = round(process_cpu_s() - before_s, 3)
        summary.rows_per_second = round(summary.rows / max(summary.seconds, 1e-3), 1)


def _layout(stream: RowStream, target: Target, choice: Choice) -> Layout:
    """Which columns are read, held against all files. Raises `Kind.INVALID_MODEL`."""
    from registry.reprofile import schema_of
    from registry.row_stream import layout_of

    store, contract = target.store, target.store.contract(target.model, target.version)
    manifest = store.manifest(target.model, target.version)
    fields = schema_of(store, manifest, contract).inputs
    layout = layout_of(stream.names, fields, choice, _known(target) if len(fields) == 1 else ())
    stream.check(layout)
    return layout


def _known(target: Target) -> tuple[str, ...]:
    """The names of the features of the only input, in its order, where the reference profile has one for each."""
    from registry.parts import read_parts
    from registry.profile import decode

    manifest = target.store.manifest(target.model, target.version)
    content = read_parts(manifest, target.store.read_blob, only=("profile.json",)).profile
    if content is None:
        return ()
    found = decode(content, key="profile.json")
    features: list[Numeric | Categorical] = [*(one for one in found.numeric if one.kind == "value"), *found.categorical]
    names = {one.element: one.name for one in features if one.side == "input"}
    plain = {one.name for one in features if one.name in {one.port, f"{one.port}[{one.element}]"}}
    if plain or sorted(names) != list(range(len(names))):
        return ()
    return tuple(names[element] for element in range(len(names)))


def _run_rows(version: Version, target: Target, stream: RowStream, layout: Layout, terms: Terms) -> int:
    """Rows of a run: those of a model that fixes them, what was asked for, or what is fastest for the first rows."""
    from gateway.scoring import MAX_RUN_ROWS, best_run_rows
    from registry.answers import rows_per_run

    fixed = rows_per_run(target.store.contract(target.model, target.version)) == 1
    most = 1 if fixed else max(version.signature.max_batch_size, 1)  # 0: rows that run together would change each other's answers
    if terms.run_rows is not None or most == 1:
        return min(terms.run_rows or most, most)
    first: Piece | None = next(stream.pieces(layout, piece_rows=MAX_RUN_ROWS), None)
    if first is None:
        return most
    try:
        arrays = layout.arrays(first.table)
    except RegistryError:  # some row is none of the model's: whether that matters is asked later
        return min(most, 256)
    return best_run_rows(version.model, arrays, SystemClock().now, most=most)


@contextmanager
def _loaded(target: Target, threads: int) -> Iterator[Version]:
    """The version as a server would load it, verified, warmed and asked its golden requests. Raises ModelFault, RunFault."""
    from gateway.config import Batching, Config, Repository
    from gateway.model_settings import ModelSettings
    from gateway.scoring import MAX_RUN_ROWS
    from gateway.serving.loading import Loader
    from registry.discovery import RegistrySource

    own = ModelSettings(instances=min(threads, 64), intra_op_threads=1)
    config = Config(repository=Repository(path="."), models={target.model: own}, batching=Batching(max_batch_size=MAX_RUN_ROWS))
    loader = Loader(config, lambda *_: None, SystemClock().now, _no_child, cores=threads)
    made, _ = loader.load(RegistrySource(target.store).ref(target.model, target.version), lambda _state: None)
    try:
        yield made
    finally:
        made.end()


def _no_child(*_: Any) -> Any:
    raise AssertionError("no model is in a process of its own here")


def _outputs(version: Version) -> list[Output]:
    from gateway.protocol.tensors import DATATYPES
    from registry.answer_file import Output

    refused = [spec.name for spec in version.signature.outputs if spec.datatype == "BF16"]
    if refused:
        raise UsageError(f"output '{refused[0]}' is BF16, which a file of answers cannot hold")
    return [Output(spec.name, DATATYPES[spec.datatype].numpy.name, spec.shape[1:]) for spec in version.signature.outputs]


def _write(file: AnswerFile, layout: Layout, found: Answered, on_error: OnError, summary: Summary) -> None:
    from gateway.scoring import first_fault

    fault = first_fault(found)
    if fault is not None and on_error == "fail":
        raise fault
    summary.rows += found.piece.rows
    summary.runs += found.runs
    summary.failed += len(found.failures)
    summary.first_failure = summary.first_failure or (str(fault) if fault else "")
    kept, answered = found.piece.table.select(list(layout.keep)), found.answered
    if answered is not None and on_error == "drop":
        kept, answered = kept.filter(answered), None
    file.write(kept, found.outputs, answered, found.failures)


def _tell(summary: Summary, *, as_json: bool) -> None:
    if as_json:
        document(asdict(summary))
        return
    pace = f"{summary.seconds:,.2f} s, {summary.rows_per_second:,.0f} a second"
    say(f"{summary.model} version {summary.version}: {summary.rows:,} rows in {pace}")
    say(f"  {summary.threads} threads, {summary.run_rows:,} rows a run; loading took {summary.start_s:,.2f} s")
    say(f"  {printable(summary.out)}, {size(summary.bytes)}")
    if summary.failed:
        say(f"  {summary.failed:,} rows without an answer; the first: {printable(summary.first_failure)}")
