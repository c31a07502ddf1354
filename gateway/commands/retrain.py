"""`tidegate retrain`: a trigger becomes the next version, or a reason why not; `status`, `show` and `validate` beside it."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from gateway.clock import Clock, SinceClock, SystemClock
from gateway.commands import files, place, retrain_engine, retrain_view
from gateway.commands import retrain_wish as wishes
from gateway.commands.output import Exit, Json, UsageError, command, document, printable, say, table
from gateway.commands.retrain_wish import Asked, understood
from gateway.commands.watching import staged
from registry.errors import Kind, RegistryError
from retrain.errors import ClusterError, RetrainError

if TYPE_CHECKING:
    from registry.store import Store
    from registry.trigger_entries import TriggerJournal
    from registry.triggers import Trigger
    from retrain.carrying import Carrier
    from retrain.desk import Desk, Rollout
    from retrain.planning import Wish
    from retrain.policy import Policy as Policy_
    from retrain.watching import Done

app = typer.Typer(help="Train a model again, and let the new version show that it is better.", rich_markup_mode=None)

Registry = Annotated[
    str | None, typer.Option("--registry", "-r", metavar="PLACE", help="Registry: a directory, or s3://…, gs://…, az://….")
]
Model = Annotated[str | None, typer.Option("--model", "-m", help="Which model; a trigger is written that says who asked.")]
ByTrigger = Annotated[str | None, typer.Option("--trigger", metavar="ID|FILE", help="Do what this trigger asks for.")]
Replay = Annotated[str | None, typer.Option("--replay", metavar="ID|FILE", help="Do a job again and compare; publishes nothing.")]
Watch = Annotated[bool, typer.Option("--watch", help="Look again and again whether a rule of --policy is met, and do what it asks for.")]
Once = Annotated[bool, typer.Option("--once", help="With --watch: look once, for a job that a timer starts.")]
Policy = Annotated[Path | None, typer.Option("--policy", metavar="POLICY.yaml", help="What to train on, how, by which gates, and when.")]
Base = Annotated[str | None, typer.Option("--base", metavar="ALIAS|VERSION", help="The version to replace [champion].")]
AsOf = Annotated[str | None, typer.Option("--as-of", metavar="TIME", help="Nothing later is in the data [now].")]
Now = Annotated[str | None, typer.Option("--now", metavar="TIME", help="Work as if it were then: for a history that is rehearsed [now].")]
RolloutPlan = Annotated[
    Path | None, typer.Option("--rollout", metavar="PLAN.yaml", help="Begin this rollout with the new version as its candidate.")
]
Engine = Annotated[
    Literal["local", "ray"], typer.Option("--engine", help="Where rows are read and estimators fitted: this machine, or a Ray cluster.")
]
RayAddress = Annotated[
    str | None,
    typer.Option("--ray-address", metavar="HOST:PORT|auto|local", help="The cluster; local starts one here [$RAY_ADDRESS, else auto]."),
]
TimeLimit = Annotated[
    float | None, typer.Option("--time-limit", metavar="SECONDS", min=0.001, help="Of reading and training; what takes longer has failed.")
]


@app.callback(invoke_without_command=True)
@command
def retrain(
    context: typer.Context,
    *,
    registry: Registry = None,
    option: place.Options = None,
    model: Model = None,
    trigger: ByTrigger = None,
    replay: Replay = None,
    watch: Watch = False,
    once: Once = False,
    policy: Policy = None,
    base: Base = None,
    as_of: AsOf = None,
    now: Now = None,
    data: wishes.Rows = None,
    log: wishes.FromLog = None,
    label: wishes.Label = None,
    time: wishes.Time = None,
    weight: wishes.Weight = None,
    arrival: wishes.Arrival = None,
    where: wishes.Where = None,
    days: wishes.Days = None,
    holdout: wishes.Holdout = None,
    entry: wishes.EntryPoint = None,
    param: wishes.Parameter = None,
    seed: wishes.Seed = None,
    slice_: wishes.Slice = None,
    min_rows: wishes.MinRows = None,
    lock: wishes.Lock = None,
    run_url: wishes.RunUrl = None,
    expectations: wishes.Expectations = None,
    engine: Engine = "local",
    ray_address: RayAddress = None,
    time_limit: TimeLimit = None,
    rollout: RolloutPlan = None,
    reason: place.Reason = "",
    actor: place.Actor = None,
    as_json: Json = False,
) -> None:
    """Train a model again by hand, for a trigger, as a replay of one, or whenever a policy says so."""
    if context.invoked_subcommand is not None:
        return
    asked = Asked(
        rows=data, log=log, label=label, time=time, weight=weight, arrival=arrival, where=where, days=days, holdout=holdout, entry=entry,
        parameters=param, seed=seed, slices=slice_, min_rows=min_rows, lock=lock, run_url=run_url,
        expectations=expectations,
    )  # fmt: skip
    if sum([model is not None, trigger is not None, replay is not None, watch]) != 1:
        raise UsageError("give one of --model, --trigger, --replay and --watch")
    if watch and (policy is None or asked.any or as_of is not None):
        raise UsageError("--watch: does what --policy says, at the time that it is")
    _check_extra()
    now_s = wishes.moment_s("--now", now)
    clock = SystemClock() if now_s is None else SinceClock(now_s)
    store, carrier = place.existing(_place(registry), option), retrain_engine.carrier(engine, ray_address)
    with staged(as_json=as_json) as progress, retrain_engine.answering():
        desk = _desk(store, actor, progress, clock, carrier=carrier, limit_s=time_limit)
        work = _Work(store=store, desk=desk, asked=asked, policy=policy, base=base, as_json=as_json)
        if replay is not None:
            work.replay(replay)
        elif watch:
            work.watch(rollout, once=once, actor=actor or place.user())
        else:
            began = None if rollout is None else _rollout(store, rollout, actor or place.user())
            work.perform(_trigger(store, trigger) if trigger else work.by_hand(str(model), reason, actor), as_of=as_of, rollout=began)


@app.command()
@command
def status(
    model: Annotated[str, typer.Argument(help="Only triggers of this model.")] = "",
    *,
    registry: Registry = None,
    option: place.Options = None,
    as_json: Json = False,
) -> None:
    """List triggers and what became of them, oldest first."""
    store = place.existing(_place(registry), option)
    found = [(one, store.triggers.journal(one.model, one.id)) for name in _models(store, model) for one in store.triggers.all(name)]
    if as_json:
        document([retrain_view.plain(store, *pair, reports=False) for pair in found])
    else:
        columns = ["trigger", "model", "version", "rule", "asked", "state", ""]
        table(columns, [retrain_view.row(*pair) for pair in found], right=["version"], whole=["asked", "state"])


@app.command()
@command
def show(
    trigger: Annotated[str, typer.Argument(metavar="TRIGGER", help="Its id, or the first digits of it.")],
    *,
    registry: Registry = None,
    option: place.Options = None,
    as_json: Json = False,
) -> None:
    """Show a trigger, everything that became of it, and what every gate found."""
    store = place.existing(_place(registry), option)
    found = _named(store, trigger)
    journal = store.triggers.journal(found.model, found.id)
    if as_json:
        document(retrain_view.plain(store, found, journal, reports=True))
    else:
        retrain_view.show(store, found, journal)


@app.command()
@command
def validate(
    model: Annotated[str, typer.Argument(help="The model whose contract and reference count.")],
    *,
    registry: Registry = None,
    option: place.Options = None,
    base: Base = None,
    policy: Policy = None,
    data: wishes.Rows = None,
    log: wishes.FromLog = None,
    label: wishes.Label = None,
    time: wishes.Time = None,
    where: wishes.Where = None,
    days: wishes.Days = None,
    min_rows: wishes.MinRows = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the report as a page.")] = None,
    suite: Annotated[Path | None, typer.Option("--great-expectations", metavar="FILE", help="Write the checks as a suite, JSON.")] = None,
    tfdv: Annotated[Path | None, typer.Option("--tfdv", metavar="FILE", help="Write the checks as a schema.pbtxt of TFDV.")] = None,
    as_json: Json = False,
) -> None:
    """Check rows against a model's contract and reference, as a job does before it trains. Without rows, only write the checks elsewhere.

    Exits with 1 where something failed.
    """
    from gateway.commands import retrain_validation

    _check_extra()
    store = place.existing(_place(registry), option)
    asked = Asked(rows=data, log=log, label=label, time=time, where=where, days=days, min_rows=min_rows)
    under = None if policy is None else _policy_wish(policy, model)
    wish = None if data is None and log is None and under is None else wishes.wish_of(model, base, asked, under)
    retrain_validation.perform(
        store, model, base or (wish.base if wish else "champion"), wish, html=html, suite=suite, tfdv=tfdv, as_json=as_json
    )


# --- what the verbs share --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One command."""

    store: Store
    desk: Desk
    asked: Asked
    policy: Path | None
    base: str | None
    as_json: bool

    def by_hand(self, model: str, reason: str, actor: str | None) -> Trigger:
        """A trigger of this moment."""
        from retrain.proposing import by_hand

        version = place.version(self.store, model, self.base or "champion")
        return by_hand(self.store, model, version, reason=reason, actor=actor or place.user(), now_s=self.desk.clock.wall())

    def perform(self, trigger: Trigger, *, as_of: str | None, rollout: Rollout | None) -> None:
        """The job, and how it came out. Exits with 1 unless a version was published."""
        wish = wishes.wish_of(trigger.model, self.base, self.asked, self._under(trigger.model))
        as_of_s = wishes.moment_s("--as-of", as_of)
        with understood(), retrain_engine.waiting(trigger.id):
            base = self.base or (wish.base if wish else "champion")
            journal = self.desk.perform(trigger, wish, as_of_s=as_of_s, rollout=rollout, base=None if base.isdigit() else base)
        self._tell(trigger, journal)
        if journal.state != "published":
            raise typer.Exit(Exit.FAILED)

    def replay(self, text: str) -> None:
        """Exits with 1 where something is not what it was."""
        from retrain import desk, provenance

        trigger = _trigger(self.store, text)
        with understood():
            lock = provenance.lock_digest(Path.cwd(), self.asked.lock)
            found = desk.replay(self.desk, trigger, paths=wishes.paths(self.asked.rows), lock_digest=lock)
        if self.as_json:
            document(msgspec.to_builtins(found) | {"same": found.same})
        else:
            say(f"trigger {trigger.id}: {found.outcome}{f' ({found.reason})' if found.reason else ''}")
            for name in ("dataset", "splits", "model", "lock"):
                word = {True: "as then", False: "not as then", None: "unknown"}[getattr(found, name)]
                say(f"  {name:<8} {word}")
        if not found.same:
            raise typer.Exit(Exit.FAILED)

    def watch(self, rollout: Path | None, *, once: bool, actor: str) -> None:
        """Until it is interrupted. A look that fails is said, and the next one is tried."""
        from retrain.policy import seconds
        from retrain.watching import look

        assert self.policy is not None
        sleep = threading.Event().wait
        every_s = 60.0
        while True:
            try:
                policy = _policy(self.policy)
                every_s = seconds(policy.when.look_every)
                plan = rollout or (Path(policy.rollout) if policy.rollout else None)
                begin = None if plan is None else _rollout(self.store, plan, actor)
                look(self.desk, policy, rollout=begin, told=self._decided)
            except ClusterError as error:
                if once:
                    raise
                say(f"this look came to nothing: {printable(str(error))}")
            except (RetrainError, RegistryError, UsageError) as error:
                if once:
                    raise UsageError(str(error)) from error
                say(f"this look came to nothing: {printable(str(error))}")
            if once:
                return
            sleep(every_s)

    def _decided(self, done: Done) -> None:
        decision = done.decision
        if self.as_json:
            journal = {} if done.journal is None else {"state": done.journal.state, "version": done.journal.detail("version")}
            said = {"what": decision.what, "rule": decision.rule, "reason": decision.reason, "trigger": done.trigger}
            say(json.dumps(said | journal))
            return
        state = f": {done.journal.state}" if done.journal else ""
        say(f"{decision.what:<8} {decision.rule:<20} {printable(decision.reason)}{state}")

    def _under(self, model: str) -> Wish | None:
        return None if self.policy is None else _policy_wish(self.policy, model)

    def _tell(self, trigger: Trigger, journal: TriggerJournal) -> None:
        if self.as_json:
            document(retrain_view.plain(self.store, trigger, journal, reports=True))
        else:
            say(retrain_view.headline(trigger, journal))
            say(f"  tidegate retrain show {trigger.id} says how it came about")


