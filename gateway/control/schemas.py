"""JSON Schemas of what travels over HTTP, by name, as the description of the surface refers to them. Data; knows no route.

What a type of ours or a contract says already is taken from there. Members that a schema does not name are ignored where they are sent,
unless it says otherwise.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.control.label_bodies import LabelsAnswer
from gateway.drift.findings import ModelDrift
from gateway.observe.statistics import ModelStats
from gateway.protocol.tensors import DATATYPES
from gateway.protocol.v1_metadata import AVAILABLE, END, LOADING, START
from gateway.protocol.v2_model_config import schemas_of_config
from gateway.serving import index
from registry.label import Item

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_UNLOADING = "UNLOADING"


def ref(name: str) -> Schema:
    """A schema of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _object(*, required: tuple[str, ...] | None = None, optional: dict[str, Schema] | None = None, **properties: Schema) -> Schema:
    """All `properties` are required where nothing else is said."""
    names = list(properties) if required is None else list(required)
    return {"type": "object", "required": names, "properties": properties | (optional or {})}


def _map(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


_ERRORS: dict[str, Schema] = {
    "Error": _object(error={**_TEXT, "description": "what is wrong, in at most 512 bytes of UTF-8: tensors, models and limits by name"}),
}

_STATES: dict[str, Schema] = {
    "Live": _object(live={"const": True}),
    "Alive": _object(status={"const": "alive"}),
    "Ready": _object(ready=_FLAG),
    "Started": _object(started=_FLAG),
    "ModelReady": _object(name=_TEXT, ready=_FLAG),
    "ServerMetadata": _object(name=_TEXT, version=_TEXT, extensions=_list(_TEXT)),
    "Models": _object(models=_list(_TEXT)),
    "Document": _object(openapi=_TEXT, info={"type": "object"}, paths={"type": "object"}),
}

_METADATA: dict[str, Schema] = {
    "Datatype": {"enum": list(DATATYPES)},
    "TensorMetadata": _object(name=_TEXT, datatype=ref("Datatype"), shape=_list({"type": "integer", "minimum": -1})),
    "ModelMetadata": _object(
        name=_TEXT,
        versions=_list(_TEXT),
        platform=_TEXT,
        inputs=_list(ref("TensorMetadata")),
        outputs=_list(ref("TensorMetadata")),
        optional={"properties": _map(_TEXT)},
    ),
}

_INFERENCE: dict[str, Schema] = {
    "Parameters": {
        "description": "`timeout` in microseconds and `priority` mean something; what is refused, is refused by name; others are ignored",
        "type": ["object", "null"],
        "additionalProperties": {"type": ["boolean", "integer", "number", "string"]},
    },
    "TensorData": _list(
        {"anyOf": [{"type": ["number", "string", "boolean"]}, ref("TensorData")]},
        description="flat or nested like the shape; NaN, Infinity and -Infinity are tokens of floating-point data",
    ),
    "InferInput": _object(
        name=_TEXT,
        shape=_list(_COUNT, maxItems=8),
        datatype=ref("Datatype"),
        optional={"parameters": ref("Parameters"), "data": {**ref("TensorData"), "description": "unless it stands behind the JSON"}},
    )
    | {"anyOf": [{"required": ["data"]}, _object(parameters=_object(binary_data_size=_COUNT))]},
    "InferRequestedOutput": _object(name=_TEXT, optional={"parameters": ref("Parameters")}),
    "InferRequest": _object(
        inputs=_list(ref("InferInput"), minItems=1),
        optional={
            "id": {"type": ["string", "null"]},
            "outputs": {"anyOf": [_list(ref("InferRequestedOutput")), {"type": "null"}]},
            "parameters": ref("Parameters"),
            "model_name": {"type": ["string", "null"], "description": "where it is there, that of the path"},
            "model_version": {"type": ["string", "null"], "description": "where it is there, that of the path"},
        },
    ),
    "InferOutput": _object(
        name=_TEXT,
        datatype=ref("Datatype"),
        shape=_list(_COUNT),
        optional={
            "data": _list({"type": ["number", "string", "boolean"]}),
            "parameters": _object(binary_data_size={**_COUNT, "description": "bytes behind the JSON, in place of `data`"}),
        },
    ),
    "InferResponse": _object(model_name=_TEXT, model_version=_TEXT, outputs=_list(ref("InferOutput")), optional={"id": _TEXT}),
}

_PREDICTION: dict[str, Schema] = {
    "Values": {"anyOf": [{"type": ["number", "string", "boolean"]}, _list(ref("Values")), _map(ref("Values"))]},
    "PredictRequest": {
        "oneOf": [
            _object(instances=_list(ref("Values"), minItems=1), optional={"signature_name": {"enum": ["", "serving_default"]}}),
            _object(inputs=ref("Values"), optional={"signature_name": {"enum": ["", "serving_default"]}}),
        ],
        "description": "rows (`instances`) or columns (`inputs`); values of one input without its name, of several in objects by name",
    },
    "PredictResponse": {"oneOf": [_object(predictions=_list(ref("Values"))), _object(outputs=ref("Values"))]},
    "VersionStatus": _object(
        version=_TEXT,
        state={"enum": [START, LOADING, AVAILABLE, _UNLOADING, END]},
        status=_object(error_code=_TEXT, error_message=_TEXT),
    ),
    "ModelStatus": _object(model_version_status=_list(ref("VersionStatus")), name=_TEXT, ready=_FLAG),
    "SignatureTensor": _object(
        dtype=_TEXT, tensor_shape=_object(dim=_list(_object(size=_TEXT, name=_TEXT)), unknown_rank=_FLAG), name=_TEXT
    ),
    "SignatureMetadata": _object(
        model_spec=_object(name=_TEXT, signature_name=_TEXT, version=_TEXT),
        metadata=_object(
            signature_def=_object(
                signature_def=_map(
                    _object(inputs=_map(ref("SignatureTensor")), outputs=_map(ref("SignatureTensor")), method_name=_TEXT, defaults=_map({}))
                )
            )
        ),
    ),
}

_REPOSITORY: dict[str, Schema] = {
    "IndexRequest": _object(optional={"ready": {**_FLAG, "description": "only what serves"}}),
    "Index": _list(
        _object(
            name=_TEXT,
            optional={"version": _TEXT, "state": {"enum": [index.READY, index.LOADING, _UNLOADING, index.UNAVAILABLE]}, "reason": _TEXT},
        )
    ),
    "LoadRequest": _object(
        optional={
            "parameters": {
                "type": "object",
                "properties": {"config": {**_TEXT, "description": "a model configuration as JSON"}},
                "patternProperties": {"^file:": {**_TEXT, "description": "a file of the model as base64"}},
                "additionalProperties": False,
            }
        }
    ),
    "UnloadRequest": _object(
        optional={"parameters": {"type": "object", "properties": {"unload_dependents": _FLAG}, "additionalProperties": False}}
    ),
}

_INSTRUMENTS: dict[str, Schema] = {
    "TraceSettings": {
        **_object(trace_level=_list(_TEXT), trace_rate=_TEXT, trace_count=_TEXT, log_frequency=_TEXT, trace_file=_TEXT, trace_mode=_TEXT),
    },
    "LogSettings": _object(log_file=_TEXT, log_info=_FLAG, log_warning=_FLAG, log_error=_FLAG, log_verbose_level=_COUNT, log_format=_TEXT),
    "Settings": {"type": "object"},
}


def _statistics() -> dict[str, Schema]:
    """As the types of the answers have them."""
    _, found = msgspec.json.schema_components([ModelStats], ref_template="#/components/schemas/{name}")
    return found | {"Statistics": _object(model_stats=_list(ref("ModelStats")))}


def _drift() -> dict[str, Schema]:
    """As the types of the answer have them."""
    _, found = msgspec.json.schema_components([ModelDrift], ref_template="#/components/schemas/{name}")
    return found


def _labels() -> dict[str, Schema]:
    """As the types of request and answer have them."""
    _, found = msgspec.json.schema_components([Item, LabelsAnswer], ref_template="#/components/schemas/{name}")
    item = found.pop("Item")
    return found | {"Label": item, "LabelsRequest": _object(labels=_list(ref("Label"), minItems=1), optional={"model": _TEXT})}


def schemas() -> dict[str, Schema]:
    """All of them."""
    written = _ERRORS | _STATES | _METADATA | _INFERENCE | _PREDICTION | _REPOSITORY | _INSTRUMENTS
    return written | _statistics() | _drift() | _labels() | schemas_of_config(ref)
