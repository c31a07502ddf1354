"""A gRPC server in the test's own process whose model returns its inputs. A fake of the gateway for its clients."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from gateway.pb import inference_pb2 as pb
from gateway.pb.rpcs import RPCS, SERVICE


class FakeServer:
    """A gRPC server whose model returns its inputs, and does what an input named `do` says."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.metadata: list[dict[str, str]] = []
        self.failures = 0  # UNAVAILABLE answers still to give
        self.parked = threading.Event()
        self.under_way = threading.Event()
        self.cancelled = threading.Event()
        handlers = {name: getattr(self, name) for name in ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata")}
        handlers["ModelInfer"] = self.ModelInfer
        self._server = grpc.server(ThreadPoolExecutor(4))
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(SERVICE, {name: self._handler(name, act) for name, act in handlers.items()})]
        )
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def close(self) -> None:
        self.parked.set()
        self._server.stop(None).wait()

    def _handler(self, name: str, act: Any) -> Any:
        def counted(request: Any, context: Any) -> Any:
            self.calls.append(name)
            self.metadata.append(dict(context.invocation_metadata()))
            return act(request, context)

        rpc = RPCS[name]
        return grpc.unary_unary_rpc_method_handler(
            counted, request_deserializer=rpc.request.FromString, response_serializer=rpc.response.SerializeToString
        )

    def ServerLive(self, request: Any, context: Any) -> Any:
        return pb.ServerLiveResponse(live=True)

    def ServerReady(self, request: Any, context: Any) -> Any:
        self.failures -= 1
        return pb.ServerReadyResponse(ready=self.failures < 0)

    def ModelReady(self, request: Any, context: Any) -> Any:
        return pb.ModelReadyResponse(ready=(request.name, request.version) == ("m", "2"))

    def ServerMetadata(self, request: Any, context: Any) -> Any:
        return pb.ServerMetadataResponse(name="fake", version="1", extensions=["a", "b"])

    def ModelMetadata(self, request: Any, context: Any) -> Any:
        answer = pb.ModelMetadataResponse(name=request.name, versions=["1", "2"], platform="onnxruntime_onnx")
        for name, datatype in {"x": "FP32", "n": "INT32", "t": "BYTES", "h": "BF16", "b": "BOOL"}.items():
            answer.inputs.add(name=name, datatype=datatype, shape=[-1, 2])
        answer.outputs.add(name="y", datatype="FP32", shape=[-1])
        return answer

    def ModelInfer(self, request: Any, context: Any) -> Any:
        what = request.inputs[0].name
        if what == "fail-beside-parked":
            self.under_way.wait(10)
        if what.startswith("fail"):
            context.set_trailing_metadata((("grpc-retry-pushback-ms", "-1"),) if request.id == "never" else ())
            context.abort(grpc.StatusCode[request.model_name], "because")
        if what == "park":
            context.add_callback(self.cancelled.set)
            self.under_way.set()
            self.parked.wait(10)
        if self.failures > 0:
            self.failures -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
        answer = pb.ModelInferResponse(model_name=request.model_name, model_version=request.model_version or "7", id=request.id)
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
            answer.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
            answer.raw_output_contents.append(raw)
        return answer