def _check_extra() -> None:
    """What serves needs none of it."""
    missing = [name for name in ("duckdb", "pandas", "sklearn", "skl2onnx") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"retraining needs {missing[0]}, which is not installed: pip install 'tidegate[train]'")


def _place(registry: str | None) -> str:
    if registry is None:
        raise UsageError("--registry: missing; where are the models?")
    return registry


def _models(store: Store, model: str) -> list[str]:
    return [model] if model else store.triggers.models()


def _desk(store: Store, actor: str | None, progress: Any, clock: Clock, *, carrier: Carrier, limit_s: float | None) -> Desk:
    from retrain.desk import Desk

    holder = f"{actor or place.user()}@{socket.gethostname()[:64]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    return Desk(store=store, holder=holder, clock=clock, folder=Path.cwd(), progress=progress, carrier=carrier, limit_s=limit_s)


def _trigger(store: Store, text: str) -> Trigger:
    """By file, or as `_named`. A file says which one is meant; what counts is the registry's."""
    path = Path(text)
    if not path.is_file():
        return _named(store, text)
    said = files.document(path)
    names = {name: said.get(name) for name in ("model", "id")} if isinstance(said, dict) else {}
    if not all(isinstance(name, str) for name in names.values()) or len(names) < 2:
        raise UsageError(f"{text}: no trigger: it says neither model nor id")
    found = store.triggers.read(str(names["model"]), str(names["id"]))
    if found is None:
        raise RegistryError(Kind.NOT_FOUND, f"the registry has no trigger {names['id']} of model '{names['model']}'")
    return found


