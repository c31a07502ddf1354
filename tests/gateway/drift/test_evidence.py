"""Stakes on all tests of a version's features: quiet while nothing moves, and quick where something does."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.drift.cells import Cells, cells_of
from gateway.drift.evidence import Evidence, Signs
from gateway.drift.policy import Policy
from gateway.drift.starts import ARM_START
from kernels.evidence import log_any, log_mean_exp
from registry.profile import Profile
from tests.gateway.drift.traffic import Traffic, categorical, gaussian, numeric, profile_of

POLICY = Policy()
ENOUGH = -math.log(POLICY.test_alpha)
RNG = np.random.default_rng(11)
ONE = gaussian(20_000, seed=1)
MIXED = profile_of(
    numeric("x", RNG.normal(size=20_000)),
    numeric("zeros", np.where(RNG.random(20_000) < 0.4, 0.0, RNG.normal(size=20_000)), element=1),
    numeric("gaps", np.where(RNG.random(20_000) < 0.01, np.nan, RNG.normal(size=20_000)), element=2),
    categorical("port", RNG.choice(["JFK", "LGA", "EWR"], 20_000, p=[0.5, 0.3, 0.2]).tolist()),
)


class Stream:
    """Evidence that is looked at after every batch."""

    def __init__(self, profile: Profile, policy: Policy = POLICY) -> None:
        self.traffic = Traffic(profile)
        self.cells: Cells = cells_of(profile)
        self.evidence = Evidence(self.cells, policy, counts=self.counts(), row=0, wall_s=0.0)
        self.signs: Signs | None = None
        self.rows = 0

    def counts(self) -> np.ndarray:
        return self.cells.total(self.traffic.views.block)

    def send(self, **columns: Sequence[float] | Sequence[str] | np.ndarray) -> Signs:
        self.traffic.send(columns)
        self.rows += len(next(iter(columns.values())))
        self.signs = self.evidence.look(self.counts(), self.rows, float(self.rows))
        return self.signs


def normal_rows(rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    """As the reference of MIXED."""
    return {
        "x": rng.normal(size=rows),
        "zeros": np.where(rng.random(rows) < 0.4, 0.0, rng.normal(size=rows)),
        "gaps": np.where(rng.random(rows) < 0.01, np.nan, rng.normal(size=rows)),
        "port": rng.choice(["JFK", "LGA", "EWR"], rows, p=[0.5, 0.3, 0.2]),
    }


def test_nothing_is_found_where_nothing_moves() -> None:
    """Twenty streams of four features, looked at every 250 rows: all kinds of tests, starts and levels."""
    alarms = 0
    for seed in range(20):
        stream, rng = Stream(MIXED), np.random.default_rng(100 + seed)
        most = [log_mean_exp(stream.send(**normal_rows(rng, 250)).drift) for _ in range(40)]
        alarms += max(most) >= ENOUGH
        assert stream.signs is not None
        assert max(stream.signs.warn.max(), stream.signs.alarm.max()) < 0
    assert alarms <= 1


@pytest.mark.parametrize(
    ("feature", "change"),
    [
        ("x", lambda rng, rows: rng.normal(0.25, size=rows["x"].size)),
        ("x", lambda rng, rows: rng.normal(scale=1.25, size=rows["x"].size)),
        ("zeros", lambda rng, rows: np.where(rng.random(rows["x"].size) < 0.55, 0.0, rows["zeros"])),
        ("gaps", lambda rng, rows: np.where(rng.random(rows["x"].size) < 0.04, np.nan, rows["gaps"])),
        ("gaps", lambda rng, rows: np.where(rng.random(rows["x"].size) < 0.02, np.inf, rows["gaps"])),
        ("port", lambda rng, rows: rng.choice(["JFK", "LGA", "EWR"], rows["x"].size, p=[0.4, 0.3, 0.3])),
        ("port", lambda rng, rows: np.where(rng.random(rows["x"].size) < 0.03, "BOS", rows["port"])),
        ("port", lambda rng, rows: np.where(rng.random(rows["x"].size) < 0.03, None, rows["port"])),
    ],
    ids=["mean", "sd", "atom", "nan", "inf", "category", "unseen", "null"],
)  # fmt: skip
def test_a_change_is_found_also_after_a_quiet_time(feature: str, change: object) -> None:
    """Every way in which a feature can move, 5,000 rows after nothing moved: within 3,000 rows, dated to 1,000, and no other feature."""
    stream, rng = Stream(MIXED), np.random.default_rng(8)
    for _ in range(20):
        stream.send(**normal_rows(rng, 250))
    for _ in range(12):
        rows = normal_rows(rng, 250)
        signs = stream.send(**rows | {feature: change(rng, rows)})  # type: ignore[operator]
        if signs.drift.max() >= ENOUGH + math.log(4):
            break
    names = [known.name for known in stream.cells.features]
    found = int(np.argmax(signs.drift))
    assert (feature, True) == (names[found], bool(signs.drift[found] >= ENOUGH + math.log(4)))
    row, wall_s, base = stream.evidence.begin(found, int(signs.start[found]))
    assert abs(row - 5_000) <= 1_000
    assert (float(row), row) == (wall_s, base.sum())
    assert all(signs.drift[index] < ENOUGH for index in range(4) if index != found)


def test_a_small_change_is_drift_and_no_warning() -> None:
    """PSI 0.06 however long; PSI 0.25 is a warning, PSI 1 an alarm."""
    found = {}
    for shift, rows in ((0.25, 30_000), (0.5, 12_000), (1.0, 3_000)):
        stream, rng = Stream(ONE), np.random.default_rng(5)
        for _ in range(rows // 500):
            signs = stream.send(f0=rng.normal(shift, size=500))
        found[shift] = [bool(level[0] >= ENOUGH) for level in (signs.drift, signs.warn, signs.alarm)]
    assert {0.25: [True, False, False], 0.5: [True, True, False], 1.0: [True, True, True]} == found


@settings(max_examples=25)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=12), st.integers(0, 3))
def test_what_was_counted_is_evidence_in_any_split(parts: list[int], seed: int) -> None:
    """Tests since the arm began are functions of the counts: whoever looked how often."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(0.2, size=sum(parts))
    often, once = Stream(ONE), Stream(ONE)
    for part in np.split(rows, np.cumsum(parts)[:-1]):
        signs = often.send(f0=part)
    whole = once.send(f0=rows)
    assert (whole.any.tolist(), whole.tolerance.tolist()) == (signs.any.tolist(), signs.tolerance.tolist())
    # Starts only add: their stakes are beside the first one.
    assert signs.drift[0] >= whole.any[0] - math.log(2) - math.log(2) - 1e-9


