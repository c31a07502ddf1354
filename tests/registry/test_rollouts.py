"""Journals of rollouts: numbered chains that one writer at a time extends, in a directory and in an object store alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from obstore.store import MemoryStore

from registry.backup import copy_registry
from registry.directory import DirectoryMedium
from registry.errors import RegistryError
from registry.gc import DEFAULT_GRACE_S, collect
from registry.manifest import Manifest
from registry.medium import Medium
from registry.names import blob_key
from registry.objects import ObjectMedium
from registry.patience import Patience
from registry.rollout_entries import RolloutEntry, encode, journal_key, model_and_number, moment, rollout_id, sentence
from registry.rollout_tips import RolloutTips
from registry.rollouts import Rollouts
from registry.store import Store, marker_of
from registry.verify import Severity, damages, verify

NOW_S = 1_700_000_000.0
LATER_S = 4_000_000_000.0
PutManifest = Callable[[Store, bytes], Manifest]
KindOf = Callable[[Callable[[], object]], str]


def entry(number: int = 1, model: str = "m", **changes: Any) -> RolloutEntry:
    """The first entry of a rollout, or another."""
    fields: dict[str, Any] = {
        "rollout": rollout_id(model, number),
        "model": model,
        "time": moment(NOW_S),
        "actor": "ann",
        "event": "apply",
        "to_phase": "queued",
    } | changes
    return RolloutEntry(**fields)


def begun(store: Store, number: int = 1, model: str = "m", **changes: Any) -> Any:
    """A rollout with its first entry."""
    journal = store.rollouts.begin(model, number, entry(number, model, **changes))
    assert journal is not None
    return journal


@pytest.fixture(params=["directory", "objects"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty registry, in a directory and in an object store."""
    if request.param == "directory":
        return Store.create(tmp_path / "registry")
    medium: Medium = ObjectMedium(MemoryStore(), shown="memory://", cache=None, patience=Patience(attempts=1))
    medium.prepare()
    medium.create("tidegate-registry.json", marker_of(UUID(int=1)))
    return Store.on(medium)


def test_a_journal_is_read_as_it_was_written(anywhere: Store) -> None:
    """Each entry holds the digest of the one before; an empty registry has none, and no directory for them."""
    assert ([], [], []) == (anywhere.rollouts.models(), anywhere.rollouts.ids("m"), anywhere.rollouts.active())
    first = begun(anywhere, pins=(3,), details={"salt": "ab"})
    second = anywhere.rollouts.append(first, entry(event="prepare", from_phase="queued", to_phase="preparing", token=1))
    assert second is not None
    assert second == anywhere.rollouts.read("m-1") == anywhere.rollouts.journal("m", 1, first)
    assert (2, first.tip, 1, frozenset({3}), False) == (second.seq, second.links[1].entry.prev, second.token, second.pins, second.final)
    assert (["m"], ["m-1"], [second]) == (anywhere.rollouts.models(), anywhere.rollouts.ids("m"), anywhere.rollouts.open("m"))
    assert [] == verify(anywhere)


def test_of_two_writers_one_is_first(anywhere: Store) -> None:
    """The other is told, and reads what was written."""
    first = begun(anywhere)
    assert anywhere.rollouts.begin("m", 1, entry(actor="bob")) is None
    assert anywhere.rollouts.append(first, entry(event="a", actor="ann")) is not None
    assert anywhere.rollouts.append(first, entry(event="b", actor="bob")) is None
    assert ["apply", "a"] == [found.event for found in anywhere.rollouts.read("m-1").entries]


