"""The year: January's model serves, what was served becomes data, and the loop decides by itself when the next version is trained.

Time is the stream's. Flights are asked about in the order of their schedule by gRPC, and logged by the server; what became of them
comes into the log with the time at which it arrives. At the end of a month a child process looks, as of that moment, whether the policy
asks for a job, does it, and begins its rollout, which the flights of the next month go through. Nothing here decides any of that.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from gateway.client import Answer
from gateway.client_admin import AdminClient
from gateway.client_rest import RestClient
from gateway.clock import Clock, SinceClock
from gateway.control.child import Child
from gateway.demo_airline import Reports
from gateway.demo_months import NAMES
from gateway.demo_rollouts import AT_ONCE, UNIT
from gateway.demo_server import drift_of, started
from gateway.demo_story import ALIAS, MODEL, PERSON, DemoError, Server, Story, published
from gateway.demo_year_table import Month, table, told_gain
from gateway.demo_year_terms import HOLDOUT, SEAL_S, Scale, plan_of, policy_of, settings_of, told_policy
from gateway.load import closed_loop
from registry.labels import MAX_BATCH, Fate, Labels
from registry.log import Log
from registry.store import Store
from registry.training import TrainingRecord

if TYPE_CHECKING:
    from retrain.dataset import Dataset
    from retrain.export import Exported

BATCH_ROWS, CONCURRENCY = 256, 4
SEALED_TIMEOUT_S, CHILD_TIMEOUT_S = 60.0, 240.0
FIRST = "1"  # the version of January


@dataclass(frozen=True, slots=True)
class First:
    """January: the model, and what it says of each later month's flights."""

    exported: Exported
    january: Dataset


