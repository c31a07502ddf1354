"""Calls the gateway with tritonclient.http: JSON and binary tensors, compressed bodies. Environment: HTTP_TARGET (host:port)."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import numpy as np
import report
import tritonclient.http as triton
import tritonclient.http.aio as asyncio_triton
from arrays import ARRAYS, LARGE, ROW, same
from ml_dtypes import bfloat16
from refusals import refused
from report import equal


def tensor(name: str, datatype: str, data: np.ndarray, *, binary: bool = True) -> triton.InferInput:
    """One input, behind the JSON or in it."""
    made = triton.InferInput(name, list(data.shape), datatype)
    made.set_data_from_numpy(data, binary_data=binary)
    return made


def server(client: triton.InferenceServerClient) -> None:
    """Live, ready, metadata of the server and of a model."""
    equal((True, True, True), (client.is_server_live(), client.is_server_ready(), client.is_model_ready("plus_one", "1")))
    equal(True, "binary_tensor_data" in client.get_server_metadata()["extensions"])
    equal([-1, 4], client.get_model_metadata("plus_one")["inputs"][0]["shape"])
    equal(False, client.is_model_ready("no_such_model"))


def repository_index(client: triton.InferenceServerClient) -> None:
    """A line for each version, READY."""
    listed = {(one["name"], one["version"]): one["state"] for one in client.get_model_repository_index()}
    equal("READY", listed["plus_one", "1"])


def statistics(client: triton.InferenceServerClient) -> None:
    """Of one version after a request; of all models."""
    client.infer("plus_one", [tensor("ROW", "FP32", ROW)])
    (found,) = client.get_inference_statistics("plus_one", "1")["model_stats"]
    equal(("plus_one", "1", True), (found["name"], found["version"], found["inference_stats"]["success"]["count"] > 0))
    equal(True, found["inference_count"] >= found["execution_count"] > 0)
    equal(True, len(client.get_inference_statistics()["model_stats"]) > 1)


def loading(client: triton.InferenceServerClient) -> None:
    """Unloaded, a model is not ready; loaded, it is at once."""
    client.unload_model("ramp")
    equal(False, client.is_model_ready("ramp"))
    client.load_model("ramp")
    equal(True, client.is_model_ready("ramp"))


def loading_with_a_configuration(client: triton.InferenceServerClient) -> None:
    """It holds until the next load; what of it cannot be honoured is named, and then nothing has changed."""
    before = client.get_model_config("ramp")["max_batch_size"]
    client.load_model("ramp", config=json.dumps({"max_batch_size": 3}))
    equal(3, client.get_model_config("ramp")["max_batch_size"])
    for bad, part in (("{", "cannot be read"), ('{"ensemble_scheduling": {}}', "sets 'ensemble_scheduling'")):
        refused("400", part, lambda bad=bad: client.load_model("ramp", config=bad))
    equal(3, client.get_model_config("ramp")["max_batch_size"])
    client.load_model("ramp")
    equal(before, client.get_model_config("ramp")["max_batch_size"])


def loading_with_files(client: triton.InferenceServerClient) -> None:
    """They make a model, under the version that their names say, until it is unloaded."""
    content = (Path(os.environ["MODELS"]) / "plus_one" / "1" / "model.onnx").read_bytes()
    client.load_model("brought", config="{}", files={"file:12/model.onnx": content})
    same(ROW + 1, client.infer("brought", [tensor("ROW", "FP32", ROW)]).as_numpy("NEXT"))
    equal(True, client.is_model_ready("brought", "12"))
    refused("400", "is no file of a version", lambda: client.load_model("brought", config="{}", files={"file:../x": content}))
    client.unload_model("brought")
    equal(True, "READY" not in [one["state"] for one in client.get_model_repository_index() if one["name"] == "brought"])


def instruments(client: triton.InferenceServerClient) -> None:
    """Trace and log settings are read, and changed by nobody."""
    for deed in (
        lambda: client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]}),
        lambda: client.update_trace_settings("plus_one", {"trace_rate": "1"}),
        lambda: client.update_log_settings({"log_info": False}),
    ):
        refused("403", "settings are not changed from here", deed)
    equal(["OFF"], list(client.get_trace_settings("plus_one")["trace_level"]))
    equal(True, client.get_log_settings()["log_error"])


def extensions(client: triton.InferenceServerClient) -> None:
    """What is not served is refused by name: sequences, classification, shared memory. Priority and timeout are taken."""
    rows = [tensor("ROW", "FP32", ROW)]
    same(ROW + 1, client.infer("plus_one", rows, priority=1, timeout=5_000_000, parameters={"mine": "x"}).as_numpy("NEXT"))
    refused("501", "keeps no state", lambda: client.infer("plus_one", rows, sequence_id=7, sequence_start=True))
    top = [triton.InferRequestedOutput("NEXT", class_count=2)]
    refused("501", "classification", lambda: client.infer("plus_one", rows, outputs=top))
    refused("501", "shared memory", lambda: client.register_system_shared_memory("r", "/r", 16))


def model_config(client: triton.InferenceServerClient) -> None:
    """Names as in the contract, numbers as numbers."""
    config = client.get_model_config("plus_one", "1")
    equal(("plus_one", "onnxruntime_onnx"), (config["name"], config["platform"]))
    equal(("TYPE_FP32", [4]), (config["input"][0]["data_type"], config["input"][0]["dims"]))
    equal((True, 0), (config["max_batch_size"] > 0, config["dynamic_batching"]["max_queue_delay_microseconds"]))
    equal(True, "model_configuration" in client.get_server_metadata()["extensions"])


def infer(client: triton.InferenceServerClient) -> None:
    """Input and output, each as JSON and as binary."""
    for binary_in in (True, False):
        for binary_out in (True, False):
            wanted = [triton.InferRequestedOutput("NEXT", binary_data=binary_out)]
            answer = client.infer("plus_one", [tensor("ROW", "FP32", ROW, binary=binary_in)], outputs=wanted, request_id="one")
            equal(("one", binary_out), (answer.get_response()["id"], "data" not in answer.get_response()["outputs"][0]))
            same(ROW + 1, answer.as_numpy("NEXT"))


def datatypes(client: triton.InferenceServerClient) -> None:
    """Every datatype, as JSON and as binary; the half floats as binary."""
    for binary in (True, False):
        inputs = [tensor(f"IN_{name}", name, data, binary=binary) for name, data in ARRAYS.items()]
        outputs = [triton.InferRequestedOutput(f"OUT_{name}", binary_data=binary) for name in ARRAYS]
        answer = client.infer("mirror", inputs, outputs=outputs)
        for name, data in ARRAYS.items():
            same(data, answer.as_numpy(f"OUT_{name}"))
    half, bfloat = np.array([[0.5, -65_504.0]], np.float16), np.array([[1.0, -3.0]], bfloat16)
    answer = client.infer("mirror_half", [tensor("IN_FP16", "FP16", half), tensor("IN_BF16", "BF16", bfloat)])
    same(half, answer.as_numpy("OUT_FP16"))
    same(bfloat, answer.as_numpy("OUT_BF16"))


def tensor_2mib(client: triton.InferenceServerClient) -> None:
    """2 MiB both ways."""
    same(LARGE, client.infer("echo", [tensor("DATA", "FP32", LARGE)]).as_numpy("SAME"))


def compressed(client: triton.InferenceServerClient) -> None:
    """gzip and deflate request bodies; an answer in whatever coding the server chose of those accepted."""
    for coding in ("gzip", "deflate"):
        answer = client.infer(
            "plus_one", [tensor("ROW", "FP32", ROW)], request_compression_algorithm=coding, response_compression_algorithm=coding
        )
        same(ROW + 1, answer.as_numpy("NEXT"))


def asynchronous(client: triton.InferenceServerClient) -> None:
    """100 calls over 8 connections."""
    waiting = [client.async_infer("plus_one", [tensor("ROW", "FP32", ROW + i)]) for i in range(100)]
    for i, call in enumerate(waiting):
        same(ROW + i + 1, call.get_result().as_numpy("NEXT"))


def aio(_: triton.InferenceServerClient) -> None:
    """The asyncio client: 100 calls at once."""

    async def calls() -> None:
        async with asyncio_triton.InferenceServerClient(os.environ["HTTP_TARGET"]) as client:
            answers = await asyncio.gather(*[client.infer("plus_one", [tensor("ROW", "FP32", ROW + i)]) for i in range(100)])
        for i, answer in enumerate(answers):
            same(ROW + i + 1, answer.as_numpy("NEXT"))

    asyncio.run(calls())


def errors(client: triton.InferenceServerClient) -> None:
    """The client's exception carries code and text."""
    for model, name, status, part in (("no_such_model", "ROW", "404", "no_such_model"), ("plus_one", "größe", "400", "größe")):
        try:
            client.infer(model, [tensor(name, "FP32", ROW)])
        except triton.InferenceServerException as error:
            equal((status, True), (error.status(), part in error.message()))
        else:
            raise AssertionError(f"{model} answered")


if __name__ == "__main__":
    with triton.InferenceServerClient(os.environ["HTTP_TARGET"], concurrency=8) as shared:
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
                compressed,
                asynchronous,
                aio,
                errors,
            ],
            shared,
        )
