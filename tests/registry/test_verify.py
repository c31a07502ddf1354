"""Reading everything again: each kind of damage has its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from registry.manifest import Manifest
from registry.names import blob_key
from registry.store import Store
from registry.verify import Finding, Severity, damages, verify


@pytest.fixture
def whole(store: Store, put_manifest: Callable[[Store, bytes], Manifest]) -> Store:
    """A registry with two versions of m and one of n."""
    for model, content in (("m", b"one"), ("m", b"two"), ("n", b"one")):
        store.add_version(model, put_manifest(store, content), publish_id=content.decode(), publisher="ann", now_s=1e9)
    return store


def _rewrite(store: Store, key: str, change: Callable[[bytes], bytes]) -> None:
    path = store.medium.root / key
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(change(content))


def _found(store: Store) -> list[tuple[str, str]]:
    return [(finding.key, finding.message) for finding in damages(verify(store))]


def test_nothing_is_wrong(whole: Store) -> None:
    """An empty list, also for a registry without models."""
    assert [] == verify(whole)


def test_progress(whole: Store) -> None:
    """Every byte of every blob is told once."""
    counted: list[int] = []
    verify(whole, progress=counted.append)
    assert sum(path.stat().st_size for path in (whole.medium.root / "blobs").rglob("*") if path.is_file()) == sum(counted)


def test_what_an_interrupted_publish_leaves(whole: Store) -> None:
    """Notices, no damage."""
    whole.put_blob(b"never used")
    (whole.medium.root / "tmp" / "0123").touch()
    (whole.medium.root / "models" / "n" / "head.json").unlink()
    (whole.medium.root / "models" / "m" / "head.json").unlink()
    (whole.medium.root / "models" / "m" / "log" / "00000002.json").unlink()
    (whole.medium.root / "models" / "my model").mkdir()
    findings = verify(whole)
    assert {Severity.NOTICE} == {finding.severity for finding in findings}
    assert [
        ("models/m/head.json", "the cache is absent or not intact; the next publish writes it"),
        ("models/m/versions/00000002.json", "the version has no log entry yet; the next publish writes it"),
        ("models/my model", "this is no model name; it is passed over"),
        ("models/n/head.json", "the cache is absent or not intact; the next publish writes it"),
        (blob_key(whole.put_blob(b"never used")[0]), "nothing refers to this blob"),
        ("tmp/0123", "left by an interrupted publish"),
    ] == [(finding.key, finding.message) for finding in findings]


def test_a_changed_blob(whole: Store) -> None:
    """The blob is named, and each version that needs it."""
    key = blob_key(whole.manifest("n", 1).model.digest)
    _rewrite(whole, key, lambda content: content + b"!")
    text = f"{key} is missing, damaged or not of 3 bytes"
    assert {
        (key, "the content has another digest than its name"),
        ("models/m/versions/00000001.json", text),
        ("models/n/versions/00000001.json", text),
    } == set(_found(whole))


def test_a_missing_blob(whole: Store) -> None:
    """Of a model, and of a manifest."""
    key = blob_key(whole.manifest("m", 2).model.digest)
    (whole.medium.root / key).unlink()
    assert [("models/m/versions/00000002.json", f"{key} is missing, damaged or not of 3 bytes")] == _found(whole)
    key = blob_key(whole.record("m", 2).manifest)
    (whole.medium.root / key).unlink()
    assert [("models/m/versions/00000002.json", f"{key} is missing")] == _found(whole)


def test_a_stray_file_among_the_blobs(whole: Store) -> None:
    """Its name is no digest, so it cannot be right."""
    (whole.medium.root / "blobs/sha256/stray").mkdir()
    (whole.medium.root / "blobs/sha256/stray/file").touch()
    assert [("blobs/sha256/stray/file", "the content has another digest than its name")] == _found(whole)


def test_a_lost_record(whole: Store) -> None:
    """The log knows better."""
    (whole.medium.root / "models/m/versions/00000002.json").unlink()
    assert [("models/m/versions/00000002.json", "the log has created this version, but its record is missing")] == _found(whole)


@pytest.mark.parametrize(("old", "new"), [(b'"ann"', b'"bob"'), (b"2001-09-09", b"2001-09-10"), (b'"two"', b'"six"')])
def test_a_forged_record(whole: Store, old: bytes, new: bytes) -> None:
    """Who, when and which attempt are in the log as well."""
    _rewrite(whole, "models/m/versions/00000002.json", lambda content: content.replace(old, new))
    assert [("models/m/versions/00000002.json", "the record says something else than the log")] == _found(whole)


def test_a_broken_log(whole: Store) -> None:
    """The first entry that breaks the chain is named; versions are still checked."""
    _rewrite(whole, "models/m/log/00000001.json", lambda content: content.replace(b'"ann"', b'"bob"'))
    assert [("models/m/log", "models/m/log/00000002.json does not follow entry 1 of the log of model 'm'")] == _found(whole)


def test_a_cache_that_lies(whole: Store) -> None:
    """It is sound in itself and ends with the right entry, but says something else."""
    journal = whole.versions_of("m").journal
    head = journal.read()
    journal.remember(type(head)(model="m", seq=head.seq, tip=head.tip, versions={1: head.versions[1]}))
    assert [("models/m/head.json", "the cache says something else than the log; remove it")] == _found(whole)


def test_every_flipped_bit_is_found(whole: Store) -> None:
    """In any file of a registry, at any byte: something is found, and what is found names the file or its version."""
    root = whole.medium.root
    for path in sorted(path for path in root.rglob("*") if path.is_file() and path.name != "tidegate-registry.json"):
        content = path.read_bytes()
        path.chmod(0o644)
        for position in range(0, len(content), 3):
            path.write_bytes(content[:position] + bytes([content[position] ^ (1 << position % 8)]) + content[position + 1 :])
            assert verify(whole), f"{path.relative_to(root)} at {position}"
        path.write_bytes(content)
    assert [] == verify(whole)


@pytest.mark.parametrize("length", [0, 1, 40])
def test_every_cut_file_is_found(whole: Store, length: int) -> None:
    """Truncation of any file."""
    root = whole.medium.root
    for path in sorted(path for path in root.rglob("*") if path.is_file() and path.name != "tidegate-registry.json"):
        content = path.read_bytes()
        if length < len(content):
            path.chmod(0o644)
            path.write_bytes(content[:length])
            assert verify(whole), path.relative_to(root)
            path.write_bytes(content)


def test_findings_are_values() -> None:
    """Equal findings are equal, so tools can compare two runs."""
    assert Finding(Severity.DAMAGE, "k", "m") == Finding(Severity.DAMAGE, "k", "m")
    assert [] == damages([Finding(Severity.NOTICE, "k", "m")])


def test_an_unreadable_directory(whole: Store) -> None:
    """A file where a directory belongs is one finding, not the end."""
    path: Path = whole.medium.root / "blobs/sha256/zz"
    path.touch()
    assert [("blobs/sha256/zz", "cannot list blobs/sha256/zz: Not a directory")] == _found(whole)
