"""`tidegate alias`, `approve`, `reject` and `log`: promoting a version, and who said what about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.commands.output import Exit
from registry import store as stores
from registry.store import Store
from tests.gateway.commands.console import done, failed, parsed

POLICY = """\
format: 2
aliases:
  champion:
    movers: [cas]
    approvers: [ann, bea, dan]
    min_approvals: 2
    require_evidence: [eval]
"""


def evidence(path: Path, registry: Path, version: int) -> Path:
    """A document that says that a version passed."""
    manifest = Store.open(registry).record("ages", version).manifest
    path.write_text(f"kind: eval\nmanifest: {manifest}\npassed: true\nfacts: {{auc: 0.7}}\n")
    return path


def test_an_alias_moves_from_where_it_stands(registry: Path) -> None:
    """To a version or to where another alias stands; once it is there, nothing is left to do."""
    assert "champion: 1 -> 2\n" == done("alias", "ages", "champion", 2, "-r", registry, "--reason", "better")
    assert "champion: 2 already\n" == done("alias", "ages", "champion", 2, "-r", registry)
    assert "challenger: none -> 1\n" == done("alias", "ages", "challenger", 1, "-r", registry, "--from", "none")
    assert "champion: 2 -> 1\n" == done("alias", "ages", "champion", "challenger", "-r", registry, "--from", 2)
    assert "challenger: 1 -> none\n" == done("alias", "ages", "challenger", "--remove", "-r", registry)
    assert "challenger: none already\n" == done("alias", "ages", "challenger", "--remove", "-r", registry)
    moved = parsed("alias", "ages", "champion", 2, "-r", registry, "--operation-id", "o")
    assert {"model": "ages", "alias": "champion", "from": 1, "to": 2, "entry": 8, "operation_id": "o", "new": True} == moved


def test_an_operation_happens_once(registry: Path) -> None:
    """Also when the alias was moved on in between."""
    command = ["alias", "ages", "champion", 2, "-r", registry, "--operation-id", "o"]
    first = parsed(*command)
    done("alias", "ages", "champion", 1, "-r", registry)
    assert {**first, "new": False} == parsed(*command)
    assert "champion: 1 -> 2, as before\n" == done(*command)
    stderr = failed(Exit.REGISTRY, "alias", "ages", "champion", 1, "-r", registry, "--operation-id", "o")
    assert "conflict: operation id 'o' already stands for another one, entry 4" in stderr


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["nope", "champion", "1"], Exit.REGISTRY, "not_found: the registry has no model 'nope'"),
        (["ages", "latest", "1"], Exit.REGISTRY, "invalid_name: 'latest' cannot be an alias"),
        (["ages", "1", "2"], Exit.REGISTRY, "invalid_name: alias '1' does not match"),
        (["ages", "champion", "9"], Exit.REGISTRY, "not_found: model 'ages' has no version 9"),
        (["ages", "champion", "9" * 5000], Exit.REGISTRY, "not_found: model 'ages' has no version 9999"),
        (["ages", "champion", "challenger"], Exit.REGISTRY, "not_found: model 'ages' has no alias 'challenger'"),
        (["ages", "champion", "2", "--from", "2"], Exit.REGISTRY, "stands for version 1; expected it at version 2"),
        (["ages", "champion", "2", "--from", "none"], Exit.REGISTRY, "stands for version 1; expected it absent"),
        (["ages", "champion", "2", "--from", "x"], Exit.USAGE, "--from: expected a version's number or none, got 'x'"),
        (["ages", "champion", "2", "--remove"], Exit.USAGE, "--remove takes neither a version nor evidence"),
        (["ages", "champion", "--remove", "--from", "none"], Exit.REGISTRY, "cannot be removed from where it is not"),
        (["ages", "champion", "2", "--reason", "a\nb"], Exit.REGISTRY, "invalid_name: a reason must be at most 1000 printable"),
        (["ages", "champion", "2", "--evidence", "/no/file"], Exit.USAGE, "/no/file: No such file or directory"),
        (["ages", "champion", "2", "--evidence", "sha256:" + "0" * 64], Exit.REGISTRY, "is missing"),
    ],
)
def test_refusals(registry: Path, arguments: list[str], code: Exit, text: str) -> None:
    """The alias stays where it was."""
    assert text in failed(code, "alias", *arguments, "-r", registry)
    assert {"champion": 1} == Store.open(registry).aliases("ages").all()


def test_an_alias_that_moves_meanwhile_stays_there(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody was faster while the files were hashed."""
    check = stores.Store.check_version

    def beaten(store: Store, model: str, version: int, **options: object) -> None:
        monkeypatch.undo()
        Store.open(registry).aliases(model).remove("champion", expected_from=1, actor="eve", reason="", now_s=0.0)
        check(store, model, version)

    monkeypatch.setattr(stores.Store, "check_version", beaten)
    stderr = failed(Exit.REGISTRY, "alias", "ages", "champion", 2, "-r", registry)
    assert "conflict: alias 'champion' of model 'ages' does not exist; expected it at version 1" in stderr


