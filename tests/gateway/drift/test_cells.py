"""All counts of a version as one vector."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr

from gateway.drift.cells import cells_of, few_of, nats, urn_of
from registry.profile import BELOW, FIRST_BIN, Numeric
from tests.gateway.drift.traffic import Traffic, categorical, numeric, profile_of, slot_of

RNG = np.random.default_rng(3)
WIDE = numeric("wide", RNG.normal(size=400), bins=16)
NARROW = numeric("narrow", np.round(RNG.normal(size=400)), bins=4, element=1)
SCORE = numeric("score", RNG.random(400), bins=8, side="output", port="y")
PORT = categorical("port", ["JFK"] * 300 + ["LGA"] * 90 + [""] * 10, null="")
PROFILE = profile_of(WIDE, NARROW, SCORE, PORT)


def test_every_slot_of_every_feature_is_found_in_the_block() -> None:
    """Whatever the widths of the features beside it, and by segment."""
    traffic = Traffic(PROFILE, segments=2)
    cells = cells_of(PROFILE, segments=2)
    values = {
        "wide": [-math.inf, 0.1, math.nan],
        "narrow": [-9.0, 9.0, math.inf],
        "score": [0.5, 2.0, math.nan],
        "port": ["JFK", "EWR", ""],
    }
    traffic.send(values, segment=1)
    found = cells.gather(traffic.views.block)
    expected = [
        np.bincount([slot_of(feature, value) for value in values[feature.name]], minlength=len(feature.counts))
        for feature in cells.features
    ]
    assert np.concatenate(expected).tolist() == found[1].tolist()
    assert 0 == found[0].sum()
    assert found.sum(axis=0).tolist() == cells.total(traffic.views.block).tolist()


def test_sums_by_feature() -> None:
    """And the same spread over slots again."""
    cells = cells_of(PROFILE)
    assert [400.0] * 4 == cells.sums(cells.reference).tolist()
    assert cells.spread(np.arange(4)).tolist() == [index for index, feature in enumerate(cells.features) for _ in feature.counts]
    assert [WIDE.bins + 4, NARROW.bins + 4, SCORE.bins + 4, 3] == (cells.null - cells.offsets[:-1]).tolist()
    outside = [np.flatnonzero(cells.outside[cells.of(index)]).tolist() for index in range(4)]
    assert [[0, 1, WIDE.bins + 2, WIDE.bins + 3], [2]] == [outside[0], outside[3]]
    assert [False, False, True, False] == cells.output.tolist()
    assert all(math.isclose(1, share) for share in cells.sums(cells.rho).tolist())


def test_the_gaps_of_an_urn_are_one_more_than_its_rows() -> None:
    """400 values leave 401 gaps; the lowest bin gives one of its to what is below."""
    slots, gaps = urn_of(WIDE)
    assert 401 == gaps.sum()
    assert [*range(BELOW, FIRST_BIN + WIDE.bins + 1)] == slots.tolist()
    assert (1, WIDE.counts[FIRST_BIN] - 1, WIDE.counts[FIRST_BIN + 1], 1) == (*gaps[:3], gaps[-1])


def test_atoms_are_no_part_of_an_urn() -> None:
    """They are cells of their own, beside one for all other finite values."""
    slots, gaps = urn_of(NARROW)
    atoms = [FIRST_BIN + k for k in NARROW.atoms]
    assert atoms
    assert not {*atoms} & {*slots.tolist()}
    assert 401 - sum(NARROW.counts[slot] for slot in atoms) == gaps.sum()
    few = few_of(NARROW)
    assert sorted(slot for cell in few for slot in cell.tolist()) == [*range(BELOW, FIRST_BIN + NARROW.bins + 1)]
    assert len(atoms) + 1 == len(few)


def test_a_lowest_bin_of_one_value_is_the_end_of_the_gap_below() -> None:
    """No gap is left in it, and no slot of the urn has none."""
    single = Numeric(
        name="x", side="input", port="x", element=0, edges=(0.5, 1.0, 2.0, 3.0), counts=(0, 0, 1, 4, 5, 0, 0, 0),
        mean=2.0, m2=1.0, m3=0.0, m4=0.0,
    )  # fmt: skip
    slots, gaps = urn_of(single)
    assert ([1, 3, 4, 5], [1.0, 4.0, 5.0, 1.0]) == (slots.tolist(), gaps.tolist())


def test_categories_are_cells_and_null_is_none() -> None:
    """A categorical feature has no urn."""
    assert ([], [[0], [1], [2]]) == (urn_of(PORT)[0].tolist(), [cell.tolist() for cell in few_of(PORT)])
    assert [] == few_of(WIDE)


@given(st.lists(st.tuples(st.integers(0, 1 << 40), st.floats(1e-9, 1e12)), min_size=1, max_size=40))
def test_nats_are_those_of_scipy(pairs: list[tuple[int, float]]) -> None:
    """And nothing where nothing was found, even where nothing was expected."""
    found, expected = np.array(pairs).T
    np.testing.assert_allclose(nats(found, expected), rel_entr(found, expected), rtol=1e-12, atol=1e-12 * found.max())
    assert [0.0] * len(found) == nats(np.zeros(len(found)), expected * 0).tolist()
