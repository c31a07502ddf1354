"""Calls the gateway with tritonclient.grpc."""

from __future__ import annotations

import asyncio
import json
import os
import queue
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import report
import tritonclient.grpc as triton
import tritonclient.grpc.aio as asyncio_triton
from arrays import ARRAYS, LARGE, ODD_NAME, ROW, same
from ml_dtypes import bfloat16
from refusals import refused
from report import equal


def tensor(name: str, datatype: str, data: np.ndarray) -> triton.InferInput:
    """One input, raw."""
    made = triton.InferInput(name, list(data.shape), datatype)
    made.set_data_from_numpy(data)
    return made


def server(client: triton.InferenceServerClient) -> None:
    """Live, ready, metadata of the server and of a model."""
    equal((True, True, True), (client.is_server_live(), client.is_server_ready(), client.is_model_ready("plus_one", "1")))
    equal(True, "binary_tensor_data" in client.get_server_metadata().extensions)
    equal([-1, 4], list(client.get_model_metadata("plus_one").inputs[0].shape))


def repository_index(client: triton.InferenceServerClient) -> None:
    """A line for each version, READY."""
    listed = {(one.name, one.version): one.state for one in client.get_model_repository_index().models}
    equal("READY", listed["plus_one", "1"])


def statistics(client: triton.InferenceServerClient) -> None:
    """Of one version after a request; of all models."""
    client.infer("plus_one", [tensor("ROW", "FP32", ROW)])
    (found,) = client.get_inference_statistics("plus_one", "1").model_stats
    equal(("plus_one", "1", True), (found.name, found.version, found.inference_stats.success.count > 0))
    equal(True, found.inference_count >= found.execution_count > 0)
    equal(True, len(client.get_inference_statistics().model_stats) > 1)


def loading(client: triton.InferenceServerClient) -> None:
    """Unloaded, a model is not ready; loaded, it is at once."""
    client.unload_model("ramp")
    equal(False, client.is_model_ready("ramp"))
    client.load_model("ramp")
    equal(True, client.is_model_ready("ramp"))


def loading_with_a_configuration(client: triton.InferenceServerClient) -> None:
    """It holds until the next load; what of it cannot be honoured is named, and then nothing has changed."""
    before = client.get_model_config("ramp").config.max_batch_size
    client.load_model("ramp", config=json.dumps({"max_batch_size": 3}))
    equal(3, client.get_model_config("ramp").config.max_batch_size)
    for bad, part in (("{", "cannot be read"), ('{"ensemble_scheduling": {}}', "sets 'ensemble_scheduling'")):
        refused("StatusCode.INVALID_ARGUMENT", part, lambda bad=bad: client.load_model("ramp", config=bad))
    equal(3, client.get_model_config("ramp").config.max_batch_size)
    client.load_model("ramp")
    equal(before, client.get_model_config("ramp").config.max_batch_size)


def loading_with_files(client: triton.InferenceServerClient) -> None:
    """They make a model, under the version that their names say, until it is unloaded."""
    content = (Path(os.environ["MODELS"]) / "plus_one" / "1" / "model.onnx").read_bytes()
    client.load_model("brought", config="{}", files={"file:12/model.onnx": content})
    same(ROW + 1, client.infer("brought", [tensor("ROW", "FP32", ROW)]).as_numpy("NEXT"))
    equal(True, client.is_model_ready("brought", "12"))
    refused(
        "StatusCode.INVALID_ARGUMENT",
        "is no file of a version",
        lambda: client.load_model("brought", config="{}", files={"file:../x": content}),
    )
    client.unload_model("brought")
    equal(True, "READY" not in [one.state for one in client.get_model_repository_index().models if one.name == "brought"])


def instruments(client: triton.InferenceServerClient) -> None:
    """Trace and log settings are read, and changed by nobody."""
    for deed in (
        lambda: client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]}),
        lambda: client.update_trace_settings("plus_one", {"trace_rate": "1"}),
        lambda: client.update_log_settings({"log_info": False}),
    ):
        refused("StatusCode.PERMISSION_DENIED", "settings are not changed from here", deed)
    equal(["OFF"], list(client.get_trace_settings("plus_one").settings["trace_level"].value))
    equal(True, client.get_log_settings().settings["log_error"].bool_param)


def extensions(client: triton.InferenceServerClient) -> None:
    """What is not served is refused by name: sequences, classification, shared memory. Priority and timeout are taken."""
    rows = [tensor("ROW", "FP32", ROW)]
    same(ROW + 1, client.infer("plus_one", rows, priority=1, timeout=5_000_000, parameters={"mine": "x"}).as_numpy("NEXT"))
    refused("StatusCode.UNIMPLEMENTED", "keeps no state", lambda: client.infer("plus_one", rows, sequence_id=7, sequence_start=True))
    top = [triton.InferRequestedOutput("NEXT", class_count=2)]
    refused("StatusCode.UNIMPLEMENTED", "classification", lambda: client.infer("plus_one", rows, outputs=top))
    refused("StatusCode.UNIMPLEMENTED", "shared memory", lambda: client.register_system_shared_memory("r", "/r", 16))