@dataclass(slots=True, kw_only=True)
class Year:
    """The year as it goes on."""

    folder: Path
    store: Store
    server: Server
    clock: Clock
    reports: Reports
    labels: Labels
    rollout: str | None = None  # that flights go through
    sent: int = 0  # rows
    counted: Counter[str] = field(default_factory=Counter)  # rows by version, which each counts by itself
    models: dict[str, Any] = field(default_factory=dict)  # by version, to hold answers against

    # --- what callers do -------------------------------------------------------------------------------------------------------------

    def ask(self, number: int, rows: Dataset, month: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """All flights of a month, in order: what they were told, float64 [rows], and by which version. `month` hears what rollouts did."""
        told, by, at = np.full(rows.rows, np.nan), np.full(rows.rows, "", object), 0
        while at < rows.rows:
            alone = self.rollout is not None
            part = slice(at, at + AT_ONCE if alone else rows.rows)
            self._ask(f"{number:02}-{at}", rows.take(part), 1 if alone else BATCH_ROWS, told[part], by[part])
            at = min(part.stop, rows.rows)
            if alone:
                self._follow(month, at)
        self._check(rows, told, by)
        self.counted.update(by.tolist())
        return told, by

    def _ask(self, name: str, rows: Dataset, size: int, told: np.ndarray, by: np.ndarray) -> None:
        from retrain.target import PROBABILITIES

        starts = range(0, rows.rows, size)
        messages = [
            self.server.client.request(
                MODEL, rows.take(slice(start, start + size)).tensors(), request_id=f"{name}-{start}", parameters={UNIT: f"{name}-{start}"}
            )
            for start in starts
        ]

        def answered(index: int, answer: Answer) -> None:
            here = slice(starts[index], starts[index] + size)
            told[here] = answer.outputs[PROBABILITIES][:, 1]
            by[here] = answer.version

        found = closed_loop(self.server.client, messages, concurrency=CONCURRENCY, requests=len(messages), answered=answered)
        if found.errors or found.rows != rows.rows:
            raise DemoError(f"{found.rows} of {rows.rows} flights were answered; failures: {found.errors}")
        assert rows.times_s is not None
        from retrain.flights import LEAD_MIN

        requests = [(f"{name}-{at - at % size}", at % size) for at in range(rows.rows)]
        self.reports.add(requests, rows.times_s + 60.0 * LEAD_MIN, rows.labels)
        self.sent += rows.rows

    def _check(self, rows: Dataset, told: np.ndarray, by: np.ndarray) -> None:
        """Every answer is what the version that gave it says, asked without a server."""
        from retrain.asking import stored
        from retrain.export import TOLERANCE

        for version in sorted(set(by.tolist())):
            model = self.models.setdefault(version, stored(self.store, MODEL, int(version)))
            here = by == version
            if not np.abs(model.scores(rows.take(here)) - told[here]).max() <= TOLERANCE:
                raise DemoError(f"version {version} answered otherwise than its model does")

    def _follow(self, month: list[str], flights: int) -> None:
        """Whether the rollout is over, and how it ended."""
        assert self.rollout is not None
        status = AdminClient(RestClient(self.server.admin)).status(self.rollout)
        if self.server.child.status is not None:
            raise DemoError("\n".join(["the server ended; its last words:", *self.server.child.last_lines()]))
        if status.final:
            self.rollout = None
            version = next(arm.version for arm in status.arms if arm.name == "candidate")
            why = "" if status.phase == "succeeded" else f": {status.reason}"
            end = "promoted" if status.phase == "succeeded" else status.phase.replace("_", " ")
            month.append(f"version {version} went through shadow and canary within {flights:,} flights: {end}{why}")

    # --- what others do --------------------------------------------------------------------------------------------------------------

    def report(self, now_s: float) -> None:
        """Bring the labels that have arrived to the log, with the time at which they did."""
        due = list(self.reports.due(now_s))
        for some in (due[at : at + MAX_BATCH] for at in range(0, len(due), MAX_BATCH)):
            outcomes = self.labels.ingest(some, round(self.clock.wall() * 1e6))
            refused = [outcome.reason for outcome in outcomes if outcome.fate is not Fate.ACCEPTED]
            if refused:
                raise DemoError(f"{len(refused)} labels were not taken: {refused[0]}")

    def look(self, now_s: float, month: list[str]) -> None:
        """One look at the policy as of a moment, with the job that it asks for. `month` hears what came of it."""
        self._sealed()
        moment = datetime.fromtimestamp(now_s, UTC).isoformat()
        said = self._run(
            "retrain", "--watch", "--once", "--now", moment, "--policy", self.folder / "policy.yaml", "--rollout",
            self.folder / "plan.yaml", "--registry", self.store.medium.root, "--actor", PERSON,
        )  # fmt: skip
        decisions = [msgspec.json.decode(line, type=dict[str, Any]) for line in said if line.startswith("{")]
        month += [self._decided(decision, now_s) for decision in decisions]

    def _decided(self, said: dict[str, Any], now_s: float) -> str:
        """A decision in a sentence, after what it was based on has been held against what had arrived."""
        head = f"{said['rule']}: {said['reason']}"
        if "state" not in said:
            return f"{head} ({said['what']})"
        trigger = said["trigger"]
        journal = self.store.triggers.journal(MODEL, trigger)
        assert journal.last is not None
        self._check_labels(journal, now_s)
        if said["state"] != "published":
            return f"{head}; {said['state']}: {journal.last.reason}"
        self.rollout = journal.detail("rollout")
        if self.rollout is None:
            raise DemoError(f"no rollout of version {said['version']}: {journal.detail('rollout_error')}")
        return f"{head}; version {said['version']} is published, for {_worth(journal)}"

    def _check_labels(self, journal: Any, now_s: float) -> None:
        """No label was used before it arrived: the job saw so many as had arrived at its moment, and that was the stream's."""
        from retrain import snapshot as snapshots

        snapshot = snapshots.decode(self.store.read_blob(journal.detail("dataset")))
        assert snapshot.as_of is not None
        assert snapshot.since is not None
        as_of_s = snapshot.as_of.timestamp()
        used = msgspec.json.decode(self.store.read_blob(journal.detail("report")))["labelled"]
        known = self.reports.known(as_of_s, since_s=snapshot.since.timestamp())
        ahead = as_of_s - now_s
        if used != known or not 0 <= ahead < CHILD_TIMEOUT_S or self.reports.arrivals_s[self.reports.said].max() > now_s:
            raise DemoError(f"a job as of {snapshot.as_of} used {used} labels, where {known} had arrived")

    def _sealed(self) -> None:
        """Until every row that was answered can be read, and none was lost."""
        log, until = Log(self.folder / "log"), self.clock.now() + SEALED_TIMEOUT_S
        while (rows := sum(file.rows for file in log.files(MODEL))) < self.sent:
            if self.clock.now() > until or self.server.child.wait(SEAL_S / 3) is not None:
                raise DemoError(f"the log has {rows} rows of {self.sent} that were answered")
        if rows != self.sent:
            raise DemoError(f"the log has {rows} rows, and {self.sent} were answered")

    def _run(self, *arguments: object) -> list[str]:
        """What a command says. Raises `DemoError` where it fails."""
        log = self.folder / "command.log"
        log.unlink(missing_ok=True)
        with Child([*map(str, arguments), "--json"], log=log) as child:
            status = child.wait(CHILD_TIMEOUT_S)
            if status != 0:
                raise DemoError("\n".join([f"tidegate {arguments[0]} ended with status {status}; its last words:", *child.last_lines()]))
        return log.read_text().splitlines()

    def state(self) -> str:
        """Of the version that serves: what the server says of everything that it has counted."""
        version = str(self.store.resolve(MODEL, ALIAS))
        return str(drift_of(self.server, version, self.counted[version], self.clock)["state"])


def _worth(journal: Any) -> str:
    """What the gate saw: both versions on the same latest flights."""
    metrics = journal.detail("metrics")
    after, before = metrics["holdout"], metrics["holdout, champion"]
    rows = journal.detail("split_rows")
    return (
        f"AUC {before['auc']:.3f} → {after['auc']:.3f} and Brier {before['brier']:.4f} → {after['brier']:.4f} on the latest "
        f"{rows['holdout']:,} flights, trained on {rows['train']:,} before"
    )


def live(
    story: Story, first: First, months: dict[int, Dataset], *, folder: Path, scale: Scale, seed: int, clock: Clock
) -> dict[str, Any]:  # fmt: skip
    """The year, told as one step. `months`: February to December. Raises `DemoError`."""
    with story.step("Year") as done, ExitStack() as stack:
        year = _begun(first, folder, stack, scale=scale, seed=seed, clock=clock)
        found, scores = [], []
        for number, rows in months.items():
            lived, told = _month(year, number, rows.take(slice(None, None, scale.every)), scale)
            found.append(lived)
            scores.append(told)
        from retrain.gains import gains

        gained = gains(*map(np.concatenate, zip(*scores, strict=True)), generator=np.random.default_rng(seed))
        versions = len({version for month in found for version in month.answered})
        done(
            f"{year.sent:,} flights of 2013 asked about by gRPC and logged, labels two to four days after each departure; {versions} "
            "versions have served, and no job used a label before it had arrived"
        )
    story.table(*table(found))
    story.text(told_policy(scale))
    for month in found:
        for event in month.events:
            story.text(f"  {month.name}: {event}")
    for gain in gained:
        story.text(told_gain(gain))
    return {"months": [month.summary() for month in found], "gains": [_plain(gain) for gain in gained], "seed": seed}


def _plain(gain: Any) -> dict[str, Any]:
    names = ("metric", "before", "after", "gain", "low", "high")
    return {name: getattr(gain, name) for name in names} | {"verdict": gain.verdict}


def _begun(first: First, folder: Path, stack: ExitStack, *, scale: Scale, seed: int, clock: Clock) -> Year:
    """The registry with January's model alone, and its server."""
    store = Store.create(folder / "registry")
    then = SinceClock(_last(first.january), clock)
    put = published(store, replace(first.exported, parts=replace(first.exported.parts, training=_record(first.january, seed))), then)
    store.aliases(MODEL).move(ALIAS, to=put.version, expected_from=None, actor=PERSON, reason="January's", now_s=then.wall())
    for name, content in (
        ("policy", policy_of(folder / "log", scale, seed)), ("plan", plan_of()), ("settings", settings_of(folder)),
    ):  # fmt: skip
        (folder / f"{name}.yaml").write_bytes(msgspec.json.encode(content))
    server, _ = started(stack, folder / "registry", ["--config", str(folder / "settings.yaml")], log=folder / "server.log", clock=clock)
    return Year(
        folder=folder, store=store, server=server, clock=clock, reports=Reports(np.random.default_rng(seed)), labels=Labels(folder / "log")
    )


def _record(january: Dataset, seed: int) -> TrainingRecord:
    """With what such a model is worth on flights that it has not seen: the recipe fitted to four fifths of January, on the last fifth."""
    from retrain import train
    from retrain.metrics import METRICS_OF, measured

    cut = round(january.rows * (1 - HOLDOUT))
    later = january.take(slice(cut, None))
    scores = train.fit(january.take(slice(0, cut)), seed=seed).predict_proba(train.frame(later))[:, 1]
    return TrainingRecord(
        format=1,
        dataset_digest=january.digest,
        dataset_rows=january.rows,
        parameters={"recipe": "gradient_boosting", "trees": train.TREES, "depth": train.DEPTH, "share": train.SHARE},
        seed=train.SEED,
        metrics={"holdout": {metric: measured(metric, later.labels, scores, np.ones(later.rows)) for metric in METRICS_OF["yes_no"]}},
    )


def _last(rows: Dataset) -> float:
    """The last departure."""
    from retrain.flights import LEAD_MIN

    assert rows.times_s is not None
    return float(rows.times_s.max()) + 60.0 * LEAD_MIN


Scores = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _month(year: Year, number: int, rows: Dataset, scale: Scale) -> tuple[Month, Scores]:
    """A month, with what followed from it; labels, scores without the loop and with it, and times."""
    from retrain.metrics import measured

    events: list[str] = []
    told, by = year.ask(number, rows, events)
    year.report(_last(rows))
    alone, weights = year.models[FIRST].scores(rows), np.ones(rows.rows)
    month = Month(
        NAMES[number - 1], rows.rows, Counter(by.tolist()), year.state(),
        auc=(measured("auc", rows.labels, told, weights), measured("auc", rows.labels, alone, weights)),
        brier=(measured("brier", rows.labels, told, weights), measured("brier", rows.labels, alone, weights)),
        events=events,
    )  # fmt: skip
    if number in scale.looks:
        year.look(_last(rows), events)
    assert rows.times_s is not None
    return month, (rows.labels, alone, told, rows.times_s)
