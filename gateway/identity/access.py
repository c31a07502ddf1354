"""The access table: what each route needs, where callers must show who they are. Data and one decision; what is not in it is refused.

A route is the `:path` of a gRPC call, or the method and template of an HTTP request, as the router has found it: nobody is let in by a path
as it was written. Two routes to the same thing need the same. `tests/gateway/control/test_access.py` holds the table against the routers.
"""

from __future__ import annotations

import msgspec

from gateway.errors import Code, TidegateError
from gateway.identity.principals import Principal

_INFERENCE = "/inference.GRPCInferenceService/"
_HEALTH = "/grpc.health.v1.Health/"
_ROLLOUTS = "/tidegate.Rollouts/"
_REFLECTION = "ServerReflection/ServerReflectionInfo"
OF_A_MODEL = " model/{model}"  # behind a route of the health service: a question about one model

UNIDENTIFIED = "a valid credential is needed"  # for every reason alike: who guesses learns nothing
CLOSED = "nobody may call this"


class Need(msgspec.Struct, frozen=True):
    """What a route needs: nothing, or a scope, which is of the model that the request names or of none."""

    scope: str = ""
    of_model: bool = False


NOTHING, META, ADMIN = Need(), Need("meta"), Need("admin")
OPERATE, APPROVE, AUDIT = Need("operate"), Need("approve"), Need("audit")
INFER, LABELS = Need("infer", of_model=True), Need("labels", of_model=True)