def model_config(client: triton.InferenceServerClient) -> None:
    """Platform, rows and dims without them."""
    config = client.get_model_config("plus_one", "1").config
    equal(("plus_one", "onnxruntime_onnx", [4]), (config.name, config.platform, list(config.input[0].dims)))
    equal((True, True), (config.max_batch_size > 0, config.HasField("dynamic_batching")))
    equal(True, "model_configuration" in client.get_server_metadata().extensions)


def infer(client: triton.InferenceServerClient) -> None:
    """One row, with an id, a chosen output, a header and a timeout of the client."""
    answer = client.infer(
        "plus_one", [tensor("ROW", "FP32", ROW)], request_id="one", outputs=[triton.InferRequestedOutput("NEXT")],
        headers={"x-request-id": "7"}, client_timeout=10.0,
    )  # fmt: skip
    equal("one", answer.get_response().id)
    same(ROW + 1, answer.as_numpy("NEXT"))


def datatypes(client: triton.InferenceServerClient) -> None:
    """Every datatype that numpy has; FP16 and BF16."""
    answer = client.infer("mirror", [tensor(f"IN_{name}", name, data) for name, data in ARRAYS.items()])
    for name, data in ARRAYS.items():
        same(data, answer.as_numpy(f"OUT_{name}"))
    half, bfloat = np.array([[0.5, -65_504.0]], np.float16), np.array([[1.0, -3.0]], bfloat16)
    answer = client.infer("mirror_half", [tensor("IN_FP16", "FP16", half), tensor("IN_BF16", "BF16", bfloat)])
    same(half, answer.as_numpy("OUT_FP16"))
    same(bfloat, answer.as_numpy("OUT_BF16"))


def tensor_2mib(client: triton.InferenceServerClient) -> None:
    """2 MiB both ways."""
    same(LARGE, client.infer("echo", [tensor("DATA", "FP32", LARGE)]).as_numpy("SAME"))


def asynchronous(client: triton.InferenceServerClient) -> None:
    """100 calls by callback."""
    done: queue.Queue = queue.Queue()
    for i in range(100):
        rows = [tensor("ROW", "FP32", ROW + i)]
        client.async_infer("plus_one", rows, lambda result, error: done.put((result, error)), request_id=str(i))
    for _ in range(100):
        answer, error = done.get(timeout=10)
        equal(None, error)
        same(ROW + int(answer.get_response().id) + 1, answer.as_numpy("NEXT"))


def aio(_: triton.InferenceServerClient) -> None:
    """The asyncio client: a call, and a stream of three."""

    async def calls() -> None:
        async def requests() -> AsyncIterator[dict[str, object]]:
            for i in range(3):
                yield {"model_name": "plus_one", "inputs": [tensor("ROW", "FP32", ROW + i)], "request_id": str(i)}

        async with asyncio_triton.InferenceServerClient(os.environ["TARGET"]) as client:
            same(ROW + 1, (await client.infer("plus_one", [tensor("ROW", "FP32", ROW)])).as_numpy("NEXT"))
            seen = []
            async for answer, error in client.stream_infer(requests()):
                equal(None, error)
                seen.append(int(answer.get_response().id))
                same(ROW + seen[-1] + 1, answer.as_numpy("NEXT"))
            equal([0, 1, 2], sorted(seen))

    asyncio.run(calls())


def stream(client: triton.InferenceServerClient) -> None:
    """A stream with an error in its midst."""
    done: queue.Queue = queue.Queue()
    client.start_stream(lambda result, error: done.put((result, error)))
    for model in ("plus_one", ODD_NAME, "plus_one"):
        client.async_stream_infer(model, [tensor("ROW", "FP32", ROW)], request_id="x", enable_empty_final_response=True)
    (first, none), (_, error), (last, nothing) = (done.get(timeout=10) for _ in range(3))
    client.stop_stream()
    equal((None, None, True), (none, nothing, ODD_NAME in error.message()))
    same(ROW + 1, first.as_numpy("NEXT"))
    same(ROW + 1, last.as_numpy("NEXT"))
    equal(True, last.get_response().parameters["triton_final_response"].bool_param)


def errors(client: triton.InferenceServerClient) -> None:
    """The client's exception carries code and text."""
    for model, name, status, part in (
        (ODD_NAME, "ROW", "StatusCode.NOT_FOUND", ODD_NAME),
        ("plus_one", "größe", "StatusCode.INVALID_ARGUMENT", "größe"),
    ):
        try:
            client.infer(model, [tensor(name, "FP32", ROW)])
        except triton.InferenceServerException as error:
            equal((status, True), (error.status(), part in error.message()))
        else:
            raise AssertionError(f"{model} answered")


if __name__ == "__main__":
    with triton.InferenceServerClient(os.environ["TARGET"]) as shared:
        report.run(
            [
                server,
                repository_index,
                model_config,
                statistics,
                loading,
                loading_with_a_configuration,
                loading_with_files,
                instruments,
                extensions,
                infer,
                datatypes,
                tensor_2mib,
                asynchronous,
                aio,
                stream,
                errors,
            ],
            shared,
        )
