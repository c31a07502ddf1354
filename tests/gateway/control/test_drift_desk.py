"""What is known of every version: from blocks that workers count in, through deaths of the desk, of the server, and reloads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gateway.control.drift_desk import Desk
from gateway.control.drift_messages import Learned
from gateway.drift_settings import Contract, Drift, ModelDrift, Segments
from gateway.model_settings import ModelSettings
from gateway.serving.lifecycle import Wanted
from registry.errors import Kind, RegistryError
from registry.profile import decode
from registry.triggers import Triggers
from tests.gateway.control.observed import NOON_S, Served, World, normal


class Office(World):
    """With the desk, at a time that tests move."""

    def __init__(self, folder: Path, **more: Any) -> None:
        super().__init__(folder, **more)
        self.wall_s = NOON_S
        self.run = "run-1"
        self.state = folder / "state"
        self.state.mkdir(exist_ok=True)
        self.settle()

    def settle(self) -> None:
        """Another desk, which knows only what is saved."""
        self.desk = Desk(self.config, self.blocks, run=self.run, state=self.state, learned=self.folder / "learned")

    def served(self, place: int = 0, wanted: Wanted | None = None) -> Served:
        """A version that a worker has loaded, and the desk knows."""
        wanted = wanted or self.wanted()
        if not any(one.identity == wanted.identity and not one.closing for one in self.observing.watched):
            self.verify(wanted)
        served = self.load(place, wanted)
        self.tell()
        return served

    def tell(self) -> list[int]:
        """The list that the supervisor would send; what is acknowledged is given back."""
        done = self.desk.watch(self.observing.watched, self.wall_s)
        for serial in done:
            self.observing.kept(serial)
        return done

    def look(self, seconds: float = 1.0) -> list[Learned]:
        self.wall_s += seconds
        found = self.desk.look(self.wall_s)
        for message in found:
            self.observing.learned(message)
        return found

    def findings(self) -> dict[str, Any]:
        (found,) = json.loads(self.desk.told("rows"))
        return found


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_rows_of_all_workers_are_held_against_the_reference(office: Office) -> None:
    """Found once they are looked at."""
    one, two = office.served(0), office.served(1)
    one.serve(normal(500, seed=2))
    two.serve(normal(700, shift=3.0, seed=3))
    assert 0 == office.findings()["rows"]
    office.look()
    found = office.findings()
    assert ("1", 1_200, 2_000) == (found["version"], found["rows"], found["reference"]["rows"])
    assert "OK" != found["state"]
    assert ("[]", "rows") == (office.desk.told("other"), office.observing.watched[0].model)


@pytest.mark.parametrize("saved", [True, False])
def test_a_desk_that_takes_over_counts_every_row_once(office: Office, saved: bool) -> None:
    """Blocks live on: with what was saved, or without."""
    served = office.served()
    for round_ in range(4):
        served.serve(normal(100, seed=round_))
        office.look()
        if saved:
            office.desk.save()
        served.serve(normal(50, seed=round_ + 100))
        office.settle()
        office.tell()
        office.look()
        assert 150 * (round_ + 1) == office.findings()["rows"]


def test_evidence_outlives_the_server(office: Office) -> None:
    """And its blocks: another run counts in new ones. A feature does not stop drifting because somebody restarts."""
    served = office.served()
    served.serve(normal(2_000, shift=1.0, seed=4))
    office.look()
    before = office.findings()
    office.desk.save()
    again = Office(office.folder)
    again.run = "run-2"
    again.settle()
    served = again.served()
    again.look()
    after = again.findings()
    assert (before["rows"], before["state"], before["log_e"]) == (after["rows"], after["state"], pytest.approx(after["log_e"]))
    served.serve(normal(10, seed=5))
    again.look()
    assert before["rows"] + 10 == again.findings()["rows"]


def test_a_closed_block_is_acknowledged_once_it_is_saved(office: Office) -> None:
    """With what came after the last look. What is not watched any more is told no more."""
    served, wanted = office.served(), office.wanted()
    served.serve(normal(300))
    office.observing.close(wanted)
    (closing,) = office.observing.watched
    assert [closing.serial] == office.tell()
    assert [] == office.tell()
    assert "[]" == office.desk.told("rows")
    office.served()
    office.look()
    assert 300 == office.findings()["rows"]


def test_what_cannot_be_saved_is_kept_and_tried_again(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block is not given back before; nothing counts twice."""
    served, wanted = office.served(), office.wanted()
    served.serve(normal(300))
    office.observing.close(wanted)
    with monkeypatch.context() as full:

        def refuse(*_: object) -> None:
            raise RegistryError(Kind.STORAGE, "the disk is full")

        full.setattr("registry.drift_files.DriftFiles.save", refuse)
        assert [] == office.tell()
        office.look()
        assert [] == office.tell()
        assert 300 == office.findings()["rows"]
    assert 1 == len(office.tell())
    office.served()
    office.look()
    assert 300 == office.findings()["rows"]


