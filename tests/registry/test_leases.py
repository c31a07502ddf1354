"""Leases: taken, renewed, given back; kept in files that say their format."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from registry.manifest import Manifest
from registry.store import Store
from registry.verify import verify

NOW_S = 1_700_000_000.0


@pytest.fixture
def served(store: Store, put_manifest: Callable[[Store, bytes], Manifest]) -> Store:
    """A registry with version 1 of m."""
    store.add_version("m", put_manifest(store, b"one"), publish_id="p", publisher="ann", now_s=NOW_S)
    return store


def test_life_of_a_lease(served: Store) -> None:
    """It has an end, which moves, and then it is gone."""
    lease = served.lease("m", 1, holder="gateway-1", now_s=NOW_S, ttl_s=60)
    assert [lease] == served.leases.all()
    renewed = served.leases.renew(lease, now_s=NOW_S + 30, ttl_s=60)
    assert [renewed] == served.leases.all()
    assert (NOW_S + 60, NOW_S + 90) == (lease.expires.timestamp(), renewed.expires.timestamp())
    assert [] == verify(served)
    assert [True, False] == [served.leases.release(lease.id) for _ in range(2)]
    assert [] == served.leases.all()


def test_no_lease_on_what_is_not_there(served: Store, kind_of: Callable[..., str]) -> None:
    """An unknown or deleted version, a name that is a path; nothing stays behind."""
    served.deletion("m").delete(1, actor="ann", reason="", now_s=NOW_S)
    for version in (1, 2):
        text = kind_of(lambda version=version: served.lease("m", version, holder="g", now_s=NOW_S, ttl_s=60))
        assert f"not_found: model 'm' has no version {version}" == text
    assert kind_of(lambda: served.leases.release("../../policy")).startswith("invalid_name: ")
    assert [] == served.leases.all()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"format": 3}, "unsupported: leases/{} has format 3"),
        ({"more": 1}, "damaged: leases/{} is not a lease"),
        (None, "damaged: leases/{}"),
    ],
)
def test_a_damaged_lease_is_named(served: Store, change: dict[str, int] | None, text: str, kind_of: Callable[..., str]) -> None:
    """By `all` and by `verify`."""
    served.lease("m", 1, holder="g", now_s=NOW_S, ttl_s=60)
    (name,) = served.leases.names()
    path = served.medium.root / "leases" / name
    path.write_text("" if change is None else json.dumps(json.loads(path.read_text()) | change))
    assert kind_of(served.leases.all).startswith(text.format(name))
    assert [f"leases/{name}"] == [finding.key for finding in verify(served)]