TABLE: dict[str, Need] = {
    # health and server metadata
    f"{_INFERENCE}ServerLive": NOTHING,
    f"{_INFERENCE}ServerReady": NOTHING,
    f"{_INFERENCE}ServerMetadata": NOTHING,
    f"{_HEALTH}Check": NOTHING,
    f"{_HEALTH}Watch": NOTHING,
    "GET /v2": NOTHING,
    "GET /v2/": NOTHING,
    "GET /v2/openapi.json": NOTHING,  # it says nothing of the models
    "GET /v2/health/live": NOTHING,
    "GET /v2/health/ready": NOTHING,
    "GET /v2/health/startup": NOTHING,
    "GET /": NOTHING,  # liveness, where KServe's client of protocol v1 asks for it
    # inference
    f"{_INFERENCE}ModelInfer": INFER,
    f"{_INFERENCE}ModelStreamInfer": INFER,
    "POST /v2/models/{model}/infer": INFER,
    "POST /v2/models/{model}/versions/{version}/infer": INFER,
    "POST /v1/models/{model}:predict": INFER,
    "POST /v1/models/{model}/versions/{version}:predict": INFER,
    "POST /v1/models/{model}/labels/{label}:predict": INFER,
    # what came true
    "/tidegate.Labels/Ingest": LABELS,
    "POST /v1/labels": LABELS,
    # what there is, and how it does
    f"{_INFERENCE}ModelReady": META,
    f"{_INFERENCE}ModelMetadata": META,
    f"{_INFERENCE}ModelConfig": META,
    f"{_INFERENCE}ModelStatistics": META,
    f"{_INFERENCE}RepositoryIndex": META,
    f"{_HEALTH}Check{OF_A_MODEL}": META,
    f"{_HEALTH}Watch{OF_A_MODEL}": META,
    f"/grpc.reflection.v1.{_REFLECTION}": META,
    f"/grpc.reflection.v1alpha.{_REFLECTION}": META,
    "GET /v2/models": META,
    "GET /v2/models/{model}": META,
    "GET /v2/models/{model}/versions/{version}": META,
    "GET /v2/models/{model}/ready": META,
    "GET /v2/models/{model}/versions/{version}/ready": META,
    "GET /v2/models/{model}/config": META,
    "GET /v2/models/{model}/versions/{version}/config": META,
    "POST /v2/repository/index": META,
    "GET /v1/models": META,
    "GET /v1/models/{model}": META,
    "GET /v1/models/{model}/versions/{version}": META,
    "GET /v1/models/{model}/labels/{label}": META,
    "GET /v1/models/{model}/metadata": META,
    "GET /v1/models/{model}/versions/{version}/metadata": META,
    "GET /v1/models/{model}/labels/{label}/metadata": META,
    "GET /metrics": META,  # where `auth.metrics` says so
    f"{_INFERENCE}TraceSetting": META,  # to read: nobody changes them from here, and messages that would are refused
    f"{_INFERENCE}LogSettings": META,
    "GET /v2/models/stats": META,
    "GET /v2/models/{model}/stats": META,
    "GET /v2/models/{model}/versions/{version}/stats": META,
    "/tidegate.Monitoring/ModelDrift": META,
    "GET /v2/models/{model}/drift": META,
    "GET /v2/models/{model}/versions/{version}/drift": META,
    "GET /v2/logging": META,
    "GET /v2/trace/setting": META,
    "GET /v2/models/{model}/trace/setting": META,
    "GET /v2/models/{model}/versions/{version}/trace/setting": META,
    # what changes the server
    f"{_INFERENCE}RepositoryModelLoad": ADMIN,
    f"{_INFERENCE}RepositoryModelUnload": ADMIN,
    "POST /v2/repository/models/{model}/load": ADMIN,
    "POST /v2/repository/models/{model}/unload": ADMIN,
    "POST /v2/logging": ADMIN,
    "POST /v2/trace/setting": ADMIN,
    "POST /v2/models/{model}/trace/setting": ADMIN,
    "POST /v2/models/{model}/versions/{version}/trace/setting": ADMIN,
    # rollouts, on the port for administrators
    "GET /v1/openapi.json": NOTHING,  # it says nothing of the rollouts
    "GET /v1/rollouts": META,
    "GET /v1/rollouts/{rollout}": META,
    "GET /v1/rollouts/{rollout}/analysis": META,
    "GET /v1/rollouts/{rollout}/gate": META,
    "POST /v1/rollouts/{rollout}/gate": META,
    "GET /v1/rollouts/{rollout}/history": AUDIT,
    "POST /v1/rollouts": OPERATE,
    **{f"POST /v1/rollouts/{{rollout}}/{verb}": OPERATE for verb in ("pause", "resume", "promote", "abort")},
    "POST /v1/rollouts/{rollout}/approve": APPROVE,
    **{f"{_ROLLOUTS}{call}": META for call in ("List", "Status", "Watch")},
    f"{_ROLLOUTS}History": AUDIT,
    **{f"{_ROLLOUTS}{call}": OPERATE for call in ("Apply", "Pause", "Resume", "Promote", "Abort")},
    f"{_ROLLOUTS}Approve": APPROVE,
    # refused to everybody, by name
    **{f"{_INFERENCE}{kind}SharedMemory{verb}": NOTHING for kind in ("System", "Cuda") for verb in ("Status", "Register", "Unregister")},
}
IN_BODY = frozenset({"POST /v1/labels"})  # over HTTP: the models stand in the body, and its handler asks for each
_OPEN = frozenset(route for route, need in TABLE.items() if not need.scope)


def need_of(route: str) -> Need | None:
    """What a route needs; None for one that nobody may call."""
    return TABLE.get(route)


def is_open(route: str) -> bool:
    """Whether anybody may call a route, whoever it is."""
    return route in _OPEN


def decide(route: str, model: str | None, principal: Principal | None) -> TidegateError | None:
    """Why a principal may not call a route, of `model` where the route's need is of a model; None where it may.

    `principal` None: the caller showed nothing, or nothing that is good now. Whether the model exists plays no part, so who may not ask
    for it does not learn it.
    """
    need = TABLE.get(route)
    if need is None:
        return TidegateError(Code.PERMISSION_DENIED, CLOSED)
    return judge(need, model, principal)


def judge(need: Need, model: str | None, principal: Principal | None) -> TidegateError | None:
    """As `decide`, for a need that was looked up before."""
    if not need.scope:
        return None
    if principal is None:
        return TidegateError(Code.UNAUTHENTICATED, UNIDENTIFIED)
    if need.of_model and model is None:
        return TidegateError(Code.PERMISSION_DENIED, CLOSED)
    if principal.may(need.scope, model if need.of_model else None):
        return None
    if principal.anonymous:
        return TidegateError(Code.UNAUTHENTICATED, UNIDENTIFIED)
    return TidegateError(Code.PERMISSION_DENIED, f"the credential lacks the scope {need.scope}{' for this model' if need.of_model else ''}")
