"""Aliases: moved by whoever says from where, protected by policy, never lost and never moved twice."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from registry.aliases import Aliases
from registry.entries import AliasMoved
from registry.errors import Kind, RegistryError
from registry.evidence import Evidence
from registry.manifest import Manifest
from registry.names import blob_key, digest_of
from registry.store import Store
from registry.verify import verify

NOW_S = 1_700_000_000.0
BY = {"actor": "ann", "reason": "why not", "now_s": NOW_S}


@pytest.fixture
def served(store: Store, put_manifest: Callable[[Store, bytes], Manifest]) -> Store:
    """A registry with versions 1, 2 and 3 of m, published by pat."""
    for content in (b"one", b"two", b"three"):
        store.add_version("m", put_manifest(store, content), publish_id=content.decode(), publisher="pat", now_s=NOW_S)
    return store


@pytest.fixture
def aliases(served: Store) -> Aliases:
    """Those of m."""
    return served.aliases("m")


def _policy(store: Store, text: str) -> None:
    (store.medium.root / "policy.yaml").write_text(text)


def _proof(store: Store, kind: str, version: int, *, passed: bool = True) -> str:
    return store.put_evidence(Evidence(kind=kind, manifest=store.record("m", version).manifest, passed=passed))


class TestMoves:
    """Compare-and-swap."""

    def test_move_and_resolve(self, served: Store, aliases: Aliases) -> None:
        """From nothing to a version, on to another, away; each is in the log with actor, reason, from and to."""
        proof = _proof(served, "eval", 2)
        aliases.move("champion", to=1, expected_from=None, **BY)
        aliases.move("champion", to=2, expected_from=1, evidence=[proof], **BY)
        assert ({"champion": 2}, 2) == (aliases.all(), served.resolve("m", "champion"))
        aliases.remove("champion", expected_from=2, **BY)
        assert {} == aliases.all()
        said = [(entry.from_version, getattr(entry, "to", None)) for entry in list(served.history("m"))[3:]]
        assert [(None, 1), (1, 2), (2, None)] == said
        moved = list(served.history("m"))[4]
        assert isinstance(moved, AliasMoved)
        assert ("ann", "why not", (proof,), NOW_S) == (moved.actor, moved.reason, moved.evidence, moved.time.timestamp())
        assert [] == verify(served)

    def test_progress(self, served: Store) -> None:
        """A move tells the bytes that it hashes, in pieces; a refused one hashes nothing."""
        counted: list[int] = []
        aliases = served.aliases("m", progress=counted.append)
        with pytest.raises(RegistryError):
            aliases.move("champion", to=1, expected_from=3, **BY)
        assert [] == counted
        aliases.move("champion", to=1, expected_from=None, **BY)
        assert [blob.size for blob in served.manifest("m", 1).blobs] == counted

    @pytest.mark.parametrize(
        ("start", "expected", "text"),
        [
            (None, 1, "conflict: alias 'a' of model 'm' does not exist; expected it at version 1"),
            (1, None, "conflict: alias 'a' of model 'm' stands for version 1; expected it absent"),
            (1, 2, "conflict: alias 'a' of model 'm' stands for version 1; expected it at version 2"),
        ],
    )
    def test_it_stands_elsewhere(
        self, aliases: Aliases, start: int | None, expected: int | None, text: str, kind_of: Callable[..., str]
    ) -> None:
        """Nothing is written."""
        if start is not None:
            aliases.move("a", to=start, expected_from=None, **BY)
        assert text == kind_of(lambda: aliases.move("a", to=3, expected_from=expected, **BY))
        assert ({} if start is None else {"a": start}) == aliases.all()

    def test_another_is_faster(self, served: Store, hooked: Callable[..., Any], kind_of: Callable[..., str]) -> None:
        """The alias moves in the moment before our entry gets its number: a conflict, not an overwrite."""
        rival, left = served.aliases("m"), [True]

        def intrude(name: str, arguments: tuple[Any, ...]) -> None:
            if name == "link" and "/log/" in str(arguments[1]) and left and left.pop():
                rival.move("champion", to=3, expected_from=None, **BY)

        ours = Store.open(served.medium.root, calls=hooked(intrude)).aliases("m")
        text = "conflict: alias 'champion' of model 'm' stands for version 3; expected it absent"
        assert text == kind_of(lambda: ours.move("champion", to=1, expected_from=None, **BY))
        assert {"champion": 3} == rival.all()

    def test_other_entries_do_not_disturb(self, served: Store, hooked: Callable[..., Any]) -> None:
        """The number that we wanted goes to an entry about something else: the move takes the next one."""
        rival, left = served.aliases("m"), [True]

        def intrude(name: str, arguments: tuple[Any, ...]) -> None:
            if name == "link" and "/log/" in str(arguments[1]) and left and left.pop():
                rival.move("other", to=3, expected_from=None, **BY)

        Store.open(served.medium.root, calls=hooked(intrude)).aliases("m").move("champion", to=1, expected_from=None, **BY)
        assert {"champion": 1, "other": 3} == rival.all()

    def test_repeated_with_one_operation_id(self, aliases: Aliases, kind_of: Callable[..., str]) -> None:
        """The same entry, although the alias has moved on; another move under the id is a conflict."""
        first = aliases.move("a", to=1, expected_from=None, operation_id="x", **BY)
        aliases.move("a", to=2, expected_from=1, **BY)
        again = aliases.move("a", to=1, expected_from=None, operation_id="x", **BY)
        assert (True, False, first.entry) == (first.new, again.new, again.entry)
        assert {"a": 2} == aliases.all()
        text = kind_of(lambda: aliases.move("a", to=3, expected_from=None, operation_id="x", **BY))
        assert "conflict: operation id 'x' already stands for another one, entry 4 of the log of model 'm'" == text

    @pytest.mark.parametrize("name", ["latest", "Latest", "7", "", "a b", "7a", "../x", "a" * 65])
    def test_refused_names(self, aliases: Aliases, name: str, kind_of: Callable[..., str]) -> None:
        """`latest`, and what could be a number or a path."""
        assert kind_of(lambda: aliases.move(name, to=1, expected_from=None, **BY)).startswith("invalid_name: ")
        assert kind_of(lambda: aliases.resolve(name)).startswith(("invalid_name: ", "not_found: "))

    def test_labels(self, aliases: Aliases, kind_of: Callable[..., str]) -> None:
        """A number in digits is a version; what is not there is named."""
        assert [1, 3] == [aliases.resolve(label) for label in ("1", "003")]
        assert "not_found: model 'm' has no version 4" == kind_of(lambda: aliases.resolve("4"))
        assert "not_found: model 'm' has no version 99999999999999999999" == kind_of(lambda: aliases.resolve("9" * 30))
        assert "not_found: model 'm' has no alias 'champion'" == kind_of(lambda: aliases.resolve("champion"))

    def test_refused_targets(self, served: Store, aliases: Aliases, kind_of: Callable[..., str]) -> None:
        """A version that does not exist, one whose file changed, and evidence that is not stored."""
        assert "not_found: model 'm' has no version 9" == kind_of(lambda: aliases.move("a", to=9, expected_from=None, **BY))
        absent = digest_of(b"never stored")
        text = kind_of(lambda: aliases.move("a", to=1, expected_from=None, evidence=[absent], **BY))
        assert f"damaged: {blob_key(absent)} is missing" == text
        path = served.medium.root / blob_key(served.manifest("m", 2).model.digest)
        path.chmod(0o644)
        path.write_bytes(b"owt")
        assert kind_of(lambda: aliases.move("a", to=2, expected_from=None, **BY)).startswith(
            "damaged: model.onnx of version 2 of model 'm'"
        )
        assert {} == aliases.all()

    def test_a_version_without_a_log_entry(self, served: Store, aliases: Aliases) -> None:
        """Its publisher died; the move writes that entry first."""
        (served.medium.root / "models/m/log/00000003.json").unlink()
        (served.medium.root / "models/m/head.json").unlink()
        aliases.move("a", to=3, expected_from=None, **BY)
        assert ({"a": 3}, []) == (aliases.all(), verify(served))


class TestPolicy:
    """Protected aliases."""

    def test_everything_that_is_missing_is_named(self, served: Store, aliases: Aliases, kind_of: Callable[..., str]) -> None:
        """At once, so that nobody comes back five times."""
        _policy(
            served,
            "{format: 2, aliases: {champion: {movers: [bot], approvers: [bea, cas], min_approvals: 2, require_evidence: [eval, infra]}}}",
        )
        aliases.reject("champion", 2, actor="cas", reason="no", now_s=NOW_S)
        proof = [_proof(served, "eval", 1), _proof(served, "infra", 2, passed=False)]
        assert (
            "policy: alias 'champion' of model 'm' is protected: 'ann' may not move it; 'cas' rejects version 2; "
            "it has 0 of 2 approvals; evidence 'eval' is missing; evidence 'infra' is missing"
        ) == kind_of(lambda: aliases.move("champion", to=2, expected_from=None, evidence=proof, **BY))
        aliases.move("challenger", to=2, expected_from=None, **BY)  # the policy says nothing of it

    def test_enough(self, served: Store, aliases: Aliases, kind_of: Callable[..., str]) -> None:
        """Two approvals, a rejection taken back, evidence for this very manifest; going back to an approved version needs nothing new."""
        _policy(served, '{"format": 2, "aliases": {"champion": {"min_approvals": 2, "require_evidence": ["eval"]}}}')
        for version in (1, 2):
            proof = _proof(served, "eval", version)
            aliases.reject("champion", version, actor="bea", reason="let me look", now_s=NOW_S)
            for actor in ("bea", "cas"):
                aliases.approve("champion", version, actor=actor, reason="fine", now_s=NOW_S)
            aliases.move("champion", to=version, expected_from=version - 1 or None, evidence=[proof], **BY)
        aliases.move("champion", to=1, expected_from=2, evidence=[_proof(served, "eval", 1)], **BY)
        assert {"champion": 1} == aliases.all()
        assert kind_of(lambda: aliases.remove("champion", expected_from=1, **BY)).startswith(
            "policy: alias 'champion' of model 'm' is protected"
        )
        (moved, *_) = [entry for entry in served.history("m") if isinstance(entry, AliasMoved)]
        assert digest_of((served.medium.root / "policy.yaml").read_bytes()) == moved.policy
        assert [] == verify(served)

    def test_who_cannot_approve(self, served: Store, aliases: Aliases, kind_of: Callable[..., str]) -> None:
        """The publisher, who is not named, and nobody twice."""
        _policy(served, "{format: 2, aliases: {champion: {approvers: [bea, pat, cas], min_approvals: 2}}}")
        speak = {"reason": "", "now_s": NOW_S}
        assert kind_of(lambda: aliases.approve("champion", 1, actor="pat", **speak)).startswith("policy: 'pat' published version 1")
        assert kind_of(lambda: aliases.approve("champion", 1, actor="eve", **speak)).startswith("policy: 'eve' is no approver")
        aliases.approve("champion", 1, actor="bea", **speak)
        aliases.approve("champion", 1, actor="bea", **speak)
        assert "it has 1 of 2 approvals" in kind_of(lambda: aliases.move("champion", to=1, expected_from=None, **BY))
        aliases.approve("champion", 2, actor="cas", **speak)
        assert "it has 1 of 2 approvals" in kind_of(lambda: aliases.move("champion", to=1, expected_from=None, **BY))
        assert [("bea", True)] == [(opinion.actor, opinion.approved) for opinion in aliases.opinions("champion", 1)]

    def test_an_approver_that_changes_sides_meanwhile(self, served: Store, hooked: Callable[..., Any], kind_of: Callable[..., str]) -> None:
        """A rejection that gets its number first counts."""
        _policy(served, "{format: 2, aliases: {champion: {min_approvals: 1}}}")
        other, left = served.aliases("m"), [True]
        other.approve("champion", 1, actor="bea", reason="", now_s=NOW_S)

        def intrude(name: str, arguments: tuple[Any, ...]) -> None:
            if name == "link" and "/log/" in str(arguments[1]) and left and left.pop():
                other.reject("champion", 1, actor="bea", reason="wait", now_s=NOW_S)

        ours = Store.open(served.medium.root, calls=hooked(intrude)).aliases("m")
        assert "'bea' rejects version 1; it has 0 of 1" in kind_of(lambda: ours.move("champion", to=1, expected_from=None, **BY))

    @pytest.mark.parametrize("order", list(permutations(["bea", "cas", "dan"]))[::2])
    def test_any_order_of_approvals(self, aliases: Aliases, served: Store, order: tuple[str, ...]) -> None:
        """Whoever comes first, two are enough."""
        _policy(served, "{format: 2, models: {m: {champion: {min_approvals: 2}}}}")
        for actor in order[:2]:
            aliases.approve("champion", 1, actor=actor, reason="", now_s=NOW_S)
        assert aliases.move("champion", to=1, expected_from=None, **BY).new

    def test_signatures(self, served: Store, kind_of: Callable[..., str]) -> None:
        """Asked for at the move, and at the load where the policy says so; whoever cannot check them refuses."""
        _policy(served, "{format: 2, aliases: {champion: {require_signatures: [k1, k2]}}, load: {require_signatures: [k1]}}")
        move = {"to": 1, "expected_from": None, **BY}
        assert kind_of(lambda: served.aliases("m").move("champion", **move)).startswith("policy: the policy asks for signatures")
        manifest = served.record("m", 1).manifest

        def signers(medium: object, digest: str, content: bytes) -> set[str]:
            assert digest_of(content) == digest
            return {"k1"} if digest == manifest else set()

        checking = Store.open(served.medium.root, signers=signers)
        assert "the signature of key 'k2' is missing" in kind_of(lambda: checking.aliases("m").move("champion", **move))
        checking.load_verified("m", 1).close()
        assert "policy: the signature of key 'k1' is missing" == kind_of(lambda: checking.load_verified("m", 2))
        assert kind_of(lambda: served.load_verified("m", 1)).startswith("policy: the policy asks for signatures")

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ("", "it must be a mapping"),
            ("aliases: {}", "Object missing required field `format`"),
            ("format: 3", "Invalid enum value 3 - at `$.format`"),
            ("{format: 2, alias: {}}", "unknown field 'alias'"),
            ("{format: 2, aliases: {champion: {approver: [a]}}}", "aliases.champion: Object contains unknown field `approver`"),
            ("{format: 2, models: {m: {champion: {min_approvals: -1}}}}", "models.m.champion: Expected `int` >= 0 - at `$.min_approvals`"),
            ("{format: 2, aliases: {champion: {approvers: [a], min_approvals: 2}}}", "aliases.champion: 2 approvals can never come from 1"),
            ("{format: 2, aliases: {latest: {}}}", "aliases.latest: 'latest' cannot be an alias"),
            ("{format: 2, models: {a/b: {}}}", "models.a/b: model name"),
            ("format: 2\nformat: 2\n", "line 2: 'format' is given twice"),
            ("format: 2\naliases: &a\n  b: *a\n", "line 3: references are not allowed"),
            ("format: [", "line 1: "),
            ("format: 2\n? [a]\n: b\n", "line 2: a key is no text"),
            ("[" * 5_000, "it is not YAML in UTF-8"),
            ("\xff", "line 1"),
        ],
    )
    def test_a_policy_that_cannot_be_read_protects_everything(
        self, served: Store, aliases: Aliases, text: str, place: str, kind_of: Callable[..., str]
    ) -> None:
        """The place of the mistake is named, no alias moves, and `verify` says so too."""
        _policy(served, text)
        refusal = kind_of(lambda: aliases.move("a", to=1, expected_from=None, **BY))
        assert refusal.startswith("policy: policy.yaml: "), refusal
        assert place in refusal or text == "\xff"
        assert ["policy.yaml"] == [finding.key for finding in verify(served)]
        assert kind_of(lambda: aliases.remove("a", expected_from=1, **BY)).startswith("policy: policy.yaml")


class TestDeletion:
    """Versions that end, and what prevents it."""

    def test_delete(self, served: Store, kind_of: Callable[..., str], put_manifest: Callable[[Store, bytes], Manifest]) -> None:
        """It is no longer listed, its number is not used again, its publish id is not revived."""
        served.deletion("m").delete(3, **BY)
        assert [1, 2] == served.versions("m")
        assert "not_found: model 'm' has no version 3" == kind_of(lambda: served.deletion("m").delete(3, **BY))
        assert "not_found: model 'm' has no version 3" == kind_of(lambda: served.resolve("m", "3"))
        again = put_manifest(served, b"three")
        text = kind_of(lambda: served.add_version("m", again, publish_id="three", publisher="pat", now_s=NOW_S))
        assert "conflict: publish id 'three' stands for version 3, which was deleted" == text
        assert 4 == served.add_version("m", again, publish_id="four", publisher="pat", now_s=NOW_S)[0]
        assert [] == verify(served)

    def test_what_is_needed_stays(self, served: Store, kind_of: Callable[..., str]) -> None:
        """An alias or a hold keeps a version, until it is taken away."""
        deletion = served.deletion("m")
        served.aliases("m").move("champion", to=1, expected_from=None, **BY)
        deletion.hold("audit 7", 1, **BY)
        assert {"audit 7": 1} == deletion.holds()
        text = "conflict: version 1 of model 'm' is needed by alias 'champion', hold 'audit 7'"
        assert text == kind_of(lambda: deletion.delete(1, **BY))
        assert "conflict: hold 'audit 7' of model 'm' exists, on version 1" == kind_of(lambda: deletion.hold("audit 7", 2, **BY))
        deletion.release("audit 7", **BY)
        assert "not_found: model 'm' has no hold 'audit 7'" == kind_of(lambda: deletion.release("audit 7", **BY))
        served.aliases("m").move("champion", to=2, expected_from=1, **BY)
        assert deletion.delete(1, operation_id="d", **BY).new
        assert not deletion.delete(1, operation_id="d", **BY).new

    def test_an_alias_that_arrives_first(self, served: Store, hooked: Callable[..., Any], kind_of: Callable[..., str]) -> None:
        """Either the deletion sees the alias or the move sees the deletion; the log has one order."""
        rival, left = served.aliases("m"), [True]

        def intrude(name: str, arguments: tuple[Any, ...]) -> None:
            if name == "link" and "/log/" in str(arguments[1]) and left and left.pop():
                rival.move("champion", to=3, expected_from=None, **BY)

        ours = Store.open(served.medium.root, calls=hooked(intrude)).deletion("m")
        assert kind_of(lambda: ours.delete(3, **BY)).startswith("conflict: version 3 of model 'm' is needed by alias 'champion'")


def test_what_no_writer_writes_is_damage(served: Store, tmp_path: Path) -> None:
    """An entry that fits the chain but not the state was written by hand; nothing of the log is believed."""
    from datetime import UTC, datetime

    from registry.entries import encode
    from registry.names import numbered

    journal = served.versions_of("m").journal
    head = journal.read()
    fields = {
        "seq": 4,
        "prev": head.tip,
        "model": "m",
        "actor": "eve",
        "time": datetime.fromtimestamp(0, UTC),
        "operation_id": "o",
        "reason": "",
    }
    forged = AliasMoved(**fields, format=2, alias="champion", from_version=2, to=3)
    (served.medium.root / f"models/m/log/{numbered(4)}").write_bytes(encode(forged))
    with pytest.raises(RegistryError, match=r"00000004.json moves alias 'champion' from where it was not") as caught:
        served.aliases("m").all()
    assert Kind.DAMAGED == caught.value.kind
    assert [1, 2, 3] == served.versions("m")  # a log that cannot be read deletes nothing
