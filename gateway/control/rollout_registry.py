"""The rollouts of one registry, as `Work`. Blocks; several threads may use it at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import cast

from gateway.config import Repository
from gateway.control.rollout_work import Applying, Promoting, Resuming, Said, Verb
from gateway.errors import Code, TidegateError
from gateway.rollout import spec
from gateway.rollout.operations import Done, Operations
from gateway.rollout.spec import SpecError
from gateway.rollout.status import History, Status
from registry.errors import Kind, RegistryError
from registry.store import Store


class RolloutRegistry:
    """`Work` of one registry."""

    def __init__(self, open_store: Callable[[], Store], now: Callable[[], float]) -> None:
        """Nothing is opened before somebody asks. `now` gives seconds since the Unix epoch."""
        self._open = open_store
        self._now = now
        self._opening = threading.Lock()
        self._found: Operations | None = None

    def statuses(self, model: str, *, everything: bool) -> Sequence[Status]:
        """As `Work`."""
        return [status for status in self._operations().statuses(everything=everything) if model in ("", status.model)]

    def status(self, rollout: str) -> Status:
        """As `Work`."""
        return self._operations().status(rollout)

    def history(self, rollout: str) -> History:
        """As `Work`."""
        return self._operations().history(rollout)

    def apply(self, plan: bytes, said: Applying, *, source: str = "plan") -> Done:
        """As `Work`. Raises INVALID_ARGUMENT with every mistake of the plan."""
        try:
            found = spec.read(plan, source=source).plan
        except SpecError as error:
            raise TidegateError(Code.INVALID_ARGUMENT, str(error)) from None
        return self._operations().apply(
            found, actor=said.actor, reason=said.reason, force=said.force, commit=said.commit, operation_id=said.operation_id
        )

    def act(self, verb: Verb, rollout: str, said: Said) -> Done:
        """As `Work`."""
        operations, actor, reason, once = self._operations(), said.actor, said.reason, said.operation_id
        match verb:
            case "pause":
                return operations.pause(rollout, actor=actor, reason=reason, operation_id=once)
            case "resume":
                accepts = cast(Resuming, said).accept_evidence
                return operations.resume(rollout, actor=actor, reason=reason, accept_evidence=accepts, operation_id=once)
            case "approve":
                return operations.approve(rollout, actor=actor, reason=reason, operation_id=once)
            case "promote":
                how = cast(Promoting, said)
                return operations.promote(rollout, actor=actor, reason=reason, full=how.full, step=how.step, operation_id=once)
            case "abort":
                return operations.abort(rollout, actor=actor, reason=reason, operation_id=once)

    def _operations(self) -> Operations:
        with self._opening:
            if self._found is None:
                self._found = Operations(self._open(), now=self._now)
            return self._found


def store_of(settings: Repository) -> Store:
    """The registry that a server's settings name. Raises UNIMPLEMENTED where they name none, else as `Store.open`."""
    signers = None
    if settings.keys:
        from registry.signatures import trusted  # most registries ask for none

        signers = trusted(settings.keys)
    try:
        return Store.open(settings.path, options=settings.options or None, signers=signers)
    except RegistryError as error:
        if error.kind is Kind.NOT_FOUND:
            text = "the models of this server are in no registry, so there are no rollouts"
            raise TidegateError(Code.UNIMPLEMENTED, text) from None
        raise
