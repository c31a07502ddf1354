"""A registry with a few versions, plans, and a clock that is moved by hand."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from gateway.rollout.operations import Operations
from gateway.rollout.plan import Plan
from registry.contract import Contract, encode
from registry.manifest import CONFIG_TYPE, MODEL_FILE, MODEL_TYPE, Descriptor, file_layer, manifest_of
from registry.medium import Medium
from registry.store import Store

NOW_S = 1_700_000_000.0
BY_ANN: dict[str, Any] = {"actor": "ann", "reason": "she said so"}


class Clock:
    """Seconds since the Unix epoch, and salts."""

    def __init__(self, now_s: float = NOW_S) -> None:
        self.now_s = now_s
        self.salts = (f"{number:032x}" for number in count(1))

    def __call__(self) -> float:
        return self.now_s


def add_version(store: Store, content: bytes, *, model: str = "m", publisher: str = "pat") -> int:
    """Bytes as if they were a model, with an empty contract."""
    digest, size = store.put_blob(content)
    contract = encode(Contract(ir_version=8, opsets={"": 17}, producer="tests", inputs=(), outputs=()))
    config_digest, config_size = store.put_blob(contract)
    config = Descriptor(media_type=CONFIG_TYPE, digest=config_digest, size=config_size)
    manifest = manifest_of(config, [file_layer(title=MODEL_FILE, media_type=MODEL_TYPE, digest=digest, size=size)])
    return store.add_version(model, manifest, publish_id=content.decode(), publisher=publisher, now_s=NOW_S - 1000)[0]


def registry(where: Path | Medium, *, versions: int = 3, champion: int | None = 1) -> Store:
    """`versions` of m by pat, the first of them champion."""
    store = Store.create(where) if isinstance(where, Path) else Store.on(where)
    for number in range(1, versions + 1):
        assert number == add_version(store, f"version {number}".encode())
    if champion is not None:
        move(store, champion, None)
    return store


def move(store: Store, to: int, expected_from: int | None, *, actor: str = "ann") -> None:
    """By hand."""
    store.aliases("m").move("champion", to=to, expected_from=expected_from, actor=actor, reason="", now_s=NOW_S)


def plan(*steps: dict[str, Any], candidate: int | str = 2, name: str = "r", **spec: Any) -> Plan:
    """A plan of steps as YAML has them; a 10 % canary where none is given."""
    strategy = {"steps": list(steps) or [{"setWeight": 10, "until": {"min_duration": "10s", "max_duration": "100s"}}]}
    document = {
        "apiVersion": "tidegate/v1",
        "kind": "Rollout",
        "metadata": {"name": name},
        "spec": {
            "model": "m",
            "candidate": {"version" if isinstance(candidate, int) else "alias": candidate},
            "strategy": strategy,
            "keep_stable_warm": "60s",
            **spec,
        },
    }
    return msgspec.convert(document, Plan)


def operations(store: Store, clock: Clock | None = None) -> Operations:
    """Salts count up with the clock's, so that nobody has one a second time."""
    clock = clock or Clock()
    return Operations(store, now=clock, salts=lambda: next(clock.salts))