def test_the_first_stake_is_on_the_urn() -> None:
    """Half of the stake of the first arm's half, divided over the tests that a feature has."""
    stream = Stream(ONE)
    signs = stream.send(f0=RNG.normal(0.3, size=400))
    feature = stream.cells.features[0]
    live = stream.counts().astype(np.float64)
    gaps = np.array([0.0, 1.0, feature.counts[2] - 1, *feature.counts[3:-3], 1.0, 0.0, 0.0])
    alone = log_any(live, gaps, 1.0) - math.log(3)  # of the urn, null, outside
    assert signs.any[0] == pytest.approx(alone, abs=1e-9)
    assert signs.drift[0] == pytest.approx(alone - math.log(4), abs=1e-9)


def test_dependence_divides_rows_and_reference() -> None:
    """Ten times the autocorrelation time is a tenth of both."""
    values, live = np.random.default_rng(2).normal(size=20_000), np.random.default_rng(3).normal(0.5, size=3_000)
    plain, slow = (Stream(profile_of(numeric("f0", values, tau=tau))).send(f0=live).any[0] for tau in (1.0, 10.0))
    assert plain > 50
    assert 0 < slow < plain / 5


def test_beginning_anew_forgets_what_was_and_costs_stake() -> None:
    """The next arm has a third of the first one's stake, and sees only what comes after."""
    stream = Stream(ONE)
    signs = stream.send(f0=np.full(600, 3.0))
    assert min(signs.drift[0], signs.warn[0], signs.alarm[0]) > ENOUGH
    stream.evidence.again(0, stream.counts(), stream.rows, 9.0, tolerance_only=True)
    signs = stream.evidence.look(stream.counts(), stream.rows, 9.0)
    assert signs.drift[0] > ENOUGH > max(signs.warn[0], signs.alarm[0])
    stream.evidence.again(0, stream.counts(), stream.rows, 9.0, tolerance_only=False)
    signs = stream.evidence.look(stream.counts(), stream.rows, 9.0)
    assert signs.drift[0] == pytest.approx(math.log(1 / 6 / 2 / 3), abs=1e-9)
    assert (600, 9.0) == stream.evidence.begin(0, ARM_START)[:2]
    assert [2, 3] == [stream.evidence.any.number[0], stream.evidence.tolerance.number[0]]


@pytest.mark.parametrize("values", [[], [math.nan] * 900, [math.inf] * 900, [0.0] * 900], ids=["empty", "nan", "inf", "constant"])
def test_no_input_raises_or_gives_what_is_no_number(values: list[float]) -> None:
    """Empty, missing, infinite, constant; and a reference that is all of that."""
    for reference in (np.random.default_rng(1).normal(size=500), np.zeros(500)):
        stream = Stream(profile_of(numeric("f0", reference), categorical("port", ["a"] * 500)))
        for _ in range(2):
            signs = stream.send(f0=values, port=["a"] * len(values))
        for found in (signs.drift, signs.warn, signs.alarm, signs.any):
            assert not np.isnan(found).any()
            assert (found < math.inf).all()