@pytest.mark.parametrize("known", [True, False])
def test_the_next_desk_acknowledges_what_the_one_before_did_not(office: Office, known: bool) -> None:
    """It had saved it and died before it said so; or it died before it knew."""
    served, wanted = office.served(), office.wanted()
    served.serve(normal(300))
    office.desk.save()
    office.observing.close(wanted)
    if known:
        office.desk.watch(office.observing.watched, office.wall_s)  # nobody hears of it
    office.settle()
    assert 1 == len(office.tell())
    office.served()
    office.look()
    assert 300 == office.findings()["rows"]


def test_a_desk_that_dies_twice_while_one_of_two_blocks_is_closed_counts_every_row_once(office: Office) -> None:
    """What the second saves at the closing says of the block that stays what the first had counted of it."""
    closing, stays = office.wanted(), Wanted("rows", 1, office.wanted().identity + "x")
    first, second = office.served(0, closing), office.served(0, stays)
    first.serve(normal(10))
    second.serve(normal(7))
    office.look()
    office.desk.save()
    office.settle()
    office.observing.close(closing)
    office.desk.watch(office.observing.watched, office.wall_s)  # nobody hears of it
    office.settle()
    assert 1 == len(office.tell())
    office.look()
    assert 17 == office.findings()["rows"]


SEGMENTED = ModelSettings(drift=ModelDrift(segments=Segments(parameter="shop", values=("north", "south"))))
RENAMED = ModelSettings(drift=ModelDrift(segments=Segments(parameter="shop", values=("east", "west"))))
STRICT = ModelSettings(contract=Contract(mode="reject"))


@pytest.mark.parametrize(("before", "after"), [(ModelSettings(), SEGMENTED), (SEGMENTED, RENAMED), (SEGMENTED, STRICT)])
@pytest.mark.parametrize("dies", [True, False])
def test_a_version_whose_settings_change_goes_on_with_its_evidence(
    tmp_path: Path, before: ModelSettings, after: ModelSettings, dies: bool
) -> None:  # fmt: skip
    """The new block waits until the old one is closed, and is counted from its first row; segments of other names begin anew."""
    office = Office(tmp_path, own=before)
    old = office.wanted()
    first = office.served()
    first.serve(normal(400, shift=1.0, seed=1))
    office.look()
    evidence = office.findings()["log_e"]
    changed = office.with_settings(after, Drift())
    office.observing.configure(changed)
    new = office.wanted(changed)
    office.verify(new)
    second = office.load(0, new, changed)
    office.tell()
    second.serve(normal(60, shift=1.0, seed=2))
    first.serve(normal(40, shift=1.0, seed=3))
    office.look()
    assert 440 == office.findings()["rows"]
    if dies:
        office.desk.save()
        office.settle()
        office.tell()
        office.look()
        assert office.findings()["rows"] in {440, 60 + 440}
    office.observing.close(old)
    assert 1 == len(office.tell())
    office.tell()
    office.look()
    found = office.findings()
    assert 500 == found["rows"]
    assert found["log_e"] >= evidence
    wanted_names = [*after.drift.segments.values, "other"] if after.drift.segments else []
    assert wanted_names == [one["name"] for one in found["segments"]]
    assert {"reject" if after is STRICT else "observe"} == {one["mode"] for one in found["violations"]}


