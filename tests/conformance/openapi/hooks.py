"""Gives the document examples that the gateway under test can answer, from which schemathesis goes on: names of models are not in it."""

from __future__ import annotations

from typing import Any

import schemathesis

ROW = [1.0, 2.0, 3.0, 4.0]
V2 = {
    "id": "one",
    "inputs": [{"name": "ROW", "datatype": "FP32", "shape": [1, 4], "data": ROW}],
    "outputs": [{"name": "NEXT", "parameters": {"binary_data": False}}],
    "parameters": {"timeout": 5_000_000},
}
BODIES = {"InferRequest": [V2], "PredictRequest": [{"instances": [ROW]}, {"inputs": {"ROW": [ROW]}}]}
PLACES = {"model": "plus_one", "version": "1", "number": "1", "label": "champion"}


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Examples of names and bodies."""
    for place, name in PLACES.items():
        raw_schema["components"]["parameters"][place]["example"] = name
    for item in raw_schema["paths"].values():
        content = item.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        bodies = BODIES.get(content.get("schema", {}).get("$ref", "").rpartition("/")[2], ())
        if bodies:
            content["examples"] = {f"example{index}": {"value": body} for index, body in enumerate(bodies)}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Another model is unloaded than the one that all else is asked of."""
    if case.operation.definition.raw["operationId"] == "unloadModel" and "plus" in case.path_parameters.get("model", ""):
        case.path_parameters["model"] = "echo"
