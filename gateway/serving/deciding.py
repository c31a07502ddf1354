"""From all that is known of all versions to what shall happen now: what to verify, what workers hold, where routes lead. Pure.

A decision is a replacement and never a command: making it twice changes nothing, and one that was not carried out is made again. Whoever
carries it out tells each worker in this order: the routes, then what to hold. Workers that are told to let go of a version report
`Event.RELEASED` once, after everything else that they report of it; only then may they be told to hold it again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gateway.serving.lifecycle import LOADING, STARTING, STEPS, Event, Failed, Failure, Known, RouteTable, Snapshot, State, Wanted, step

MAX_DEATHS = 3  # of workers while they load one version. The first may be chance; without a bound it would end every worker for ever

_HELD = frozenset({State.LOAD, State.WARM, State.GOLDEN, State.READY})
_RANK = {state: rank for rank, state in enumerate((*STARTING, State.READY))}
_NO_REASON = "a worker failed and gave no reason"
_Book = dict[Wanted, Known]
_ByModel = dict[str, dict[int, Wanted]]


@dataclass(frozen=True, slots=True)
class Decision:
    """What shall be the case from now on."""

    verify: tuple[Wanted, ...]  # in verification; any other is ended and its result thrown away
    hold: frozenset[Wanted]  # by every worker
    routes: RouteTable
    serving: frozenset[int]  # workers that take requests by `routes`
    broken: frozenset[int]  # workers that cannot come to serve, because they failed to load what is routed: end them, start others
    wake_at_s: float  # when to decide again if nothing happens; infinite where nothing waits for time
    known: Mapping[Wanted, Known]


def applied(snapshot: Snapshot, decision: Decision) -> Snapshot:
    """The snapshot once a decision is carried out."""
    return replace(
        snapshot,
        known=decision.known,
        routes=decision.routes,
        serving=decision.serving,
        verifying=frozenset(decision.verify),
    )


def decide(snapshot: Snapshot) -> Decision:
    """What to do now."""
    book = _welcome(snapshot)
    _progress(snapshot, book)
    _lose(snapshot, book)
    desired = _by_model(snapshot.desired.versions)
    models = _models(snapshot, book, desired)
    routed = RouteTable(models=models).routed()
    _drop(snapshot, book, routed)
    _retry(snapshot, book)
    admitted = _admit(snapshot, book)
    hold = frozenset(wanted for wanted, known in book.items() if known.state in _HELD)
    _tell(snapshot, book, hold)
    routes = _table(snapshot, book, desired, models)
    ready = {worker for worker in snapshot.workers - snapshot.serving if all([book[wanted].ready_on(worker) for wanted in routed])}
    serving = snapshot.serving | ready
    return Decision(
        verify=_verify(snapshot, book, admitted),
        hold=hold,
        routes=routes,
        serving=serving,
        broken=frozenset(snapshot.workers - serving if serving else ()) & _failed_workers(book, routed),
        wake_at_s=min([known.retry_at_s for known in book.values() if known.retry_at_s > snapshot.now_s], default=math.inf),
        known=_without_closed(book),
    )


def _without_closed(known: Mapping[Wanted, Known]) -> _Book:
    return {wanted: one for wanted, one in known.items() if one.state is not State.DRAIN or one.by_worker}


def _welcome(snapshot: Snapshot) -> _Book:
    """What is known, without what is closed, with what is newly wanted."""
    book = _without_closed(snapshot.known)
    book.update({wanted: Known(wanted) for wanted in snapshot.desired.versions if wanted not in book})
    return book


def _progress(snapshot: Snapshot, book: _Book) -> None:
    """A version is as far as the slowest serving worker, and fails where any worker failed or too many died of it."""
    for wanted, known in book.items():
        if known.state not in STARTING:
            continue
        if known.deaths >= MAX_DEATHS:
            book[wanted] = known.failed(Failure.MODEL, f"{known.deaths} workers died while they loaded it", snapshot.now_s)
        elif State.FAILED in known.by_worker.values():
            book[wanted] = known.failed(known.failure, known.reason or _NO_REASON, snapshot.now_s)
        elif known.state is not State.VERIFY and snapshot.serving:
            book[wanted] = _advanced(snapshot, known)


def _advanced(snapshot: Snapshot, known: Known) -> Known:
    slowest = min(_RANK[known.by_worker.get(worker, State.VERIFY)] for worker in snapshot.serving)
    while _RANK[known.state] < slowest:
        known = known.after(STEPS[_RANK[known.state]])
    return replace(known, deaths=0, attempts=0) if known.state is State.READY else known


def _lose(snapshot: Snapshot, book: _Book) -> None:
    """Give up routed versions where nobody serves and every worker that lives has failed to load one: the others shall serve again."""
    if snapshot.serving or not snapshot.workers:
        return
    routed = snapshot.routes.routed()
    if snapshot.workers <= _failed_workers(book, routed):
        for wanted in routed:
            known = book[wanted]
            if State.FAILED in known.by_worker.values():
                book[wanted] = known.failed(known.failure, known.reason or _NO_REASON, snapshot.now_s, event=Event.LOST)


def _failed_workers(book: _Book, routed: frozenset[Wanted]) -> frozenset[int]:
    return frozenset(worker for wanted in routed for worker, state in book[wanted].by_worker.items() if state is State.FAILED)


def _models(snapshot: Snapshot, book: _Book, desired: _ByModel) -> dict[str, dict[int, str]]:
    """All wanted versions that are ready and, until all wanted ones of a model are, what was routed before."""
    found: dict[str, dict[int, str]] = {}
    for model, wanted in sorted(desired.items()):
        ready = {number: one.identity for number, one in wanted.items() if book[one].state is State.READY}
        before = snapshot.routes.models.get(model, {}) if len(ready) < len(wanted) else {}
        kept = {number: identity for number, identity in before.items() if book[Wanted(model, number, identity)].state is State.READY}
        if numbers := kept | ready:
            found[model] = dict(sorted(numbers.items()))
    return found


def _by_model(versions: Iterable[Wanted]) -> _ByModel:
    found: _ByModel = {}
    for wanted in versions:
        found.setdefault(wanted.model, {})[wanted.version] = wanted
    return found


def _drop(snapshot: Snapshot, book: _Book, routed: frozenset[Wanted]) -> None:
    """What is neither wanted nor routed goes."""
    for wanted, known in book.items():
        if wanted not in snapshot.desired.versions and wanted not in routed and known.state is not State.DRAIN:
            book[wanted] = known.after(Event.DROP)


def _retry(snapshot: Snapshot, book: _Book) -> None:
    """What failed and is due is verified anew, once no worker holds anything of it. What did not fit is left to `_admit`."""
    for wanted, known in book.items():
        if known.state is State.FAILED and not known.by_worker and known.retry_at_s <= snapshot.now_s:
            book[wanted] = known.after(Event.RETRY)


def _admit(snapshot: Snapshot, book: _Book) -> frozenset[Wanted]:
    """The versions that may be verified and loaded: those that fit into memory beside everything that is there.

    What fits once draining is over waits; what does not fit even then is refused with the figures, until it fits.
    """
    waiting = [wanted for wanted, known in book.items() if known.state in STARTING or _may_fit(known)]
    if snapshot.budget_bytes is None:
        for wanted in waiting:
            _let_in(book, wanted)
        return frozenset(waiting)
    staying = sum(snapshot.size(wanted) for wanted, known in book.items() if known.state is State.READY)
    leaving = sum(snapshot.size(wanted) for wanted, known in book.items() if known.by_worker and known.state in {State.DRAIN, State.FAILED})
    admitted = set()
    for wanted in sorted(waiting, key=lambda wanted: (*_turn(snapshot, book[wanted]), wanted)):
        size, known = snapshot.size(wanted), book[wanted]
        if staying + size > snapshot.budget_bytes:
            leaving += size if known.by_worker else 0
            _refuse(book, known, size, staying, snapshot)
            continue
        if known.state in LOADING or staying + leaving + size <= snapshot.budget_bytes:
            admitted.add(wanted)
            _let_in(book, wanted)
        staying += size
    return frozenset(admitted)


def _may_fit(known: Known) -> bool:
    return known.state is State.FAILED and known.failure is Failure.MEMORY and not known.by_worker


def _turn(snapshot: Snapshot, known: Known) -> tuple[bool, bool, bool]:
    """What was begun comes first, what was refused last."""
    return known.state not in LOADING, known.wanted not in snapshot.verifying, known.state is State.FAILED


def _let_in(book: _Book, wanted: Wanted) -> None:
    if book[wanted].state is State.FAILED:
        book[wanted] = book[wanted].after(Event.RETRY)


def _refuse(book: _Book, known: Known, size: int, staying: int, snapshot: Snapshot) -> None:
    if known.state is State.FAILED:
        return
    reason = f"it needs {size} bytes in a worker, where {staying} of {snapshot.budget_bytes} are taken"
    book[known.wanted] = known.failed(Failure.MEMORY, reason, snapshot.now_s, event=Event.REFUSE)


def _tell(snapshot: Snapshot, book: _Book, hold: frozenset[Wanted]) -> None:
    """Every worker is told to load what it lacks and to let go of the rest."""
    for wanted, known in book.items():
        if wanted in hold:
            told = {worker: known.by_worker.get(worker, State.VERIFY) for worker in snapshot.workers}
        else:
            told = {worker: _let_go(state) for worker, state in known.by_worker.items()}
        if told != known.by_worker:
            book[wanted] = replace(known, by_worker=told)


def _let_go(state: State) -> State:
    return state if state is State.DRAIN else step(state, Event.DROP)


def _verify(snapshot: Snapshot, book: _Book, admitted: frozenset[Wanted]) -> tuple[Wanted, ...]:
    """Those that have begun, then by name, `parallel` together."""
    candidates = [wanted for wanted in admitted if book[wanted].state is State.VERIFY]
    return tuple(sorted(candidates, key=lambda wanted: (wanted not in snapshot.verifying, wanted))[: snapshot.parallel])


def _table(snapshot: Snapshot, book: _Book, desired: _ByModel, models: dict[str, dict[int, str]]) -> RouteTable:
    """The next route table; the same one where nothing differs."""
    failed = [
        Failed(wanted.model, book[wanted].reason or "", wanted.version)
        for wanted in snapshot.desired.versions
        if book[wanted].state is State.FAILED
    ]
    labels: dict[str, dict[str, int]] = {}
    defaults: dict[str, int] = {}
    for model, wanted in sorted(desired.items()):
        routed, before = models.get(model, {}), snapshot.routes
        ready = {number for number in routed.keys() & wanted.keys() if routed[number] == wanted[number].identity}
        for label, target in sorted(snapshot.desired.labels.get(model, {}).items()):
            pointed = target if target in ready else before.labels.get(model, {}).get(label)
            if pointed in routed:
                labels.setdefault(model, {})[label] = pointed
            else:
                failed.append(Failed(model, _dangling(f"the label '{label}'", target, wanted), label=label))
        target = snapshot.desired.defaults.get(model, max(wanted))
        pointed = target if target in ready else before.defaults.get(model)
        if pointed in routed:
            defaults[model] = pointed
        elif model in snapshot.desired.defaults:
            failed.append(Failed(model, _dangling("the default", target, wanted)))
        elif routed:
            defaults[model] = max(routed)
    new = RouteTable(snapshot.routes.generation, models, labels, defaults, tuple(sorted(failed, key=_place)))
    return snapshot.routes if new == snapshot.routes else replace(new, generation=new.generation + 1)


def _dangling(what: str, target: int, wanted: Mapping[int, Wanted]) -> str:
    return f"{what} points to version {target}, which is {'not ready' if target in wanted else 'not among those that shall serve'}"


def _place(failed: Failed) -> tuple[str, int, str]:
    return failed.model, failed.version or 0, failed.label or ""
