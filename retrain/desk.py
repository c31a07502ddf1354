"""What one process does about one trigger, from the claim to the last entry of its journal. Everything it may do twice is the same once.

Decided elsewhere are which trigger and what job; `job` does the work; this room claims, fences, publishes and writes down. The id of a
trigger is the publish id of its version, so a job that died after publishing, or two that ran at once, leave one version.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from registry.errors import Kind, RegistryError
from registry.evidence import Evidence
from registry.names import blob_key
from registry.publish import Published, Trial, publish
from registry.rollout_entries import sentence
from registry.store import Store
from registry.trial import load_in_child
from registry.trigger_entries import State, TriggerEntry, TriggerJournal
from registry.triggers import Claim, Trigger
from retrain import snapshot as snapshots
from retrain import spec as specs
from retrain.carrying import HERE, Carrier
from retrain.champion import champion_of
from retrain.errors import ClaimLost, Refusal, RetrainError
from retrain.gate_settings import Check, Gate
from retrain.gates import GOLDEN
from retrain.heartbeat import Heartbeat
from retrain.job import Clock, Found, Job, Progress, unseen
from retrain.planning import Located, Wish, planned, relocated
from retrain.spec import JobSpec

TTL_S = 60.0  # of a claim; it is renewed three times as often
EVALUATION = "eval"  # the kind of evidence that a policy can ask for
Rollout = Callable[[int], str]  # a published version → the id of its rollout, which begins or has begun


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """One process that works on triggers of one registry."""

    store: Store
    holder: str  # no two processes have the same
    clock: Clock
    folder: Path  # whose commit and lock file count
    progress: Progress = unseen
    ttl_s: float = TTL_S
    trial: Trial = load_in_child
    carrier: Carrier = HERE
    limit_s: float | None = None  # of reading and training

    def perform(
        self, trigger: Trigger, wish: Wish | None, *, as_of_s: float | None = None, rollout: Rollout | None = None, base: str | None = None
    ) -> TriggerJournal:
        """Do what a trigger asks for, or find what came of it. `wish` may be None where the trigger has been accepted.

        `base`: the alias that must still stand for the trigger's version. Raises `Kind.CONFLICT` where another job has the model, or took
        the trigger over; `RetrainError` for a wish that cannot be understood; `ClusterError`, which leaves the trigger to the next job.
        Refusals and failures are entries, not exceptions.
        """
        journal = self._journal(trigger)
        if journal.final:
            return journal
        claim = self.store.triggers.claim(trigger.model, trigger.id, holder=self.holder, now_s=self.clock.wall(), ttl_s=self.ttl_s)
        if claim is None:
            held = self.store.triggers.claimed(trigger.model)
            by = f": {held.holder} has trigger {held.trigger} until {held.expires:%H:%M:%SZ}" if held else ""
            raise RegistryError(Kind.CONFLICT, f"model '{trigger.model}' has another job{by}")
        with Heartbeat(self.store.triggers, trigger.model, claim, wall=self.clock.wall, ttl_s=self.ttl_s) as heartbeat:
            return self._claimed(trigger, wish, heartbeat, as_of_s=as_of_s, rollout=rollout, base=base)

    def expire(self, trigger: Trigger, reason: str) -> TriggerJournal:
        """Say that a trigger is no longer worth a job. Raises `Kind.CONFLICT` where it is over."""
        return self._append(trigger, None, "expired", reason)

    def _claimed(
        self, trigger: Trigger, wish: Wish | None, heartbeat: Heartbeat, *, as_of_s: float | None, rollout: Rollout | None, base: str | None
    ) -> TriggerJournal:
        journal, claim = self._journal(trigger), heartbeat.claim
        if journal.final:
            return journal
        stands = None if base is None else self.store.resolve(trigger.model, base)
        before = self._version(trigger)
        if before is None and stands is not None and stands != trigger.version:
            return self._append(trigger, claim, "expired", f"'{base}' stands for version {stands} by now, not for {trigger.version}")
        if journal.state == "proposed" and wish is None:
            raise RetrainError(f"trigger {trigger.id} has not been accepted: say what to train on")
        located = self._accepted(trigger, wish, claim, as_of_s)
        self._append(trigger, claim, "running", f"by {self.holder}")
        found = Found()
        try:
            if before is not None:  # by a job that did not come to say so
                return self._published(trigger, claim, before, found, rollout)
            self._job(trigger, located, heartbeat).run(found)
            heartbeat.check()
            return self._published(trigger, claim, self._publish(trigger, found), found, rollout)
        except Refusal as refusal:
            return self._append(trigger, claim, "rejected", str(refusal), found=found, gate=refusal.gate)
        except (RetrainError, RegistryError) as error:
            if isinstance(error, RegistryError) and error.kind is Kind.CONFLICT:
                raise
            return self._append(trigger, claim, "failed", str(error), found=found)
        except ClaimLost as error:
            raise RegistryError(Kind.CONFLICT, str(error)) from error

    def _accepted(self, trigger: Trigger, wish: Wish | None, claim: Claim, as_of_s: float | None) -> Located:
        """The job's description: the one that was accepted, or from now on that of `wish`."""
        known = self._journal(trigger).detail("spec")
        if known is not None:
            return relocated(self.spec(known))
        assert wish is not None
        champion = champion_of(self.store, trigger.model, trigger.version)
        told = lambda _: self.progress("hashing", None)  # noqa: E731 - one line, used once
        located = planned(wish, champion, now_s=self.clock.wall(), as_of_s=as_of_s, folder=self.folder, progress=told)
        digest, _ = self.store.put_blob(specs.encode(located.spec))
        dataset, _ = self.store.put_blob(snapshots.encode(located.spec.snapshot))
        details = {"spec": digest, "dataset": dataset}
        self._append(trigger, claim, "accepted", f"from version {trigger.version}", evidence=(digest, dataset), details=details)
        return located

    def spec(self, digest: str) -> JobSpec:
        """The description that an accepted trigger names. Raises `Kind.DAMAGED`."""
        return specs.decode(self.store.read_blob(digest), key=blob_key(digest))

    def job(self, trigger: Trigger, located: Located) -> Job:
        """The work of a trigger without its claim, as a replay does it."""
        return Job(
            store=self.store, trigger=trigger, spec=located.spec, source=located.source, clock=self.clock, folder=self.folder,
            progress=self.progress, carrier=self.carrier, limit_s=self.limit_s,
        )  # fmt: skip

    def _job(self, trigger: Trigger, located: Located, heartbeat: Heartbeat) -> Job:
        return replace(self.job(trigger, located), check=heartbeat.check)

    def _publish(self, trigger: Trigger, found: Found) -> Published:
        """Raises `Refusal` where the registry's own trial refuses the model, which asks it the golden requests once more."""
        assert found.exported is not None
        self.progress("publishing", None)
        with tempfile.TemporaryDirectory(prefix="tidegate-retrain-") as folder:
            path = found.exported.save(Path(folder))
            try:
                return publish(
                    self.store, path, name=trigger.model, publisher=f"retrain {self.holder}"[:256], now_s=self.clock.wall(),
                    publish_id=trigger.id, parts=found.exported.parts, trial=self.trial,
                )  # fmt: skip
            except RegistryError as error:
                if error.kind is not Kind.INVALID_MODEL:
                    raise
                found.gates.append(Gate(name=GOLDEN, checks=(Check(name="trial", passed=False, text=error.message),)))
                raise Refusal(GOLDEN, error.message) from error

    def _published(self, trigger: Trigger, claim: Claim, published: Published, found: Found, rollout: Rollout | None) -> TriggerJournal:
        details: dict[str, Any] = {"version": published.version, "manifest": published.digest}
        evidence: tuple[str, ...] = ()
        if found.gates:
            facts = {"trigger": trigger.id, "gates": msgspec.to_builtins(found.gates), "metrics": found.metrics}
            evidence = (self.store.put_evidence(Evidence(kind=EVALUATION, manifest=published.digest, passed=True, facts=facts)),)
            details["evaluation"] = evidence[0]
        if rollout is not None:
            try:
                details["rollout"] = rollout(published.version)
            except Exception as error:  # the version is there whatever becomes of its rollout
                details["rollout_error"] = sentence(f"{error}")
        reason = f"version {published.version}"
        return self._append(trigger, claim, "published", reason, found=found, evidence=evidence, details=details)

    def _version(self, trigger: Trigger) -> Published | None:
        """The version that stands for the trigger, where there is one."""
        head = self.store.versions_of(trigger.model).settle()
        number = next((number for number, one in head.live.items() if one.publish_id == trigger.id), None)
        if number is None:
            return None
        record, manifest = self.store.record(trigger.model, number), self.store.manifest(trigger.model, number)
        return Published(trigger.model, number, record.manifest, manifest.model.digest, trigger.id, new=False)

    def _journal(self, trigger: Trigger) -> TriggerJournal:
        return self.store.triggers.journal(trigger.model, trigger.id)

    def _append(
        self,
        trigger: Trigger,
        claim: Claim | None,
        state: State,
        reason: str,
        *,
        found: Found | None = None,
        gate: str | None = None,
        evidence: tuple[str, ...] = (),
        details: dict[str, Any] | None = None,
    ) -> TriggerJournal:
        blobs, figures = self._kept(found) if found is not None else ({}, {})
        said = {**figures, **blobs, **({"gate": gate} if gate else {}), **(details or {})}
        entry = TriggerEntry(
            model=trigger.model, trigger=trigger.id, time=datetime.fromtimestamp(self.clock.wall(), UTC), actor=self.holder, state=state,
            reason=sentence(reason), token=claim.token if claim else 0, evidence=(*blobs.values(), *evidence), details=said,
        )  # fmt: skip
        after = self.store.triggers.append(self._journal(trigger), entry)
        if after is None:
            raise RegistryError(Kind.CONFLICT, f"somebody else wrote about trigger {trigger.id} at the same time; look again")
        self.store.blobs.keep(list(entry.evidence))  # as `gc` explains
        return after

    def _kept(self, found: Found) -> tuple[dict[str, str], dict[str, Any]]:
        """What was found, as blobs by name, and as figures that the journal holds itself."""
        blobs = {}
        if found.report is not None:
            blobs["report"] = self.store.put_blob(msgspec.json.encode(found.report))[0]
        if found.gates:
            blobs["gates"] = self.store.put_blob(msgspec.json.encode(found.gates))[0]
        figures: dict[str, Any] = {"metrics": found.metrics} if found.metrics and len(found.metrics) <= 100 else {}
        if found.split_digests:
            figures |= {"splits": found.split_digests, "split_rows": found.split_rows}
        if found.model_digest:
            figures["model_digest"] = found.model_digest
        return blobs, figures


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay found beside what the journal says; None where the job had not come so far."""

    trigger: str
    outcome: Literal["passed", "rejected", "failed"]
    reason: str
    dataset: bool | None
    splits: bool | None
    model: bool | None
    lock: bool | None  # whether the packages are those of then; with others, the model may be another
    model_digest: str | None
    expected_model_digest: str | None

    @property
    def same(self) -> bool:
        """Whether all that was found again is what it was."""
        return False not in (self.dataset, self.splits, self.model)


def replay(desk: Desk, trigger: Trigger, *, paths: tuple[Path, ...] = (), lock_digest: str | None = None) -> Replayed:
    """Do the work of a trigger again and publish nothing. Raises `RetrainError` where it was never accepted or its data is not there."""
    journal = desk.store.triggers.journal(trigger.model, trigger.id)
    digest = journal.detail("spec")
    if digest is None:
        raise RetrainError(f"trigger {trigger.id} was never accepted, so there is nothing to replay")
    located, found = relocated(desk.spec(digest), paths), Found()
    outcome: Literal["passed", "rejected", "failed"] = "passed"
    reason = ""
    try:
        desk.job(trigger, located).run(found)
    except Refusal as refusal:
        outcome, reason = "rejected", str(refusal)
    except RetrainError as error:
        outcome, reason = "failed", str(error)
    wanted, splits = journal.detail("model_digest"), journal.detail("splits")
    return Replayed(
        trigger=trigger.id, outcome=outcome, reason=reason, dataset=located.spec.snapshot.digest == journal.detail("dataset"),
        splits=None if splits is None else splits == found.split_digests, model=None if wanted is None else wanted == found.model_digest,
        lock=None if lock_digest is None else lock_digest == located.spec.lock_digest, model_digest=found.model_digest,
        expected_model_digest=wanted,
    )  # fmt: skip
