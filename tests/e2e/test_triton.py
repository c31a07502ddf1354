"""A Triton repository served as it is, by real processes: honoured, refused by name, and changed while it serves."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
import tritonclient.utils as triton_utils

from tests.e2e.server import Server, serving, starting
from tests.e2e.test_lifecycle import MODEL, TWO, Callers, await_, index
from tests.gateway.serving import graphs

PORTS = 'input [ { name: "x" data_type: TYPE_FP32 dims: [ 2 ] } ] output [ { name: "y" data_type: TYPE_FP32 dims: [ 2 ] } ]'
FIRST = f'name: "{MODEL}" platform: "onnxruntime_onnx" max_batch_size: 8 {PORTS} dynamic_batching {{}}'
ROW = np.array([[1, 2]], np.float32)
WARM = """version_policy { all {} } model_warmup [ { name: "w" batch_size: 2
  inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 2 ] input_data_file: "row" } } } ]"""


def say(root: Path, text: str, model: str = MODEL) -> None:
    (root / model / "config.pbtxt").write_text(text)


def state(server: Server, model: str = MODEL) -> dict[str, tuple[str, str]]:
    return {line.get("version", ""): (line["state"], line.get("reason", "")) for line in index(server) if line["name"] == model}


def reload(server: Server) -> None:
    os.kill(server.child.pid, signal.SIGHUP)


def config(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(server.get(f"/v2/models/{MODEL}/config")[1])
    return found


def test_a_repository_is_served_as_it_is_and_follows_its_files(tmp_path: Path) -> None:
    """Two workers under load: what is refused is named and costs no other; what changes is loaded before the old goes, or stays out."""
    root = tmp_path / "models"
    for number in (1, 2):
        graphs.saved(root / MODEL / str(number) / "model.onnx", graphs.twice(weight=float(number)))
    graphs.saved(root / "cached" / "1" / "model.onnx", graphs.twice())
    say(root, FIRST)
    say(root, "response_cache { enable: true }", "cached")
    refusal = "cached/config.pbtxt sets 'response_cache.enable', which cannot be honoured: answers are not cached; remove it"
    with serving(tmp_path, root, TWO) as server, Callers(server) as callers:
        callers.more()
        assert ({"2": ("READY", "")}, {"1": ("UNAVAILABLE", refusal)}) == (state(server), state(server, "cached"))
        assert 1.0 == server.values()['tidegate_model_state{model="cached",state="FAILED",version="1"}']
        assert 503 == server.get("/v2/models/cached/config")[0]
        both_clients_read_it(server)

        say(root, f"{FIRST} {WARM}")  # its data is missing
        reload(server)
        await_(lambda: state(server)["2"][1] != "")
        assert ("READY", f"{MODEL}/warmup/row cannot be read: there is no such file") == state(server)["2"]
        assert {"latest": {"num_versions": 1}} == config(server)["version_policy"]
        callers.more()

        (root / MODEL / "warmup").mkdir()
        (root / MODEL / "warmup" / "row").write_bytes(np.ones(2, "<f4").tobytes())
        reload(server)
        await_(lambda: {"1": ("READY", ""), "2": ("READY", "")} == state(server))
        await_(lambda: (config(server)["version_policy"], len(config(server)["model_warmup"])) == ({"all": {}}, 1))
        callers.more()

        say(root, f"{FIRST} {WARM} max_batch_sizes: 9")
        reload(server)
        await_(lambda: state(server)["2"][1] != "")
        assert {"READY"} == {said for said, _ in state(server).values()}
        assert "config.pbtxt cannot be read: 2:" in state(server)["2"][1]
        callers.more()

        say(root, FIRST.replace("dynamic_batching {}", ""))
        say(root, "", "cached")
        reload(server)
        await_(lambda: {"2": ("READY", "")} == state(server) and {"1": ("READY", "")} == state(server, "cached"))
        await_(lambda: "dynamic_batching" not in config(server))
        callers.more()
    assert {"grpc OK", "http OK"} == set(callers.outcomes)
    assert ([], {"2"}) == (callers.wrong, set(callers.versions))


def test_a_server_that_is_stopped_while_it_loads_does_not_wait_for_that(tmp_path: Path) -> None:
    """A warm-up that does not end is under way in the worker; nobody has been accepted who waits for it."""
    root = tmp_path / "models"
    graphs.saved(root / MODEL / "1" / "model.onnx", graphs.endless())
    say(root, f"{FIRST} {WARM}")
    (root / MODEL / "warmup").mkdir()
    (root / MODEL / "warmup" / "row").write_bytes(np.ones(2, "<f4").tobytes())
    with starting(tmp_path, root, "processes: {workers: 1, spare: false, trials: false, drain_grace_s: 5}\n") as server:
        await_(lambda: {"1": ("LOADING", "")} == states(server))
        os.kill(server.child.pid, signal.SIGTERM)
        assert 0 == server.child.wait(4.0)


def states(server: Server) -> dict[str, tuple[str, str]]:
    """As `state`, of a server that may not take connections yet."""
    try:
        return state(server)
    except OSError:
        return {}


def test_callers_load_models_with_configurations_and_files_of_their_own(tmp_path: Path) -> None:
    """By Triton's client over both transports: what came with a load is served by every worker, also by those that come later."""
    root = tmp_path / "models"
    for number in (1, 2):
        graphs.saved(root / MODEL / str(number) / "model.onnx", graphs.twice(weight=float(number)))
    explicit = f"repository: {{path: {root}, model_control: explicit, load_models: ['*'], load_files: true}}\n"
    with serving(tmp_path, root, explicit + TWO) as server, clients(server) as (grpc, http):
        told = http.get_model_config(MODEL)
        grpc.load_model(MODEL, config=json.dumps(told | {"max_batch_size": 4, "version_policy": {"specific": {"versions": [1]}}}))
        assert ({"1"}, 4) == ({*state(server)} - {"2"}, http.get_model_config(MODEL)["max_batch_size"])
        assert [[1.0, 2.0]] == times(http, triton_http)

        for client, text in ((grpc, "[StatusCode.INVALID_ARGUMENT] "), (http, "[400] ")):
            with pytest.raises(triton_utils.InferenceServerException, match="cannot be honoured: requests here know nothing") as caught:
                client.load_model(MODEL, config='{"sequence_batching": {}}')
            assert str(caught.value).startswith(f"{text}failed to load '{MODEL}': ")

        net, other = (graphs.twice(weight=weight).SerializeToString() for weight in (7.0, 9.0))
        grpc.load_model("new", config='{"max_batch_size": 3}', files={"file:5/model.onnx": net})
        http.load_model(MODEL, config="{}", files={"file:1/model.onnx": net, "file:3/model.onnx": other})
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)
        await_(lambda: attempt(server, MODEL) == [[9.0, 18.0]] and attempt(server, "new") == [[7.0, 14.0]])
        assert 3 == http.get_model_config("new")["max_batch_size"]
        with pytest.raises(triton_utils.InferenceServerException, match="the file is not an ONNX model"):
            http.load_model(MODEL, config="{}", files={"file:4/model.onnx": b"hostile"})
        assert [[9.0, 18.0]] == times(http, triton_http)

        http.load_model(MODEL)
        assert ([[2.0, 4.0]], 256) == (times(http, triton_http), http.get_model_config(MODEL)["max_batch_size"])
        grpc.unload_model("new")
        await_(lambda: {} == state(server, "new"))
        await_(lambda: not held(server))  # what came with loads is given back


