"""Sends what rollouts have to tell, for one server: of an open one whoever decides about it, of one that is over whoever claims it first.

Looks at the last rollouts of every model, so what was written by a command, or by a server that died, is told too. What was over for
`RECENT_S` is left alone. Blocks: used in a thread of its own, at most once a few seconds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from gateway.rollout.admission import read_plan
from gateway.rollout.happenings import occurrences
from gateway.rollout.outbox import Outbox, Post, ReadSecrets, RegistryShelf
from gateway.rollout.plan import Plan
from registry.errors import Kind, RegistryError
from registry.rollout_claims import RolloutClaim
from registry.rollout_entries import RolloutJournal, directory_of, rollout_id
from registry.store import Store

RECENT = 16  # rollouts of a model that are looked at
RECENT_S = 3 * 86_400.0  # longer than anything is tried
CLAIM_S = 300.0  # longer than one turn of an outbox may take


class Postman:
    """All outboxes of one registry, as one server sees them."""

    def __init__(
        self, store: Store, *, holder: str, leads: Callable[[str], bool], post: Post, secrets: ReadSecrets, rng: random.Random
    ) -> None:
        """`leads(rollout)`: whether this server decides about an open rollout. `holder` is this server's name."""
        self.problems: dict[str, str] = {}  # rollout → what went wrong in the last tick; "" for the registry itself
        self._store = store
        self._rollouts = store.rollouts
        self._holder = holder
        self._leads = leads
        self._post = post
        self._secrets = secrets
        self._rng = rng
        self._journals: dict[str, RolloutJournal] = {}
        self._plans: dict[str, Plan] = {}
        self._outboxes: dict[str, Outbox] = {}  # of those that this server sends for
        self._claims: dict[str, RolloutClaim] = {}  # of those that are over
        self._told: set[str] = set()  # nothing is left to say

    def tick(self, now_s: float) -> None:
        """Send what is due. Raises nothing that a registry raises; see `problems`."""
        self.problems = {}
        try:
            for model, number in self._recent():
                self._tend(model, number, now_s)
        except RegistryError as error:
            self.problems[""] = error.message

    def _recent(self) -> Iterator[tuple[str, int]]:
        for model in self._rollouts.models():
            for number in self._rollouts.numbers(model)[-RECENT:]:
                if rollout_id(model, number) not in self._told:
                    yield model, number

    def _tend(self, model: str, number: int, now_s: float) -> None:
        rollout = rollout_id(model, number)
        try:
            journal = self._rollouts.journal(model, number, self._journals.get(rollout))
            self._journals[rollout] = journal
            if journal.links:
                self._send(journal, now_s)
        except RegistryError as error:
            if error.kind is Kind.STORAGE:
                raise
            self.problems[rollout] = error.message

    def _send(self, journal: RolloutJournal, now_s: float) -> None:
        rollout, plan = journal.id, self._plan(journal)
        over_s = now_s - journal.entries[-1].time.timestamp() if journal.final else 0.0
        if (journal.final and not plan.spec.notifications) or over_s > RECENT_S:
            self._forget(rollout)
            return
        if not plan.spec.notifications:
            return
        happened, outbox = occurrences(plan, journal.entries), self._outboxes.get(rollout) or self._outbox(journal, plan)
        if journal.final and outbox.settled(happened):
            self._release(journal, now_s)
            self._forget(rollout)
        elif self._claimed(journal, now_s) if journal.final else self._leads(rollout):
            self._outboxes[rollout] = outbox
            outbox.turn(happened, now_s)
        else:
            self._outboxes.pop(rollout, None)  # somebody else writes its cursor

    def _outbox(self, journal: RolloutJournal, plan: Plan) -> Outbox:
        shelf = RegistryShelf(self._store.medium, directory_of(journal.model, journal.number))
        return Outbox(plan.spec.notifications, shelf, post=self._post, secrets=self._secrets, rng=self._rng)

    def _plan(self, journal: RolloutJournal) -> Plan:
        if journal.id not in self._plans:
            self._plans[journal.id] = read_plan(self._store, journal)
        return self._plans[journal.id]

    # --- whose it is when it is over ----------------------------------------------------------------------------------------------------

    def _claimed(self, journal: RolloutJournal, now_s: float) -> bool:
        """Nobody decides any more, so a claim is about messages alone. One that has not half its time left is taken anew."""
        claim = self._claims.get(journal.id)
        if claim is None or claim.expires.timestamp() - now_s < CLAIM_S / 2:
            claim = self._rollouts.claims(journal.model, journal.number).take(holder=self._holder, now_s=now_s, ttl_s=CLAIM_S)
        if claim is None:
            self._claims.pop(journal.id, None)
            return False
        self._claims[journal.id] = claim
        return True

    def _release(self, journal: RolloutJournal, now_s: float) -> None:
        claim = self._claims.pop(journal.id, None)
        if claim is not None:
            self._rollouts.claims(journal.model, journal.number).renew(claim, now_s=now_s, ttl_s=0.0)

    def _forget(self, rollout: str) -> None:
        self._told.add(rollout)
        for known in (self._journals, self._plans, self._outboxes, self._claims):
            known.pop(rollout, None)
