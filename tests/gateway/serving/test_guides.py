"""What rollouts ask of a server beside its settings: versions that are pinned, and splits."""

from __future__ import annotations

from gateway.config import Config, Repository
from gateway.serving.lifecycle import Wanted
from gateway.serving.sources import content_of, gives_way, is_isolated, settings_key, wish
from gateway.serving.splits import Arm, Guide, Pin, Split
from registry.verified import Listing, ModelVersionRef

CONFIG = Config(repository=Repository(path="r"))
SPLIT = Split(rollout="r", model="m", slot=0, step=0, mode="canary", salt="00" * 16, stable=1, arms=(Arm("canary", 2, 500),))


def nothing() -> None:
    raise AssertionError


def listing(**digests: str) -> Listing:
    refs = [ModelVersionRef("m", int(number[1:]), digest, nothing) for number, digest in digests.items()]  # type: ignore[arg-type]
    return Listing(tuple(refs), aliases={"m": {"champion": 1}})


def guide(*pins: Pin, split: Split | None = SPLIT) -> Guide:
    return Guide(rollout="r", model="m", pins=pins, split=split)


def test_a_candidate_without_an_alias_is_held_beside_the_champion() -> None:
    """Its split goes with it."""
    found = wish(CONFIG, listing(v1="a", v2="b"), [guide(Pin(1, "a"), Pin(2, "b"))])
    key = settings_key(CONFIG, "m")
    assert {Wanted("m", 1, f"a/{key}"), Wanted("m", 2, f"b/{key}")} == found.desired.versions
    assert ((SPLIT,), ()) == (found.splits, found.problems)


def test_one_in_a_process_of_its_own_is_another_one_under_its_number() -> None:
    """So that it is loaded before the one within the worker goes, and the other way round."""
    aliased = listing(v1="a", v2="b")
    found = wish(CONFIG, Listing(aliased.versions, aliases={"m": {"champion": 1, "challenger": 2}}), [guide(Pin(2, "b", isolated=True))])
    assert {f"a/{settings_key(CONFIG, 'm')}", f"b/{settings_key(CONFIG, 'm')}+process"} == {one.identity for one in found.desired.versions}


def test_one_that_gives_way_is_another_one_again() -> None:
    """A process cannot take back that it gave way."""
    key = settings_key(CONFIG, "m")
    identities = []
    for pin in (Pin(2, "b"), Pin(2, "b", isolated=True), Pin(2, "b", isolated=True, gives_way=True)):
        (identity,) = [one.identity for one in wish(CONFIG, listing(v1="a", v2="b"), [guide(pin)]).desired.versions if one.version == 2]
        identities.append((identity, is_isolated(identity), gives_way(identity), content_of(identity)))
    assert [(f"b/{key}", False, False, "b"), (f"b/{key}+process", True, False, "b"), (f"b/{key}+behind", True, True, "b")] == identities


def test_a_version_that_is_not_what_it_was_stands_the_rollout_still() -> None:
    """Stable serves as ever, and somebody is told."""
    for strange in (Pin(2, "another"), Pin(3, "c")):
        found = wish(CONFIG, listing(v1="a", v2="b"), [guide(Pin(1, "a"), strange)])
        assert [1] == [one.version for one in found.desired.versions]
        assert ((), (f"rollout 'r' stands still: version {strange.version} of model 'm' is not what it began with",)) == (
            found.splits, found.problems,
        )  # fmt: skip