def test_a_damaged_version_is_not_promoted(registry: Path, damage: Callable[[int], None]) -> None:
    """Its files are hashed first."""
    damage(2)
    assert "damaged: model.onnx of version 2" in failed(Exit.REGISTRY, "alias", "ages", "champion", 2, "-r", registry)


def test_a_policy_says_everything_that_is_missing(registry: Path, tmp_path: Path) -> None:
    """Approvals of others than the publisher, evidence about this very version, and who may move."""
    (registry / "policy.yaml").write_text(POLICY)
    stderr = failed(Exit.REGISTRY, "alias", "ages", "champion", 2, "-r", registry, "--actor", "eve")
    assert (
        "policy: alias 'champion' of model 'ages' is protected: 'eve' may not move it; it has 0 of 2 approvals; evidence 'eval'" in stderr
    )
    assert "ann approves version 2 as champion\n" == done("approve", "ages", "champion", 2, "-r", registry, "--actor", "ann")
    about = ["ages", "champion", 2, "-r", registry, "--actor"]
    assert "dan rejects version 2 as champion\n" == done("reject", *about, "dan", "--reason", "too slow")
    assert "'dan' rejects version 2" in failed(Exit.REGISTRY, "alias", *about, "cas")
    assert "approval.given" == parsed("approve", *about, "dan", "--operation-id", "d")["op"]
    assert "dan approves version 2 as champion, as before\n" == done("approve", *about, "dan", "--operation-id", "d")
    assert "policy: 'eve' is no approver" in failed(Exit.REGISTRY, "approve", *about, "eve")
    assert "'bea' published version 2 and cannot speak about it" in failed(Exit.REGISTRY, "reject", *about, "bea")
    other = evidence(tmp_path / "other.yaml", registry, 1)
    assert f"{other}: is about sha256:" in failed(Exit.USAGE, "alias", *about, "cas", "--evidence", other)
    assert "champion: 1 -> 2\n" == done("alias", *about, "cas", "--evidence", evidence(tmp_path / "e.yaml", registry, 2))
    assert "is protected and cannot be removed" in failed(Exit.REGISTRY, "alias", "ages", "champion", "--remove", "-r", registry)


def test_an_alias_shows_what_it_takes_to_move_it(registry: Path) -> None:
    """And who has said what, of which version."""
    assert "champion: 1\n  anybody may move it\n" == done("alias", "ages", "champion", "-r", registry)
    (registry / "policy.yaml").write_text(POLICY + '    require_signatures: ["sha256:abc"]\n')
    done("approve", "ages", "champion", 2, "-r", registry, "--actor", "ann")
    assert [
        "champion: 1",
        "  protected: 2 approvals of ann, bea, dan",
        "  moved by cas only",
        "  its publisher's approval does not count",
        "  with evidence eval",
        "  signed by key sha256:abc",
        "version  who  says",
        "      2  ann  approves",
    ] == done("alias", "ages", "champion", "-r", registry).splitlines()
    found = parsed("alias", "ages", "champion", "-r", registry)
    assert (1, 2, [{"version": 2, "actor": "ann", "approved": True}]) == (
        found["version"], found["policy"]["min_approvals"], found["opinions"],
    )  # fmt: skip
    assert parsed("alias", "ages", "challenger", "-r", registry)["version"] is None


