"""Sealing: every row that was written whole is in the log once, every other one is counted, whoever is killed or refused at any step."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from registry.errors import Kind, RegistryError
from registry.log import Log
from registry.log_accounts import Account
from registry.log_layout import LEDGER, RAW, SEGMENT, ids_of
from registry.log_ledger import DISK, LARGE, QUEUE, UNSYNCED
from registry.log_sealing import Sealer
from tests.registry.logged import NOW_US, Worker, flat, medium_of

HOUR_US = 3_600_000_000


def sealed(root: Path, calls: Any = os) -> Sealer:
    """One pass."""
    sealer = Sealer(medium_of(root, calls), wall=lambda: NOW_US / 1e6)
    with sealer.working():
        sealer.seal()
    return sealer


def read(log: Log) -> list[int]:
    """The numbers of all requests in the log."""
    tables = [parquet.ParquetFile(path).read(["request_id"]) for path in log.paths()]
    return sorted(int.from_bytes(value[8:]) for table in tables for value in table["request_id"].to_pylist())


class StopError(Exception):
    """Where a process is killed."""


def stopping(at: int, code: int | None = None) -> Callable[[str, tuple[Any, ...]], None]:
    """A hook that ends everything at the so-manieth call, or has it refused."""
    left = at

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        left -= 1
        if left == 0 or (left < 0 and code is None):
            raise StopError if code is None else OSError(code, os.strerror(code))

    return hook


def test_rows_of_a_worker_that_has_ended_are_in_the_log(tmp_path: Path) -> None:
    """By model and hour, each file as its commit says; nothing raw is left."""
    medium = medium_of(tmp_path)
    worker = Worker(tmp_path, 1)
    worker.write(3, first=0)
    worker.write(2, first=3, arm=1, ts_us=NOW_US + HOUR_US)
    worker.rotate()
    worker.write(1, first=5)
    worker.die()
    sealed(tmp_path)
    log = Log(tmp_path)
    day, node = "model=m/date=2025-12-01", f"node-{worker.id}"
    expected = [(f"{day}/hour=12/{node}00000000", 3), (f"{day}/hour=12/{node}00000001", 1), (f"{day}/hour=13/{node}00000000", 2)]
    assert expected == [(file.path.removesuffix(".parquet"), file.rows) for file in log.files()]
    assert {("m", "stable"): (4, {}), ("m", "canary"): (2, {})} == flat(log.account())
    assert ([0, 1, 2, 3, 4, 5], [], (0, 0)) == (read(log), log.verify(), log.waiting())
    assert [] == medium.names("tmp")


def test_what_is_being_written_is_left_alone(tmp_path: Path) -> None:
    """Only what was dropped is in the log by then."""
    medium_of(tmp_path)
    worker = Worker(tmp_path, 1)
    worker.write(3)
    worker.accept(4)
    worker.drop(QUEUE, 4)
    sealed(tmp_path)
    log = Log(tmp_path)
    assert {("m", "stable"): (0, {"queue_full": 4})} == flat(log.account())
    assert ((1, 1), []) == (log.waiting(), log.files())
    sealed(tmp_path)
    assert 1 == len(list(log.commits()))
    worker.die()
    sealed(tmp_path)
    assert {("m", "stable"): (3, {"queue_full": 4})} == flat(log.account())


def test_what_a_dead_worker_had_not_written_is_counted(tmp_path: Path) -> None:
    """What is missing is `worker_lost`, but for rows of a sync that failed; other reasons stay what they are."""
    medium_of(tmp_path)
    worker = Worker(tmp_path, 1)
    worker.write(3)
    worker.accept(20)
    for word, rows in ((QUEUE, 1), (DISK, 2), (LARGE, 4), (UNSYNCED, 5)):
        worker.drop(word, rows)
    worker.die()
    sealed(tmp_path)
    dropped = {"queue_full": 1, "disk_full": 2, "too_large": 4, "io_error": 5, "worker_lost": 8}
    assert {("m", "stable"): (3, dropped)} == flat(Log(tmp_path).account())


def test_rows_of_a_failed_sync_that_are_there_are_not_counted_twice(tmp_path: Path) -> None:
    """They are in the log, and nothing is missing."""
    medium_of(tmp_path)
    worker = Worker(tmp_path, 1)
    worker.write(3)
    worker.drop(UNSYNCED, 3)
    worker.die()
    sealed(tmp_path)
    assert {("m", "stable"): (3, {})} == flat(Log(tmp_path).account())


@pytest.mark.parametrize("cut", [0, 5, 16, 100, -1, -200])
def test_a_torn_tail_costs_what_is_torn(tmp_path: Path, cut: int) -> None:
    """Whatever is whole before it is in the log."""
    medium_of(tmp_path)
    worker = Worker(tmp_path, 1)
    worker.write(2)
    ends = worker.open().size
    worker.write(3, first=2)
    path = worker.open().path
    worker.die()
    content = path.read_bytes()
    path.write_bytes(content[: ends + cut] if cut >= 0 else content[:cut])
    sealed(tmp_path)
    log = Log(tmp_path)
    assert ([0, 1], {("m", "stable"): (2, {"worker_lost": 3})}) == (read(log), flat(log.account()))


def test_a_segment_of_nothing_is_nothing(tmp_path: Path) -> None:
    """Its head was torn: it goes, and the log says nothing of it."""
    medium = medium_of(tmp_path)
    worker = Worker(tmp_path, 1)
    path = worker.open().path
    worker.die()
    path.write_bytes(path.read_bytes()[:9])
    sealed(tmp_path)
    assert (0, [], []) == (Log(tmp_path).state().account.of("m", "stable")[0], ids_of(medium, SEGMENT), ids_of(medium, LEDGER))


def prepared(root: Path) -> dict[tuple[str, str], tuple[int, dict[str, int]]]:
    """Two workers that ended, of whose rows some are missing; what the log must say of them."""
    medium_of(root)
    for number in (1, 2):
        worker = Worker(root, number)
        worker.write(2, first=10 * number, ts_us=NOW_US + number * HOUR_US)
        worker.accept(number)
        worker.drop(QUEUE, number - 1)
        worker.die()
    return {("m", "stable"): (4, {"queue_full": 1, "worker_lost": 2})}


@pytest.mark.parametrize("code", [None, errno.ENOSPC])
def test_stopped_or_refused_at_every_call(tmp_path: Path, code: int | None, hooked: Callable[..., Any]) -> None:
    """Whoever comes next makes it whole: each row once, each drop once, no file that nobody names."""
    template = tmp_path / "template"
    expected = prepared(template)
    for at in range(1, 1000, 1 if code is None else 2):
        root = tmp_path / str(at)
        shutil.copytree(template, root)
        medium = medium_of(root)
        over = True
        try:
            sealer = Sealer(medium, wall=lambda: NOW_US / 1e6)
            medium._calls = hooked(stopping(at, code))
            with sealer.working():
                sealer.seal()
        except (StopError, RegistryError) as error:
            assert not isinstance(error, RegistryError) or error.kind is Kind.STORAGE  # noqa: PT017
            over = False
        assert [] == Log(root).verify()
        sealed(root)
        log = Log(root)
        assert (expected, [], (0, 0)) == (flat(log.account()), log.verify(), log.waiting()), at
        assert [10, 11, 20, 21] == read(log)
        named = {file.path for file in log.files()}
        assert named == {str(path.relative_to(root)) for path in root.rglob("*.parquet")}
        shutil.rmtree(root)
        if over and at > 20:
            return
    raise AssertionError("it never came to its end")


def test_one_at_a_time(tmp_path: Path) -> None:
    """A second one is told so, and both may go on afterwards."""
    medium_of(tmp_path)
    first, second = (Sealer(medium_of(tmp_path), wall=lambda: 1.0) for _ in range(2))
    with first.working():
        with pytest.raises(RegistryError, match="another process seals") as caught, second.working():
            pass
        assert Kind.CONFLICT is caught.value.kind
    Worker(tmp_path, 1).die()
    with second.working():
        second.seal()
    assert not list((tmp_path / RAW).glob("*.ledger"))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 2), st.integers(1, 4)),
        st.tuples(st.just("lose"), st.integers(0, 2), st.integers(1, 4)),
        st.tuples(st.just("drop"), st.integers(0, 2), st.integers(1, 4)),
        st.tuples(st.just("rotate"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("die"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("seal"), st.just(0), st.just(0)),
        st.tuples(st.just("killed"), st.just(0), st.integers(1, 60)),
    ),
    max_size=14,
)


@given(steps=STEPS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_accepted_is_there_or_was_dropped(
    steps: list[tuple[str, int, int]], tmp_path_factory: pytest.TempPathFactory, hooked: Callable[..., Any]
) -> None:
    """Whatever workers and sealers do, in any order: at the end the log has every row that was written, and counts all others."""
    root = tmp_path_factory.mktemp("log")
    medium_of(root)
    workers: dict[int, Worker] = {}
    number, written, told = 0, 0, Account()
    for what, who, count in steps:
        if what in {"seal", "killed"}:
            sealer = Sealer(medium_of(root), wall=lambda: NOW_US / 1e6)
            sealer.medium._calls = hooked(stopping(count)) if what == "killed" else hooked()
            try:
                with sealer.working():
                    sealer.seal()
            except StopError:
                pass
            continue
        worker = workers.get(who)
        if worker is None:
            number += 1
            worker = workers[who] = Worker(root, number)
        if what == "write":
            worker.write(count, first=written)
            written += count
            told.add("m", "stable", count)
        elif what in {"lose", "drop"}:
            worker.accept(count)
            told.add("m", "stable", 0, {"worker_lost" if what == "lose" else "disk_full": count})
            if what == "drop":
                worker.drop(DISK, count)
        elif what == "rotate":
            worker.rotate()
        else:
            workers.pop(who).die()
    for worker in workers.values():
        worker.die()
    sealed(root)
    log = Log(root)
    assert (flat(told), list(range(written)), [], (0, 0)) == (flat(log.account()), read(log), log.verify(), log.waiting())
