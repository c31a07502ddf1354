"""Where a job is carried out: a place that cannot be had leaves the trigger to the next job, and time is up when it is up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.commands.output import Exit
from registry.errors import RegistryError
from registry.parts import read_parts
from registry.store import Store
from registry.training import TrainingRecord, check, decode, encode
from registry.triggers import Trigger
from retrain.carrying import Carried, Here
from retrain.cluster import Ledger, Noted, reached
from retrain.dataset import Dataset
from retrain.errors import ClusterError
from retrain.planning import Training
from retrain.recipes import HERE, Progress, Recipe, search
from tests.e2e.server import free_ports
from tests.gateway.commands.console import failed
from tests.retrain.jobs import MODEL, desk, drawn, wish, with_champion, written

pytestmark = pytest.mark.demo
SMALL = (Recipe("logistic", {"inverse_penalty": 1.0}), Recipe("logistic", {"inverse_penalty": 0.01}))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "r")


@pytest.fixture
def trigger(store: Store) -> Trigger:
    return with_champion(store)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return written(tmp_path / "rows.parquet", drawn(1_500, turned=True))


class Gone:
    """A cluster that nobody answers for."""

    def opened(self, *_: Any, **__: Any) -> Any:
        raise ClusterError("no Ray cluster answers at 10.0.0.9:6379")


class Elsewhere:
    """A place that does its work here, has facts to tell, and asks often whether it shall go on."""

    def opened(self, source: Any, snapshot: Any, inputs: Any, *, memory_mib: int, check: Callable[[], None]) -> Any:
        return self._opened(Here().opened(source, snapshot, inputs, memory_mib=memory_mib, check=check), check)

    @contextmanager
    def _opened(self, opened: Any, check: Callable[[], None]) -> Iterator[Carried]:
        with opened as carried:
            check()
            carried.facts = lambda: {"name": "elsewhere", "retries": 2}
            yield carried


def test_a_cluster_that_is_gone_leaves_the_trigger_to_the_next_job(store: Store, trigger: Trigger, rows: Path, tmp_path: Path) -> None:
    """Nothing final is written, the claim is given back at once, and what was accepted is what is done."""
    with pytest.raises(ClusterError, match=r"10\.0\.0\.9"):
        desk(store, tmp_path, carrier=Gone()).perform(trigger, wish(rows))
    assert "running" == store.triggers.journal(MODEL, trigger.id).state
    journal = desk(store, tmp_path, holder="job-2").perform(trigger, wish(rows, training=Training(seed=9)))
    assert "published" == journal.state
    record = read_parts(store.manifest(MODEL, 2), store.read_blob).training
    assert record is not None
    assert (3, {}) == (record.seed, record.engine)


def test_the_record_says_where_it_was_carried_out(store: Store, trigger: Trigger, rows: Path, tmp_path: Path) -> None:
    """And what was begun anew there; it survives being stored."""
    assert "published" == desk(store, tmp_path, carrier=Elsewhere()).perform(trigger, wish(rows)).state
    record = read_parts(store.manifest(MODEL, 2), store.read_blob).training
    assert record is not None
    assert {"name": "elsewhere", "retries": 2} == record.engine
    assert record == decode(encode(record), key="k")
    with pytest.raises(RegistryError, match="not finite"):
        check(TrainingRecord(format=1, engine={"cores": float("inf")}))


@pytest.mark.parametrize("carrier", [Here(), Elsewhere()])
def test_a_job_that_takes_too_long_has_failed(store: Store, trigger: Trigger, rows: Path, tmp_path: Path, carrier: Any) -> None:
    """The clock of the test moves a thousandth of a second whenever it is asked."""
    training = Training(parameters={"recipe": "gradient_boosting", "trees": 200})
    journal = desk(store, tmp_path, carrier=carrier, limit_s=0.02).perform(trigger, wish(rows, training=training))
    assert journal.last is not None
    assert ("failed", "reading and training took longer than 0.02 s") == (journal.state, journal.last.reason)


def test_a_search_asks_its_fitter_for_all_losses_at_once() -> None:
    """And takes the least, whoever found them."""
    asked = []

    class Fitter:
        def fit(self, recipe: Recipe, rows: Dataset, *, seed: int, progress: Progress) -> Any:
            raise AssertionError

        def losses(self, recipes: tuple[Recipe, ...], before: Dataset, after: Dataset, *, seed: int, progress: Progress) -> list[float]:
            asked.append((before.rows, after.rows, seed))
            return [0.5, 0.25]

    found, losses = search(drawn(100), seed=4, recipes=SMALL, fitter=Fitter())
    assert (SMALL[1], [0.5, 0.25], [(80, 20, 4)]) == (found, list(losses.values()), asked)
    alone = search(drawn(100), seed=4, recipes=SMALL, fitter=HERE)[1]
    assert alone == search(drawn(100), seed=4, recipes=SMALL)[1]


@pytest.mark.parametrize(
    ("address", "text", "reachable"),
    [
        ("ray://head:10001", "Ray Client, which carries no datasets: start the command on a machine of the cluster", True),
        ("head", "is no address of a cluster: expected HOST:PORT, auto or local", True),
        ("head:0", "is no address", True),
        (":6379", "is no address", True),
    ],
)
def test_addresses_that_are_none(address: str, text: str, *, reachable: bool) -> None:
    """Refused before anything is asked of the network."""
    with pytest.raises(ClusterError, match=text) as caught:
        reached(address)
    assert reachable is caught.value.reachable


def test_nobody_at_an_address_is_found_out_at_once() -> None:
    """With the address in the sentence; `auto` and `local` have none."""
    address = f"127.0.0.1:{free_ports()[0]}"
    with pytest.raises(ClusterError, match=f"no Ray cluster answers at {address}") as caught:
        reached(address)
    assert not caught.value.reachable
    reached("auto")
    reached("local")


def test_attempts_after_the_first_are_counted() -> None:
    """By what was to be done."""
    ledger = Ledger()
    for name in ("fit", "read 1", "fit", "fit"):
        ledger.began(name)
    ledger.told("fit", 0.5)
    assert (2, {"fit": 0.5}) == (ledger.retries(), ledger.shares())


def test_progress_is_told_when_there_is_something_to_see() -> None:
    """A boosting of thousands of trees sends some dozens of messages."""
    told: list[float] = []

    class Told:
        def remote(self, name: str, share: float) -> None:
            told.append(share)

    class Actor:
        told = Told()

    noted = Noted(Actor(), "fit")
    for number in range(1_000):
        noted("fit", (number + 1) / 1_000)
    assert 45 < len(told) < 60
    assert 1.0 == told[-1]


def test_the_command_says_what_is_missing(store: Store, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray, an address without it, a cluster; and no trigger is written meanwhile."""
    with_champion(store)
    place = ["retrain", "--model", MODEL, "-r", tmp_path / "r", "--data", rows, "--label", "late"]
    known = store.triggers.ids(MODEL)
    assert "--ray-address: goes with --engine ray" in failed(Exit.USAGE, *place, "--ray-address", "auto")
    found = replace_finder(monkeypatch, ray=False)
    assert "--engine ray needs ray, which is not installed: pip install 'tidegate[ray]'" in failed(Exit.USAGE, *place, "--engine", "ray")
    found["ray"] = True
    address = f"127.0.0.1:{free_ports()[0]}"
    text = failed(Exit.UNREACHABLE, *place, "--engine", "ray", "--ray-address", address)
    assert f"UNAVAILABLE: no Ray cluster answers at {address}" in text
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:1")
    assert "FAILED_PRECONDITION: 'ray://head:1' is an address of Ray Client" in failed(Exit.USAGE, *place, "--engine", "ray")
    assert known == store.triggers.ids(MODEL)


def replace_finder(monkeypatch: pytest.MonkeyPatch, **found: bool) -> dict[str, bool]:
    """Say which packages are installed; of others, what is so."""
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: (object() if found[name] else None) if name in found else real(name))
    return found