@pytest.mark.parametrize("content", ["kind: eval", "[]", '{"kind": "eval", "manifest": "x", "passed": true}'])
def test_evidence_that_is_none_is_refused(registry: Path, tmp_path: Path, content: str) -> None:
    """The file is named."""
    path = tmp_path / "e.yaml"
    path.write_text(content)
    assert f"tidegate: {path}: " in failed(Exit.USAGE, "approve", "ages", "champion", 2, "-r", registry, "--evidence", path)


def test_a_signature_counts_with_a_key(registry: Path, keys: dict[str, Path]) -> None:
    """Without one nobody can check what the policy asks for."""
    key = parsed("sign", "ages", 2, "-r", registry, "--key", keys["private"])["key_id"]
    (registry / "policy.yaml").write_text(f'format: 2\naliases: {{champion: {{require_signatures: ["{key}"]}}}}\n')
    command = ["alias", "ages", "champion", 2, "-r", registry]
    assert "policy: " in failed(Exit.REGISTRY, *command)
    assert f"the signature of key '{key}' is missing" in failed(Exit.REGISTRY, *command, "--key", keys["stranger"])
    assert "champion: 1 -> 2\n" == done(*command, "--key", keys["public"])


def test_a_policy_that_cannot_be_read_protects_everything(registry: Path) -> None:
    """With its line."""
    (registry / "policy.yaml").write_text("format: 2\naliases: [\n")
    assert "policy: policy.yaml: line 3: " in failed(Exit.REGISTRY, "alias", "ages", "champion", 2, "-r", registry)


# log


def test_the_log_says_what_happened(registry: Path, tmp_path: Path) -> None:
    """One sentence per kind of entry, oldest first, with who and why."""
    at = ["-r", registry, "--actor", "cas"]
    document = evidence(tmp_path / "e.yaml", registry, 2)
    done("approve", "ages", "champion", 2, *at, "--reason", "good", "--evidence", document)
    done("reject", "ages", "champion", 2, *at)
    done("alias", "ages", "champion", 2, *at, "--evidence", document)
    done("alias", "ages", "champion", "--remove", *at)
    done("hold", "ages", 1, "audit", *at)
    done("release", "ages", "audit", *at)
    done("delete", "ages", 1, *at)
    lines = done("log", "ages", "-r", registry).splitlines()
    assert "    1  2023-11-14 22:13:20Z  bea  version 1 published" == lines[1]
    assert "    3  2023-11-14 22:13:20Z  cas  champion moved from none to 1        the first" == lines[3]
    said = [(entry["op"], entry["actor"], entry["reason"]) for entry in parsed("log", "ages", "-r", registry, "--last", 7)]
    assert ("approval.given", "cas", "good") == said[0]
    text = " ".join(" ".join(lines).split())
    for sentence in ("hold audit placed on version 1", "hold audit released", "version 1 deleted", "champion removed from 2"):
        assert sentence in text
    assert "version.deleted" == said[-1][0]
    last = done("log", "ages", "-r", registry, "--last", 1).splitlines()
    assert "9 entries before these" == last[-1]
    assert last[1].split()[4:] == ["version", "1", "deleted"]


def test_a_broken_chain_is_not_shown(registry: Path) -> None:
    """From its first entry on, whatever the cache says."""
    path = registry / "models" / "ages" / "log" / "00000001.json"
    entry = json.loads(path.read_bytes())
    path.chmod(0o644)
    path.write_text(json.dumps({**entry, "actor": "eve"}, separators=(",", ":")))
    result = failed(Exit.REGISTRY, "log", "ages", "-r", registry)
    assert "damaged: models/ages/log/00000002.json does not follow entry 1" in result
    assert "not_found: the registry has no model 'nope'" in failed(Exit.REGISTRY, "log", "nope", "-r", registry)
