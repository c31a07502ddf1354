"""What the admin port can have done with rollouts, as its surfaces see it, and who asks for it. Pure types; `rollout_registry` does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeVar, get_args

import msgspec

from gateway.errors import invalid
from gateway.identity.callers import Caller
from gateway.rollout.operations import Done
from gateway.rollout.status import History, Status

Verb = Literal["pause", "resume", "approve", "promote", "abort"]
VERBS: tuple[Verb, ...] = get_args(Verb)
ANONYMOUS = "anonymous"


class Said(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes with a verb."""

    reason: str = ""  # it stands in the journal; promote and abort want one
    actor: str = ""  # where nobody has to show who they are
    operation_id: str = ""  # repeating a verb with the same id does it once


class Resuming(Said, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes with resume."""

    accept_evidence: bool = False  # what has failed is no longer held against the candidate; it wants a reason


class Promoting(Said, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes with promote."""

    full: bool = False  # all steps, not this one alone
    step: int | None = None  # only if that is the step it is at


class Applying(Said, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes with a plan."""

    force: bool = False  # although the candidate was rejected before
    commit: str = ""  # of the plan file's repository


BODIES: Mapping[Verb, type[Said]] = {"pause": Said, "resume": Resuming, "approve": Said, "promote": Promoting, "abort": Said}
AnySaid = TypeVar("AnySaid", bound=Said)


class Work(Protocol):
    """Rollouts of one registry, by id or model. Every method blocks, and raises RegistryError, YamlError or TidegateError."""

    def statuses(self, model: str, *, everything: bool) -> Sequence[Status]:
        """Of a model, or of all for "": those that are open, or `everything`."""
        ...

    def status(self, rollout: str) -> Status:
        """One as it stands."""
        ...

    def history(self, rollout: str) -> History:
        """Its whole journal."""
        ...

    def apply(self, plan: bytes, said: Applying, *, source: str = "plan") -> Done:
        """Begin what a plan says; `source` names it where it is wrong."""
        ...

    def act(self, verb: Verb, rollout: str, said: Said) -> Done:
        """Do a verb; `said` is of the type that `BODIES` has for it."""
        ...


def by_whom(said: AnySaid, caller: Caller | None) -> AnySaid:
    """With the actor that counts: who has shown something is that, and cannot say to be somebody else. Raises INVALID_ARGUMENT."""
    if caller is None or caller.principal is None or caller.principal.anonymous:
        return said if said.actor else msgspec.structs.replace(said, actor=ANONYMOUS)
    name = caller.principal.name
    if said.actor not in ("", name):
        raise invalid(f"the credential says who acts, {name}: leave out actor")
    return msgspec.structs.replace(said, actor=name)