def held(server: Server) -> list[str]:
    """Memory files of loads that the supervisor has open."""
    folder = Path(f"/proc/{server.child.pid}/fd")
    return [target for target in map(os.readlink, folder.iterdir()) if target.startswith("/memfd:load of")]


@contextmanager
def clients(server: Server) -> Iterator[tuple[Any, Any]]:
    """Triton's own, over both transports."""
    with (
        triton_grpc.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as grpc,
        triton_http.InferenceServerClient(f"127.0.0.1:{server.http_port}") as http,
    ):
        yield grpc, http


def times(client: Any, triton: Any, model: str = MODEL) -> list[list[float]]:
    """What 1 and 2 are multiplied to."""
    row = triton.InferInput("x", [1, 2], "FP32")
    row.set_data_from_numpy(ROW)
    found: list[list[float]] = client.infer(model, [row]).as_numpy("y").tolist()
    return found


def attempt(server: Server, model: str) -> list[list[float]] | None:
    """The same over a connection of its own; None while nobody answers."""
    try:
        with triton_grpc.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
            return times(client, triton_grpc, model)
    except triton_utils.InferenceServerException:
        return None


def both_clients_read_it(server: Server) -> None:
    """Triton's own, over both transports."""
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        told = client.get_model_config(MODEL).config
        assert (MODEL, 8, [2], True) == (told.name, told.max_batch_size, list(told.input[0].dims), told.HasField("dynamic_batching"))
        assert "model_configuration" in client.get_server_metadata().extensions
    with triton_http.InferenceServerClient(f"127.0.0.1:{server.http_port}") as client:
        found = client.get_model_config(MODEL, "2")
        port = found["input"][0]
        assert (MODEL, 8, [2], "TYPE_FP32") == (found["name"], found["max_batch_size"], port["dims"], port["data_type"])