def test_what_is_over_is_not_read_again(anywhere: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache spares the old ones from the first number on, and is not needed."""
    for number in (1, 2, 3):
        journal = begun(anywhere, number)
        if number != 2:
            anywhere.rollouts.append(journal, entry(number, event="done", to_phase="succeeded", final=True))
    assert ([2], 1) == ([journal.number for journal in anywhere.rollouts.open("m")], anywhere.rollouts.over_through("m"))
    anywhere.rollouts.append(anywhere.rollouts.read("m-2"), entry(2, event="done", to_phase="aborted", final=True))
    assert ([], 3) == (anywhere.rollouts.open("m"), anywhere.rollouts.over_through("m"))
    monkeypatch.setattr(Rollouts, "journal", lambda *arguments: pytest.fail("it was read"))
    assert [] == Store.on(anywhere.medium).rollouts.active()
    monkeypatch.undo()
    anywhere.medium.replace("rollouts/m/head.json", b"{}")
    assert ([], 0) == (anywhere.rollouts.open("m"), anywhere.rollouts.over_through("m"))
    anywhere.rollouts.remember("m")
    assert 3 == anywhere.rollouts.over_through("m")


def test_nothing_follows_the_end(anywhere: Store, kind_of: Callable[..., str]) -> None:
    """A writer is told, and an entry that is there all the same is damage."""
    journal = begun(anywhere, final=True)
    late = entry(event="late")
    assert "conflict: rollout m-1 is over" == kind_of(lambda: anywhere.rollouts.append(journal, late))
    anywhere.medium.create(journal_key("m", 1, 2), encode(msgspec.structs.replace(late, seq=2, prev=journal.tip)))
    text = "damaged: rollouts/m/00000001/journal/00000002.json follows the last entry of rollout m-1"
    assert text == kind_of(lambda: anywhere.rollouts.read("m-1"))


def test_the_word_of_an_earlier_controller_does_not_count(anywhere: Store, kind_of: Callable[..., str]) -> None:
    """It is refused where it is seen, and passed over where it was written without looking."""
    journal = begun(anywhere)
    led = anywhere.rollouts.append(journal, entry(event="lead", token=2))
    assert led is not None
    text = "conflict: rollout m-1 has another controller: token 1 is older than 2"
    assert text == kind_of(lambda: anywhere.rollouts.append(led, entry(event="pass", token=1)))
    stale = entry(event="end", token=1, final=True, checkpoint="sha256:" + "c" * 64, seq=3, prev=led.tip)
    anywhere.medium.create(journal_key("m", 1, 3), encode(stale))
    found = anywhere.rollouts.read("m-1")
    assert (3, False, ["apply", "lead"], frozenset()) == (found.seq, found.final, [one.event for one in found.entries], found.blobs)
    assert anywhere.rollouts.append(found, entry(event="pass", token=2)) is not None
    assert anywhere.rollouts.append(anywhere.rollouts.read("m-1"), entry(event="pause", actor="ann")) is not None, "people have no token"


def test_numbers_have_no_gaps(anywhere: Store, kind_of: Callable[..., str]) -> None:
    """Whoever takes one has seen those before; a directory without an entry is none."""
    anywhere.medium.make_directory("rollouts/m/00000001/journal")
    assert "conflict: there is no rollout m-1 for the next one to follow" == kind_of(lambda: anywhere.rollouts.begin("m", 2, entry(2)))
    assert 0 == anywhere.rollouts.last("m").number
    begun(anywhere)
    assert 1 == anywhere.rollouts.last("m").number


@pytest.mark.parametrize("what", ["missing", "flipped", "moved", "newer"])
def test_damage_names_the_entry(store: Store, what: str, kind_of: Callable[..., str]) -> None:
    """Reading says which, `verify` finds it, and garbage is not collected beside it."""
    journal = begun(store)
    journal = store.rollouts.append(journal, entry(event="a"))
    journal = store.rollouts.append(journal, entry(event="b"))
    key = store.medium.root / journal_key("m", 1, 2)
    content = key.read_bytes()
    key.unlink()
    changed = {"flipped": content.replace(b"ann", b"ben"), "moved": content.replace(b'"m-1"', b'"m-2"'), "newer": b'{"format":99}'}
    if what in changed:
        key.write_bytes(changed[what])
    texts = {
        "missing": "damaged: rollouts/m/00000001/journal/00000002.json is missing, although entry 3 exists",
        "flipped": "damaged: rollouts/m/00000001/journal/00000003.json does not follow entry 2 of rollout m-1",
        "moved": "damaged: rollouts/m/00000001/journal/00000002.json does not follow entry 1 of rollout m-1",
        "newer": "unsupported: rollouts/m/00000001/journal/00000002.json has format 99; this release reads formats 1 to 2",
    }
    assert texts[what] == kind_of(lambda: store.rollouts.read("m-1"))
    assert ["rollouts/m/00000001"] == [finding.key for finding in damages(verify(store))]
    assert texts[what] == kind_of(lambda: collect(store, actor="ann", now_s=LATER_S))


def test_names(store: Store, kind_of: Callable[..., str]) -> None:
    """A rollout is called by its model and number, also where the model's own name ends like one."""
    assert ("a-1", 2) == model_and_number("a-1-2")
    for wrong in ("m", "m-", "m-0", "m-01", "-1", "m-1x", "../x-1", "m-¹"):
        assert kind_of(lambda wrong=wrong: store.rollouts.read(wrong)).startswith("invalid_name: ")
    assert "not_found: there is no rollout m-7" == kind_of(lambda: store.rollouts.read("m-7"))


def test_what_an_entry_may_say(store: Store, kind_of: Callable[..., str]) -> None:
    """Bad words, long reasons and details that are documents are refused before they are written."""
    assert kind_of(lambda: store.rollouts.begin("m", 1, entry(event="No Word"))).startswith("invalid_name: an entry of rollout m-1 is none")
    assert kind_of(lambda: store.rollouts.begin("m", 1, entry(actor=""))).startswith("invalid_name: actor")
    assert kind_of(lambda: store.rollouts.begin("m", 1, entry(reason="x" * 1001))).startswith("invalid_name: a reason")
    assert kind_of(lambda: store.rollouts.begin("m", 1, entry(details={"x": "x" * 70_000}))).endswith("more than 65536 bytes of details")
    assert kind_of(lambda: store.rollouts.begin("m", 1, entry(details={"x": object()}))).startswith("invalid_name: an entry")
    assert [] == store.rollouts.models()
    assert ("two lines", 1000) == (sentence("two\nlines"), len(sentence("x" * 2000)))


class TestClaims:
    """Who may decide."""

    def test_one_at_a_time(self, anywhere: Store) -> None:
        """The next number takes over what ran out; who had it is told when it renews."""
        begun(anywhere)
        claims = anywhere.rollouts.claims("m", 1)
        assert claims.newest() is None
        first = claims.take(holder="one", now_s=NOW_S, ttl_s=10)
        assert first is not None
        assert claims.take(holder="two", now_s=NOW_S + 9, ttl_s=10) is None
        renewed = claims.renew(first, now_s=NOW_S + 9, ttl_s=10)
        assert renewed == claims.newest()
        assert claims.take(holder="two", now_s=NOW_S + 18, ttl_s=10) is None
        second = claims.take(holder="two", now_s=NOW_S + 19, ttl_s=10)
        assert second is not None
        assert (1, 1, 2) == (first.token, renewed.token, second.token)
        assert claims.renew(renewed, now_s=NOW_S + 19.5, ttl_s=1000) is None
        assert second == claims.newest(), "a renewal of what was taken over changes nothing"
        assert [] == verify(anywhere)

    def test_of_two_at_the_same_moment_one_has_it(self, anywhere: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """Both have seen that nobody does."""
        begun(anywhere)
        one, two = anywhere.rollouts.claims("m", 1), anywhere.rollouts.claims("m", 1)
        monkeypatch.setattr(two, "newest", lambda: None)
        assert one.take(holder="one", now_s=NOW_S, ttl_s=10) is not None
        assert two.take(holder="two", now_s=NOW_S, ttl_s=10) is None

    def test_a_process_that_comes_again(self, anywhere: Store) -> None:
        """It has no memory of its claim, and gets the next one at once."""
        begun(anywhere)
        tokens = [anywhere.rollouts.claims("m", 1).take(holder="one", now_s=NOW_S, ttl_s=10) for _ in range(2)]
        assert [1, 2] == [claim.token for claim in tokens if claim is not None]

    def test_a_damaged_claim(self, store: Store, kind_of: Callable[..., str]) -> None:
        """It is named, and nobody decides until it is mended."""
        begun(store)
        claims = store.rollouts.claims("m", 1)
        claims.take(holder="one", now_s=NOW_S, ttl_s=10)
        path = store.medium.root / "rollouts/m/00000001/claims/00000001.json"
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content.replace(b"one", b"two"))
        text = "damaged: rollouts/m/00000001/claims/00000001.json does not match its own digest"
        assert text == kind_of(lambda: claims.take(holder="two", now_s=NOW_S, ttl_s=10))
        assert ["rollouts/m/00000001"] == [finding.key for finding in damages(verify(store))]


class TestTips:
    """Looking again and again."""

    def test_only_what_is_new_is_read(self, store: Store) -> None:
        """What is open comes, grows and goes; a look in which nothing changed reads no entry."""
        reads: list[str] = []

        class Counting(DirectoryMedium):
            def read(self, key: str) -> bytes | None:
                reads.append(key)
                return super().read(key)

        tips = RolloutTips(Rollouts(Counting(store.medium.root)))
        assert () == tips.look()
        journal = begun(store)
        begun(store, 1, "n")
        assert ["m-1", "n-1"] == [found.id for found in tips.look()]
        reads.clear()
        assert ["m-1", "n-1"] == [found.id for found in tips.look()]
        assert [] == reads
        after = store.rollouts.append(journal, entry(event="a"))
        assert [2, 1] == [found.seq for found in tips.look()]
        assert [journal_key("m", 1, 2)] == reads
        store.rollouts.append(after, entry(event="end", final=True))
        assert ["n-1"] == [found.id for found in tips.look()]
        reads.clear()
        tips.look()
        assert [] == reads

    def test_damage_beside_what_is_whole(self, store: Store) -> None:
        """It stays as it was last seen, and is named; the others go on."""
        journal = begun(store)
        begun(store, 1, "n")
        tips = RolloutTips(store.rollouts)
        tips.look()
        (store.medium.root / journal_key("m", 1, 2)).write_bytes(b"x")
        assert [("m-1", 1), ("n-1", 1)] == [(found.id, found.seq) for found in tips.look()]
        assert 1 == len(tips.problems)
        assert "m/00000001/journal/00000002.json" in tips.problems[0]
        fresh = RolloutTips(store.rollouts)
        assert ["n-1"] == [found.id for found in fresh.look()]
        assert 1 == len(fresh.problems)
        (store.medium.root / journal_key("m", 1, 2)).unlink()
        assert journal == tips.look()[0]
        assert () == tips.problems


class TestBeside:
    """The rest of the registry knows of them."""

    def test_what_an_open_rollout_needs_stays(self, store: Store, put_manifest: PutManifest) -> None:
        """Its plan and its verdicts for good; its checkpoint and the files of a deleted version only while it is open."""
        version = store.add_version("m", put_manifest(store, b"one"), publish_id="one", publisher="ann", now_s=1e9)[0]
        plan, verdict, old, new = (store.put_blob(content)[0] for content in (b"plan", b"verdict", b"old", b"new"))
        store.deletion("m").delete(version, actor="ann", reason="", now_s=1e9)  # by somebody who was faster
        journal = begun(store, evidence=(plan,), pins=(version,))
        journal = store.rollouts.append(journal, entry(event="a", checkpoint=old))
        journal = store.rollouts.append(journal, entry(event="b", evidence=(verdict,), checkpoint=new))
        gone = self._trashed(store, LATER_S)
        assert {old} == gone
        assert store.medium.stat(blob_key(store.record("m", version).manifest)) is not None
        store.rollouts.append(journal, entry(event="end", final=True))
        gone = self._trashed(store, LATER_S + 2 * DEFAULT_GRACE_S)
        assert new in gone
        assert store.record("m", version).manifest in gone
        assert {plan, verdict}.isdisjoint(gone)
        assert [] == damages(verify(store))

    def test_a_version_of_an_open_rollout_is_not_deleted(self, store: Store, put_manifest: PutManifest, kind_of: KindOf) -> None:
        """Not the candidate, nor what it is compared with; once it is over, both may go."""
        for content in (b"one", b"two", b"three"):
            store.add_version("m", put_manifest(store, content), publish_id=content.decode(), publisher="ann", now_s=1e9)
        journal, by = begun(store, pins=(1, 2)), {"actor": "ann", "reason": "", "now_s": 1e9}
        deletion = store.deletion("m")
        for version in (1, 2):
            text = f"conflict: version {version} of model 'm' is needed by rollout m-1"
            assert text == kind_of(lambda version=version: deletion.delete(version, **by))
        deletion.delete(3, **by)
        store.rollouts.append(journal, entry(event="end", final=True))
        deletion.delete(2, **by)
        assert [1] == store.versions("m")

    def test_a_missing_verdict_is_damage(self, store: Store) -> None:
        """A checkpoint that is gone after its rollout is over is none."""
        verdict, checkpoint = store.put_blob(b"verdict")[0], store.put_blob(b"checkpoint")[0]
        journal = begun(store, evidence=(verdict,), checkpoint=checkpoint)
        assert [] == verify(store)
        store.rollouts.append(journal, entry(event="end", final=True))
        (store.medium.root / blob_key(checkpoint)).unlink()
        assert [] == verify(store)
        (store.medium.root / blob_key(verdict)).unlink()
        assert ["rollouts/m/00000001"] == [finding.key for finding in damages(verify(store))]

    def test_a_backup_has_them(self, store: Store, tmp_path: Path) -> None:
        """Journals, plans, verdicts, checkpoints; a second backup adds what came since, one that went its own way is refused."""
        plan, checkpoint = store.put_blob(b"plan")[0], store.put_blob(b"checkpoint")[0]
        journal = begun(store, evidence=(plan,), checkpoint=checkpoint)
        store.rollouts.claims("m", 1).take(holder="one", now_s=NOW_S, ttl_s=10)
        copy_registry(store, tmp_path / "copy")
        copy = Store.open(tmp_path / "copy")
        assert [journal] == copy.rollouts.active()
        assert (b"plan", b"checkpoint", None) == (copy.read_blob(plan), copy.read_blob(checkpoint), copy.rollouts.claims("m", 1).newest())
        assert [] == verify(copy)
        after = store.rollouts.append(journal, entry(event="a"))
        assert 2 == copy_registry(store, tmp_path / "copy").entries
        assert [after] == copy.rollouts.active()
        copy.rollouts.append(after, entry(event="b", actor="bob"))
        store.rollouts.append(after, entry(event="b", actor="ann"))
        with pytest.raises(RegistryError, match="it went its own way"):
            copy_registry(store, tmp_path / "copy")

    def test_what_a_crash_leaves_is_a_notice(self, store: Store) -> None:
        """A number without its first entry; a directory that is no model's."""
        store.medium.make_directory("rollouts/m/00000001/journal")
        store.medium.make_directory("rollouts/no model")
        assert {"rollouts/m/00000001", "rollouts/no model"} == {finding.key for finding in verify(store)}
        assert {Severity.NOTICE} == {finding.severity for finding in verify(store)}
        assert ["m"] == store.rollouts.models()
        assert [] == store.rollouts.active()

    def _trashed(self, store: Store, now_s: float) -> set[str]:
        return {item.digest for item in collect(store, actor="ann", now_s=now_s, dry_run=False).trashed}
