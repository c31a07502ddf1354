"""What all parts of the demo have in common: who listens, the server that is spoken to, and the registry that models go to."""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from gateway.client import Client
from gateway.clock import Clock
from gateway.control.child import Child
from registry.publish import Published, publish
from registry.store import Store

if TYPE_CHECKING:
    from retrain.export import Exported

MODEL, ALIAS, PERSON = "flights", "champion", "demo"


class DemoError(Exception):
    """A step that did not hold."""


class Step(Protocol):
    """A running step of the story: called with the sentence that ends it."""

    def __call__(self, text: str, /) -> None: ...


class Story(Protocol):
    """Who listens: a terminal, or nobody."""

    def step(self, title: str) -> AbstractContextManager[Step]:
        """Announce a step; the block does it."""
        ...

    def table(self, columns: list[str], rows: list[tuple[str, ...]]) -> None:
        """Show some figures."""
        ...

    def text(self, text: str) -> None:
        """Show a line."""
        ...


@dataclass(slots=True)
class Server:
    """The running child and how it is reached."""

    child: Child
    http: str
    grpc: str
    metrics: str
    admin: str
    client: Client = field(repr=False)


def published(store: Store, exported: Exported, clock: Clock) -> Published:
    """The same model with the same parts is published once."""
    content = exported.model + msgspec.json.encode(exported.parts, order="deterministic")
    publish_id = f"demo-{hashlib.sha256(content).hexdigest()[:16]}"
    with tempfile.TemporaryDirectory(prefix="tidegate-demo-") as folder:
        path = exported.save(Path(folder))
        return publish(store, path, name=MODEL, publisher=PERSON, now_s=clock.wall(), publish_id=publish_id, parts=exported.parts)
