"""Any state file cut or changed: what was last seen still serves, what is not touched loads, and the damage is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.desired import Desired
from registry.errors import Kind, RegistryError
from registry.gc import collect
from registry.manifest import Manifest
from registry.policy import POLICY
from registry.store import MARKER, Store
from registry.verify import verify
from registry.watch import Watch

BY = {"actor": "ann", "reason": "r" * 700, "now_s": 1e9}  # entries longer than a sector
SECTOR = 512


@pytest.fixture
def served(store: Store, put_manifest: Callable[[Store, bytes], Manifest]) -> Store:
    """One of every kind of state file; the model `other` is never touched."""
    for model, content in (("m", b"one"), ("m", b"two"), ("other", b"three")):
        store.add_version(model, put_manifest(store, content), publish_id=content.decode(), publisher="pat", now_s=1e9)
    (store.medium.root / "policy.yaml").write_text("# why\n" * 100 + "{format: 2, aliases: {champion: {min_approvals: 1}}}")
    store.aliases("m").approve("champion", 1, **BY)
    store.aliases("m").move("champion", to=1, expected_from=None, **BY)
    store.deletion("m").hold("audit", 2, **BY)
    store.lease("m", 1, holder="g" * 256, now_s=1e9, ttl_s=60)
    store.put_blob(b"orphan")
    collect(store, actor="ann", now_s=4e9, dry_run=False)
    return store


def _state_files(store: Store) -> list[Path]:
    root = store.medium.root
    paths = [path for path in root.rglob("*") if path.is_file() and path.relative_to(root).parts[0] not in {"blobs", "trash"}]
    return sorted(path for path in paths if "other" not in path.parts)


def _damages(content: bytes, *, by_people: bool) -> Iterator[bytes]:
    """Cut and flipped at each sector's border, at its end and in its middle. What people write has no digest, so it is only cut."""
    for start in range(0, len(content), SECTOR):
        yield content[:start]
        for position in () if by_people else {start, min(start + SECTOR, len(content)) - 1, min(start + SECTOR // 2, len(content) - 1)}:
            yield content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :]
    yield content[:-1]


def test_the_last_good_state_serves(served: Store) -> None:
    """A watch that saw the registry whole keeps handing over what it saw of the model; the damage is named by it or by `verify`."""
    seen: list[Desired] = []
    Watch(served, seen.append).look()
    whole = seen[0]
    assert 9 <= len(_state_files(served))
    for path in _state_files(served):
        content, key = path.read_bytes(), str(path.relative_to(served.medium.root))
        path.chmod(0o644)
        for damage in _damages(content, by_people=key == POLICY):
            path.write_bytes(damage)
            again = Watch(served, seen.append)
            again.last = whole
            again.look()
            assert again.failure is None
            assert whole.models == again.last.models, key
            assert key == POLICY or _loads(served)  # it might ask for signatures, so without it nothing new is loaded
            named = {finding.key for finding in verify(served)} if key != MARKER else {_refusal(served)}
            assert named, key
            assert {text for text in named if key.startswith(text) or text.startswith(key) or key.rpartition("/")[0] in text}, (key, named)
        path.write_bytes(content)
    assert {"blobs", "models/m/head.json"} >= {finding.key.partition("/")[0] for finding in verify(served)}


def _loads(store: Store) -> bool:
    with store.load_verified("other", 1) as model:
        return model.version == 1


def _refusal(store: Store) -> str:
    """The marker is read when a registry is opened; whoever has it open goes on."""
    with pytest.raises(RegistryError) as caught:
        Store.open(store.medium.root)
    assert caught.value.kind in {Kind.DAMAGED, Kind.UNSUPPORTED}
    return MARKER


def test_a_clock_that_goes_back(served: Store, put_manifest: Callable[[Store, bytes], Manifest]) -> None:
    """Order is the log's: later entries may be older, and nothing is decided by a time."""
    early = {"actor": "ann", "reason": "", "now_s": 1.0}
    served.aliases("m").move("challenger", to=2, expected_from=None, **early)
    number = served.add_version("m", put_manifest(served, b"four"), publish_id="p", publisher="ann", now_s=-1e9)[0]
    served.aliases("m").move("challenger", to=number, expected_from=2, **early | {"now_s": 0.5})
    assert {"champion": 1, "challenger": 3} == served.aliases("m").all()
    assert [] == verify(served)
