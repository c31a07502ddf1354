"""`tidegate rollout apply`, `list`, `status`, `pause`, `resume`, `approve`, `promote`, `abort` and `history`: what people do to rollouts.

Each works on a registry, with or without servers that follow it, or asks a server by its admin port.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from gateway.clock import SystemClock
from gateway.commands import files, place, rollout_view
from gateway.commands.output import Json, command, document, printable, say, table
from gateway.commands.rollout import PlanFile
from gateway.commands.rollout_target import Target, targeted

if TYPE_CHECKING:
    from gateway.control.rollout_work import Verb, Work
    from gateway.rollout.operations import Done
    from gateway.rollout.status import Status

Which = Annotated[str, typer.Argument(metavar="ROLLOUT", help="Its id, e.g. churn-7, or its model: then the one that may act.")]
Wait = Annotated[bool, typer.Option("--wait", help="Until it is over or paused. Exit codes: 0 good, 1 bad, 2 paused, 3 not over in time.")]
Within = Annotated[str | None, typer.Option("--within", metavar="DURATION", help="With --wait: e.g. 30m or 6h [for ever].")]


@command
@targeted
def apply(
    file: PlanFile,
    *,
    target: Target,
    force: Annotated[bool, typer.Option("--force", help="Although the candidate was rejected before.")] = False,
    commit: Annotated[str, typer.Option("--commit", help="Of the rollout file's repository; it stands in the journal.")] = "",
    reason: place.Reason = "",
    actor: place.Actor = None,
    operation_id: place.OperationId = None,
    wait: Wait = False,
    within: Within = None,
    as_json: Json = False,
) -> None:
    """Begin a rollout. Applying the same file again finds the rollout that it has begun."""
    from gateway.control.rollout_work import Applying

    content, work = files.content(file), target.work()
    said = Applying(actor=target.actor(actor), reason=reason, force=force, commit=commit, operation_id=operation_id or "")
    done = work.apply(content, said, source=str(file))
    if wait:
        _wait(work, done.status.id, within, as_json=as_json)
    _tell(done, as_json=as_json)


@command
@targeted
def list_(
    model: Annotated[str, typer.Argument(help="Only those of this model.")] = "",
    *,
    target: Target,
    everything: Annotated[bool, typer.Option("--all", help="Those that are over too.")] = False,
    as_json: Json = False,
) -> None:
    """List rollouts: those that are open."""
    found = target.work().statuses(model, everything=everything)
    if as_json:
        document(msgspec.to_builtins(found))
        return
    rows = [(one.id, one.name, rollout_view.headline(one), f"{one.percent:g} %") for one in found]
    table(["rollout", "name", "", "traffic"], rows, right=["traffic"], whole=["rollout"])


@command
@targeted
def status(
    which: Which,
    *,
    target: Target,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it until it is over.")] = False,
    wait: Wait = False,
    within: Within = None,
    as_json: Json = False,
) -> None:
    """Show where a rollout stands, and what it waits for."""
    work = target.work()
    if watch:
        _watch(work, which, within, as_json=as_json)
    if wait:
        _wait(work, which, within, as_json=as_json)
    _show(work.status(which), as_json=as_json)


@command
@targeted
def pause(
    which: Which,
    *,
    target: Target,
    reason: place.Reason = "",
    actor: place.Actor = None,
    operation_id: place.OperationId = None,
    as_json: Json = False,
) -> None:
    """Stop its timers; traffic stays as it is."""
    _act(target, "pause", which, actor, operation_id, reason=reason, as_json=as_json)


@command
@targeted
def resume(
    which: Which,
    *,
    target: Target,
    accept_evidence: Annotated[
        bool, typer.Option("--accept-evidence", help="What failed is no longer held against the candidate; it wants a reason.")
    ] = False,
    reason: place.Reason = "",
    actor: place.Actor = None,
    operation_id: place.OperationId = None,
    as_json: Json = False,
) -> None:
    """Let it go on."""
    _act(target, "resume", which, actor, operation_id, reason=reason, accept_evidence=accept_evidence, as_json=as_json)


@command
@targeted
def approve(
    which: Which,
    *,
    target: Target,
    reason: place.Reason = "",
    actor: place.Actor = None,
    operation_id: place.OperationId = None,
    as_json: Json = False,
) -> None:
    """Agree, where the plan waits for people."""
    _act(target, "approve", which, actor, operation_id, reason=reason, as_json=as_json)


@command
@targeted
def promote(
    which: Which,
    *,
    target: Target,
    full: Annotated[bool, typer.Option("--full", help="End all steps, not this one alone.")] = False,
    step: Annotated[int | None, typer.Option("--step", help="Only if it is at this step; counts from 0.", min=0)] = None,
    reason: place.Reason = "",
    actor: place.Actor = None,
    operation_id: place.OperationId = None,
    as_json: Json = False,
) -> None:
    """End its step without a verdict; it wants a reason, and replaces no approval."""
    _act(target, "promote", which, actor, operation_id, reason=reason, full=full, step=step, as_json=as_json)


@command
@targeted
def abort(
    which: Which,
    *,
    target: Target,
    reason: place.Reason = "",
    actor: place.Actor = None,
    operation_id: place.OperationId = None,
    as_json: Json = False,
) -> None:
    """End it: nothing more goes to the candidate, and what was moved goes back. It wants a reason."""
    _act(target, "abort", which, actor, operation_id, reason=reason, as_json=as_json)


@command
@targeted
def history(which: Which, *, target: Target, as_json: Json = False) -> None:
    """Show everything that happened to it, by whom and why."""
    found = target.work().history(which)
    if as_json:
        document(msgspec.to_builtins(found))
        return
    columns = ["entry", "time", "who", "event", "phase", "step", "reason"]
    table(columns, [rollout_view.row(entry) for entry in found.entries], right=["entry", "step"], whole=["time"])


COMMANDS = {
    "apply": apply, "list": list_, "status": status, "pause": pause, "resume": resume, "approve": approve, "promote": promote,
    "abort": abort, "history": history,
}  # fmt: skip


# --- what the verbs share --------------------------------------------------------------------------------------------------------------


def _act(
    target: Target, verb: Verb, which: str, actor: str | None, operation_id: str | None, *, as_json: bool, reason: str, **more: Any
) -> None:
    from gateway.control.rollout_work import BODIES

    said = BODIES[verb](actor=target.actor(actor), reason=reason, operation_id=operation_id or "", **more)
    _tell(target.work().act(verb, which, said), as_json=as_json)


def _tell(done: Done, *, as_json: bool) -> None:
    if as_json:
        document(msgspec.to_builtins(done))
    else:
        say(f"{printable(done.status.id)}: {rollout_view.headline(done.status)}{'' if done.new else '; as before'}")


def _show(found: Status, *, as_json: bool) -> None:
    if as_json:
        document(msgspec.to_builtins(found))
    else:
        for line in rollout_view.lines(found):
            say(line)


def _looks(work: Work, which: str, within: str | None, *, through_pauses: bool) -> Iterator[Status]:
    """At the rollout that is meant now, also where a model's next one begins meanwhile."""
    from gateway.commands.rollout_waiting import looks, patience_s

    patience, rollout = patience_s(within), work.status(which).id
    sleep = threading.Event().wait
    return looks(lambda: work.status(rollout), clock=SystemClock(), sleep=sleep, patience_s=patience, through_pauses=through_pauses)


