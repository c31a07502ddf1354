"""One job, from a description to a candidate that has passed every gate or a refusal with its reason. Publishes nothing.

In the order of what is cheap to find out: validation, training, parity, comparison, budget, golden requests. The first gate that is not
passed ends the job; what was found until then is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from registry.names import digest_of
from registry.store import Store
from registry.training import Plain, TrainingRecord
from registry.triggers import Trigger
from retrain import comparing, gates, provenance
from retrain.asking import Model, stored
from retrain.card import card
from retrain.carrying import HERE, Carried, Carrier, Columns
from retrain.champion import Champion, champion_of
from retrain.dataset import Dataset
from retrain.engine import MEMORY_MIB
from retrain.entry import Trained, by_function, by_recipe
from retrain.errors import Refusal, RetrainError
from retrain.export import Exported, ExportError, ParityError, export
from retrain.gate_settings import Gate
from retrain.inputs import inputs_of
from retrain.sources import Source
from retrain.spec import JobSpec
from retrain.table import Part
from retrain.target import target_of
from retrain.validation import Report, judge


class Clock(Protocol):
    """What a job may ask about time."""

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    def wall(self) -> float:
        """Seconds since the Unix epoch."""
        ...


Progress = Callable[[str, float | None], None]  # what is being done, and which share of that is, where anybody knows


def unseen(what: str, share: float | None) -> None:
    """Nobody watches."""


@dataclass(slots=True)
class Found:
    """What a job has found so far."""

    report: Report | None = None
    gates: list[Gate] = field(default_factory=list)
    split_digests: dict[str, str] = field(default_factory=dict)
    split_rows: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    model_digest: str | None = None
    exported: Exported | None = None
    place: dict[str, Plain] = field(default_factory=dict)  # where it was carried out, unless here

    def passed(self, gate: Gate) -> None:
        """Note a gate. Raises `Refusal` where it is not passed."""
        self.gates.append(gate)
        if not gate.passed:
            raise Refusal(gate.name, gate.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One description and what it needs. `check` is called between steps and may raise, such as `ClaimLost`."""

    store: Store
    trigger: Trigger
    spec: JobSpec
    source: Source
    clock: Clock
    folder: Path  # whose commit and lock file count
    lock: Path | None = None
    memory_mib: int = MEMORY_MIB
    carrier: Carrier = HERE
    limit_s: float | None = None  # of reading and training; it is looked at between steps, and wherever progress is told
    progress: Progress = unseen
    check: Callable[[], None] = lambda: None

    def run(self, found: Found) -> Found:
        """Everything, into `found`. Raises `Refusal`, `RetrainError`, `RegistryError`, and what `check` raises."""
        start, spec = self.clock.now(), self.spec
        champion = champion_of(self.store, spec.model, spec.base_version)
        columns = Columns(inputs_of(champion.schema), target_of(champion.schema))
        timed = replace(self, check=self._limited(start))
        opened = self.carrier.opened(self.source, spec.snapshot, columns, memory_mib=self.memory_mib, check=timed.check)
        with opened as carried:
            timed._validate(carried, champion, found)
            train, holdout = carried.split()
            rows, later = timed._loaded(train, found), timed._loaded(holdout, found)
            trained = timed._train(carried, train, rows, champion)
            found.place = carried.facts()
        found.metrics |= trained.metrics
        self._export(trained, rows, later, found)
        self._judge(champion, later, found)
        assert found.exported is not None
        assert found.report is not None
        record = self._record(trained, found, wall_s=self.clock.now() - start)
        parts = replace(
            found.exported.parts, training=record, card=card(champion, self.trigger, record, found.report, tuple(found.gates)),
            contract=champion.terms, serving=champion.serving,
        )  # fmt: skip
        found.exported = replace(found.exported, parts=parts)
        return found

    def _limited(self, start: float) -> Callable[[], None]:
        """`check`, and whether there is time left."""

        def check() -> None:
            self.check()
            if self.limit_s is not None and self.clock.now() - start > self.limit_s:
                raise RetrainError(f"reading and training took longer than {self.limit_s:g} s")

        return check

    def _validate(self, carried: Carried, champion: Champion, found: Found) -> None:
        self._step("validating", 0.0)
        counted = carried.survey(champion.schema, champion.profile, progress=lambda share: self._step("validating", share))
        spec = self.spec
        found.report = judge(
            counted, champion.schema, champion.profile, spec.gates.validation, model=spec.model, version=spec.base_version,
            dataset=spec.snapshot.digest, target=target_of(champion.schema),
        )  # fmt: skip
        found.passed(gates.validation_gate(found.report))
        if spec.checked is not None:
            found.passed(spec.checked)

    def _loaded(self, part: Part, found: Found) -> Dataset:
        self._step(f"reading {part.name}", None)
        rows = part.load()
        found.split_digests[part.name], found.split_rows[part.name] = rows.digest, rows.rows
        return rows

    def _train(self, carried: Carried, part: Part, rows: Dataset, champion: Champion) -> Trained:
        self._step("training", None)
        spec = self.spec
        if spec.entry_point is not None:
            with carried.entry(spec.entry_point):
                return by_function(spec.entry_point, part, spec.parameters, seed=spec.seed)
        told = lambda what, share: self._step(f"training {what}", share)  # noqa: E731 - one line, used once
        return by_recipe(rows, spec.parameters, champion.parameters, seed=spec.seed, progress=told, fitter=carried)

    def _export(self, trained: Trained, rows: Dataset, later: Dataset, found: Found) -> None:
        self._step("exporting", None)
        try:
            exported = export(trained.estimator, later, tolerance=self.spec.gates.parity, fitted=rows)
        except ParityError as error:
            found.passed(gates.parity_gate(error.parity))
            raise
        except ExportError as error:
            raise RetrainError(str(error)) from error
        found.passed(gates.parity_gate(exported.parity))
        found.exported, found.model_digest = exported, digest_of(exported.model)

    def _judge(self, champion: Champion, later: Dataset, found: Found) -> None:
        self._step("comparing", None)
        assert found.exported is not None
        spec, content = self.spec, found.exported.model
        before, after = stored(self.store, spec.model, spec.base_version), Model(content)
        both = comparing.judged(later, before.scores(later), after.scores(later))
        found.metrics |= comparing.figures(both, later, spec.gates.slices)
        found.passed(comparing.compare(both, later, spec.gates, np.random.default_rng(spec.bootstrap_seed)))
        self._step("measuring", None)
        budget = spec.gates.budget
        budgeted = gates.budget_gate(
            budget, content, champion_bytes=champion.size_bytes, rows=later, models=(before, after), now=self.clock.now
        )
        found.passed(budgeted)
        found.passed(gates.golden_gate(champion, content, after))

    def _record(self, trained: Trained, found: Found, *, wall_s: float) -> TrainingRecord:
        spec = self.spec
        sha, dirty = provenance.commit(self.folder)
        return TrainingRecord(
            format=1, git_sha=sha, git_dirty=dirty, lock_digest=spec.lock_digest, dataset_digest=spec.snapshot.digest,
            dataset_rows=found.report.rows if found.report else None, parameters=trained.parameters, seed=spec.seed, metrics=found.metrics,
            base_version=spec.base_version, trigger=self.trigger.id, entry_point=trained.how, seeds={"bootstrap": spec.bootstrap_seed},
            split_rows=found.split_rows, split_digests=found.split_digests, versions=provenance.versions(), hardware=provenance.hardware(),
            wall_s=round(wall_s, 3), run_url=spec.run_url, engine=found.place,
        )  # fmt: skip

    def _step(self, what: str, share: float | None) -> None:
        self.check()
        self.progress(what, share)
