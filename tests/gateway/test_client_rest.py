"""The client that asks over REST and JSON, against a small HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from gateway.client import CallError
from gateway.client_rest import RestClient, answer_of, infer_path, listed_data
from gateway.errors import Code, TidegateError


class Handler(BaseHTTPRequestHandler):
    """Answers what its server was told to, and remembers what it was asked."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.tokens.append(self.headers["authorization"])  # type: ignore[attr-defined]
        self.server.asked.append((self.path, body))  # type: ignore[attr-defined]
        outputs = [dict(tensor, name=tensor["name"].upper()) for tensor in body["inputs"]]
        self.answer({"model_name": "m", "model_version": "1", "id": body.get("id", ""), "outputs": outputs})

    def do_GET(self) -> None:
        self.server.tokens.append(self.headers["authorization"])  # type: ignore[attr-defined]
        if self.server.elsewhere:  # type: ignore[attr-defined]
            self.send_response(302)
            self.send_header("location", self.server.elsewhere)  # type: ignore[attr-defined]
            self.end_headers()
            return
        self.server.asked.append((self.path, None))  # type: ignore[attr-defined]
        inputs = [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
        self.answer({"name": "m", "versions": ["1"], "platform": "onnxruntime_onnx", "inputs": inputs, "outputs": inputs})

    def answer(self, usual: Any) -> None:
        status, body = self.server.script or (200, json.dumps(usual))  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.asked, made.script, made.tokens, made.elsewhere = [], None, [], ""  # type: ignore[attr-defined]
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def client(server: ThreadingHTTPServer) -> RestClient:
    return RestClient(f"127.0.0.1:{server.server_port}", timeout_s=5)


def test_a_request_and_its_answer(client: RestClient, server: Any) -> None:
    """Tensors as flat JSON, the answer as arrays."""
    inputs = {"x": np.array([[0.1, 2]], np.float32), "t": np.array([["a"]], object)}
    answer = client.infer("m", inputs, version="3", outputs=("X",), request_id="r", parameters={"p": 1})
    ((path, body),) = server.asked
    assert "/v2/models/m/versions/3/infer" == path
    assert {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.1, 2.0]} == body["inputs"][0]
    assert ("r", {"p": 1}, [{"name": "X"}]) == (body["id"], body["parameters"], body["outputs"])
    assert ("m", "1", "r") == (answer.model, answer.version, answer.id)
    np.testing.assert_array_equal(inputs["x"], answer.outputs["X"])
    assert [["a"]] == answer.outputs["T"].tolist()


def test_a_list_takes_the_datatype_of_the_model(client: RestClient, server: Any) -> None:
    """The metadata is asked for first; a name that the model does not have is refused at once."""
    assert np.float32 == client.infer("m", {"x": [[1, 2]]}).outputs["X"].dtype
    assert ["/v2/models/m", "/v2/models/m/infer"] == [path for path, _ in server.asked]
    with pytest.raises(TidegateError, match="unexpected inference input 'y'"):
        client.infer("m", {"y": [1]})


@pytest.mark.parametrize(
    ("status", "body", "code", "text"),
    [
        (400, '{"error":"no"}', Code.INVALID_ARGUMENT, "no"),
        (404, '{"error":"who"}', Code.NOT_FOUND, "who"),
        (413, "too much", Code.TOO_LARGE, "too much"),
        (429, "", Code.OVERLOADED, "Too Many Requests"),
        (503, '["x"]', Code.UNAVAILABLE, '["x"]'),
        (500, '{"error":"b"}', Code.INTERNAL, "b"),
        (418, '{"error":"tea"}', Code.INTERNAL, "tea"),
    ],
)
def test_an_error_status_has_our_code_and_their_text(
    client: RestClient, server: Any, status: int, body: str, code: Code, text: str
) -> None:
    """Whatever an error's body is, there is something to show."""
    server.script = (status, body)
    with pytest.raises(CallError) as caught:
        client.metadata("m")
    assert (code, text, f"HTTP {status}") == (caught.value.code, caught.value.message, caught.value.status)


def test_an_answer_that_is_no_json_is_an_error(client: RestClient, server: Any) -> None:
    """Something else listens on that port."""
    server.script = (200, "<html>")
    with pytest.raises(CallError, match="no JSON"):
        client.metadata("m")


def test_nobody_there_is_unavailable() -> None:
    """A refused connection names the address."""
    with pytest.raises(CallError) as caught:
        RestClient("127.0.0.1:1").metadata("m")
    assert Code.UNAVAILABLE is caught.value.code
    assert "127.0.0.1:1" in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model_name": "m", "outputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1]}]},
        {"model_name": "m", "outputs": [{"name": "x", "datatype": "FP", "shape": [1], "data": [1]}]},
        {"model_name": "m", "outputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": ["a"]}]},
        [],
    ],
)
def test_an_answer_that_contradicts_itself_is_an_error(body: Any) -> None:
    """Never an empty or reshaped array."""
    with pytest.raises(TidegateError, match="the answer cannot be read"):
        answer_of(body)


def test_names_are_quoted_in_paths() -> None:
    """A name is one segment, whatever it holds."""
    assert "/v2/models/a%2Fb%20c/versions/1%3F/infer" == infer_path("a/b c", "1?")
    assert "/v2/models/m/infer" == infer_path("m", "")


def test_floats_are_written_short() -> None:
    """0.1 as a float32 is 0.1 to a reader, and reads back as the same value."""
    assert [0.1] == listed_data(np.array([0.1], np.float32), "FP32")
    assert [1.0, 2.0] == listed_data(np.array([0x3F80, 0x4000], np.uint16), "BF16")
    assert ["é", "b"] == listed_data(np.array(["é", b"b"], object), "BYTES")


def test_a_token_goes_with_every_question_and_to_nobody_else(server: ThreadingHTTPServer) -> None:
    """Whoever is redirected to gets none of it; without a token nothing is sent."""
    target = f"127.0.0.1:{server.server_port}"
    RestClient(target, token="tidegate_x", timeout_s=5).infer("m", {"x": [[1, 2]]})
    assert ["Bearer tidegate_x"] * 2 == server.tokens  # type: ignore[attr-defined]
    other = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    other.asked, other.script, other.tokens, other.elsewhere = [], None, [], ""  # type: ignore[attr-defined]
    thread = threading.Thread(target=other.handle_request)
    thread.start()
    server.elsewhere = f"http://127.0.0.1:{other.server_port}/v2/models/m"  # type: ignore[attr-defined]
    RestClient(target, token="tidegate_x", timeout_s=5).metadata("m")
    thread.join()
    other.server_close()
    assert [None] == other.tokens  # type: ignore[attr-defined]
    server.elsewhere = ""  # type: ignore[attr-defined]
    RestClient(target, timeout_s=5).metadata("m")
    assert server.tokens[-1] is None  # type: ignore[attr-defined]
