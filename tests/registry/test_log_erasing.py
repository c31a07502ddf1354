"""Payloads that are erased: of whom, since when, and what is left; whoever dies meanwhile, the next one goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from registry.directory import DirectoryMedium
from registry.errors import RegistryError
from registry.log import Log
from registry.log_commits import Erasure
from registry.log_erasing import AGED, Eraser
from registry.log_keeping import Keeper, Keeping
from registry.log_sealing import Sealer
from registry.log_upload import Uploader
from tests.registry.logged import NOW_US, Worker, flat, medium_of

HOUR_US = 3_600_000_000
NAMES = ("f", "y", "pred_class", "score")


class Erasable:
    """A log of two hours of four requests each, whose numbers are 0 to 7."""

    def __init__(self, root: Path) -> None:
        self.root, self.now_us = root, NOW_US + 2 * HOUR_US
        self.sealer = Sealer(medium_of(root), wall=self.wall)
        self.eraser = Eraser(self.sealer, wall=self.wall)
        for number in range(2):
            self.write(number + 1, 4 * number, NOW_US + number * HOUR_US)
        self.seal()

    def wall(self) -> float:
        return self.now_us / 1e6

    def write(self, worker: int, first: int, ts_us: int) -> None:
        one = Worker(self.root, worker)
        one.write(4, first=first, ts_us=ts_us)
        one.die()

    def seal(self) -> None:
        with self.sealer.working():
            self.sealer.seal()

    def erase(self, **asked: Any) -> tuple[int, int]:
        with self.sealer.working():
            return self.eraser.erase(Erasure(**({"id": "e1", "actor": "ann", "reason": "asked", "created": self.now_us} | asked)))

    def rows(self) -> dict[int, dict[str, Any]]:
        """By the request's number."""
        tables = [parquet.ParquetFile(path).read() for path in Log(self.root).paths()]
        return {int.from_bytes(row["request_id"][8:]): row for table in tables for row in table.to_pylist()}

    def kept(self) -> list[int]:
        """Requests whose payload is there; of the others nothing of it is."""
        rows = self.rows()
        assert all(len({row[name] is None for name in NAMES}) == 1 for row in rows.values())
        return sorted(number for number, row in rows.items() if row["f"] is not None)


def name(number: int) -> str:
    return (bytes(8) + number.to_bytes(8)).hex()


@pytest.mark.parametrize(
    ("asked", "done", "kept"),
    [
        ({"requests": (name(1), name(6), name(99))}, (2, 2), [0, 2, 3, 4, 5, 7]),
        ({"requests": (name(1), name(6)), "before": NOW_US + HOUR_US}, (1, 1), [0, 2, 3, 4, 5, 6, 7]),
        ({"before": NOW_US + 2}, (1, 2), [2, 3, 4, 5, 6, 7]),
        ({"before": NOW_US + 9 * HOUR_US}, (2, 8), []),
        ({"before": NOW_US + 9 * HOUR_US, "model": "other"}, (0, 0), list(range(8))),
        ({"units": ("00" * 8,)}, (0, 0), list(range(8))),
    ],
)
def test_what_is_asked_for_is_erased_and_its_rows_stay(
    tmp_path: Path, asked: dict[str, Any], done: tuple[int, int], kept: list[int]
) -> None:
    """Everything else of them is as it was; the log adds up, and doing it twice does nothing more."""
    log = Erasable(tmp_path)
    before = log.rows()
    assert (done, kept) == (log.erase(**asked), log.kept())
    left = {number: {key: value for key, value in row.items() if key not in NAMES} for number, row in before.items()}
    assert left == {number: {key: value for key, value in row.items() if key not in NAMES} for number, row in log.rows().items()}
    assert [before[number] for number in kept] == [log.rows()[number] for number in kept]
    assert ((0, 0), []) == (log.erase(**asked), Log(tmp_path).verify())
    assert {("m", "stable"): (8, {})} == flat(Log(tmp_path).account())


