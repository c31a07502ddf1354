"""ModelInfer by hand, as the two gRPC baselines share it: protobuf in, one run, protobuf out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.models import session
from gateway.pb import inference_pb2 as pb

SERVICE = "inference.GRPCInferenceService"
DATATYPES = {"int64": "INT64", "float32": "FP32"}


class Model:
    """One session, with everything that does not change between requests looked up beforehand."""

    def __init__(self, repository: Path, name: str) -> None:
        self._session = session(repository / name / "1" / "model.onnx")
        self._name = name
        self._outputs = [output.name for output in self._session.get_outputs()]

    def infer(self, request: Any) -> Any:
        """Run one request as it came and answer with raw contents."""
        tensor = request.inputs[0]
        x = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(tuple(tensor.shape))
        results = self._session.run(self._outputs, {tensor.name: x})
        response = pb.ModelInferResponse(model_name=self._name, model_version="1", id=request.id)
        for name, result in zip(self._outputs, results, strict=True):
            response.outputs.add(name=name, datatype=DATATYPES[result.dtype.name], shape=result.shape)
            response.raw_output_contents.append(result.tobytes())
        return response


def generic_handler(service: str, method: str, behaviour: Callable[[Any, Any], Any]) -> grpc.GenericRpcHandler:
    """`behaviour` under a method name, with protobuf's own parse and serialize functions."""
    handler = grpc.unary_unary_rpc_method_handler(behaviour, pb.ModelInferRequest.FromString, pb.ModelInferResponse.SerializeToString)
    return grpc.method_handlers_generic_handler(service, {method: handler})
