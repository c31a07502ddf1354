"""The admin port of one event loop without a socket: bytes of connections in, answers out, a registry in a folder, errands done at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import yaml

from gateway.control.behind import behind_of
from gateway.control.errands import Errands
from gateway.control.rollout_calls import RolloutCalls
from gateway.control.rollout_registry import RolloutRegistry
from gateway.control.rollout_rest import RolloutRest
from gateway.control.rollout_watches import RolloutWatches
from gateway.control.rollout_work import Work
from gateway.control.state import ServerState
from gateway.identity.certificates import Certificate
from gateway.identity.gate import Gate
from gateway.identity.settings import Auth
from gateway.limits import Limits
from gateway.pb import tidegate_pb2 as pb
from gateway.wire.grpc import GrpcRouter
from registry.store import Store
from tests.gateway.control.desk import NOBODY, Desk, Line
from tests.gateway.rollout.rolled import Clock, registry
from tests.gateway.serving.serving_fakes import FakeLoop
from tests.gateway.wire.http1_wire import Answer

PLAN: dict[str, Any] = {
    "apiVersion": "tidegate/v1",
    "kind": "Rollout",
    "metadata": {"name": "r"},
    "spec": {
        "model": "m",
        "candidate": {"version": 2},
        "strategy": {"steps": [{"setWeight": 10, "until": {"max_duration": "1h"}}, {"approve": {"by": ["bea", "key boss"]}}]},
        "analysis": {"metrics": [{"name": "errors", "type": "rate", "event": "server_error", "critical": True, "pass_if": {"ratio": 1.5}}]},
    },
}
YAML = yaml.safe_dump(PLAN).encode()


class Inline(Executor):
    """Does work while it is handed over."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # as a real one does
            future.set_exception(error)
        return future


class Counter(Desk):
    """A desk that has nothing but rollouts, of model `m` with three versions unless other work is given."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        work: Work | None = None,
        auth: Auth | None = None,
        certificate: Certificate | None = None,
        only_here: bool = False,
        executor: Executor | None = None,
    ) -> None:
        self.limits, self.loop, self.auth = Limits(), FakeLoop(), auth
        self.clock = Clock()
        self.store: Store | None = None if folder is None else registry(folder)
        self.work = work or RolloutRegistry(self._open, self.clock)
        self.errands = Errands(self.loop, executor or Inline())
        self.watches = RolloutWatches(self.errands, self.work, self.loop.call_later)
        self.state = ServerState("desk", "9.9", ready=True)
        self.rest = RolloutRest(self.errands, self.work, self.state, auth=lambda: self.auth, only_here=only_here)  # type: ignore[assignment]
        calls = RolloutCalls(self.errands, self.work, self.watches)
        self.calls = GrpcRouter(calls.methods(), self.limits)
        self.gate = Gate(auth or NOBODY, self.loop)
        behind = behind_of(self.calls, self.rest, self.limits.wire, self.gate if auth else None, calls.personal())
        if certificate is not None and behind.known is not None:
            behind = behind.known(certificate)
        self.application, self._route = behind.application, behind.route
        self.wire, self.http, self._next = self.line(), Line(self), 1

    def _open(self) -> Store:
        assert self.store is not None
        return self.store

    def post(self, target: str, body: bytes | dict[str, Any] = b"{}", *fields: str, kind: str = "application/json") -> Answer:
        """A POST with a content type, which `Line.ask` has by itself."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.ask("POST", target, content, f"Content-Type: {kind}", *fields)

    def begin(self, **query: str) -> str:
        """A rollout of `PLAN`: its id."""
        words = "&".join(f"{name}={value}" for name, value in {"actor": "ann", **query}.items())
        answer = self.post(f"/v1/rollouts?{words}", YAML, kind="application/yaml")
        assert 200 == answer.status, answer.body
        found: str = json.loads(answer.body)["status"]["id"]
        return found

    def rpc(self, name: str, message: Any, *fields: tuple[str, str]) -> Any:
        """A unary call of the service, refused ones as (status, text)."""
        reply = self.call(f"/tidegate.Rollouts/{name}", message.SerializeToString(), *fields)
        kinds = {"List": pb.ListRolloutsResponse, "Status": pb.RolloutStatus, "History": pb.RolloutHistory}
        return kinds.get(name, pb.RolloutDone).FromString(reply.messages[0]) if reply.status == 0 else (reply.status, reply.text)
