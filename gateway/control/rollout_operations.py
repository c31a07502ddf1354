"""What each route of the admin port takes and answers, by its name in the access table: as `operations` has the other ports'. Data."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from gateway.control.openapi import Described
from gateway.control.operations import Operation
from gateway.control.rollout_work import BODIES, VERBS, Promoting, Resuming, Said
from gateway.control.schemas import ref, schemas
from gateway.errors import Code
from gateway.rollout.analysis import RolloutAnalysis
from gateway.rollout.operations import Done
from gateway.rollout.plan import Plan
from gateway.rollout.status import History, Status

TAGS = {"rollouts": "Rollouts: how a new version meets traffic, and what came of it.", "metadata": "What there is."}
_FOUND = (Code.NOT_FOUND, Code.PERMISSION_DENIED, Code.UNAVAILABLE, Code.OVERLOADED, Code.UNIMPLEMENTED)
_DONE = (*_FOUND, Code.FAILED_PRECONDITION)
_SUMMARIES = {
    "pause": "Stop the timers; traffic stays as it is.",
    "resume": "Go on.",
    "approve": "Agree, where the plan waits for people.",
    "promote": "End the step without its verdict, or all steps.",
    "abort": "End it: nothing more goes to the candidate.",
}


def _get(id_: str, summary: str, answer: str, *codes: Code) -> Operation:
    return Operation(id=id_, tag="rollouts", summary=summary, answer=answer, codes=codes)


_GATE = Operation(
    id="gate",
    tag="rollouts",
    summary="200 where the verdict is PASS, else 403.",
    answer="RolloutAnalysis",
    codes=_FOUND,
    closed="RolloutAnalysis",
)

OPERATIONS: dict[str, Operation] = {
    "GET /v1/openapi.json": Operation(
        id="description", tag="metadata", summary="This document.", answer="Document", codes=(Code.PERMISSION_DENIED,)
    ),
    "GET /v1/rollouts": Operation(
        id="rollouts",
        tag="rollouts",
        summary="Those that are open, or all there ever were.",
        answer="Rollouts",
        codes=_FOUND,
        query=("model", "all"),
    ),
    "POST /v1/rollouts": Operation(
        id="apply",
        tag="rollouts",
        summary="Begin what a rollout file says.",
        body="Plan",
        yaml=True,
        answer="Done",
        codes=_DONE,
        query=("force", "reason", "actor", "operation_id", "commit"),
    ),
    "GET /v1/rollouts/{rollout}": _get("status", "A rollout as it stands; by its model, the one that may act.", "Status", *_FOUND),
    "GET /v1/rollouts/{rollout}/history": _get("history", "Its journal.", "History", *_FOUND),
    "GET /v1/rollouts/{rollout}/analysis": _get("analysis", "The verdict, for Argo's web metric provider.", "RolloutAnalysis", *_FOUND),
    "GET /v1/rollouts/{rollout}/gate": _GATE,
    "POST /v1/rollouts/{rollout}/gate": dataclasses.replace(
        _GATE, id="gateHook", summary="The same, as Flagger's webhooks ask.", body="Hook", body_needed=False
    ),
    **{
        f"POST /v1/rollouts/{{rollout}}/{verb}": Operation(
            id=verb,
            tag="rollouts",
            summary=_SUMMARIES[verb],
            body=BODIES[verb].__name__,
            body_needed=False,
            answer="Done",
            codes=_DONE,
        )
        for verb in VERBS
    },
}
_TEXT = """\
Rollouts on the port for administrators, over HTTP/1.1 and HTTP/2; the same as gRPC is tidegate.Rollouts.

Bodies are JSON, a plan may be YAML, and say so in `Content-Type`: nothing else is taken.
"""


def _schemas() -> dict[str, Any]:
    """As the types have them."""
    types = [Plan, Status, Done, History, RolloutAnalysis, Said, Resuming, Promoting]
    _, found = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    rollouts = {"type": "object", "required": ["rollouts"], "properties": {"rollouts": {"type": "array", "items": ref("Status")}}}
    known = {name: schemas()[name] for name in ("Document", "Error")}
    return known | found | {"Rollouts": rollouts, "Hook": {"type": "object"}}


ADMINISTRATION = Described(operations=OPERATIONS, tags=TAGS, text=_TEXT, schemas=_schemas)
