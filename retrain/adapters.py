"""Starting a job elsewhere for a trigger: by a command, or by one signed POST, with the trigger's id as idempotency key.

Whoever starts the job twice, or is told twice, recognises the id: a trigger is claimed once, and a job whose trigger is over says so at
once. So an attempt of which nobody knows how it ended is made again. Knows no socket and no clock: senders are passed in.
"""

from __future__ import annotations

import enum
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from registry.triggers import Trigger

TRY_AGAIN = 75  # exit status of a command: EX_TEMPFAIL of sysexits.h
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
_AGAIN = frozenset({408, 425, 429})  # and everything from 500
_CONFLICT = 409
_SAID = 300  # characters of what a command says of its failure

Form = Literal["tidegate", "airflow"]


class Started(enum.Enum):
    """How it went."""

    NEW = "started"
    BEFORE = "started before"


class StartError(Exception):
    """It was not started. `again`: the same attempt may succeed later, not sooner than in `wait_s`."""

    def __init__(self, message: str, *, again: bool = False, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.again = again
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered."""

    status: int
    wait_s: float = 0.0  # it asked not to be tried sooner


class Send(Protocol):
    """One bounded POST. Raises `StartError` where there is no answer."""

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply: ...


class Sign(Protocol):
    """The headers that show who sends: of one attempt, by the message's id and its body."""

    def __call__(self, message_id: str, body: bytes) -> Mapping[str, str]: ...


class Adapter(Protocol):
    """A way to start a job."""

    def start(self, trigger: Trigger) -> Started:
        """One attempt. Raises `StartError`."""
        ...


@dataclass(frozen=True, slots=True)
class Command:
    """A program that starts the job and ends: 0 for started, now or before; 75 for try again; anything else refuses.

    Its arguments are taken apart as a shell would, but no shell runs. In its environment are TIDEGATE_TRIGGER_ID, TIDEGATE_MODEL,
    TIDEGATE_REGISTRY, and TIDEGATE_TRIGGER, the path of a file that holds the whole trigger and lasts as long as the program.
    """

    text: str
    registry: str
    timeout_s: float

    def start(self, trigger: Trigger) -> Started:
        """See `Adapter`."""
        with tempfile.TemporaryDirectory(prefix="tidegate-trigger-") as folder:
            path = Path(folder) / f"{trigger.id}.json"
            path.write_bytes(msgspec.json.encode(trigger))
            self._run(trigger, path)
        return Started.NEW

    def _run(self, trigger: Trigger, path: Path) -> None:
        own = {"TRIGGER": str(path), "TRIGGER_ID": trigger.id, "MODEL": trigger.model, "REGISTRY": self.registry}
        environment = {**os.environ, **{f"TIDEGATE_{name}": value for name, value in own.items()}}
        try:
            done = subprocess.run(arguments(self.text), env=environment, capture_output=True, timeout=self.timeout_s, check=False)
        except subprocess.TimeoutExpired:
            raise StartError(f"the command had not ended after {self.timeout_s:g} s", again=True) from None
        except OSError as error:
            raise StartError(f"the command cannot be run: {error.strerror}") from None
        if done.returncode:
            said = " ".join(done.stderr.decode(errors="replace").split())[-_SAID:]
            what = f"the command ended with status {done.returncode}"
            raise StartError(f"{what}: {said}" if said else what, again=done.returncode == TRY_AGAIN)


@dataclass(frozen=True, slots=True)
class Webhook:
    """One POST whose `Idempotency-Key` is the trigger's id: a success starts the job, 409 says that it was started before."""

    url: str
    send: Send
    sign: Sign
    form: Form = "tidegate"

    def start(self, trigger: Trigger) -> Started:
        """See `Adapter`."""
        body = msgspec.json.encode(FORMS[self.form](trigger))
        fields = {"content-type": "application/json", "idempotency-key": f'"{trigger.id}"'}
        reply = self.send(self.url, {**fields, **self.sign(trigger.id, body)}, body)
        if reply.status == _CONFLICT:
            return Started.BEFORE
        if 200 <= reply.status < 300:
            return Started.NEW
        raise StartError(f"answered with status {reply.status}", again=reply.status in _AGAIN or reply.status >= 500, wait_s=reply.wait_s)


def event(trigger: Trigger) -> dict[str, Any]:
    """An event as those of rollouts are (CloudEvents 1.0), with the whole trigger."""
    return {
        "specversion": "1.0",
        "id": trigger.id,
        "source": f"/models/{trigger.model}/triggers/{trigger.id}",
        "type": "tidegate.retrain.requested",
        "subject": trigger.model,
        "time": trigger.created,
        "datacontenttype": "application/json",
        "data": trigger,
    }


def dag_run(trigger: Trigger) -> dict[str, Any]:
    """What Airflow's `POST /api/v2/dags/{dag_id}/dagRuns` takes; a run of that id that is there already is a 409."""
    return {"dag_run_id": trigger.id, "logical_date": None, "conf": {"trigger": trigger.id, "model": trigger.model}}


FORMS: Mapping[Form, Callable[[Trigger], dict[str, Any]]] = {"tidegate": event, "airflow": dag_run}


def arguments(text: str) -> Sequence[str]:
    """The words of a command. Raises `StartError` where quotes are left open, or there are none."""
    try:
        found = shlex.split(text)
    except ValueError as error:
        raise StartError(f"the command cannot be understood: {str(error).lower()}") from None
    if not found:
        raise StartError("the command has no words")
    return found


def start(adapter: Adapter, trigger: Trigger, *, tries: int, wait: Callable[[float], object]) -> tuple[Started, int]:
    """Start the job, and how many attempts it took: at most `tries`, with 1, 2, 4 … seconds between them, or as long as was asked for.

    Raises `StartError`: the last one, or the first that says that trying again is of no use.
    """
    pause = FIRST_WAIT_S
    for number in range(1, tries + 1):
        try:
            return adapter.start(trigger), number
        except StartError as error:
            if not error.again or number == tries:
                raise
            wait(max(pause, error.wait_s))
            pause = min(2 * pause, LONGEST_WAIT_S)
    raise ValueError("no attempt was allowed")