def _wait(work: Work, which: str, within: str | None, *, as_json: bool) -> None:
    """Until a pipeline knows enough. Exits with what it learns."""
    from gateway.commands.rollout_waiting import code_of

    (last,) = deque(_looks(work, which, within, through_pauses=False), maxlen=1)
    _show(last, as_json=as_json)
    raise typer.Exit(code_of(last))


def _watch(work: Work, which: str, within: str | None, *, as_json: bool) -> None:
    """Until it is over. Exits as `_wait`."""
    from gateway.commands.rollout_waiting import code_of

    found = _looks(work, which, within, through_pauses=True)
    last = _documents(found) if as_json else _live(found)
    raise typer.Exit(code_of(last))


def _documents(found: Iterable[Status]) -> Status:
    """A line of JSON for each change."""
    last: Status | None = None
    for one in found:
        if last is None or one.entries != last.entries:
            say(json.dumps(msgspec.to_builtins(one)))
        last = one
    assert last is not None, "the first look is one, or raises"
    return last


def _live(found: Iterable[Status]) -> Status:
    """A view that is drawn anew where somebody looks at it; elsewhere a line for each change."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console, last = Console(highlight=False), None
    with Live(console=console, auto_refresh=False) as view:
        for one in found:
            if console.is_terminal:
                view.update(Text("\n".join(rollout_view.lines(one))), refresh=True)
            elif last is None or one.entries != last.entries:
                say(f"{printable(one.id)}: {rollout_view.headline(one)}")
            last = one
    assert last is not None, "the first look is one, or raises"
    return last