def _named(store: Store, text: str) -> Trigger:
    """Of all models. Raises `Kind.NOT_FOUND`, and `UsageError` where several begin so."""
    every = [(model, one) for model in store.triggers.models() for one in store.triggers.ids(model)]
    found = [(model, one) for model, one in every if one.startswith(text)] if text else []
    if len(found) > 1:
        raise UsageError(f"{text}: {len(found)} triggers begin so")
    trigger = store.triggers.read(*found[0]) if found else None
    if trigger is None:
        raise RegistryError(Kind.NOT_FOUND, f"the registry has no trigger {text[:64]!r}")
    return trigger


def _policy(path: Path) -> Policy_:
    from retrain.policy import policy_of

    with understood():
        return policy_of(files.document(path), source=str(path))


def _policy_wish(path: Path, model: str) -> Wish:
    policy = _policy(path)
    if policy.wish.model != model:
        raise UsageError(f"{path}: it is about model '{policy.wish.model}', not '{model}'")
    return policy.wish


def _rollout(store: Store, path: Path, actor: str) -> Rollout:
    """Begins the rollout of a plan with a version as its candidate; mistakes of the plan are found before anything is trained."""
    from gateway.rollout import spec
    from gateway.rollout.operations import Operations
    from gateway.rollout.plan import Target

    try:
        plan = spec.load(path).plan
    except spec.SpecError as error:
        raise UsageError("\n".join(str(problem) for problem in error.problems)) from None
    if plan.spec.strategy.ab is not None:
        raise UsageError(f"{path}: an A/B names its versions, so it cannot begin with a new one")

    def begin(version: int) -> str:
        meant = msgspec.structs.replace(plan, spec=msgspec.structs.replace(plan.spec, candidate=Target(version=version)))
        return Operations(store, now=SystemClock().wall).apply(meant, actor=actor, reason="retrained").status.id

    return begin
