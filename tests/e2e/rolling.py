"""Rollouts of a real server, for those who look on: plans, callers who hold every answer against its version, and waiting for a phase.

Model m is graphs.twice and what is tried against it, so a row is [a, 2] and the answer a factor of it.
"""

from __future__ import annotations

import itertools
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import msgspec
import numpy as np

from gateway.clock import SystemClock
from gateway.pb import inference_pb2 as pb
from gateway.rollout.operations import Operations
from gateway.rollout.plan import Plan
from gateway.rollout.status import Status
from registry.store import Store
from tests.e2e.server import Server
from tests.gateway.control.desk import INFER

PATIENCE_S = 120.0
GOOD_ENOUGH = {"ratio": None, "or_abs": 0.2}
ERRORS = {"name": "errors", "type": "rate", "event": "server_error", "critical": True, "pass_if": GOOD_ENOUGH}
AGREEMENT = {"name": "agreement", "type": "agreement", "min": 0.8, "critical": True}
SHADOW = {"shadow": {"percent": 100, "max_share_of_capacity": 1.0}, "until": {"min_units": 20}}
Factors = Mapping[str, float]  # version → what it multiplies by; NaN is as good as NaN
AGAIN_S = 0.02  # between attempts of a caller whose server is away


def weight(percent: float, units: int = 20, **until_: Any) -> dict[str, Any]:
    """A step of callers."""
    return {"setWeight": percent, "until": {"min_units": units, **until_}}


def plan(*steps: dict[str, Any], metrics: tuple[dict[str, Any], ...] = (ERRORS,), model: str = "m", **spec: Any) -> Plan:
    """Of version 2 against the champion, by users, without a warm-up."""
    document = {
        "apiVersion": "tidegate/v1",
        "kind": "Rollout",
        "metadata": {"name": "two"},
        "spec": {
            "model": model,
            "candidate": {"version": 2},
            "unit": {"from": ["metadata:x-user"]},
            "keep_stable_warm": "1s",
            "strategy": {"steps": list(steps)},
            "analysis": {"warmup": {"requests": 0, "duration": "0s"}, "metrics": list(metrics)},
            **spec,
        },
    }
    return msgspec.convert(document, Plan)


class Asked(NamedTuple):
    """One answer."""

    model: str
    user: str
    arm: str  # none outside of a rollout
    version: str
    began_s: float  # wall time
    ended_s: float


class Lost(NamedTuple):
    """One call that nobody answered."""

    model: str
    text: str
    ended_s: float


class Callers:
    """Users who come one after the other, to all models in turn, and hold every answer against what its version must say.

    Where the server is away they try again. What they were told meanwhile is in `lost`, all else that is wrong in `faults`.
    """

    def __init__(self, port: int, models: Mapping[str, Factors], *, threads: int = 2, pause_s: float = 0.01) -> None:
        self.answers: list[Asked] = []
        self.faults: list[str] = []
        self.lost: list[Lost] = []
        self._port, self._models, self._pause_s = port, models, pause_s
        self._stop = threading.Event()
        self._clock = SystemClock()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(threads)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    @property
    def troubles(self) -> list[str]:
        """Whatever is not an answer that is right."""
        return self.faults + [f"{lost.model}: UNAVAILABLE: {lost.text}" for lost in self.lost]

    def arms(self, model: str = "m") -> Counter[str]:
        """Answers by arm."""
        return Counter(one.arm for one in list(self.answers) if one.model == model)

    def _call(self, first: int) -> None:
        users = itertools.count(first, len(self._threads))
        while not self._stop.wait(AGAIN_S):
            with grpc.insecure_channel(f"127.0.0.1:{self._port}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
                call = channel.unary_unary(INFER, response_deserializer=pb.ModelInferResponse.FromString)
                while all(self._ask(call, model, factors, user) for user in [next(users)] for model, factors in self._models.items()):
                    if self._stop.wait(self._pause_s):
                        return

    def _ask(self, call: Any, model: str, factors: Factors, user: int) -> bool:
        """One call. Whether somebody was there."""
        row = np.array([[1 + user % 97, 2.0]], np.float32)
        request = pb.ModelInferRequest(model_name=model, id=f"user{user}", raw_input_contents=[row.tobytes()])
        request.inputs.add(name="x", datatype="FP32", shape=row.shape)
        began_s = self._clock.wall()
        try:
            answer = call(request.SerializeToString(), timeout=30, metadata=[("x-user", f"user{user}")])
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                self.lost.append(Lost(model, error.details() or "", self._clock.wall()))
                return False
            self.faults.append(f"{model}: {error.code()}: {error.details()}")
            return True
        arm = answer.parameters["arm"].string_param if "arm" in answer.parameters else "none"
        self.answers.append(Asked(model, f"user{user}", arm, answer.model_version, began_s, self._clock.wall()))
        said = np.frombuffer(answer.raw_output_contents[0], np.float32)
        if not np.array_equal(said, row[0] * np.float32(factors[answer.model_version]), equal_nan=True):
            self.faults.append(f"version {answer.model_version} of {model} says {said} to {row}")
        return True


def operations(root: Path) -> Operations:
    """What somebody at the registry can do."""
    return Operations(Store.open(root), now=SystemClock().wall)


def apply(root: Path, asked: Plan) -> str:
    """Begin."""
    return operations(root).apply(asked, actor="ann", reason="it is better").status.id


class Patience:
    """Turns, for as long as one may wait."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._end_s = self._clock.now() + PATIENCE_S

    def turn(self, why: object) -> None:
        """A moment. AssertionError with `why`, a text or whatever tells it, where there have been too many."""
        assert self._clock.now() < self._end_s, why
        signal.sigtimedwait([], 0.05)


def until(root: Path, rollout: str, *phases: str, step: int | None = None) -> Status:
    """Where it stands once it is in one of these phases, at this step if one is given."""
    asked, patience = operations(root), Patience()
    while True:
        found = asked.status(rollout)
        if found.phase in phases and (step is None or found.step == step):
            return found
        patience.turn(f"{rollout} is {found.phase}, step {found.step}: {found.reason}")


def until_page(server: Server, wanted: Callable[[dict[str, float]], bool]) -> None:
    """Until the page of metrics is so, soon."""
    patience = Patience()
    while not wanted(server.values()):
        patience.turn("the page does not become so")


@contextmanager
def calling(server: Server, factor: float = 2.0) -> Iterator[Callers]:
    """Callers of m, whose version 1 doubles."""
    with Callers(server.grpc_port, {"m": {"1": 2.0, "2": factor}}) as callers:
        yield callers


def processes_of(pid: int, program: str) -> list[int]:
    """Children of whichever of its threads that run this module."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):  # each thread has its own
        for child in children.read_text().split():
            try:
                line = Path(f"/proc/{child}/cmdline").read_bytes()
            except OSError:
                continue
            if program.encode() in line:
                found.append(int(child))
    return found
