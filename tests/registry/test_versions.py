"""Claiming version numbers, and the log that follows."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.directory import DirectoryMedium
from registry.entries import NO_ENTRY, VersionCreated
from registry.errors import Kind, RegistryError
from registry.journal import Journal
from registry.names import digest_of
from registry.versions import Record, Versions, encode, entry_of, record_of

ONE, TWO = digest_of(b"one"), digest_of(b"two")


def _versions(root: Path, **options: Any) -> Versions:
    medium = DirectoryMedium(root, **options)
    for directory in ("tmp", "models/m/versions", "models/m/log"):
        medium.make_directory(directory)
    return Versions(medium, "m")


def _record(publish_id: str, manifest: str = ONE, now_s: float = 1e9) -> Record:
    return record_of(manifest=manifest, publish_id=publish_id, publisher="ann", now_s=now_s)


def _entries(versions: Versions) -> list[VersionCreated]:
    journal = versions.journal
    return [link.entry for link in journal.links(after=0, last=journal.last_number())]


def test_numbers_count_up(tmp_path: Path) -> None:
    """The first version is 1; each has a record and a log entry whose chain starts at the empty digest."""
    versions = _versions(tmp_path)
    assert [1, 2, 3] == [versions.add(_record(publish_id))[0] for publish_id in "abc"]
    assert [1, 2, 3] == versions.numbers()
    entries = _entries(versions)
    assert [(1, 1), (2, 2), (3, 3)] == [(entry.seq, entry.version) for entry in entries]
    assert NO_ENTRY == entries[0].prev
    assert digest_of((tmp_path / "models/m/log/00000002.json").read_bytes()) == entries[2].prev
    assert ("ann", "b", ONE) == (entries[1].actor, entries[1].publish_id, entries[1].manifest)


def test_publishing_again_gives_the_same_version(tmp_path: Path) -> None:
    """The first record stays, author and time included."""
    versions = _versions(tmp_path)
    versions.add(_record("a"))
    versions.add(_record("b"))
    assert (1, _record("a"), False) == versions.add(_record("a", now_s=2e9))
    assert [1, 2] == versions.numbers()
    assert 2 == len(_entries(versions))


def test_a_publish_id_stands_for_one_content(tmp_path: Path) -> None:
    """Other content under the same id is a conflict that names the version, and nothing is claimed."""
    versions = _versions(tmp_path)
    versions.add(_record("a"))
    with pytest.raises(RegistryError, match=r"'a' already stands for version 1 of model 'm' with other content") as caught:
        versions.add(_record("a", TWO))
    assert Kind.CONFLICT == caught.value.kind
    assert [1] == versions.numbers()


def test_a_number_is_not_used_again(tmp_path: Path) -> None:
    """Also where the record of the newest version was removed by hand: the log remembers it."""
    versions = _versions(tmp_path)
    versions.add(_record("a"))
    versions.add(_record("b"))
    (tmp_path / "models/m/versions/00000002.json").unlink()
    assert 3 == versions.add(_record("c"))[0]


def test_a_removed_record_is_named(tmp_path: Path, kind_of: Callable[..., str]) -> None:
    """Its publish id cannot be answered from the log alone."""
    versions = _versions(tmp_path)
    versions.add(_record("a"))
    (tmp_path / "models/m/versions/00000001.json").unlink()
    text = "damaged: models/m/versions/00000001.json is missing, although version 1 was created"
    assert text == kind_of(lambda: versions.add(_record("a")))


def test_gaps_stay_gaps(tmp_path: Path) -> None:
    """Numbers below the highest one are not filled, however far apart they are."""
    versions = _versions(tmp_path)
    (tmp_path / "models/m/versions/20240101.json").write_bytes(encode(_record("x")))
    assert 20240102 == versions.add(_record("a"))[0]
    assert [20240101, 20240102] == [entry.version for entry in _entries(versions)]


def test_the_last_number(tmp_path: Path, kind_of: Callable[..., str]) -> None:
    """Past int64 there are no versions; the publish is refused instead of lost."""
    versions = _versions(tmp_path)
    (tmp_path / f"models/m/versions/{2**63 - 1}.json").write_bytes(encode(_record("x")))
    assert kind_of(lambda: versions.add(_record("a"))).startswith("unsupported: model 'm' has version 9223372036854775807")


def test_the_next_publisher_completes_the_log(tmp_path: Path) -> None:
    """A publisher that died between its record and its log entry: the entry is written with its name and time."""
    versions = _versions(tmp_path)
    medium = DirectoryMedium(tmp_path)
    medium.create(versions.key(1), encode(_record("dead", now_s=5.0)))
    versions.add(_record("alive"))
    assert [("dead", 1), ("alive", 2)] == [(entry.publish_id, entry.version) for entry in _entries(versions)]
    assert 5.0 == _entries(versions)[0].time.timestamp()


def test_another_publisher_takes_the_number(tmp_path: Path, hooked: Callable[..., Any]) -> None:
    """Between looking and linking another version appears: the next number is taken, and both are logged once."""
    other = _versions(tmp_path)
    pending = ["x", "y"]

    def intrude(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "link" and pending and "/versions/" in str(arguments[1]):
            other.add(_record(pending.pop(0)))

    versions = _versions(tmp_path, calls=hooked(intrude))
    assert 3 == versions.add(_record("mine"))[0]
    assert ["x", "y", "mine"] == [entry.publish_id for entry in _entries(versions)]


def test_another_publisher_writes_the_log(tmp_path: Path, hooked: Callable[..., Any]) -> None:
    """Whoever comes first writes the entry; nobody writes it twice."""
    other = _versions(tmp_path)
    pending = ["x"]

    def intrude(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "link" and pending and "/log/" in str(arguments[1]):
            other.add(_record(pending.pop(0)))

    versions = _versions(tmp_path, calls=hooked(intrude))
    assert 1 == versions.add(_record("mine"))[0]
    assert {1: "mine", 2: "x"} == {entry.version: entry.publish_id for entry in _entries(versions)}


def test_one_publish_id_at_once(tmp_path: Path, hooked: Callable[..., Any]) -> None:
    """A repeated attempt that overtakes the first one: both get one version."""
    other = _versions(tmp_path)
    results = []

    def intrude(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "link" and not results and "/versions/" in str(arguments[1]):
            results.append(other.add(_record("same", now_s=7.0)))

    versions = _versions(tmp_path, calls=hooked(intrude))
    assert (1, _record("same", now_s=7.0), False) == versions.add(_record("same", now_s=8.0))
    assert (1, _record("same", now_s=7.0), True) == results[0]
    assert [1] == versions.numbers()


def test_a_failed_log_entry_is_made_up_for(tmp_path: Path, hooked: Callable[..., Any]) -> None:
    """The disk is full after the record: the caller gets an error, and the same publish id completes the version."""

    def fail(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "link" and "/log/" in str(arguments[1]):
            raise OSError(errno.ENOSPC, "full")

    with pytest.raises(
        RegistryError, match=r"^version 1 of model 'm' exists, but cannot write .*1\.json: full; repeat with publish id 'a'$"
    ):
        _versions(tmp_path, calls=hooked(fail)).add(_record("a"))
    versions = _versions(tmp_path)
    assert [1] == versions.numbers()
    assert (1, _record("a"), False) == versions.add(_record("a", now_s=9.0))
    assert ["a"] == [entry.publish_id for entry in _entries(versions)]


def test_damage_of_the_log_stops_a_publish_before_it_claims(tmp_path: Path) -> None:
    """Nothing is built upon a broken chain."""
    versions = _versions(tmp_path)
    versions.add(_record("a"))
    (tmp_path / "models/m/head.json").unlink()
    entry = tmp_path / "models/m/log/00000001.json"
    entry.chmod(0o644)
    entry.write_bytes(entry.read_bytes()[:-5])
    with pytest.raises(RegistryError, match=r"models/m/log/00000001.json is not a log entry"):
        versions.add(_record("b"))
    assert [1] == versions.numbers()


class TestJournal:
    """The chain and its cache."""

    @pytest.fixture
    def versions(self, tmp_path: Path) -> Versions:
        """Three versions."""
        versions = _versions(tmp_path)
        for publish_id in "abc":
            versions.add(_record(publish_id))
        return versions

    @pytest.mark.parametrize("damage", ["absent", "empty", "garbage", "flipped", "other model"])
    def test_the_cache_is_not_needed(self, versions: Versions, tmp_path: Path, damage: str) -> None:
        """Without a sound cache the log says the same, and the next publish writes a new one."""
        path = tmp_path / "models/m/head.json"
        whole = versions.journal.read()
        content = path.read_bytes()
        path.unlink()
        flipped, other = content.replace(b'"c"', b'"d"'), content.replace(b'"m"', b'"n"')
        changed = {"empty": b"", "garbage": b"\xff{", "flipped": flipped, "other model": other}
        if damage != "absent":
            path.write_bytes(changed[damage])
        assert versions.journal.cached() is None
        assert whole == versions.journal.read()
        versions.add(_record("d"))
        assert 4 == (versions.journal.cached() or whole).seq

    def test_a_stale_cache_is_caught_up(self, versions: Versions, tmp_path: Path) -> None:
        """Entries after the cached one are read from the log."""
        old = (tmp_path / "models/m/head.json").read_bytes()
        versions.add(_record("d"))
        (tmp_path / "models/m/head.json").write_bytes(old)
        assert 4 == versions.journal.read().seq

    def test_readers_write_nothing(self, versions: Versions, tmp_path: Path) -> None:
        """Also where the cache is absent: a registry may be read-only."""
        (tmp_path / "models/m/head.json").unlink()
        before = sorted(tmp_path.rglob("*"))
        versions.journal.read()
        assert before == sorted(tmp_path.rglob("*"))

    @pytest.mark.parametrize(
        ("number", "cached", "text"),
        [
            (1, False, "models/m/log/00000001.json is missing, although entry 3 exists"),
            (2, False, "models/m/log/00000002.json is missing, although entry 3 exists"),
            (3, True, "models/m/log/00000003.json is missing: models/m/head.json has seen it as sha256:"),
        ],
    )
    def test_a_missing_entry(self, versions: Versions, tmp_path: Path, number: int, cached: bool, text: str) -> None:
        """It is named; the newest one by what the cache has seen."""
        (tmp_path / f"models/m/log/0000000{number}.json").unlink()
        if not cached:
            (tmp_path / "models/m/head.json").unlink()
        with pytest.raises(RegistryError, match=text):
            versions.journal.read()

    @pytest.mark.parametrize(
        ("old", "new", "text"),
        [
            (b'"seq":2', b'"seq":3', "00000002.json does not follow entry 1 of the log of model 'm'"),
            (b'"model":"m"', b'"model":"n"', "00000002.json does not follow"),
            (b'"publish_id":"b"', b'"publish_id":"z"', "00000003.json does not follow entry 2"),
            (b'"version":2', b'"version":1', "00000002.json creates version 1 of model 'm' a second time"),
            (b'"op":"version.created"', b'"op":"version.removed"', "00000002.json is not a log entry: Invalid value 'version.removed'"),
            (b'"actor"', b'"author"', "00000002.json is not a log entry: Object contains unknown field `author`"),
        ],
    )
    def test_a_changed_entry(self, versions: Versions, tmp_path: Path, old: bytes, new: bytes, text: str) -> None:
        """The chain breaks at the entry or at the one after it."""
        (tmp_path / "models/m/head.json").unlink()
        path = tmp_path / "models/m/log/00000002.json"
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content.replace(old, new))
        with pytest.raises(RegistryError, match=text) as caught:
            versions.journal.read()
        assert Kind.DAMAGED == caught.value.kind

    def test_a_changed_last_entry(self, versions: Versions, tmp_path: Path) -> None:
        """No later entry holds its digest, but the cache does."""
        path = tmp_path / "models/m/log/00000003.json"
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content.replace(b'"ann"', b'"bob"'))
        with pytest.raises(RegistryError, match=r"00000003.json is changed: models/m/head.json has seen it as sha256:"):
            versions.journal.read()

    def test_only_one_writer_gets_a_number(self, versions: Versions) -> None:
        """The second of two appends to the same head is told to read again."""
        journal = Journal(DirectoryMedium(versions.journal._medium.root), "m")
        head = journal.read()
        assert journal.append(head, entry_of("m", 9, _record("p"), seq=4, prev=head.tip)) is not None
        assert journal.append(head, entry_of("m", 8, _record("q"), seq=4, prev=head.tip)) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1), st.sampled_from(["", "head", "log entry"])), max_size=12))
@settings(max_examples=40)
def test_any_sequence(steps: list[tuple[int, int, str]]) -> None:
    """Publish ids in any order, repeated and conflicting, with lost caches and unwritten last log entries: as a dictionary would say."""
    with TemporaryDirectory() as directory:
        root = Path(directory)
        versions = _versions(root)
        expected: dict[str, tuple[int, str]] = {}
        for publish_id, content, loss in steps:
            manifest = (ONE, TWO)[content]
            number, published = expected.setdefault(str(publish_id), (len(expected) + 1, manifest))
            if published == manifest:
                assert number == versions.add(_record(str(publish_id), manifest))[0]
            else:
                with pytest.raises(RegistryError, match=f"stands for version {number}"):
                    versions.add(_record(str(publish_id), manifest))
            if loss:
                (root / "models/m/head.json").unlink(missing_ok=True)
            if loss == "log entry":
                for path in sorted((root / "models/m/log").iterdir())[-1:]:
                    path.unlink()
        assert sorted(number for number, _ in expected.values()) == versions.numbers()
        records = [record for number in versions.numbers() if (record := versions.record(number))]
        manifests = {record.publish_id: record.manifest for record in records}
        assert {publish_id: manifest for publish_id, (_, manifest) in expected.items()} == manifests
