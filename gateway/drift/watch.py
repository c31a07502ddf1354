"""One version, watched: cumulative counts in, states and findings out. Pure: is told the time, keeps what was, and reads nothing.

`look` once a tick, at the sum of all workers' blocks; `findings` when somebody asks. What must outlive the process is in `saved`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gateway.drift.cells import cells_of
from gateway.drift.display import Change, Shown, Words
from gateway.drift.estimate import Performance, Table
from gateway.drift.evidence import Evidence, Signs
from gateway.drift.findings import Move, Rule
from gateway.drift.layout import ROWS, Views
from gateway.drift.policy import Policy
from gateway.drift.relief import relief
from gateway.drift.rings import MINUTE_S, Rings
from gateway.drift.states import Event, Standing, State, rise, worst
from gateway.drift.windows import WindowLayer, each_psi
from kernels.evidence import e_bh, log_mean_exp
from registry.profile import Profile

HALF = math.log(2)


class Watch:
    """Of a version, from its first row on or from what was saved. A new version has a new watch: its rollout moves nobody's numbers.

    `segments`: names of the parts of the traffic, the last of them for all others; empty where it is not divided. `rules`: of the contract.
    """

    def __init__(
        self, profile: Profile, policy: Policy | None = None, *, segments: Sequence[str] = (), rules: Sequence[Rule] = (), wall_s: float
    ) -> None:
        self.profile, self.policy = profile, policy or Policy()
        self.digest = profile.digest
        self.segments, self.rules = tuple(segments), tuple(rules)
        self.cells = cells_of(profile, segments=max(len(segments), 1), rules=len(rules))
        self.layout = self.cells.layout
        self.total, self.carried = self._block(), self._block()  # all that was ever counted; what was before this process
        counts = self.counts()
        features = len(self.cells.features)
        self.rings = Rings(self.layout, self.total.block, wall_s)
        self.evidence = Evidence(self.cells, self.policy, counts=counts, row=0, wall_s=wall_s)
        self.layer = WindowLayer(self.cells, profile.windows, counts=counts, row=0) if profile.windows else None
        self.table = Table(profile.calibration) if profile.calibration else None
        self.standings = [Standing(State.OK, wall_s)] * features
        self.changes: dict[int, Change] = {}  # of features that are not OK
        self.together = self.performance = Standing(State.OK, wall_s)
        self.born_s = self.looked_s = wall_s
        self.signs: Signs | None = None
        self.log_e = self.log_e_windows = 0.0
        self.words = Words.of(self.cells)
        self._told = self.states()

    # --- every tick ------------------------------------------------------------------------------------------------------------------

    def look(self, views: Views, wall_s: float) -> bool:
        """Take in what all workers have counted since this watch began; their counts never fall. Whether anything may have changed since
        the last look: rows, or the minute."""
        rows = int(self.carried.head[ROWS] + views.head[ROWS])
        assert rows >= self.rows, "counts never fall"
        later = int(wall_s // MINUTE_S) > int(self.looked_s // MINUTE_S)
        if self.signs is not None and not later and rows == self.rows:
            return False
        before = self.total.block.copy()
        self.total.block[:] = self.carried.block
        self.total.add(views)
        self.looked_s = max(wall_s, self.looked_s)
        self.rings.advance(self.total.block, self.looked_s)
        self._judge(self.counts(), new=self.signs is None or not np.array_equal(before, self.total.block))
        return True

    @property
    def rows(self) -> int:
        """All that were ever counted."""
        return int(self.total.head[ROWS])

    def counts(self) -> np.ndarray:
        """Cumulative, int64 [C]."""
        return self.cells.total(self.total.block)

    def refresh(self) -> None:
        """Know again what the last look found, after everything else was restored."""
        self._told = self.states()
        self._weigh(self.counts())

    # --- judging ---------------------------------------------------------------------------------------------------------------------

    def _judge(self, counts: np.ndarray, *, new: bool) -> None:
        """Where nothing is new, time may have passed: what is recent is not the same, while evidence is."""
        if new:
            self._weigh(counts)
        assert self.signs is not None
        for index, level in enumerate(self._levels(self.signs) if new else ()):
            event = rise(level, self.standings[index].state)
            if event is not None:
                self._rise(index, event, self.signs)
        self._judge_together()
        if self._relieve(counts, self.signs):
            self._weigh(counts)
        self._judge_performance()

    def _weigh(self, counts: np.ndarray) -> None:
        """What is known without drawing conclusions; the same again while nothing new was counted."""
        self.signs = self.evidence.look(counts, self.rows, self.looked_s)
        self.log_e = log_mean_exp(self.signs.drift) - self._halved
        if self.layer:
            self.log_e_windows = self.layer.look(counts, self.rows, self.looked_s)
            self.log_e = float(np.logaddexp(self.log_e, self.log_e_windows - HALF))

    @property
    def _halved(self) -> float:
        """Where there is a second layer, it has one half of the stake and the features the other."""
        return HALF if self.layer else 0.0

    def _levels(self, signs: Signs) -> list[State]:
        """What the evidence of each feature is enough for. Nothing is WARN that is not DRIFT, so only the first promise can be broken."""
        allowed = np.array([standing.state > State.OK for standing in self.standings])
        levels = np.zeros(len(allowed), np.int64)
        for state, log_e in ((State.DRIFT, signs.drift), (State.WARN, signs.warn), (State.ALARM, signs.alarm)):
            enough = e_bh(log_e - self._halved, self.policy.test_alpha)
            levels[enough & (allowed | (levels > 0) | (state is State.DRIFT))] = state
        return [State(level) for level in levels.tolist()]

    def _rise(self, index: int, event: Event, signs: Signs) -> None:
        if index not in self.changes:
            self.changes[index] = Change(*self.evidence.begin(index, int(signs.start[index])))
        self.standings[index] = self.standings[index].after(event, self.looked_s)

    def _judge_together(self) -> None:
        enough = self.log_e >= -math.log(self.policy.test_alpha)
        if self.together.state is State.OK:
            self.together = self.together.after(Event.DRIFTED if enough else None, self.looked_s)
        elif not enough and not self.changes:
            self.together = self.together.after(Event.CALM, self.looked_s)
        elif self.layer and self.log_e_windows > 0 and self.layer.calm() and not self.changes:
            self.layer.again()

    def _relieve(self, counts: np.ndarray, signs: Signs) -> bool:
        """Look whether what has moved has come back, also what has evidence without being named. Whether anything has."""
        doubtful = {*self.changes}
        if self.together.state is not State.OK:
            doubtful.update(np.flatnonzero(signs.drift >= -math.log(self.policy.test_alpha)).tolist())
        if not doubtful:
            return False
        block = self.rings.before(self.policy.calm_minutes)
        before = self.cells.total(block)
        moved = False
        for index in sorted(doubtful):
            change = self.changes.get(index) or Change(*self.evidence.begin(index, int(signs.start[index])))
            waited = self.looked_s - self.standings[index].since_s >= MINUTE_S * self.policy.calm_minutes
            if not waited or int(block[ROWS]) < change.row:
                continue  # a part of those rows is from before the change
            slots = self.cells.of(index)
            event = relief(
                self.standings[index].state, counts[slots] - before[slots], before[slots] - change.base, self.cells.reference[slots],
                tau=float(self.cells.tau[index]), policy=self.policy,
            )  # fmt: skip
            if event is not None:
                self._move(index, event, counts)
                moved = True
        return moved

    def _move(self, index: int, event: Event, counts: np.ndarray) -> None:
        """Down, and its tests begin anew."""
        if self.standings[index].state is not State.OK:
            self.standings[index] = self.standings[index].after(event, self.looked_s)
        if event is not Event.EASED:
            self.changes.pop(index, None)
        self.evidence.again(index, counts, self.rows, self.looked_s, tolerance_only=event is Event.EASED)

    def _judge_performance(self) -> None:
        if self.table is None:
            return
        recent = self.estimate(self.window()[1])
        reference = self.table.calibration.accuracy
        if recent.accuracy is None or recent.rows < self.policy.min_rows or not self.trustworthy(recent):
            return
        risk = recent.accuracy.high < reference - self.policy.accuracy_drop
        safe = recent.accuracy.mid >= reference - self.policy.hysteresis * self.policy.accuracy_drop
        if risk and self.performance.state is State.OK:
            self.performance = self.performance.after(Event.ALARMED, self.looked_s)
        elif safe and self.performance.state is not State.OK:
            self.performance = self.performance.after(Event.CALM, self.looked_s)

    # --- what is so ------------------------------------------------------------------------------------------------------------------

    def states(self) -> dict[str, State]:
        """By scope."""
        features = zip(self.cells.features, self.standings, strict=True)
        whole = {"global": self.standing(), "predictions": self.predictions(), "performance": self.performance}
        every = whole | {f"feature:{feature.name}": standing for feature, standing in features}
        return {scope: standing.state for scope, standing in every.items()}

    def moves(self) -> tuple[Move, ...]:
        """Every scope that is in another state than when this was last asked, or restored."""
        before, self._told = self._told, self.states()
        return tuple(
            Move(scope=scope, before=before[scope].name, after=state.name, at_s=self.looked_s)
            for scope, state in self._told.items()
            if state is not before[scope]
        )

    def standing(self) -> Standing:
        """Of the version: the worst of its features, of all together, and of its estimated performance."""
        return worst([*self.standings, self.together, self.performance], self.born_s)

    def predictions(self) -> Standing:
        """Of its outputs."""
        outputs = [standing for standing, output in zip(self.standings, self.cells.output.tolist(), strict=True) if output]
        return worst(outputs, self.born_s)

    def window(self) -> tuple[str, np.ndarray]:
        """What "now" is: (its name, a block of what was counted then), the last minutes, the day or all, whichever has rows enough."""
        for kind, block in (("minutes", self.rings.recent(self.policy.recent_minutes)), ("day", self.rings.day())):
            if int(block[ROWS]) >= self.policy.min_rows:
                return kind, block
        return "all", self.total.block

    def shown(self, block: np.ndarray) -> Shown:
        """Live numbers of a window."""
        totals = self.total.block.view(np.float64)
        sums = block.view(np.float64)[self.words.sums]
        return Shown(self.cells.total(block), sums, totals[self.words.extremes], self.looked_s)

    def psi(self, block: np.ndarray) -> np.ndarray:
        """PSI of every feature in a window, [F]."""
        return each_psi(self.cells, self.cells.total(block))

    def estimate(self, block: np.ndarray) -> Performance:
        """Performance in a window; for versions with a calibration table."""
        assert self.table is not None
        return self.table.estimate(self.layout.views(block).scores)

    def trustworthy(self, performance: Performance) -> bool:
        """Whether scores, and inputs of the window that is shown, lie mostly where the reference has rows."""
        return max(performance.unknown, self.outside(self.window()[1])) < self.policy.outside_share

    def outside(self, block: np.ndarray) -> float:
        """The greatest share of rows of one input that lie outside the reference."""
        counts = self.cells.total(block).astype(np.float64)
        rows = np.maximum(self.cells.sums(counts), 1.0)
        return float((self.cells.sums(np.where(self.cells.outside, counts, 0.0)) / rows)[~self.cells.output].max(initial=0.0))

    def _block(self) -> Views:
        views = self.layout.views(np.zeros(self.layout.words, np.int64))
        views.begin(self.layout.checksum)
        return views
