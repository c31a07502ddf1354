"""What people do to rollouts: apply, pause, resume, approve, promote, abort; and what they ask: status and history.

Every verb appends one entry to the journal, after the machine has allowed it, in the name of whoever did it and with a reason. A verb
that finds done what it asks for changes nothing and says so; with an operation id, so does one that is repeated after a lost answer. Acts
on the registry alone, so it works without a server, and servers follow within a look.

A rollout is named by its id (`churn-7`), or by its model: then the one that may act is meant, or the last one where none is open.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

import msgspec

from gateway.errors import invalid
from gateway.rollout import verbs
from gateway.rollout.admission import Admission, read_plan
from gateway.rollout.deciding import Draft, entry_of
from gateway.rollout.plan import Plan
from gateway.rollout.standing import Standing, fold
from gateway.rollout.status import History, Status, history_of, status_of
from registry.errors import Kind, RegistryError
from registry.names import MODEL_NAME, check_label
from registry.rollout_entries import RolloutJournal, model_and_number
from registry.store import Store

_PATIENCE = 100  # other writers that may be first, one after the other


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What a verb came to."""

    status: Status
    new: bool  # False where it was done before


def new_salt() -> str:
    """A key of the routing hash that nobody has had."""
    return uuid.uuid4().hex


class Operations:
    """The rollouts of one registry. Every method may raise `Kind.STORAGE`, `Kind.DAMAGED`, `Kind.NOT_FOUND` and `Kind.INVALID_NAME`."""

    def __init__(self, store: Store, *, now: Callable[[], float], salts: Callable[[], str] = new_salt) -> None:
        """`now` gives seconds since the Unix epoch."""
        self._store = store
        self._rollouts = store.rollouts
        self._now = now
        self._admission = Admission(store, salts=salts)

    def apply(self, plan: Plan, *, actor: str, reason: str = "", force: bool = False, commit: str = "", operation_id: str = "") -> Done:
        """Begin a rollout, or find the one that this plan has begun already. `commit` is of the plan file's repository.

        Raises `Kind.CONFLICT` where the plan says `reject` and another rollout is open, or where the candidate serves already;
        `Kind.POLICY` where the candidate is rejected and `force` is not set; `TidegateError` for a plan that contradicts itself.
        """
        journal, new = self._admission.apply(
            plan,
            actor=check_label(actor, what="actor"),
            reason=reason,
            force=force,
            commit=commit,
            operation_id=operation_id,
            now_s=self._now(),
        )
        return Done(status=self._status(journal), new=new)

    def pause(self, which: str, *, actor: str, reason: str = "", operation_id: str = "") -> Done:
        """Stop the timers; traffic stays as it is. Raises `Kind.CONFLICT` before there is traffic and after the steps."""
        return self._act(which, actor, operation_id, lambda standing, now_s: verbs.pause(standing, reason, now_s))

    def resume(self, which: str, *, actor: str, reason: str = "", accept_evidence: bool = False, operation_id: str = "") -> Done:
        """Go on. With `accept_evidence`, what had failed is no longer held against the candidate, and what had no verdict is passed.

        Raises `Kind.POLICY` where a failure has to be accepted first, `TidegateError` where it is and no reason is given.
        """
        _wants_reason(reason, "resume with accept_evidence", wanted=accept_evidence)
        return self._act(which, actor, operation_id, lambda standing, _: verbs.resume(standing, reason, accept_evidence=accept_evidence))

    def approve(self, which: str, *, actor: str, reason: str = "", operation_id: str = "") -> Done:
        """One person's agreement. Raises `Kind.POLICY` for somebody who may not, `Kind.CONFLICT` where no approval is asked for."""
        return self._act(which, actor, operation_id, lambda standing, _: verbs.approve(standing, actor, reason))

    def promote(self, which: str, *, actor: str, reason: str, full: bool = False, step: int | None = None, operation_id: str = "") -> Done:
        """End the step without its verdict, or with `full` all steps. With `step`, only if that is the step it is at.

        Raises `Kind.POLICY` for an A/B, and where that would pass over an approval; `Kind.CONFLICT` before there is traffic;
        `TidegateError` without a reason.
        """
        _wants_reason(reason, "promote")
        return self._act(which, actor, operation_id, lambda standing, _: verbs.promote(standing, reason, full=full, step=step))

    def abort(self, which: str, *, actor: str, reason: str, operation_id: str = "") -> Done:
        """End it: nothing more goes to the candidate, and the alias goes back if it was moved. An A/B is concluded.

        Raises `Kind.CONFLICT` where it has succeeded, `TidegateError` without a reason.
        """
        _wants_reason(reason, "abort")
        return self._act(which, actor, operation_id, lambda standing, _: verbs.abort(standing, reason))

    def status(self, which: str) -> Status:
        """Where a rollout stands."""
        return self._status(self._find(which))

    def statuses(self, *, everything: bool = False) -> tuple[Status, ...]:
        """Of all open rollouts by model and number; of all there ever were with `everything`."""
        journals = self._rollouts.all() if everything else self._rollouts.active()
        return tuple(self._status(journal) for journal in journals)

    def history(self, which: str) -> History:
        """Everything that happened to a rollout, oldest first."""
        return history_of(self._find(which))

    def plan(self, which: str) -> Plan:
        """The plan that a rollout follows."""
        return read_plan(self._store, self._find(which))

    def report(self, digest: str) -> bytes:
        """A verdict that an entry names: JSON."""
        return self._store.read_blob(digest)

    def _act(self, which: str, actor: str, operation_id: str, verb: Callable[[Standing, float], Draft | None]) -> Done:
        check_label(actor, what="actor")
        for _ in range(_PATIENCE):
            journal = self._find(which)
            standing, now_s = fold(read_plan(self._store, journal), journal.entries), self._now()
            draft = None if operation_id and operation_id in standing.operations else verb(standing, now_s)
            if draft is None:
                return Done(status=self._status(journal), new=False)
            if operation_id:
                draft = msgspec.structs.replace(
                    draft, details={**draft.details, "operation_id": check_label(operation_id, what="operation id")}
                )
            added = self._rollouts.append(journal, entry_of(standing, draft, actor=actor, now_s=now_s))
            if added is not None:
                return Done(status=self._status(added), new=True)
        raise RegistryError(Kind.CONFLICT, f"other writers were first {_PATIENCE} times; repeat")

    def _find(self, which: str) -> RolloutJournal:
        if MODEL_NAME.fullmatch(which) and self._rollouts.numbers(which):
            found = self._rollouts.open(which)
            journal = found[0] if found else self._rollouts.last(which)
            if journal.links:
                return journal
        model, number = _named(which)
        journal = self._rollouts.journal(model, number)
        if not journal.links:
            raise RegistryError(Kind.NOT_FOUND, f"there is no rollout {which[:160]}")
        return journal

    def _status(self, journal: RolloutJournal) -> Status:
        standing = fold(read_plan(self._store, journal), journal.entries)
        return status_of(standing, journal, self._rollouts, self._now())


def _named(which: str) -> tuple[str, int]:
    try:
        return model_and_number(which)
    except RegistryError as error:
        raise RegistryError(Kind.NOT_FOUND, f"there is no rollout, and no model with one, called {which[:160]!r}") from error


def _wants_reason(reason: str, verb: str, *, wanted: bool = True) -> None:
    if wanted and not reason.strip():
        raise invalid(f"{verb} wants a reason, for whoever reads the journal")
