"""A registry on a real S3 server: the contract, lost answers, publishers at once, a server that goes away."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.backup import copy_registry
from registry.gc import DEFAULT_GRACE_S, collect
from registry.objects import SINGLE_PUT_BYTES, ObjectMedium
from registry.store import Store
from registry.verify import verify
from registry.watch import Watch
from tests.integration.conftest import options
from tests.integration.proxy import Proxy
from tests.registry.crash_child import put
from tests.registry.workers import check_workers, run_workers

BY = {"actor": "ann", "reason": "", "now_s": 1e9}


def _create(server: int, url: str, cache: Path | None = None) -> Store:
    return Store.create(url, options=options(server), cache=cache)


def test_the_contract(medium: ObjectMedium) -> None:
    """Conditional create, listing past a name, a blob in parts, copying and removing, as S3 does them."""
    assert [True, True, False] == [medium.create("a/b", content) for content in (b"one", b"one", b"two")]
    for number in range(5):
        medium.create(f"log/{number}", b"%d" % number)
    assert (["3", "4"], ["a", "log"]) == (medium.names("log", after="2"), [name for name in medium.names("") if name != "tmp"])
    content = os.urandom(1 << 20) * (SINGLE_PUT_BYTES // (1 << 20) + 3)
    with medium.stage() as staged:
        staged.write(content)
        assert [True, True] == [medium.commit(staged, "blobs/big"), medium.commit(staged, "blobs/big")]
    fd = medium.open("blobs/big")
    assert fd is not None
    with os.fdopen(fd, "rb") as file:
        assert content == file.read()
    assert medium.copy("a/b", "a/c")
    assert ([True, False], b"one") == ([medium.remove("a/b"), medium.remove("a/b")], medium.read("a/c"))


def test_one_of_many_wins(server: int, medium: ObjectMedium, url: str) -> None:
    """16 threads create one key at the same moment, 40 times: one content each time, and exactly the winners are told so."""
    barrier, outcomes = threading.Barrier(16), {}

    def create(name: int) -> None:
        from registry.objects import object_medium

        own = object_medium(url, options=options(server))
        own.prepare()
        for turn in range(40):
            barrier.wait(60)
            outcomes[turn, name] = own.create(f"contended/{turn}", b"%d" % name)

    threads = [threading.Thread(target=create, args=(name,)) for name in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for turn in range(40):
        winners = [name for name in range(16) if outcomes[turn, name]]
        assert [b"%d" % name for name in winners] == [medium.read(f"contended/{turn}")]


def test_a_life(server: int, url: str, tmp_path: Path) -> None:
    """Publish, move, load, watch, collect, verify, back up."""
    store = _create(server, url, tmp_path / "cache")
    seen = []
    watch = Watch(store, seen.append)
    watch.look()
    for content in (b"one", b"two", b"three"):
        put(store, content, content.decode())
    store.aliases("m").move("champion", to=2, expected_from=None, **BY)
    assert watch.look()
    assert ({"champion": 2}, [1, 2, 3]) == (seen[-1].models["m"].aliases, list(seen[-1].models["m"].versions))
    store.deletion("m").delete(3, **BY)
    orphan = store.put_blob(b"orphan")[0]
    collected = collect(store, actor="ann", now_s=4e9, dry_run=False)
    assert orphan in {item.digest for item in collected.trashed}
    assert b"orphan" == store.read_blob(orphan)
    assert 3 == len(collect(store, actor="ann", now_s=4e9 + DEFAULT_GRACE_S, dry_run=False).deleted)
    with store.load_verified("m", store.resolve("m", "champion")) as model:
        assert b"two" == Path(model.path).read_bytes()
    assert [] == verify(store)
    copy_registry(store, tmp_path / "backup")
    assert [] == verify(Store.open(tmp_path / "backup"))


def test_answers_that_are_lost(proxied: Callable[[], tuple[Proxy, ObjectMedium]], server: int, url: str) -> None:
    """The server did it, we never heard: 412 for our own success is success; nothing is done twice."""
    _create(server, url)
    proxy, medium = proxied()
    store = Store.on(medium)
    for number in range(1, 6):
        proxy.lose_next = 3
        assert number == put(store, b"%d" % number, f"p{number}")
        proxy.lose_next = 2
        assert store.aliases("m").move("champion", to=number, expected_from=number - 1 or None, **BY).new
    assert proxy.lost > 20
    assert 10 == len(list(store.history("m")))
    assert [] == verify(_create(server, url))


def test_a_server_that_goes_away(proxied: Callable[[], tuple[Proxy, ObjectMedium]], server: int, url: str) -> None:
    """What was loaded loads; what needs the server says so; afterwards all is well."""
    put(_create(server, url), b"one", "one")
    proxy, medium = proxied()
    store = Store.on(medium)
    store.load_verified("m", 1).close()
    proxy.down = True
    with Store.on(medium).load_verified("m", 1) as model:
        assert b"one" == Path(model.path).read_bytes()
    with pytest.raises(Exception, match=r"cannot .*, says the object store: it cannot be reached") as caught:
        put(store, b"two", "two")
    assert "127.0.0.1" not in str(caught.value)
    proxy.down = False
    assert 2 == put(store, b"two", "two")


def test_wrong_credentials(server: int, url: str) -> None:
    """Said without repeating them."""
    with pytest.raises(Exception, match=r"^cannot .*, says the object store: it d") as caught:
        Store.create(url, options=options(server) | {"aws_secret_access_key": "wrong-secret"})
    assert "wrong" not in str(caught.value)


@pytest.mark.timeout(1800)
def test_publishers_at_once(server: int, url: str) -> None:
    """Two processes, 100 publishes and 100 moves each: no number twice, no gap, no lost update, the chain whole."""
    check_workers(_create(server, url), run_workers(url, rounds=100, options=options(server)))