def test_a_version_that_nobody_can_read_costs_only_itself(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """Its block is given back when it is closed."""
    served = office.served()
    lost = msgspec.structs.replace(office.observing.watched[0], version=7, serial=99)
    office.desk.watch((*office.observing.watched, lost), office.wall_s)
    served.serve(normal(10))
    office.look()
    assert 10 == office.findings()["rows"]
    assert "drift of rows/7 cannot be evaluated" in caplog.text
    closing = msgspec.structs.replace(lost, closing=True)
    assert [99] == office.desk.watch((*office.observing.watched, closing), office.wall_s)


# --- learned profiles ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def learner(tmp_path: Path) -> Office:
    return Office(tmp_path, profile=False, drift=Drift(learn_rows=1_000))


def test_a_profile_is_learned_once_for_good(learner: Office) -> None:
    """Of the rows of all workers. They count on in the old block for a while: that changes nothing of it."""
    one, two = learner.served(0), learner.served(1)
    one.serve(normal(600, seed=1))
    assert [] == learner.look()
    two.serve(normal(600, seed=2))
    (message,) = learner.look()
    content = Path(message.path).read_bytes()
    assert (1_200, "served") == ((profile := decode(content, key="p")).rows, profile.source)
    one.serve(normal(300, seed=3))
    learner.tell()
    assert [] == learner.look(100.0)
    learner.settle()
    learner.tell()
    assert {message} >= set(learner.look())
    assert content == Path(message.path).read_bytes()
    moved = learner.served(0)
    moved.serve(normal(50, seed=4))
    learner.look()
    assert 50 == learner.findings()["rows"]
    assert 1 == learner.moved


def test_rows_of_which_no_profile_can_be_made_are_not_tried_every_second(learner: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a minute."""
    tries = []

    def refuse(*_: object) -> None:
        tries.append(learner.wall_s)
        raise RegistryError(Kind.INVALID_MODEL, "nothing can be profiled")

    monkeypatch.setattr("gateway.control.drift_desk.profile_of_rows", refuse)
    learner.served().serve(normal(1_000))
    for _ in range(130):
        assert [] == learner.look()
    assert 3 == len(tries)


def test_a_learned_profile_that_is_damaged_is_learned_again(learner: Office) -> None:
    """From the rows that are still there."""
    learner.served().serve(normal(1_000))
    (message,) = learner.look()
    Path(message.path).write_bytes(b"{")
    learner.settle()
    learner.tell()
    assert [message] == learner.look()
    assert 1_000 == decode(Path(message.path).read_bytes(), key="p").rows


# --- rules, gauges, triggers -----------------------------------------------------------------------------------------------------------


def test_broken_rules_are_told_as_they_come(tmp_path: Path) -> None:
    """Also where no row was served meanwhile, and in sum where a version has learned a reference since."""
    office = Office(tmp_path, profile=False, drift=Drift(learn_rows=1_000))
    served = office.served()
    served.serve(np.full((2, 4), 1_000, np.float32))
    office.look()
    counts = dict(office.desk.gauges()["tidegate_contract_violations_total"])
    assert 8 == counts["rows", "1", "x", "range", "observe"]
    served.serve(normal(1_000))
    office.look()
    office.tell()
    moved = office.served()
    moved.serve(np.full((1, 4), np.nan, np.float32))
    office.look()
    counts = dict(office.desk.gauges()["tidegate_contract_violations_total"])
    assert (8, 4) == (counts["rows", "1", "x", "range", "observe"], counts["rows", "1", "x", "nulls", "observe"])
    assert len(office.desk.gauges()["tidegate_contract_violations_total"]) == len(counts)


def test_an_alarm_leaves_one_trigger_whoever_restarts(office: Office) -> None:
    """Hours later too, while it is the same ALARM."""
    served = office.served()
    for hour in range(4):
        served.serve(normal(3_000, shift=3.0, seed=hour))
        office.look(3_600.0)
        office.desk.save()
        office.settle()
        office.tell()
    office.look()
    assert "ALARM" == office.findings()["state"]
    (trigger,) = Triggers(office.store.medium).all("rows")
    assert (1, office.config.server.name) == (trigger.version, trigger.proposer)
