"""From a file of rows and a model to the profile of a version: when it is published, and for one that is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from registry import profile as profiles
from registry.columns import Column
from registry.parts import Parts, read_parts
from registry.profile import Profile
from registry.profiling import profile_of
from registry.publish import Published, publish
from registry.reference import profile_of_file
from registry.reprofile import with_profile, with_reference
from registry.rows import Reference
from registry.schema import contract_file
from registry.store import Store
from registry.verify import verify

OnnxFile = Callable[..., Path]
NOW_S = 1_700_000_000.25
X = np.random.default_rng(0).normal(size=(600, 4)).astype(np.float32)
FEATURES = {name: X[:, place] for place, name in enumerate(("a", "b", "c", "d"))}


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Reference]:
    """Writes columns to a file."""

    def write(columns: dict[str, Any], **options: Any) -> Reference:
        parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")
        return Reference(path=tmp_path / "rows.parquet", **options)

    return write


@pytest.fixture
def put(store: Store, onnx_file: OnnxFile) -> Callable[..., Published]:
    """Publishes y = x · W + B with all weights 2, as model m."""

    def call(**options: Any) -> Published:
        external = options.pop("external", False)
        return publish(store, onnx_file(2.0, external=external), name="m", publisher="ann", now_s=NOW_S, **options)

    return call


def stored(store: Store, version: int) -> Profile:
    content = read_parts(store.manifest("m", version), store.read_blob).profile
    assert content is not None
    return profiles.decode(content, key="profile.json")


def answered() -> Profile:
    """What the profile must be."""
    y = (2 * X.astype(np.float64).sum(axis=1, keepdims=True) + 2).astype(np.float32)
    return profile_of([Column("input", "x", X, tuple(FEATURES)), Column("output", "y", np.repeat(y, 3, axis=1))]).profile


@pytest.mark.parametrize("external", [False, True])
def test_the_model_is_asked_for_outputs_that_the_file_lacks(
    store: Store, put: Callable[..., Published], file: Callable[..., Reference], external: bool
) -> None:
    """In the child of the trial, with its external data."""
    done = put(reference=file(FEATURES), external=external)
    found, expected = stored(store, done.version), answered()
    assert expected.numeric[:4] == found.numeric[:4]
    assert ["y[0]", "y[1]", "y[2]"] == [feature.name for feature in found.numeric[4:]]
    for one, other in zip(expected.numeric[4:], found.numeric[4:], strict=True):
        np.testing.assert_allclose(other.edges, one.edges, rtol=1e-4, atol=1e-4)
    assert () == done.notes
    assert [] == verify(store)


def test_outputs_of_the_file_are_taken_as_they_are(
    store: Store, put: Callable[..., Published], file: Callable[..., Reference], no_trial: Callable[..., None]
) -> None:
    """Nobody asks the model then."""
    y = np.zeros((600, 3), np.float32)
    put(reference=file(FEATURES | {"y": list(y)}), trial=no_trial)
    assert [0.0] * 3 == [feature.mean for feature in stored(store, 1).numeric[4:]]


def test_what_stands_for_a_missing_value_comes_from_the_contract(store: Store, file: Callable[..., Reference]) -> None:
    """And outputs that are no tensors, or that nobody gave, are named."""
    from registry.contract import Contract, Port
    from registry.schema import merge

    ports = (Port(name="t", type="tensor(string)", shape=("n", 1)),)
    outputs = (Port(name="s", type="seq(map(int64,tensor(float)))", shape=None), Port(name="z", type="tensor(float)", shape=None))
    contract = Contract(ir_version=8, opsets={"": 17}, producer="", inputs=ports, outputs=outputs)
    schema = merge(contract, contract_file({"inputs": {"t": {"null_value": ""}}}))
    found = profile_of_file(file({"t": ["a", None, "b"]}), schema, lambda rows: {})
    assert ("", (1, 1, 0, 1)) == (found.profile.categorical[0].null, found.profile.categorical[0].counts)
    assert ["output 's' is not profiled", "output 'z' is not profiled"] == [note.partition(":")[0] for note in found.notes]


def test_what_is_refused_leaves_nothing(
    store: Store, put: Callable[..., Published], file: Callable[..., Reference], kind_of: Callable[..., str], no_trial: Callable[..., None]
) -> None:
    """Rows of another model, two profiles, a profile of another model, rows without outputs where nothing is tried."""
    before = sorted(store.medium.root.rglob("*"))
    wrong = file({"a": [1.0]})
    assert "rows.parquet: input 'x' takes 4 features" in kind_of(lambda: put(reference=wrong, trial=no_trial))
    content = profiles.encode(profile_of([Column("input", "z", X)]).profile)
    parts = Parts(profile=content)
    assert "give one of the two" in kind_of(lambda: put(reference=wrong, parts=parts, trial=no_trial))
    assert "the reference profile has input 'z', which the model does not have" in kind_of(lambda: put(parts=parts, trial=no_trial))
    assert "the reference profile is not one" in kind_of(lambda: put(parts=Parts(profile=b"{}"), trial=no_trial))
    whole = file(FEATURES)
    assert "need a trial that asks it" in kind_of(lambda: put(reference=whole, trial=no_trial))
    assert before == sorted(store.medium.root.rglob("*"))


class TestVersionsWithout:
    """A published version, once more with a profile."""

    @pytest.mark.parametrize("external", [False, True])
    def test_the_next_version_has_the_same_files(
        self, store: Store, put: Callable[..., Published], file: Callable[..., Reference], external: bool
    ) -> None:
        """And all parts; the version itself stays what it was."""
        parts = Parts(card="# A card\n", contract=contract_file({"inputs": {"x": {"unit": "km"}}}))
        first = put(parts=parts, external=external)
        before = store.manifest("m", 1)
        done = with_reference(store, "m", 1, file(FEATURES), publisher="bea", now_s=NOW_S)
        assert (2, True, first.model_digest) == (done.version, done.new, done.model_digest)
        after = store.manifest("m", 2)
        assert before == store.manifest("m", 1)
        assert [*before.layers] == [layer for layer in after.layers if layer.title != "profile.json"]
        assert (before.config, "bea") == (after.config, store.record("m", 2).publisher)
        assert answered().numeric[:4] == stored(store, 2).numeric[:4]
        assert [] == verify(store)

    def test_the_same_rows_give_the_same_version(self, store: Store, put: Callable[..., Published], file: Callable[..., Reference]) -> None:
        """Also for another person; other rows give another; and with its own profile it is itself."""
        put()
        done = [with_reference(store, "m", 1, file(FEATURES), publisher=person, now_s=NOW_S) for person in ("bea", "cas")]
        other = with_reference(store, "m", 1, file({name: -values for name, values in FEATURES.items()}), publisher="bea", now_s=NOW_S)
        own = with_profile(store, "m", 2, stored(store, 2), publisher="bea", now_s=NOW_S)
        replaced = with_profile(store, "m", 2, stored(store, 3), publisher="bea", now_s=NOW_S)
        assert [(2, True), (2, False), (3, True), (2, False)] == [(each.version, each.new) for each in (*done, other, own)]
        assert store.manifest("m", 3) == store.manifest("m", replaced.version)

    def test_refusals(self, store: Store, put: Callable[..., Published], kind_of: Callable[..., str]) -> None:
        """A version that is not there, a profile of another model."""
        put()
        other = profile_of([Column("input", "z", X)]).profile
        for version, profile, text in (
            (2, answered(), "not_found: model 'm' has no version 2"),
            (1, other, "invalid_model: the reference"),
        ):
            assert kind_of(
                lambda version=version, profile=profile: with_profile(store, "m", version, profile, publisher="b", now_s=NOW_S)  # type: ignore[misc]
            ).startswith(text)
        assert [1] == store.versions("m")
