"""Labels are stored once for each id, whoever writes, whatever dies, and however often they are sent."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry import label_ids, label_merging
from registry.errors import Kind, RegistryError
from registry.label import Item, Label, id_digest, label_of, problem_of
from registry.label_files import table_of
from registry.labels import MAX_BATCH, Fate, LabelLog, Labels

NOW_US = 1_700_000_000_000_000
DAY_US = 86_400_000_000
REQUEST = bytes(range(16))


def label(number: int | str, **more: Any) -> Label:
    """One of model m."""
    return Label(**{"label_id": f"l{number}", "model": "m", "value": 1.0, "request_id": REQUEST} | more)


def fates(labels: Labels, given: Sequence[Label]) -> list[str]:
    """What became of each, as words."""
    return [outcome.fate.value for outcome in labels.ingest(given, NOW_US)]


def stored(root: Path) -> list[dict[str, Any]]:
    """Every label that a reader finds."""
    files = LabelLog(root).files()
    return table_of([root / file.path for file in files]).to_pylist() if files else []


def ids(root: Path) -> list[str]:
    """Of those, in order."""
    return sorted(row["label_id"] for row in stored(root))


def test_a_label_is_stored_as_it_was_sent(tmp_path: Path) -> None:
    """Every field; what has no time of its own has that of its arrival."""
    given = label(0, name="late", value=None, text="Ja", client_request_id="c", unit_hash=bytes(8), row=3,
                  event_us=NOW_US - 5, source="crm", weight=0.5, final=True)  # fmt: skip
    assert ["accepted", "accepted"] == fates(Labels(tmp_path), [given, label(1)])
    first, second = stored(tmp_path)
    assert {
        "label_id": "l0", "request_id": REQUEST, "client_request_id": "c", "unit_hash": bytes(8), "model": "m", "row": 3, "name": "late",
        "value": None, "text": "Ja", "source": "crm", "weight": 0.5, "final": True, "supersedes": None,
    } == {name: first[name] for name in first if name not in ("event_ts", "arrival_ts", "content")}  # fmt: skip
    assert (-5, 0) == tuple(round((first[name].timestamp() * 1e6) - NOW_US) for name in ("event_ts", "arrival_ts"))
    assert second["event_ts"] == second["arrival_ts"]


def test_a_label_that_comes_again_is_a_duplicate(tmp_path: Path) -> None:
    """In the same batch, in a later one, and for another writer; with other content it is refused."""
    labels = Labels(tmp_path)
    assert ["accepted", "duplicate", "refused"] == fates(labels, [label(0), label(0), label(0, value=2.0)])
    assert ["duplicate", "accepted"] == fates(labels, [label(0), label(1)])
    assert ["duplicate", "duplicate"] == fates(Labels(tmp_path), [label(0), label(1)])
    refused = Labels(tmp_path).ingest([label(0, value=2.0)], NOW_US)[0]
    assert (Fate.REFUSED, True) == (refused.fate, "a correction has an id of its own" in refused.reason)
    assert ["l0", "l1"] == ids(tmp_path)


def test_a_correction_names_what_was_wrong(tmp_path: Path) -> None:
    """Which must be there, or come before it in the batch."""
    labels = Labels(tmp_path)
    given = [label(1, supersedes="l0"), label(0), label(2, supersedes="l0", value=0.0)]
    assert ["refused", "accepted", "accepted"] == fates(labels, given)
    assert ["accepted"] == fates(labels, [label(3, supersedes="l2")])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"label_id": ""}, "label_id must be"),
        ({"label_id": "a\nb"}, "label_id must be"),
        ({"label_id": "x" * 257}, "label_id must be"),
        ({"model": ""}, "no model is named"),
        ({"model": "../m"}, "is no name of a model"),
        ({"name": "a b"}, "name 'a b' does not match"),
        ({"value": None}, "either a value or a text"),
        ({"text": "x"}, "one too many"),
        ({"value": float("nan")}, "not finite"),
        ({"value": None, "text": "x" * 1025}, "text must be"),
        ({"row": -1}, "row -1"),
        ({"row": 1 << 31}, "row 2147483648"),
        ({"weight": float("inf")}, "weight inf"),
        ({"weight": -1.0}, "weight -1.0"),
        ({"source": "\0"}, "source must be"),
        ({"supersedes": "\0"}, "supersedes must be"),
        ({"supersedes": "l0"}, "does not supersede itself"),
        ({"request_id": None}, "nothing says what it is for"),
        ({"request_id": b"x"}, "has 1 bytes, and not 16"),
        ({"unit_hash": b"x", "event_us": 1}, "has 1 bytes, and not 8"),
        ({"unit_hash": bytes(8)}, "event_ts is required"),
        ({"client_request_id": "\t"}, "client_request_id must be"),
        ({"event_us": -1}, "before 1970"),
        ({"event_us": NOW_US + 10 * DAY_US}, "what has not happened has no label"),
        ({"arrival_us": NOW_US + DAY_US}, "in the future"),
    ],
)
def test_what_is_no_label_is_refused_by_item(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    """Its neighbours are stored."""
    first, second = Labels(tmp_path).ingest([label(0, **changes), label("good")], NOW_US)
    assert (Fate.REFUSED, Fate.ACCEPTED) == (first.fate, second.fate)
    assert reason in first.reason
    assert ["lgood"] == ids(tmp_path)


def test_a_batch_has_a_bound(tmp_path: Path) -> None:
    """More at a time would all be in memory."""
    with pytest.raises(ValueError, match="more than 65536"):
        Labels(tmp_path).ingest([label(0)] * (MAX_BATCH + 1), NOW_US)


def test_files_lie_by_the_day_of_arrival(tmp_path: Path) -> None:
    """One for each day of a batch, in one commit, with its rows and times."""
    Labels(tmp_path).ingest([label(0), label(1, arrival_us=NOW_US - DAY_US), label(2, arrival_us=NOW_US - DAY_US - 1)], NOW_US)
    (commit,) = LabelLog(tmp_path).commits()
    assert [("_labels/date=2023-11-13", 2), ("_labels/date=2023-11-14", 1)] == [
        (file.path.rpartition("/")[0], file.rows) for file in commit.files
    ]
    assert commit.files[0].max_ts > commit.files[0].min_ts
    assert [(tmp_path / file.path).stat().st_size for file in commit.files] == [file.bytes for file in commit.files]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 1), st.lists(st.integers(0, 9), max_size=4), st.booleans()), max_size=6))
def test_each_id_is_stored_once_whoever_writes(tmp_path: Path, turns: list[tuple[int, list[int], bool]]) -> None:
    """Two writers that take turns, and others that are opened anew: the answers are those of a dictionary."""
    shutil.rmtree(tmp_path)
    writers, seen = [Labels(tmp_path), Labels(tmp_path)], set()
    for who, numbers, anew in turns:
        if anew:
            writers[who].close()
            writers[who] = Labels(tmp_path)
        expected = []
        for number in numbers:
            expected.append("duplicate" if number in seen else "accepted")
            seen.add(number)
        assert expected == fates(writers[who], [label(number) for number in numbers])
    assert [f"l{number}" for number in sorted(seen)] == ids(tmp_path)


class Racing:
    """`os`, but that at the first link of a commit another writer comes first."""

    def __init__(self, other: Callable[[], object]) -> None:
        self._other: Callable[[], object] | None = other

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def link(self, source: Any, target: Any, **options: Any) -> None:
        if "_label_commits" in str(target) and self._other is not None:
            other, self._other = self._other, None
            other()
        os.link(source, target, **options)


def test_who_loses_the_race_decides_again(tmp_path: Path) -> None:
    """What the other stored meanwhile is a duplicate, the rest is stored, and no file is left over."""
    other = Labels(tmp_path)
    labels = Labels(tmp_path, calls=Racing(lambda: other.ingest([label(0)], NOW_US)))
    assert ["duplicate", "accepted"] == fates(labels, [label(0), label(1)])
    assert ["l0", "l1"] == ids(tmp_path)
    assert 2 == len(list(tmp_path.glob("_labels/*/*.parquet")))


class Failing:
    """`os`, but that call number `last` of those that change files fails."""

    def __init__(self, last: int) -> None:
        self.last, self.made = last, 0

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if name in ("write", "fsync", "link", "replace", "mkdir", "open"):
                self.made += 1
                if self.made == self.last:
                    raise OSError(errno.ENOSPC, "No space left on device")
            return getattr(os, name)(*arguments, **options)

        return call


def test_after_any_failure_the_same_batch_finds_out(tmp_path: Path) -> None:
    """The disk is full at each call in turn: the caller sees an error or the answer, and sends the same again; each is stored once."""
    batch, kinds = [label(number) for number in range(3)], set()
    for last in range(1, 60):
        root, calls = tmp_path / str(last), Failing(last + 1_000)
        labels = Labels(root, calls=calls)
        calls.last = calls.made + last
        try:
            first = fates(labels, batch)
        except RegistryError as error:
            kinds.add(error.kind)
            first = fates(labels, batch)
        assert {"accepted"} == set(first) or {"duplicate"} == set(first)
        assert (["duplicate"] * 3, ["l0", "l1", "l2"]) == (fates(Labels(root), batch), ids(root))
        if calls.made < calls.last:
            break
    assert {Kind.STORAGE} == kinds
    assert 5 < last < 59


def test_a_writer_that_is_killed_leaves_all_or_nothing(tmp_path: Path) -> None:
    """At every call; then the same batch is stored once."""
    batch = [label(number) for number in range(3)]
    for last in range(1, 60):
        root = tmp_path / str(last)
        Labels(root).ingest([label("before")], NOW_US)
        child = os.fork()
        if child == 0:
            Labels(root, calls=Dying(last)).ingest(batch, NOW_US)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found = ids(root)
        assert found in (["lbefore"], ["l0", "l1", "l2", "lbefore"])
        assert {"accepted" if len(found) == 1 else "duplicate"} == set(fates(Labels(root), batch))
        assert ["l0", "l1", "l2", "lbefore"] == ids(root)
        if status == 0:
            break
    assert 5 < last < 59


class Dying:
    """`os`, but that the process ends at call number `last` of those that change files."""

    def __init__(self, last: int) -> None:
        self._last, self._made = last, 0

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self._made += 1
            if self._made == self._last:
                os._exit(9)
            return None if name == "fsync" else getattr(os, name)(*arguments, **options)

        return call


def test_ids_are_known_without_their_cache(tmp_path: Path) -> None:
    """It is made again from the labels; a damaged file of it is passed over."""
    labels = Labels(tmp_path)
    for number in range(4):
        labels.ingest([label(number)], NOW_US)
    labels.close()
    (file,) = (tmp_path / label_ids.FOLDER).iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert ["duplicate"] * 4 == fates(Labels(tmp_path), [label(number) for number in range(4)])
    shutil.rmtree(tmp_path / label_ids.FOLDER)
    assert ["duplicate"] * 4 == fates(Labels(tmp_path), [label(number) for number in range(4)])


def test_few_files_of_ids_and_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are merged, what is in memory is bounded, and every id is found again by another writer."""
    monkeypatch.setattr(label_ids, "MAX_RECENT", 8)
    monkeypatch.setattr(label_ids, "MAX_MERGED", 64)
    labels = Labels(tmp_path)
    for number in range(40):
        labels.ingest([label(5 * number + place) for place in range(5)], NOW_US)
    assert (200, True) == (len(labels), len(labels._ids._recent) < 8)
    assert len(list((tmp_path / label_ids.FOLDER).iterdir())) <= 8
    assert {"duplicate"} == set(fates(Labels(tmp_path), [label(number) for number in range(200)]))


