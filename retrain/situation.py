"""What is so about a model at one moment, read from its registry and its rows: what `deciding` decides by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np

from registry.errors import RegistryError
from registry.store import Store
from registry.triggers import Trigger
from retrain import snapshot as snapshots
from retrain.asking import Model, stored
from retrain.champion import Champion, champion_of
from retrain.deciding import Past, Situation
from retrain.engine import engine
from retrain.errors import RetrainError
from retrain.inputs import inputs_of
from retrain.log_source import drop_share
from retrain.losses import Window, windows_of
from retrain.metrics import row_losses
from retrain.planning import snapshot_of, source_of
from retrain.policy import Loss, Policy, k_of_n, losses, seconds
from retrain.snapshot import Snapshot
from retrain.sources import Source, fits
from retrain.surveying import Survey, survey
from retrain.table import Table
from retrain.target import WORDS, target_of

HOLDOUT = "holdout"


def situation(store: Store, policy: Policy, *, now_s: float) -> Situation:
    """Everything but what nobody can know. Raises `RetrainError` for rows that are not there, `RegistryError`."""
    wish = policy.wish
    version = store.resolve(wish.model, wish.base)
    champion = champion_of(store, wish.model, version)
    published_s = store.record(wish.model, version).created.timestamp()
    snapshot = snapshot_of(wish, champion, as_of_s=now_s)
    source = source_of(wish.data, snapshot)
    seen_s = _seen_until(store, champion, published_s)
    with engine(memory_mib=wish.training.memory_mib) as connection:
        look = _Look(connection, source, snapshot, champion)
        windows = {rule.name: look.windows(rule, now_s, lambda: stored(store, wish.model, version)) for rule in losses(policy.when.rules)}
        new_rows, violations = look.since(seen_s)
    log = wish.data.log
    drops = None if log is None else drop_share(Path(log), wish.model, since_us=round(look.newest(seen_s).timestamp() * 1e6))
    open_ = store.rollouts.open(wish.model)
    return Situation(
        now_s=now_s, model=wish.model, version=version, manifest=champion.manifest, published_s=published_s,
        training_losses=_trained(champion), windows=windows, past=tuple(_past(store, one) for one in store.triggers.all(wish.model)),
        new_rows=new_rows, violations=violations, drops=drops,
        open_rollout=open_[0].id if open_ else None,
    )  # fmt: skip


class _Look:
    """One look at the rows of a snapshot."""

    def __init__(self, connection: object, source: Source, snapshot: Snapshot, champion: Champion) -> None:
        self._connection, self._source, self._snapshot, self._champion = connection, source, snapshot, champion
        self._inputs, self._target = inputs_of(champion.schema), target_of(champion.schema)
        self._model: Model | None = None

    def since(self, seen_s: float) -> tuple[int, float | None]:
        """Labelled rows that are newer, and the share of newer rows that break the contract, by the column with most."""
        if not self._snapshot.is_timed:
            found = self._survey(self._snapshot)
            return found.labelled, _violations(found)
        found = self._survey(msgspec.structs.replace(self._snapshot, since=self.newest(seen_s)))
        return found.labelled, _violations(found)

    def newest(self, seen_s: float) -> datetime:
        """From when on rows are newer than those that the version has seen, within the days of the snapshot."""
        moment = datetime.fromtimestamp(seen_s, UTC) + timedelta(microseconds=1)
        return max(moment, self._snapshot.since) if self._snapshot.since else moment

    def windows(self, rule: Loss, now_s: float, load: object) -> tuple[Window, ...]:
        """The last windows of a loss rule; the version is asked for the scores of their rows."""
        if self._target.kind == "number" or (self._target.kind == "class" and rule.metric == "brier"):
            raise RetrainError(
                f"rule '{rule.name}': its bound needs losses from 0 to 1, and labels that are {WORDS[self._target.kind]} have no such "
                f"{rule.metric}"
            )
        if not self._snapshot.is_timed:
            raise RetrainError(f"rule '{rule.name}' needs to know when each row was: say `time` of the data")
        window_s, until_s = seconds(rule.window), now_s - seconds(rule.mature_after)
        count = k_of_n(rule.windows)[1]
        since = datetime.fromtimestamp((until_s // window_s - count) * window_s, UTC)
        table = Table(self._connection, self._source, msgspec.structs.replace(self._snapshot, since=since), self._inputs, self._target)
        part = table.labelled()
        if part is None:
            return ()
        if self._model is None:
            assert callable(load)
            self._model = load()
        times: list[np.ndarray] = []
        found: list[np.ndarray] = []
        for rows in part.batches():
            found.append(_loss(rule, rows.labels, self._model.scores(rows)))
            times.append(np.zeros(0) if rows.times_s is None else rows.times_s)
        return tuple(
            windows_of(
                np.concatenate(times), np.concatenate(found), window_s=window_s, until_s=until_s, count=count, confidence=rule.confidence
            )
        )

    def _survey(self, snapshot: Snapshot) -> Survey:
        table = Table(self._connection, self._source, snapshot, self._inputs)
        schema, profile = self._champion.schema, self._champion.profile
        return survey(table.batches(), self._inputs, table.types, schema, profile, fits=fits, target=self._target)


def _loss(rule: Loss, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return row_losses("brier", labels, scores) if rule.metric == "brier" else 1.0 - row_losses("accuracy", labels, scores)


def _violations(found: Survey) -> float | None:
    if not found.rows:
        return None
    broken = [one.infinite + one.below + one.above + one.unknown for one in found.columns.values()]
    return 1.0 if found.absent or found.misfits else max(broken, default=0) / found.rows


def _trained(champion: Champion) -> dict[str, float]:
    """Losses of the version on its own hold-out, where its record has them."""
    figures = champion.training.metrics.get(HOLDOUT, {}) if champion.training else {}
    found = {"brier": figures["brier"]} if "brier" in figures else {}
    return found | ({"error": 1.0 - figures["accuracy"]} if "accuracy" in figures else {})


def _seen_until(store: Store, champion: Champion, published_s: float) -> float:
    """Up to when the version has seen rows: by its dataset's description where a job made it, else by when it was published."""
    digest = champion.training.dataset_digest if champion.training else None
    try:
        as_of = snapshots.decode(store.read_blob(digest)).as_of if digest else None
    except (RegistryError, RetrainError):
        as_of = None
    return published_s if as_of is None else as_of.timestamp()


def _past(store: Store, trigger: Trigger) -> Past:
    journal = store.triggers.journal(trigger.model, trigger.id)
    started = next((entry.time.timestamp() for entry in journal.entries if entry.state == "accepted"), None)
    return Past(trigger.id, trigger.version, trigger.rule, journal.state, trigger.created.timestamp(), started)
