"""What each route of the HTTP surface takes and answers, by its name in the access table. Data, from which `openapi` writes the document.

A route to one version of a model is described with the route to the model. `tests/gateway/control/test_openapi.py` holds the table against
the routers, and the answers of every route against what is said here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from gateway.control.routes import READ, Route
from gateway.errors import Code

METRICS = Route(READ, "/metrics")  # of a port of its own

_VERSIONS = {"": "", "/versions/{version}": "OfVersion"}
_TARGETS = {**_VERSIONS, "/labels/{label}": "OfLabel"}
_FOUND = (Code.NOT_FOUND, Code.UNAVAILABLE)  # of a route that names a model, beside what the transport says
_INFERRED = (*_FOUND, Code.OVERLOADED, Code.DEADLINE_EXCEEDED)
_CHANGED = (*_FOUND, Code.PERMISSION_DENIED, Code.FAILED_PRECONDITION, Code.OVERLOADED)

TAGS = {
    "health": "Whether the server lives and takes traffic.",
    "metadata": "What the server is and which models it has.",
    "inference": "Protocol v2: tensors in, tensors out.",
    "prediction": "TensorFlow Serving's REST API and KServe's protocol v1.",
    "repository": "What there is, and loading and unloading where `repository.model_control` is explicit.",
    "labels": "What came true of answers.",
    "observation": "Statistics, trace and log settings, metrics.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one route. Schemas are named as in `schemas`."""

    id: str
    tag: str
    summary: str
    body: str = ""  # the schema of its JSON
    body_needed: bool = True
    binary: bool = False  # tensors may stand behind the JSON, both ways
    answer: str | None = ""  # the schema of a 200; "": an empty body; None: it is never answered with 200
    text: tuple[str, ...] = ()  # the media types of an answer that is no JSON
    unavailable: str = ""  # the schema of a 503 that is no error but the answer
    closed: str = ""  # the same of a 403
    query: tuple[str, ...] = ()  # parameters behind the path, none needed
    yaml: bool = False  # the body may be YAML too
    codes: tuple[Code, ...] = ()  # what may go wrong, beside what may with every request


def _get(id_: str, tag: str, summary: str, answer: str, *codes: Code, unavailable: str = "") -> Operation:
    return Operation(id=id_, tag=tag, summary=summary, answer=answer, codes=codes, unavailable=unavailable)


def _placed(method: str, path: str, rest: str, places: dict[str, str], operation: Operation) -> dict[str, Operation]:
    """The same at each place for a version."""
    return {f"{method} {path}{place}{rest}": dataclasses.replace(operation, id=operation.id + suffix) for place, suffix in places.items()}


def _of_models(method: str, rest: str, operation: Operation) -> dict[str, Operation]:
    return _placed(method, "/v2/models/{model}", rest, _VERSIONS, operation)


def _of_v1(method: str, rest: str, operation: Operation) -> dict[str, Operation]:
    return _placed(method, "/v1/models/{model}", rest, _TARGETS, operation)


def _change(verb: str, body: str) -> Operation:
    summary = f"{verb.capitalize()} a model. It is answered when every worker has followed."
    return Operation(id=f"{verb}Model", tag="repository", summary=summary, body=body, body_needed=False, codes=_CHANGED)


def _setting(id_: str, what: str, *codes: Code) -> Operation:
    summary = f"Refused to everybody: {what} are set where the server is configured."
    return Operation(
        id=id_, tag="observation", summary=summary, body="Settings", body_needed=False, answer=None, codes=(Code.PERMISSION_DENIED, *codes)
    )


_INFER = Operation(
    id="infer",
    tag="inference",
    summary="Run a model on tensors, in JSON or behind it.",
    body="InferRequest",
    binary=True,
    answer="InferResponse",
    codes=_INFERRED,
)
_PREDICT = Operation(
    id="predict",
    tag="prediction",
    summary="Run a model on rows or columns.",
    body="PredictRequest",
    answer="PredictResponse",
    codes=_INFERRED,
)
_INDEX = Operation(
    id="repositoryIndex",
    tag="repository",
    summary="Every version that shall serve, with its state and, where it cannot, why.",
    body="IndexRequest",
    body_needed=False,
    answer="Index",
    codes=(Code.UNAVAILABLE,),
)

