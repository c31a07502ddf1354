"""Kill a process at each call with which it changes a registry. Run by test_crash.py.

Arguments: a directory, an operation of `OPERATIONS`, and `unnamed` or `named` (without O_TMPFILE). A process that dies in a write has
written half of the bytes. Leaves one registry per killed process, `<directory>/<number>`, and prints how many there are and how many
calls an untouched run makes.
"""

from __future__ import annotations

import errno
import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from registry.contract import Contract, encode
from registry.gc import DEFAULT_GRACE_S, collect
from registry.manifest import CONFIG_TYPE, MODEL_FILE, MODEL_TYPE, Descriptor, file_layer, manifest_of
from registry.store import Store

NOW_S = 4e9
LATER_S = NOW_S + DEFAULT_GRACE_S
BY = {"actor": "ann", "reason": "because", "now_s": NOW_S}


class DyingCalls:
    """`os` until call number `last`, which does not return; 0 never comes. Nothing waits for the disk: a killed process loses nothing."""

    def __init__(self, last: int, *, unnamed: bool) -> None:
        self.made = 0
        self._last = last
        self._unnamed = unnamed

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.made += 1
            if self.made == self._last:
                if name == "write":
                    os.write(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            if name == "open" and not self._unnamed and arguments[1] & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "no O_TMPFILE here")
            return None if name == "fsync" else getattr(os, name)(*arguments, **options)

        return call


def put(store: Store, content: bytes, publish_id: str) -> int:
    """What a publish does once it has examined the model: its blobs, then the version."""
    digest, size = store.put_blob(content)
    contract, contract_size = store.put_blob(encode(Contract(ir_version=8, opsets={"": 17}, producer="", inputs=(), outputs=())))
    config = Descriptor(media_type=CONFIG_TYPE, digest=contract, size=contract_size)
    manifest = manifest_of(config, [file_layer(title=MODEL_FILE, media_type=MODEL_TYPE, digest=digest, size=size)])
    return store.add_version("m", manifest, publish_id=publish_id, publisher="pat", now_s=1e9)[0]


def prepare(root: Path, operation: str) -> None:
    """The registry before `operation`: two versions, an alias, and something to collect."""
    if operation == "create":
        return
    store = Store.create(root, calls=DyingCalls(0, unnamed=True))
    for content in (b"first", b"second"):
        put(store, content, content.decode())
    (root / "policy.yaml").write_text("{format: 2, aliases: {champion: {min_approvals: 1}}}")
    store.aliases("m").approve("champion", 2, actor="bea", operation_id="before", reason="", now_s=1e9)
    store.aliases("m").approve("champion", 1, actor="bea", operation_id="before 1", reason="", now_s=1e9)
    store.aliases("m").move("champion", to=1, expected_from=None, actor="ann", reason="", now_s=1e9)
    if operation in {"gc", "empty"}:
        put(store, b"third", "third")
        store.deletion("m").delete(3, actor="ann", reason="", now_s=1e9)
        store.put_blob(b"orphan")
    if operation == "empty":
        collect(store, actor="ann", now_s=NOW_S, dry_run=False)


def perform(root: Path, operation: str, calls: Any) -> None:
    """`operation` on a registry that `prepare` has left, with the same ids each time."""
    if operation == "create":
        Store.create(root, calls=calls)
        return
    store = Store.open(root, calls=calls)
    OPERATIONS[operation](store)


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "create": lambda store: None,
    "publish": lambda store: put(store, b"killed", "killed"),
    "alias": lambda store: store.aliases("m").move("champion", to=2, expected_from=1, operation_id="killed", **BY),
    "approve": lambda store: store.aliases("m").approve("champion", 2, actor="cas", reason="", now_s=NOW_S, operation_id="killed"),
    "delete": lambda store: store.deletion("m").delete(2, operation_id="killed", **BY),
    "lease": lambda store: store.lease("m", 2, holder="gateway", now_s=NOW_S, ttl_s=60),
    "gc": lambda store: collect(store, actor="ann", now_s=NOW_S, dry_run=False),
    "empty": lambda store: collect(store, actor="ann", now_s=LATER_S, dry_run=False),
}


def survives(root: Path, operation: str, calls: DyingCalls) -> bool:
    """Run `operation` in a child of this process. Whether it came to its end."""
    prepare(root, operation)
    child = os.fork()
    if child == 0:
        perform(root, operation, calls)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in {0, -signal.SIGKILL}, status
    return status == 0


def main(directory: Path, operation: str, staging: str) -> None:
    """Kill at the first call, the second, and so on, until one run is over before its turn comes."""
    directory.mkdir()
    untouched = DyingCalls(0, unnamed=staging == "unnamed")
    prepare(directory / "untouched", operation)
    perform(directory / "untouched", operation, untouched)
    for last in itertools.count(1):
        if survives(directory / str(last), operation, DyingCalls(last, unnamed=staging == "unnamed")):
            sys.stdout.write(f"{last - 1} {untouched.made}")
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
