"""The one place that acts for rollouts: looks, decides, appends, and only then does what was decided. Everything outside is passed in.

Many servers may run one. For each rollout the one with the claim acts; its entries carry the claim's number, and who takes a claim over
says so in the journal first, from where on the word of the one before counts for nothing. What is done beside the journal, moving the
alias, happens once by its operation id (`champion`), whoever does it and however often. So a controller may die, or stand still, between
any two of its steps.

Evidence is of the traffic of the server that has the claim. Its counts are saved as a blob with each decision; another server, or this one
after a restart, goes on from there, and what was counted since then is lost: that takes power from the tests, not validity.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import msgspec

from gateway.rollout.admission import read_plan
from gateway.rollout.champion import Champion
from gateway.rollout.deciding import Draft, decide, entry_of, said
from gateway.rollout.directive import pinned
from gateway.rollout.machine import Event, Phase
from gateway.rollout.observation import Attempt, Observation, Outcome, Reading
from gateway.rollout.plan import Plan
from gateway.rollout.standing import Pin, Standing, fold
from registry.errors import Kind, RegistryError
from registry.rollout_claims import RolloutClaim
from registry.rollout_entries import RolloutEntry, RolloutJournal, model_and_number
from registry.rollout_tips import RolloutTips
from registry.store import Store

CLAIM_S = 15.0  # after which another server takes over from one that is gone
_RENEWED = 2 / 3  # of a claim is left when it is renewed
_TURNS = 64  # of one rollout in one tick; each appends something, or is the last
_MEASURED = {Phase.STEP, Phase.PAUSED, Phase.PROMOTING, Phase.BAKING}


class Evidence(Protocol):
    """What is counted of one rollout."""

    @property
    def step(self) -> int | None:
        """That was entered last; None for none."""
        ...

    def enter(self, step: int, weight: int, now_s: float) -> None:
        """A shadow, or a weight in `plan.WEIGHT_UNITS`, begins: evidence for a pass begins anew, evidence against goes on."""
        ...

    def reading(self, now_s: float) -> Reading:
        """What it says now."""
        ...

    def report(self) -> bytes:
        """The last reading whole, as JSON, for people."""
        ...

    def document(self) -> bytes:
        """What `Evidences.open` goes on from."""
        ...


class Evidences(Protocol):
    """Where the evidence of all rollouts is."""

    def open(self, standing: Standing, saved: bytes | None) -> Evidence:
        """Begin to count, from what a journal has `saved` last."""
        ...

    def close(self, rollout: str) -> None:
        """Count no more."""
        ...


class Readiness(Protocol):
    """What the workers of this server hold."""

    def ready(self, model: str, pin: Pin) -> bool:
        """Whether this content can serve on all of them, warm and with its golden requests answered."""
        ...

    def failure(self, model: str, pin: Pin) -> str | None:
        """Why it never will."""
        ...


class Controller:
    """The rollouts of one registry, as one server sees them."""

    def __init__(
        self,
        store: Store,
        *,
        holder: str,
        evidences: Evidences,
        readiness: Readiness,
        applied: Callable[[RolloutJournal], None],
        claim_s: float = CLAIM_S,
        look_s: float = 0.0,
    ) -> None:
        """`holder` is this server's name, and the actor of what it decides; `applied` is told after entries were appended.

        The registry is looked at every `look_s` seconds, evidence and readiness in every tick: an object store need not be asked as often.
        """
        self.problems: dict[str, str] = {}  # rollout → what went wrong in the last tick; "" for the registry itself
        self._store = store
        self._rollouts = store.rollouts
        self._tips = RolloutTips(store.rollouts)
        self._holder = holder
        self._evidences = evidences
        self._readiness = readiness
        self._applied = applied
        self._claim_s = claim_s
        self._look_s = look_s
        self._looked_s = -math.inf
        self._fresh = True  # whether this tick has looked at the registry
        self._journals: dict[str, RolloutJournal] = {}  # that were open in the last look, with what was appended here since
        self._champions: dict[tuple[str, str], Pin | None] = {}  # model, alias → what it stood for in the last look
        self.standings: dict[str, Standing] = {}  # of rollouts that this server decides about, as it saw them last
        self._claims: dict[str, RolloutClaim] = {}
        self._counting: dict[str, Evidence] = {}
        self._plans: dict[str, Plan] = {}

    def tick(self, now_s: float) -> tuple[RolloutEntry, ...]:
        """Look at every open rollout and do what follows: what was appended. Raises nothing that a registry raises; see `problems`."""
        self.problems = {}
        try:
            journals = self._look(now_s)
        except RegistryError as error:
            self.problems[""] = error.message
            return ()
        appended: list[RolloutEntry] = []
        for journal in journals:
            try:
                appended += self._tend(journal, journals, now_s)
            except RegistryError as error:
                self.problems[journal.id] = error.message
                if error.kind is Kind.CONFLICT:  # another controller has written, or it is over
                    self._lose(journal.id)
        self.problems |= {"": "; ".join(self._tips.problems)} if self._tips.problems else {}
        return tuple(appended)

    def leads(self, rollout: str) -> bool:
        """Whether this server had the claim when it looked last."""
        return rollout in self._claims

    def close(self, now_s: float) -> None:
        """Let go of every claim, so that another server need not wait for its end. Best effort."""
        for rollout, claim in list(self._claims.items()):
            self._lose(rollout)
            try:
                journal = self._rollouts.read(rollout)
                self._rollouts.claims(journal.model, journal.number).renew(claim, now_s=now_s, ttl_s=0.0)
            except RegistryError as error:
                self.problems[rollout] = error.message

    def _look(self, now_s: float) -> tuple[RolloutJournal, ...]:
        """Every open rollout, as of the last look at the registry. Raises `Kind.STORAGE`."""
        self._fresh = not 0.0 <= now_s - self._looked_s < self._look_s
        if self._fresh:
            journals = self._tips.look()
            self._looked_s, self._journals = now_s, {journal.id: journal for journal in journals}
            self._champions = {}
            self._forget(journals)
        return tuple(self._journals.values())

    def _tend(self, journal: RolloutJournal, journals: tuple[RolloutJournal, ...], now_s: float) -> list[RolloutEntry]:
        claim = self._claimed(journal, now_s)
        if claim is None:
            self._lose(journal.id)
            return []
        appended: list[RolloutEntry] = []
        for _ in range(_TURNS):
            standing = self.standings[journal.id] = fold(self._plan(journal), journal.entries)
            if standing.final or standing.token > claim.token:
                self._lose(journal.id)
                self._journals.pop(journal.id)
                break
            drafts = self._drafts(standing, claim, journals, now_s)
            if not drafts:
                break
            before = journal.seq
            journal = self._journals[journal.id] = self._append(journal, standing, drafts, claim, now_s)
            appended += [link.entry for link in journal.links[before:] if link.entry.token == claim.token]  # others may write as well
            self._applied(journal)
        return appended

    def _drafts(self, standing: Standing, claim: RolloutClaim, journals: tuple[RolloutJournal, ...], now_s: float) -> tuple[Draft, ...]:
        """Whoever takes over says so before anything else, and sees everything after that."""
        if standing.token < claim.token and claim.token > 1:
            return (said(standing, Event.LEAD, f"{self._holder} decides from now on"),)
        return decide(standing, self._observe(standing, journals, now_s), now_s)

    def _append(
        self, journal: RolloutJournal, standing: Standing, drafts: tuple[Draft, ...], claim: RolloutClaim, now_s: float
    ) -> RolloutJournal:
        """As many as another writer lets through; the journal as it is then."""
        evidence, checkpoint = self._saved(standing.rollout) if drafts[0].event is not Event.LEAD else ((), None)
        for draft in drafts:
            entry = entry_of(standing, draft, actor=self._holder, now_s=now_s, token=claim.token)
            entry = msgspec.structs.replace(entry, evidence=evidence, checkpoint=checkpoint)
            added = self._rollouts.append(journal, entry)
            if added is None:
                return self._rollouts.journal(journal.model, journal.number, journal)
            journal = added
            standing = fold(standing.plan, journal.entries)
        self._store.blobs.keep((*evidence, *((checkpoint,) if checkpoint else ())))  # as `gc` explains
        return journal

    def _saved(self, rollout: str) -> tuple[tuple[str, ...], str | None]:
        counting = self._counting.get(rollout)
        if counting is None:
            return (), None
        return (self._store.put_blob(counting.report())[0],), self._store.put_blob(counting.document())[0]

    # --- what is seen -------------------------------------------------------------------------------------------------------------------

    def _observe(self, standing: Standing, journals: tuple[RolloutJournal, ...], now_s: float) -> Observation:
        champion, number = Champion(self._store, standing.model, standing.begun.alias), model_and_number(standing.rollout)[1]
        others = [journal for journal in journals if journal.model == standing.model]
        first = standing.phase is not Phase.QUEUED or all(self._is_over(journal) for journal in others if journal.number < number)
        window = standing.plan.spec.rollback_window if standing.phase is Phase.QUEUED and first else 0
        versions = pinned(standing)
        failures = (self._readiness.failure(standing.model, arm.pin) for arm in versions if arm.pin != standing.stable)
        ready = all(self._readiness.ready(standing.model, arm.pin) for arm in versions)
        outcome = self._attempt(standing, champion, now_s, ready=ready)  # before a look at the alias that it may move
        return Observation(
            first=first,
            ready=ready,
            load_failure=next((failure for failure in failures if failure), None),
            champion=self._champion(standing, champion, fresh=outcome is not None),
            recent=bool(window) and standing.begun.candidate.version in champion.before(window),
            replaced_by=next((journal.id for journal in others if journal.number > number and self._replaces(journal)), None),
            reading=self._read(standing, now_s),
            outcome=outcome,
        )

    def _champion(self, standing: Standing, champion: Champion, *, fresh: bool) -> Pin | None:
        place = (standing.model, standing.begun.alias)
        if fresh or place not in self._champions:
            self._champions[place] = champion.pin()
        return self._champions[place]

    def _attempt(self, standing: Standing, champion: Champion, now_s: float, *, ready: bool) -> Outcome | None:
        """What this phase is for, done. It is in the journal already that it shall be."""
        if standing.phase is Phase.ROLLING_BACK:
            outcome = champion.undo(standing, now_s=now_s)
            if outcome.attempt is Attempt.REFUSED:
                self.problems[standing.rollout] = outcome.sentence
            return outcome
        if standing.phase is Phase.PROMOTING and ready and not standing.failing:
            return champion.promote(standing, now_s=now_s)
        return None

    def _read(self, standing: Standing, now_s: float) -> Reading | None:
        if standing.phase not in _MEASURED:
            return None
        counting = self._counting.get(standing.rollout)
        if counting is None:
            counting = self._counting[standing.rollout] = self._evidences.open(standing, self._checkpoint(standing))
        steps = standing.plan.steps()
        step = steps[standing.step] if standing.step < len(steps) else None
        measured = step is not None and (step.shadow is not None or step.set_weight is not None)
        if measured and standing.phase is Phase.STEP and counting.step != standing.step:
            counting.enter(standing.step, standing.share, now_s)
        return counting.reading(now_s)

    def _checkpoint(self, standing: Standing) -> bytes | None:
        """Without it counting begins anew: what has tripped is in the journal itself."""
        try:
            return None if standing.checkpoint is None else self._store.read_blob(standing.checkpoint)
        except RegistryError as error:
            if error.kind is not Kind.DAMAGED:
                raise
            self.problems[standing.rollout] = f"counting begins anew: {error.message}"
            return None

    def _is_over(self, journal: RolloutJournal) -> bool:
        """One that came to its end in this tick, after all were looked at, is in nobody's way."""
        return self._rollouts.journal(journal.model, journal.number, journal).final

    def _replaces(self, journal: RolloutJournal) -> bool:
        return self._plan(journal).spec.on_supersede == "replace"

    # --- who acts -----------------------------------------------------------------------------------------------------------------------

    def _claimed(self, journal: RolloutJournal, now_s: float) -> RolloutClaim | None:
        """The claim of this server, renewed in time, or taken where nobody has one."""
        claims, claim = self._rollouts.claims(journal.model, journal.number), self._claims.get(journal.id)
        if claim is not None and claim.expires.timestamp() - now_s > self._claim_s * _RENEWED:
            return claim
        if claim is None and not self._fresh:
            return None
        if claim is not None and claim.expires.timestamp() > now_s:
            renewed = claims.renew(claim, now_s=now_s, ttl_s=self._claim_s)
        else:
            renewed = claims.take(holder=self._holder, now_s=now_s, ttl_s=self._claim_s)
        if renewed is not None:
            if claim is None or renewed.token > claim.token + 1:  # somebody else decided meanwhile
                self._lose(journal.id)
            self._claims[journal.id] = renewed
        return renewed

    def _lose(self, rollout: str) -> None:
        """What this server has counted is not what the next one decides by, so it is not kept."""
        self._claims.pop(rollout, None)
        self.standings.pop(rollout, None)
        if self._counting.pop(rollout, None) is not None:
            self._evidences.close(rollout)

    def _forget(self, journals: tuple[RolloutJournal, ...]) -> None:
        open_ = {journal.id for journal in journals}
        for rollout in (self._claims.keys() | self._counting.keys()) - open_:
            self._lose(rollout)
        self._plans = {rollout: plan for rollout, plan in self._plans.items() if rollout in open_}

    def _plan(self, journal: RolloutJournal) -> Plan:
        if journal.id not in self._plans:
            self._plans[journal.id] = read_plan(self._store, journal)
        return self._plans[journal.id]
