"""What happens to sealed files later: they are joined, taken back and copied, and readers see a whole log at any moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from registry.directory import DirectoryMedium
from registry.errors import Kind, RegistryError
from registry.log import Log
from registry.log_keeping import Keeper, Keeping
from registry.log_layout import make_key, node_name, read_key
from registry.log_sealing import Sealer
from registry.log_totals import families_of
from registry.log_upload import Uploader, lag
from tests.registry.logged import NOW_US, Worker, flat, medium_of

HOUR_S, NOW_S = 3600, NOW_US / 1e6


class Kept:
    """A log of five files of one hour and one of the next, at a time of the caller's choice."""

    def __init__(self, root: Path, keeping: Keeping | None = None) -> None:
        self.root, self.now_s = root, NOW_S
        self.sealer = Sealer(medium_of(root), wall=lambda: self.now_s)
        self.keeper = Keeper(self.sealer, keeping or Keeping(), wall=lambda: self.now_s)
        for number in range(5):
            self.write(number, NOW_US)
        self.write(5, NOW_US + HOUR_S * 1_000_000)

    def write(self, number: int, ts_us: int) -> None:
        worker = Worker(self.root, number + 1)
        worker.write(2, first=2 * number, ts_us=ts_us)
        worker.die()
        self.do(self.sealer.seal)

    def do(self, deed: Callable[[], int]) -> int:
        with self.sealer.working():
            return deed()

    def numbers(self) -> list[int]:
        """Of all requests that a reader finds."""
        tables = [parquet.ParquetFile(path).read(["request_id"]) for path in Log(self.root).paths()]
        return sorted(int.from_bytes(value[8:]) for table in tables for value in table["request_id"].to_pylist())

    def files(self) -> int:
        return len(list(self.root.rglob("*.parquet")))


def test_small_files_of_an_hour_become_one(tmp_path: Path) -> None:
    """Once the hour is over; the old ones stay for those who read them, and go later. Figures stay."""
    kept = Kept(tmp_path)
    assert (0, 6) == (kept.do(kept.keeper.compact), len(Log(tmp_path).files()))
    kept.now_s += HOUR_S + 90
    assert (5, 2) == (kept.do(kept.keeper.compact), len(Log(tmp_path).files()))
    assert (0, list(range(12)), []) == (kept.do(kept.keeper.compact), kept.numbers(), Log(tmp_path).verify())
    assert {("m", "stable"): (12, {})} == flat(Log(tmp_path).account())
    assert (0, 7) == (kept.do(kept.keeper.sweep), kept.files())
    kept.now_s += 601
    assert (5, 2, list(range(12))) == (kept.do(kept.keeper.sweep), kept.files(), kept.numbers())


def test_what_is_old_or_too_much_is_taken_back(tmp_path: Path) -> None:
    """The oldest first; what was accepted and dropped is still known."""
    kept = Kept(tmp_path, Keeping(max_age_s=1800.0, grace_s=0.0))
    kept.now_s += 2000
    assert (5, [10, 11]) == (kept.do(kept.keeper.retire), kept.numbers())
    assert (5, 1) == (kept.do(kept.keeper.sweep), kept.files())
    assert not (tmp_path / "model=m/date=2025-12-01/hour=12").exists()
    assert {("m", "stable"): (12, {})} == flat(Log(tmp_path).account())
    size = Log(tmp_path).files()[0].bytes
    bounded = Kept(tmp_path / "bounded", Keeping(max_bytes=3 * size + 100))
    assert (3, list(range(6, 12))) == (bounded.do(bounded.keeper.retire), bounded.numbers())


def test_what_was_folded_is_kept_and_is_no_truth(tmp_path: Path) -> None:
    """A note that is wrong, or of another chain, is passed over."""
    kept = Kept(tmp_path)
    kept.sealer.chain.keep(kept.sealer.state)
    whole = kept.sealer.chain.state(whole=True)
    assert whole.files == kept.sealer.chain.state().files
    other = Kept(tmp_path / "other", Keeping(max_age_s=0.0))
    other.do(other.keeper.retire)
    other.sealer.chain.keep(other.sealer.state)
    for note in (b"{}", b"{", (tmp_path / "other/_commits/_head.json").read_bytes()):
        (tmp_path / "_commits/_head.json").write_bytes(note)
        assert whole.files == kept.sealer.chain.state().files


