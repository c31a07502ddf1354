"""Calls the gateway with KServe's InferenceRESTClient and InferenceGRPCClient. Environment: TARGET, HTTP_TARGET (host:port)."""

from __future__ import annotations

import asyncio
import os
import sys

import grpc
import httpx
import numpy as np
import report
from arrays import ARRAYS, LARGE, ROW, same
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from report import equal

BASE_URL = f"http://{os.environ['HTTP_TARGET']}"
DATATYPES = {name: data for name, data in ARRAYS.items() if name != "FP64"} | {"FP64": np.array([[0.1, -2.0]])}


def request(model: str, tensors: dict[str, tuple[str, np.ndarray]], *, binary: bool, wanted: tuple[str, ...] = ()) -> InferRequest:
    """Tensor name → datatype and data; `wanted` outputs come back binary too when `binary`."""
    inputs = []
    for name, (datatype, data) in tensors.items():
        made = InferInput(name, list(data.shape), datatype)
        made.set_data_from_numpy(data, binary_data=binary)
        inputs.append(made)
    outputs = [RequestedOutput(name, {"binary_data": binary}) for name in wanted]
    return InferRequest(model, inputs, request_id="one", request_outputs=outputs or None)


async def rest_health(rest: InferenceRESTClient, _: InferenceGRPCClient) -> None:
    """Live, ready, model ready: it reads the bodies, not only the status."""
    answers = (
        await rest.is_server_live(BASE_URL), await rest.is_server_ready(BASE_URL), await rest.is_model_ready(BASE_URL, "plus_one"),
    )  # fmt: skip
    equal((True, True, True), answers)


async def rest_infer(rest: InferenceRESTClient, _: InferenceGRPCClient) -> None:
    """JSON and binary, every datatype that the client has."""
    for binary in (False, True):
        answer = await rest.infer(BASE_URL, request("plus_one", {"ROW": ("FP32", ROW)}, binary=binary), model_name="plus_one")
        equal("one", answer.id)
        same(ROW + 1, answer.outputs[0].as_numpy())
        tensors = {f"IN_{name}": (name, data) for name, data in DATATYPES.items()}
        mirror = request("mirror", tensors, binary=binary, wanted=tuple(f"OUT_{name}" for name in DATATYPES))
        answer = await rest.infer(BASE_URL, mirror, model_name="mirror")
        for name, data in DATATYPES.items():
            same(data, answer.get_output_by_name(f"OUT_{name}").as_numpy())


async def rest_error(rest: InferenceRESTClient, _: InferenceGRPCClient) -> None:
    """The client's exception carries status and text."""
    try:
        await rest.infer(BASE_URL, request("lost", {"ROW": ("FP32", ROW)}, binary=False), model_name="lost")
    except httpx.HTTPStatusError as error:
        equal((404, True), (error.response.status_code, "lost" in str(error)))
    else:
        raise AssertionError("answered")


async def grpc_health(_: InferenceRESTClient, stub: InferenceGRPCClient) -> None:
    """Live, ready, model ready."""
    equal((True, True, True), (await stub.is_server_live(), await stub.is_server_ready(), await stub.is_model_ready("plus_one")))


async def grpc_infer(_: InferenceRESTClient, stub: InferenceGRPCClient) -> None:
    """Typed and raw contents."""
    for binary in (False, True):
        answer = await stub.infer(request("plus_one", {"ROW": ("FP32", ROW)}, binary=binary))
        same(ROW + 1, answer.outputs[0].as_numpy())
    answer = await stub.infer(request("mirror", {f"IN_{name}": (name, data) for name, data in DATATYPES.items()}, binary=True))
    for name, data in DATATYPES.items():
        same(data, answer.get_output_by_name(f"OUT_{name}").as_numpy())
    same(LARGE, (await stub.infer(request("echo", {"DATA": ("FP32", LARGE)}, binary=True))).outputs[0].as_numpy())


async def grpc_error(_: InferenceRESTClient, stub: InferenceGRPCClient) -> None:
    """The status passes through."""
    try:
        await stub.infer(request("lost", {"ROW": ("FP32", ROW)}, binary=True))
    except grpc.RpcError as error:
        equal((grpc.StatusCode.NOT_FOUND, True), (error.code(), "lost" in error.details()))
    else:
        raise AssertionError("answered")


async def v1_health(_: InferenceRESTClient, old: InferenceRESTClient) -> None:
    """Live, by the root; ready, by the body of a model's status."""
    equal((True, True), (await old.is_server_live(BASE_URL), await old.is_model_ready(BASE_URL, "plus_one")))


async def v1_infer(_: InferenceRESTClient, old: InferenceRESTClient) -> None:
    """Rows, with the input's name and without."""
    for instances in (ROW.tolist(), [{"ROW": row} for row in ROW.tolist()]):
        equal({"predictions": (ROW + 1).tolist()}, await old.infer(BASE_URL, {"instances": instances}, model_name="plus_one"))


async def v1_error(_: InferenceRESTClient, old: InferenceRESTClient) -> None:
    """The client's exception carries status and text; a model that is not there is no answer about readiness; no explainers."""
    calls = [
        (lambda: old.infer(BASE_URL, {"instances": [[1]]}, model_name="lost"), 404, "lost"),
        (lambda: old.is_model_ready(BASE_URL, "lost"), 404, "lost"),
        (lambda: old.infer(BASE_URL, {"instances": [["a"]]}, model_name="plus_one"), 400, "ROW"),
        (lambda: old.explain(BASE_URL, "plus_one", {"instances": [[1]]}), 501, ":explain is not supported"),
    ]  # fmt: skip
    for call, status, part in calls:
        try:
            await call()
        except httpx.HTTPStatusError as error:
            equal((status, True), (error.response.status_code, part in str(error)))
        else:
            raise AssertionError("answered")


async def main() -> None:
    """All checks on one client each."""
    rest, old = (InferenceRESTClient(RESTConfig(protocol=protocol, retries=0)) for protocol in ("v2", "v1"))
    async with rest, old, InferenceGRPCClient(os.environ["TARGET"], retries=0) as stub:
        good = await report.all_async([rest_health, rest_infer, rest_error, grpc_health, grpc_infer, grpc_error], rest, stub)
        good &= await report.all_async([v1_health, v1_infer, v1_error], rest, old)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    asyncio.run(main())