OPERATIONS: dict[str, Operation] = {
    "GET /v2": _get("serverMetadata", "metadata", "Name, version and extensions of the server.", "ServerMetadata"),
    "GET /v2/": _get("serverMetadataAtSlash", "metadata", "The same.", "ServerMetadata"),
    "GET /v2/openapi.json": _get("description", "metadata", "This document.", "Document"),
    "GET /v2/health/live": _get("live", "health", "The event loop answers.", "Live"),
    "GET /v2/health/ready": _get("ready", "health", "The server takes traffic.", "Ready", unavailable="Ready"),
    "GET /v2/health/startup": _get("started", "health", "The server was ready once.", "Started", unavailable="Started"),
    "GET /": _get("alive", "health", "Liveness, where KServe's clients of protocol v1 ask for it.", "Alive"),
    "GET /v2/models": _get("models", "metadata", "The models that serve.", "Models"),
    **_of_models("GET", "", _get("modelMetadata", "metadata", "What a model takes and gives.", "ModelMetadata", *_FOUND)),
    **_of_models(
        "GET",
        "/ready",
        _get("modelReady", "health", "Whether an infer request would be answered.", "ModelReady", Code.NOT_FOUND, unavailable="ModelReady"),
    ),
    **_of_models("GET", "/config", _get("modelConfig", "metadata", "The model configuration, complete.", "ModelConfig", *_FOUND)),
    **_of_models("POST", "/infer", _INFER),
    "GET /v2/models/stats": _get(
        "statistics", "observation", "Statistics of every version that serves.", "Statistics", Code.UNAVAILABLE, Code.OVERLOADED
    ),
    **_of_models("GET", "/stats", _get("modelStatistics", "observation", "Statistics of a model.", "Statistics", *_FOUND, Code.OVERLOADED)),
    **_of_models(
        "GET",
        "/drift",
        _get(
            "modelDrift",
            "observation",
            "How a model's traffic compares with its reference.",
            "ModelDrift",
            *_FOUND,
            Code.OVERLOADED,
            Code.FAILED_PRECONDITION,
        ),
    ),
    "POST /v1/labels": Operation(
        id="ingestLabels",
        tag="labels",
        summary="Store labels. It is answered when they are durable; sent again, those that are there are duplicates.",
        body="LabelsRequest",
        answer="LabelsAnswer",
        codes=(Code.UNAVAILABLE, Code.OVERLOADED),
    ),
    "GET /v2/logging": _get("logSettings", "observation", "Log settings as they are.", "LogSettings"),
    "POST /v2/logging": _setting("setLogSettings", "log settings"),
    "GET /v2/trace/setting": _get("traceSettings", "observation", "Trace settings as they are.", "TraceSettings"),
    "POST /v2/trace/setting": _setting("setTraceSettings", "trace settings"),
    **_of_models(
        "GET", "/trace/setting", _get("modelTraceSettings", "observation", "Trace settings of a model.", "TraceSettings", *_FOUND)
    ),
    **_of_models("POST", "/trace/setting", _setting("setModelTraceSettings", "trace settings", *_FOUND)),
    "POST /v2/repository/index": _INDEX,
    "POST /v2/repository/models/{model}/load": _change("load", "LoadRequest"),
    "POST /v2/repository/models/{model}/unload": _change("unload", "UnloadRequest"),
    "GET /v1/models": _get("v1Models", "prediction", "The models that serve.", "Models"),
    **_of_v1("POST", ":predict", _PREDICT),
    **_of_v1("GET", "", _get("v1Status", "prediction", "How far each version is, and whether the model is ready.", "ModelStatus", *_FOUND)),
    **_of_v1("GET", "/metadata", _get("v1Metadata", "prediction", "The one signature of a model.", "SignatureMetadata", *_FOUND)),
    "GET /metrics": Operation(
        id="metrics",
        tag="observation",
        summary="Prometheus' text format, or OpenMetrics where it is asked for.",
        text=("text/plain", "application/openmetrics-text"),
    ),
}