def test_two_ids_with_one_half_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole digest is compared."""
    monkeypatch.setattr("registry.labels.id_digest", lambda name: bytes(8) + id_digest(name)[8:])
    labels = Labels(tmp_path)
    labels.ingest([label(number) for number in range(5)], NOW_US)
    labels.close()
    assert ["duplicate", "accepted"] == fates(Labels(tmp_path), [label(3), label(7)])


def test_small_files_are_merged_into_one(tmp_path: Path) -> None:
    """Readers find the same labels in fewer files, the old ones go later, and ids stay known, also without their cache."""
    labels, other = Labels(tmp_path), Labels(tmp_path)
    for number in range(5):
        labels.ingest([label(number)], NOW_US)
    before = stored(tmp_path)
    assert 4 == label_merging.merge(labels, NOW_US, min_files=3)
    assert (before, 1) == (stored(tmp_path), len(LabelLog(tmp_path).files()))
    assert (["duplicate"] * 5, 5) == (fates(other, [label(number) for number in range(5)]), len(other))
    assert (0, 5) == (label_merging.discard(tmp_path, NOW_US), label_merging.discard(tmp_path, NOW_US + DAY_US))
    shutil.rmtree(tmp_path / label_ids.FOLDER, ignore_errors=True)
    assert (["duplicate"], 5) == (fates(Labels(tmp_path), [label(4)]), len(Labels(tmp_path)))
    assert 0 == label_merging.merge(labels, NOW_US, min_files=2)


def test_what_nobody_committed_is_swept(tmp_path: Path) -> None:
    """After an hour; what is named stays."""
    labels = Labels(tmp_path)
    labels.ingest([label(0)], NOW_US)
    (named,) = tmp_path.glob("_labels/*/*.parquet")
    orphan = named.with_name("orphan.parquet")
    shutil.copy(named, orphan)
    written_s = orphan.stat().st_mtime
    assert (0, 1) == (labels.sweep(written_s + 60), labels.sweep(written_s + 7200))
    assert (False, True) == (orphan.exists(), named.exists())


def test_a_broken_chain_is_damage(tmp_path: Path) -> None:
    """A commit that was changed, one that is of another release, and a file that nobody removed."""
    labels = Labels(tmp_path)
    for number in range(2):
        labels.ingest([label(number)], NOW_US)
    first = tmp_path / "_label_commits/00000001.json"
    whole = first.read_bytes()
    for content, kind in (
        (whole.replace(b'"rows":1', b'"rows":2'), Kind.DAMAGED),
        (whole.replace(b'"format":1', b'"format":9'), Kind.UNSUPPORTED),
    ):
        first.chmod(0o644)
        first.write_bytes(content)
        with pytest.raises(RegistryError) as caught:
            LabelLog(tmp_path).files()
        assert kind is caught.value.kind
    first.write_bytes(whole)
    next(tmp_path.glob("_labels/*/*.parquet")).unlink()
    with pytest.raises(RegistryError, match="is missing, and no commit says that it was removed"):
        Labels(tmp_path)


def test_what_is_no_log_is_said(tmp_path: Path) -> None:
    """For readers; a writer makes one, but not over one of another layout."""
    with pytest.raises(RegistryError, match="is no inference log"):
        LabelLog(tmp_path).files()
    (tmp_path / "tidegate-log.json").write_text('{"layout": 2, "id": "x"}')
    with pytest.raises(RegistryError, match="has layout 2") as caught:
        Labels(tmp_path)
    assert Kind.UNSUPPORTED is caught.value.kind


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"request_id": "x"}, "is no UUID"),
        ({"unit_hash": "x"}, "is not 16 hexadecimal digits"),
        ({"event_ts": "2023-01-01T00:00:00"}, "has no zone"),
    ],
)
def test_an_item_that_cannot_be_read_says_why(fields: dict[str, Any], reason: str) -> None:
    """Before anything is stored."""
    with pytest.raises(ValueError, match=reason):
        label_of(msgspec.convert({"label_id": "l", "value": 1} | fields, Item))


def test_an_item_is_a_label() -> None:
    """Hyphens in ids, truth as a number, times with an offset, and the model of the whole batch."""
    item = {
        "label_id": "l",
        "value": True,
        "request_id": "00010203-0405-0607-0809-0a0b0c0d0e0f",
        "event_ts": "2023-11-14T23:13:20.000001+01:00",
    }
    made = label_of(msgspec.convert(item, Item), model="m")
    assert (1.0, REQUEST, NOW_US + 1, "m") == (made.value, made.request_id, made.event_us, made.model)
    assert "" == problem_of(made, NOW_US + 1)
