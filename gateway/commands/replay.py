"""`tidegate replay`: rows of a file through stable and a candidate, and the verdict that a shadow step would have given."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.clock import SystemClock
from gateway.commands import files, place, verdicts
from gateway.commands.output import Exit, Json, UsageError, command, document, fail, printable, say
from gateway.commands.rollout import understood
from gateway.commands.watching import counted

if TYPE_CHECKING:
    import numpy as np

    from gateway.rollout.plan import Plan
    from gateway.rollout.verdict import StepVerdict
    from gateway.serving.versions import Version
    from registry.store import Store


class Replayed(enum.IntEnum):
    """Exit codes, documented in docs/rollouts.md."""

    PASS = 0
    FAIL = 1
    UNKNOWN = 2  # neither: the rows do not tell


@command
def replay(
    *,
    rows: Annotated[Path, typer.Option("--from", metavar="ROWS.parquet", help="Rows, as columns of stable's inputs.")],
    registry: place.Registry,
    plan: Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="Rollout file whose metrics are compared.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Model name [the plan's].")] = None,
    candidate: Annotated[str | None, typer.Option("--candidate", metavar="VERSION", help="A number or an alias [the plan's].")] = None,
    stable: Annotated[
        str | None, typer.Option("--stable", metavar="VERSION", help="A number or an alias [the plan's, or champion].")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="COLUMN", help="A column that is not meant; * for all that are unknown.")
    ] = None,
    option: place.Options = None,
    key: place.Keys = None,
    as_json: Json = False,
) -> None:
    """Ask rows of two versions and compare the answers. Exit codes: 0 PASS, 1 FAIL, 2 neither.

    Every row is a request of its own. Both versions run in processes of their own, so a candidate that crashes or hangs harms nothing.
    """
    files.check_readable(rows)
    given = None if plan is None else understood(plan)
    store = place.existing(registry, option, key)
    name, tried, held = _versions(store, given, model, candidate, stable)
    from gateway.rollout.replay import Replay, replayed, usual

    asked = replayed(given or usual(name, tried))
    inputs = _inputs(store, name, held, rows, ignore or ())
    with _loaded(store, name, held) as ours, _loaded(store, name, tried) as theirs:
        count = len(next(iter(inputs.values())))
        with counted(f"version {tried} beside {held}", count, as_json=as_json) as told:
            found = Replay(asked, ours, theirs, wall=SystemClock().wall).run(inputs, told)
    facts = {"model": name, "candidate": tried, "stable": held, "not_replayed": _left(given, asked)}
    _tell(found, facts, as_json=as_json)
    raise typer.Exit({"PASS": Replayed.PASS, "FAIL": Replayed.FAIL}.get(found.verdict, Replayed.UNKNOWN))


def _versions(store: Store, plan: Plan | None, model: str | None, candidate: str | None, stable: str | None) -> tuple[str, int, int]:
    """(model, candidate, stable). Raises `UsageError`, `Kind.NOT_FOUND`."""
    name = model or (plan.spec.model if plan else None)
    if name is None:
        raise UsageError("--model: missing; or --plan, which names one")
    if plan is not None and name != plan.spec.model:
        raise UsageError(f"--model: the plan is of model '{plan.spec.model}'")
    target = plan.spec.candidate if plan else None
    wanted = candidate or (None if target is None else target.alias or str(target.version))
    if wanted is None:
        raise UsageError("--candidate: missing; or --plan, which names one" if plan is None else "--candidate: missing; an A/B has several")
    said = plan.spec.stable if plan else None
    tried = place.version(store, name, wanted)
    held = place.version(store, name, stable or ("champion" if said is None else said.alias or str(said.version)))
    if tried == held:
        raise UsageError(f"--candidate: version {tried} is what is stable; nothing is compared with itself")
    return name, tried, held


def _inputs(store: Store, model: str, version: int, path: Path, ignore: list[str] | tuple[()]) -> dict[str, np.ndarray]:
    """Arrays by input of the rows, as requests have them. Raises `Kind.INVALID_MODEL` for rows that are none of the model's."""
    from registry.answers import rows_per_run
    from registry.reprofile import schema_of
    from registry.rows import Reference, read_rows

    contract = store.contract(model, version)
    rows_per_run(contract)
    schema = schema_of(store, store.manifest(model, version), contract)
    found = read_rows(Reference(path=path, ignore=frozenset(ignore)), schema)
    return {column.port: _sent(column.values) for column in found.columns if column.side == "input"}


def _sent(values: np.ndarray) -> np.ndarray:
    """Texts as requests have them: bytes."""
    import numpy as np

    if values.dtype != object:
        return values
    texts = [text.encode() if isinstance(text, str) else text for text in values.ravel().tolist()]
    return np.array(texts, object).reshape(values.shape)


@contextmanager
def _loaded(store: Store, model: str, version: int) -> Iterator[Version]:
    """A version in a process of its own, for as long as it takes. One that cannot be loaded ends the command."""
    from gateway.config import Config, Repository
    from gateway.control.model_child import start_model_child
    from gateway.model_settings import ModelSettings
    from gateway.serving.loading import Loader
    from gateway.serving.model import ModelFault, RunFault
    from registry.discovery import RegistrySource

    config = Config(repository=Repository(path="."), models={model: ModelSettings(isolation="process", instances=1)})
    loader = Loader(config, lambda *_: None, SystemClock().now, start_model_child)
    try:
        made, _ = loader.load(RegistrySource(store).ref(model, version), lambda _state: None)
    except (ModelFault, RunFault) as fault:
        fail(Exit.FAILED, f"version {version} of model '{model}' cannot be loaded: {fault}")
    try:
        yield made
    except RunFault as fault:
        fail(Exit.REFUSED, f"version {version} of model '{model}': {fault.message}")
    finally:
        made.end()


def _left(plan: Plan | None, asked: Plan) -> list[str]:
    """Metrics of the plan that rows say nothing of."""
    kept = {metric.name for metric in asked.spec.analysis.metrics}
    return [metric.name for metric in plan.spec.analysis.metrics if metric.name not in kept] if plan else []


def _tell(found: StepVerdict, facts: dict[str, Any], *, as_json: bool) -> None:
    import msgspec

    if as_json:
        document(facts | {"verdict": msgspec.to_builtins(found)})
        return
    say(f"{printable(facts['model'])} version {facts['candidate']} beside {facts['stable']}, {found.units:,} rows")
    verdicts.show(found)
    if facts["not_replayed"]:
        say(f"  not told by rows: {printable(', '.join(facts['not_replayed']))}")
