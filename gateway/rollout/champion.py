"""The alias that a rollout moves in the end, and how that is taken back. Every deed happens once, whoever repeats it after whatever crash.

Each has an operation id that follows from the rollout's journal. A rollout that ends without a promotion *spends* the id of the move on a
hold of no consequence: a controller that had decided to move, stood still meanwhile and wakes up finds its id taken, and moves nothing.
The move is made in the name of whoever started the rollout, since it is they whom a policy allows it or not; the mark that a version is
rejected is made in the name of `REJECTER`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gateway.rollout.machine import Event
from gateway.rollout.observation import Attempt, Outcome
from gateway.rollout.standing import Pin, Standing
from registry.entries import AliasMoved, AliasRemoved, Entry, HoldPlaced
from registry.errors import Kind, RegistryError
from registry.evidence import Evidence
from registry.rollout_entries import sentence
from registry.store import Store

REJECTER = "rollout"
_BAD = {Event.FAIL, Event.FAST}  # after which a version is marked


class Champion:
    """One alias of one model."""

    def __init__(self, store: Store, model: str, alias: str) -> None:
        self._store = store
        self._model = model
        self._alias = alias

    def pin(self) -> Pin | None:
        """What it stands for now; None for nothing. Raises `RegistryError`."""
        head = self._store.versions_of(self._model).journal.read()
        version = head.aliases.get(self._alias)
        return None if version is None else Pin(version, head.versions[version].manifest)

    def before(self, count: int) -> list[int]:
        """The last `count` versions that it stood for before the present one, newest first; those that a rollout took back are none."""
        found: list[int] = []
        moves = [entry for entry in self._store.history(self._model) if isinstance(entry, AliasMoved | AliasRemoved)]
        moves = [entry for entry in moves if entry.alias == self._alias]
        now = moves[-1].to if moves and isinstance(moves[-1], AliasMoved) else None
        for entry in reversed(moves):
            left = entry.from_version
            if left is not None and left not in {now, *found} and not entry.operation_id.endswith(" restore"):
                found.append(left)
        return found[:count]

    def rejected_by(self, version: int) -> list[str]:
        """Who objects that it stands for `version`."""
        return [opinion.actor for opinion in self._store.aliases(self._model).opinions(self._alias, version) if not opinion.approved]

    def promote(self, standing: Standing, *, now_s: float) -> Outcome:
        """Move it to the candidate. Raises `Kind.STORAGE`; then repeat."""
        stable, candidate = standing.stable, standing.begun.candidate
        try:
            self._withdraw(standing, now_s)
            self._store.aliases(self._model).move(
                self._alias,
                to=candidate.version,
                expected_from=stable.version if stable else None,
                evidence=(self._evidence(standing),),
                operation_id=_operation(standing, "promote"),
                **_by(standing, f"rollout {standing.rollout}", now_s),
            )
        except RegistryError as error:
            if error.kind is Kind.STORAGE:
                raise
            return Outcome(Attempt.ELSEWHERE if error.kind is Kind.CONFLICT else Attempt.REFUSED, error.message)
        return Outcome(Attempt.MOVED, f"alias '{self._alias}' stands for version {candidate.version}")

    def undo(self, standing: Standing, *, now_s: float) -> Outcome:
        """Make sure that the alias is not, and will not be, at the candidate by this rollout; mark what failed. Raises `Kind.STORAGE`."""
        try:
            note = self._restore(standing, now_s) if standing.tried else ""
            mark = self._mark(standing, now_s) if standing.ending in _BAD and not standing.is_ab else ""
        except RegistryError as error:
            if error.kind is Kind.STORAGE:
                raise
            return Outcome(Attempt.REFUSED, error.message)
        return Outcome(Attempt.UNDONE, "; ".join(filter(None, (note, mark))))

    def _restore(self, standing: Standing, now_s: float) -> str:
        candidate, stable = standing.begun.candidate.version, standing.stable
        self._spend(standing, "approve", candidate, now_s)  # or who wakes up later takes the mark away that is made now
        if not self._spend(standing, "promote", candidate, now_s):
            return f"alias '{self._alias}' was not moved"
        try:
            self._move_back(standing, now_s)
        except RegistryError as error:
            if error.kind is not Kind.CONFLICT:
                raise
            self._spend(standing, "restore", stable.version if stable else candidate, now_s)
            return f"alias '{self._alias}' was moved on meanwhile"
        return f"alias '{self._alias}' stands for {f'version {stable.version}' if stable else 'nothing'} again"

    def _move_back(self, standing: Standing, now_s: float) -> None:
        """With the evidence that stable came there by."""
        candidate, stable, aliases = standing.begun.candidate.version, standing.stable, self._store.aliases(self._model)
        by = _by(standing, f"rollout {standing.rollout} is rolled back", now_s)
        operation = _operation(standing, "restore")
        if stable is None:
            aliases.remove(self._alias, expected_from=candidate, operation_id=operation, **by)
            return
        moves = (entry for entry in self._store.history(self._model) if isinstance(entry, AliasMoved) and entry.alias == self._alias)
        evidence = next((entry.evidence for entry in reversed(list(moves)) if entry.to == stable.version), ())
        aliases.move(self._alias, to=stable.version, expected_from=candidate, evidence=evidence, operation_id=operation, **by)

    def _spend(self, standing: Standing, deed: str, to: int, now_s: float) -> bool:
        """Whether the move `deed` has happened. Where it has not, it cannot any more: its id stands for a hold from now on."""
        operation, hold = _operation(standing, deed), f"{_operation(standing, deed)} will not happen"
        by, deletion = _by(standing, f"rollout {standing.rollout} moves nothing any more", now_s), self._store.deletion(self._model)
        performed = self._performed(operation)
        if performed is None:
            with _settled():
                deletion.hold(hold, to, operation_id=operation, **by)
            performed = self._performed(operation)
        if isinstance(performed, HoldPlaced):
            with _settled():
                deletion.release(hold, operation_id=f"{operation} (released)", **by)
        return isinstance(performed, AliasMoved | AliasRemoved)

    def _performed(self, operation: str) -> Entry | None:
        journal = self._store.versions_of(self._model).journal
        number = journal.read().operations.get(operation)
        return None if number is None else next(journal.links(after=number - 1, last=number)).entry

    def _mark(self, standing: Standing, now_s: float) -> str:
        """Rejected also for people who move aliases by hand. Where the policy lets only some speak, the journal remembers."""
        candidate, reason = standing.begun.candidate.version, sentence(f"rollout {standing.rollout}: {standing.reason}")
        operation = _operation(standing, "reject")
        if self._performed(operation) is not None:
            return f"version {candidate} is rejected"
        try:
            self._store.aliases(self._model).reject(
                self._alias, candidate, actor=REJECTER, reason=reason, now_s=now_s, operation_id=operation
            )
        except RegistryError as error:
            if error.kind is Kind.STORAGE:
                raise
            return f"the mark that version {candidate} is rejected was refused: {error.message}"
        return f"version {candidate} is rejected"

    def _withdraw(self, standing: Standing, now_s: float) -> None:
        """Steps that were passed outweigh that the same version failed in a rollout before."""
        candidate = standing.begun.candidate.version
        if REJECTER in self.rejected_by(candidate):
            reason, operation = f"rollout {standing.rollout} was passed", _operation(standing, "approve")
            self._store.aliases(self._model).approve(
                self._alias, candidate, actor=REJECTER, reason=reason, now_s=now_s, operation_id=operation
            )

    def _evidence(self, standing: Standing) -> str:
        """That the rollout was passed, in the words of its journal: the same whoever writes it, and when."""
        facts = {
            "rollout": standing.rollout,
            "plan": standing.begun.plan,
            "passed": sorted(standing.passed),
            "waived": sorted(standing.waived),
            "skipped": standing.skip,
        }
        passed = not standing.waived
        return self._store.put_evidence(Evidence(kind="rollout", manifest=standing.begun.candidate.manifest, passed=passed, facts=facts))


def _operation(standing: Standing, deed: str) -> str:
    """An operation id, never that of another rollout: the salt tells apart two with one name, should a registry have lost its rollouts."""
    return f"{standing.rollout} {standing.begun.salt} {deed}"


def _by(standing: Standing, reason: str, now_s: float) -> dict[str, Any]:
    return {"actor": standing.starter, "reason": reason, "now_s": now_s}


@contextmanager
def _settled() -> Iterator[None]:
    """The operation was done before, or cannot be done any more: the version or the hold is gone."""
    try:
        yield
    except RegistryError as error:
        if error.kind not in {Kind.CONFLICT, Kind.NOT_FOUND}:
            raise
