"""What is told: numbers that agree with each other and with the rows, as JSON, at any time."""

from __future__ import annotations

import json
import math
import timeit

import msgspec
import numpy as np
import pytest

from gateway.drift.display import labels
from gateway.drift.documents import findings_of, gauges_of
from gateway.drift.findings import Findings
from gateway.drift.watch import Watch
from tests.gateway.drift.traffic import NOON_S, Traffic, categorical, gaussian, numeric, profile_of

RNG = np.random.default_rng(21)
REFERENCE = RNG.gamma(4.0, 10.0, size=20_000)
PROFILE = profile_of(numeric("delay", REFERENCE), categorical("port", RNG.choice(["JFK", "LGA"], 20_000).tolist()))
LIVE = np.append(RNG.gamma(4.0, 16.0, size=5_000), [math.nan] * 100 + [math.inf] * 20 + [1e4])


def told(minutes: int = 3) -> tuple[Watch, Findings]:
    watch, traffic = Watch(PROFILE, wall_s=NOON_S), Traffic(PROFILE)
    for minute, values in enumerate(np.array_split(LIVE, minutes)):
        traffic.send({"delay": values, "port": ["JFK", *["LGA"] * (len(values) - 1)]})
        watch.look(traffic.views, NOON_S + 60 * (minute + 1))
    return watch, findings_of(watch, reference_made_s=NOON_S - 3600)


def test_numbers_are_those_of_the_rows() -> None:
    """Moments, rates, extremes and bars of the window that is shown."""
    _, found = told()
    delay = next(feature for feature in found.features if feature.name == "delay")
    finite = LIVE[np.isfinite(LIVE)]
    assert delay.moments is not None
    assert (pytest.approx(finite.mean()), pytest.approx(finite.std()), finite.min(), finite.max()) == (
        delay.moments.mean, delay.moments.sd, delay.moments.least, delay.moments.greatest
    )  # fmt: skip
    assert (len(LIVE), len(LIVE)) == (delay.rows, sum(bar.live for bar in delay.histogram))
    assert 100 / len(LIVE) == delay.rates.null
    beyond = (LIVE > REFERENCE.max()).sum() + (finite < REFERENCE.min()).sum()
    assert beyond / (len(LIVE) - 100) == delay.rates.outside
    assert (0, 0) == (delay.reference_rates.null, delay.reference_rates.outside)
    assert [bar.label for bar in delay.histogram] == labels(PROFILE.numeric[0])
    assert 20_000 == sum(bar.reference for bar in delay.histogram)


def test_distances_are_near_those_of_the_values() -> None:
    """KS within the heaviest bin; Wasserstein in ranges between quartiles."""
    _, found = told()
    delay = next(feature for feature in found.features if feature.name == "delay")
    assert delay.ks is not None
    assert delay.wasserstein_iqr is not None
    finite = np.sort(LIVE[~np.isnan(LIVE)])
    grid = np.concatenate([finite, REFERENCE])
    exact = np.abs(np.searchsorted(finite, grid, "right") / len(finite) - np.searchsorted(np.sort(REFERENCE), grid, "right") / 20_000).max()
    assert delay.ks <= exact + 1e-12
    assert exact - delay.ks < 2 / 32
    quantiles = (np.arange(4_000) + 0.5) / 4_000
    low, high = np.quantile(REFERENCE, [0.25, 0.75])
    distance = np.abs(np.quantile(LIVE[np.isfinite(LIVE)], quantiles) - np.quantile(REFERENCE, quantiles)).mean() / (high - low)
    assert distance == pytest.approx(delay.wasserstein_iqr, rel=0.25)


def test_features_that_moved_come_first_with_a_sentence() -> None:
    """And the version's sentence names them."""
    _, found = told()
    assert ["port", "delay"] == [feature.name for feature in found.features]
    assert {"ALARM"} == {feature.state for feature in found.features} | {found.state}
    assert found.sentence.startswith("2 of 2 features have moved: port, delay")
    assert found.features[0].sentence.startswith("port has moved far: PSI ")
    assert "'LGA' went from 50 % to 100 %" in found.features[0].sentence
    assert ("minutes", len(LIVE), 3600.0 + 180) == (found.window.kind, found.window.rows, found.reference.age_s)
    assert (PROFILE.digest, "training", 20_000) == (found.reference.digest, found.reference.source, found.reference.rows)


def test_it_is_json_at_any_time() -> None:
    """Before the first look, without rows, with all; no number that JSON has not."""
    empty = Watch(PROFILE, wall_s=NOON_S)
    before = findings_of(empty)
    empty.look(Traffic(PROFILE).views, NOON_S + 1)
    for found in (before, findings_of(empty), told()[1]):
        text = msgspec.json.encode(found)
        assert msgspec.json.decode(text, type=Findings) == found
        assert b"NaN" not in text
        json.loads(text, parse_constant=pytest.fail)
    assert ("OK", "no rows yet", ()) == (before.state, before.sentence, before.features)
    assert ["delay: no rows", "port: no rows"] == sorted(feature.sentence for feature in findings_of(empty).features)


def test_gauges_are_the_findings_numbers() -> None:
    """Feature by feature."""
    watch, found = told()
    gauges = gauges_of(watch)
    by_name = {feature.name: feature for feature in found.features}
    for index, name in enumerate(gauges.features):
        assert (by_name[name].psi, by_name[name].log_e.any) == (gauges.psi[index], gauges.log_e["any"][index])
        assert gauges.feature_states[index] == 3
    assert ({"global": 3, "predictions": 0}, {}, len(LIVE)) == (gauges.states, gauges.accuracy, gauges.rows)
    json.dumps(msgspec.to_builtins(gauges), allow_nan=False)


def test_few_rows_are_shown_with_older_ones() -> None:
    """The hour, the day, or all there are, whichever has 500 rows."""
    watch, traffic = Watch(PROFILE, wall_s=NOON_S), Traffic(PROFILE)
    for hours, rows, kind in ((0, 100, "all"), (1, 600, "minutes"), (3, 10, "day"), (40, 10, "all")):
        traffic.send({"delay": RNG.gamma(4.0, 10.0, size=rows), "port": ["JFK"] * rows})
        watch.look(traffic.views, NOON_S + 3600 * hours)
        assert kind == findings_of(watch).window.kind
    assert [600] == [hour.rows for hour in findings_of(watch).hours] or [] == [*findings_of(watch).hours]


@pytest.mark.parametrize("features", [64])
def test_an_evaluation_is_quick(features: int) -> None:
    """Of 64 features, while a hundred windows of the e-detector have passed: some milliseconds, on whatever runs the tests."""
    profile = gaussian(2_000, features=features)
    watch, traffic, rng = Watch(profile, wall_s=NOON_S), Traffic(profile), np.random.default_rng(1)

    def send(tick: int) -> None:
        traffic.send({f"f{index}": rng.normal(size=500) for index in range(features)})
        watch.look(traffic.views, NOON_S + tick)

    for tick in range(100):
        send(tick)
    counts = watch.counts()
    assert min(timeit.repeat(lambda: watch.evidence.look(counts, watch.rows, NOON_S), number=1, repeat=7)) < 0.03
