"""Starlette on uvicorn (uvloop, httptools) with orjson: POST /v2/models/tabular/infer with JSON tensors, both ways."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.models import session

DATATYPES = {"int64": "INT64", "float32": "FP32"}


def application(repository: Path) -> Starlette:
    """One route around one session."""
    model = session(repository / "tabular" / "1" / "model.onnx")
    outputs = [output.name for output in model.get_outputs()]

    async def infer(request: Request) -> Response:
        document = orjson.loads(await request.body())
        tensor = document["inputs"][0]
        x = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
        results = model.run(outputs, {tensor["name"]: x})
        answer = {
            "model_name": "tabular",
            "model_version": "1",
            "id": document["id"],
            "outputs": [
                {"name": name, "datatype": DATATYPES[result.dtype.name], "shape": result.shape, "data": result.ravel()}
                for name, result in zip(outputs, results, strict=True)
            ],
        }
        return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")

    return Starlette(routes=[Route("/v2/models/tabular/infer", infer, methods=["POST"])])


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", type=Path)
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    app = application(options.repository)
    uvicorn.run(app, port=options.port, loop="uvloop", http="httptools", access_log=False, log_level="warning", lifespan="off")


if __name__ == "__main__":
    main()