def test_a_copy_is_a_log(tmp_path: Path) -> None:
    """Commit by commit, each after its files; who begins again goes on where the copy ends."""
    kept = Kept(tmp_path / "log")
    source, target = DirectoryMedium(tmp_path / "log"), DirectoryMedium(tmp_path / "copy")
    uploader = Uploader(source, target)
    assert uploader.step()
    assert (1, 5) == (uploader.at, lag(source, target))
    assert [] == Log(tmp_path / "copy").verify()
    kept.now_s += HOUR_S + 700
    kept.do(kept.keeper.compact)
    kept.now_s += 700
    kept.do(kept.keeper.sweep)
    again = Uploader(source, target)
    while again.step():
        pass
    copy = Log(tmp_path / "copy")
    assert (7, 0, []) == (again.at, lag(source, target), copy.verify())
    assert [file.path for file in Log(tmp_path / "log").files()] == [file.path for file in copy.files()]


def test_a_copy_of_another_log_is_refused(tmp_path: Path) -> None:
    """Whoever mistook the place is told."""
    Kept(tmp_path / "log")
    target = medium_of(tmp_path / "copy")
    (tmp_path / "copy/tidegate-log.json").unlink()
    target.create("tidegate-log.json", b'{"layout":1,"id":"another"}')
    with pytest.raises(RegistryError, match="is the copy of another log") as caught:
        Uploader(DirectoryMedium(tmp_path / "log"), target).step()
    assert Kind.DAMAGED is caught.value.kind


@pytest.mark.parametrize("harm", ["file", "missing", "commit", "gap"])
def test_damage_is_named(tmp_path: Path, harm: str) -> None:
    """A file of other bytes, or none; a commit that is not what the next one says, or is missing."""
    kept = Kept(tmp_path)
    file = tmp_path / Log(tmp_path).files()[0].path
    commit = tmp_path / "_commits/00000003.json"
    victim = file if harm in {"file", "missing"} else commit
    content = victim.read_bytes()
    victim.unlink()
    if harm in {"file", "commit"}:
        victim.write_bytes(content.replace(b"2025", b"2024").replace(b'"rows":2', b'"rows":3') if harm == "commit" else content + b" ")
    (problem, *_) = Log(tmp_path).verify()
    expected = {
        "file": "are not the", "missing": "it is missing", "commit": "commit 3", "gap": "is missing, although commit 6 exists",
    }[harm]  # fmt: skip
    assert expected in f"{problem.key}: {problem.message}"
    assert kept.sealer.state.seq == 6


def test_files_are_found_by_time(tmp_path: Path) -> None:
    """Those that may hold rows of a while."""
    Kept(tmp_path)
    log = Log(tmp_path)
    assert (6, 1, 5) == (len(log.files("m")), len(log.files("m", since=NOW_S + 60)), len(log.files("m", until=NOW_S + 60)))
    assert ([], 6) == (log.files("other"), len(log.paths()))


def test_what_the_page_shows(tmp_path: Path) -> None:
    """What commits say and what workers have not had sealed, each once."""
    kept = Kept(tmp_path)
    worker = Worker(tmp_path, 50)
    worker.write(3)
    families: Any = families_of(kept.sealer.medium, kept.sealer.state)
    assert [(("m", "stable"), 15.0)] == families["tidegate_capture_rows_total"]
    worker.die()
    kept.do(kept.sealer.seal)
    families = families_of(kept.sealer.medium, kept.sealer.state)
    assert [(("m", "stable"), 15.0)] == families["tidegate_capture_rows_total"]
    assert [((), 0.0)] == families["tidegate_capture_unsealed_segments"]


def test_keys_and_names(tmp_path: Path) -> None:
    """A key is made once, and is its user's alone; one that is too short is refused."""
    medium_of(tmp_path)
    first = make_key(tmp_path, bytes(32))
    assert first == make_key(tmp_path, bytes(range(32))) == read_key(tmp_path / "_private/key")
    assert 0o600 == (tmp_path / "_private/key").stat().st_mode & 0o777
    (tmp_path / "short").write_text("short")
    with pytest.raises(RegistryError, match="at least 16 bytes"):
        read_key(tmp_path / "short")
    assert "a_host.example" == node_name("a-host.example")


@pytest.mark.parametrize(("content", "kind"), [(None, Kind.NOT_FOUND), (b'{"layout":2,"id":"x"}', Kind.UNSUPPORTED), (b"{", Kind.DAMAGED)])
def test_what_is_no_log_is_refused(tmp_path: Path, content: bytes | None, kind: Kind) -> None:
    """By its reason."""
    if content is not None:
        (tmp_path / "tidegate-log.json").write_bytes(content)
    with pytest.raises(RegistryError) as caught:
        Log(tmp_path)
    assert kind is caught.value.kind