def test_the_chain_says_what_was_erased_by_whom_and_why(tmp_path: Path) -> None:
    """Once, before anything of it is done; then file by file, each in place of one."""
    log = Erasable(tmp_path)
    log.erase(requests=(name(1), name(6)), reason="ticket 7", actor="eva")
    said, *done = [commit for commit in Log(tmp_path).commits() if commit.erasure or commit.erased]
    assert said.erasure is not None
    assert ("eva", "ticket 7", (name(1), name(6)), ()) == (said.erasure.actor, said.erasure.reason, said.erasure.requests, said.files)
    assert [("e1", 1, 1)] * 2 == [(commit.erased, len(commit.files), len(commit.removed)) for commit in done]
    assert {"e1"} == set(log.sealer.chain.state(whole=True).erasures)


def test_rows_that_are_sealed_later_lose_it_too(tmp_path: Path) -> None:
    """Those that had arrived; one that arrives afterwards is another matter."""
    log = Erasable(tmp_path)
    log.now_us = NOW_US + 3 * HOUR_US
    log.erase(requests=(name(8), name(12)))
    log.write(3, 8, log.now_us - 10)
    log.write(4, 12, log.now_us + 10)
    log.seal()
    assert [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15] == log.kept()
    again = Sealer(DirectoryMedium(tmp_path), wall=log.wall)  # another process, which reads the chain
    log.write(5, 8, log.now_us - 10)
    with again.working():
        again.seal()
    assert 8 not in log.kept()


def test_who_was_killed_is_followed_by_one_who_goes_on(tmp_path: Path) -> None:
    """It is known what was to be erased; the other file of two is done by the next."""
    log = Erasable(tmp_path)
    write, done = log.sealer.write, []

    def killed(*arguments: Any, **more: Any) -> Any:
        if done:
            raise KeyboardInterrupt
        done.append(arguments)
        return write(*arguments, **more)

    log.sealer.write = killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        log.erase(requests=(name(1), name(6)))
    assert ([0, 2, 3, 4, 5, 6, 7], []) == (log.kept(), Log(tmp_path).verify())
    sealer = Sealer(DirectoryMedium(tmp_path), wall=log.wall)
    with sealer.working():
        assert [(1, 1)] == [Eraser(sealer, wall=log.wall).finish(erasure) for erasure in sealer.state.erasures.values()]
    assert [0, 2, 3, 4, 5, 7] == log.kept()


def test_payloads_go_by_age_before_their_rows(tmp_path: Path) -> None:
    """Once: a file without any is not looked at again, also when it was joined with others."""
    log = Erasable(tmp_path)
    with log.sealer.working():
        assert (0, 1, 0) == (log.eraser.age(None), log.eraser.age(5400.0), log.eraser.age(5400.0))
    assert ([4, 5, 6, 7], 8) == (log.kept(), len(log.rows()))
    assert [False, True] == [file.payload for file in Log(tmp_path).files()]
    assert [AGED] == [commit.erased for commit in Log(tmp_path).commits() if commit.erased]
    assert [] == Log(tmp_path).verify()


def test_old_files_go_here_and_in_the_copy(tmp_path: Path) -> None:
    """Here after a while; there with the commit, also where who copied died between the two."""
    log = Erasable(tmp_path / "log")
    source, target = DirectoryMedium(tmp_path / "log"), DirectoryMedium(tmp_path / "copy")
    uploader = Uploader(source, target)
    while uploader.step():
        pass
    log.erase(requests=(name(1),))
    before = set(tmp_path.glob("copy/model=m/*/*/*"))
    removed = target.remove
    target.remove = lambda key: (_ for _ in ()).throw(RegistryError(None, "died"))  # type: ignore[method-assign, arg-type, misc]
    assert uploader.step()  # what is to be erased
    with pytest.raises(RegistryError, match="died"):
        uploader.step()
    target.remove = removed  # type: ignore[method-assign]
    assert not Uploader(source, target).step()
    files = set(tmp_path.glob("copy/model=m/*/*/*"))
    assert (2, 1, []) == (len(files), len(before - files), Log(tmp_path / "copy").verify())
    with log.sealer.working():
        assert (0, 3) == (Keeper(log.sealer, Keeping(), wall=log.wall).sweep(), len(list(tmp_path.glob("log/model=m/*/*/*"))))
        assert 1 == Keeper(log.sealer, Keeping(grace_s=-1.0), wall=log.wall).sweep()
    assert 2 == len(list(tmp_path.glob("log/model=m/*/*/*")))
