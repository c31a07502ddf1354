"""What of the protocol this server refuses, by name and on both transports: the statuses and texts that `docs/compatibility.md` quotes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.control.calls import path
from gateway.errors import Code
from gateway.pb import inference_pb2 as pb
from gateway.wire.status import grpc_status, http_status
from tests.gateway.control.desk import Desk, body

PAGE = Path(__file__).resolve().parents[3] / "docs" / "compatibility.md"
INFER = "/v2/models/rows/infer"


@dataclass(frozen=True)
class Refusal:
    """`text` has `…` where the two transports differ, or the request is named. A way that a transport does not have is None."""

    code: Code
    text: str
    grpc: tuple[str, Any] | None = None  # the call and its message
    http: tuple[str, str, Any] | None = None  # method, path, JSON of the body

    def matches(self, text: str) -> bool:
        before, _, after = self.text.partition("…")
        return text.startswith(before) and text.endswith(after)


def parameter(place: str, name: str, value: object) -> tuple[tuple[str, Any], tuple[str, str, Any]]:
    """An infer request with one parameter of itself, its input or an output."""
    request = pb.ModelInferRequest(model_name="rows", raw_input_contents=[bytes(4)])
    request.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    owner: Any = {"request": request, "input": request.inputs[0]}.get(place) or request.outputs.add(name="y")
    kind = {bool: "bool_param", int: "int64_param", str: "string_param"}[type(value)]
    setattr(owner.parameters[name], kind, value)
    wire: Any = json.loads(body([[1.0]]))
    {"request": wire, "input": wire["inputs"][0], "output": wire.setdefault("outputs", [{"name": "y"}])[0]}[place]["parameters"] = {
        name: value
    }
    return ("ModelInfer", request), ("POST", INFER, wire)


def named_trace() -> pb.TraceSettingRequest:
    request = pb.TraceSettingRequest()
    request.settings["trace_level"].value.append("TIMESTAMPS")
    return request


def named_log() -> pb.LogSettingsRequest:
    request = pb.LogSettingsRequest()
    request.settings["log_info"].bool_param = False
    return request


def of_parameter(code: Code, text: str, place: str, name: str, value: object) -> Refusal:
    grpc, http = parameter(place, name, value)
    return Refusal(code, text, grpc, http)


SEQUENCE = "is not supported: this server keeps no state between requests"
READING = "is not supported: this server never reads a caller's shared memory"
MEMORY = "shared memory is not supported: tensors travel in the request"
CHANGE = "explicit model load / unload is not allowed: the repository says what is loaded (repository.model_control)"
NAMES = "repositories have no names here: leave repository_name out"
GENERATE = "the generate extension is not supported: use infer"
OF_MODEL = {"model_name": "rows"}

REFUSALS = [
    of_parameter(Code.UNIMPLEMENTED, f"parameter 'sequence_id' of the request {SEQUENCE}", "request", "sequence_id", 7),
    of_parameter(Code.UNIMPLEMENTED, f"parameter 'sequence_id' of the request {SEQUENCE}", "request", "sequence_id", "7"),
    of_parameter(Code.UNIMPLEMENTED, f"parameter 'sequence_start' of the request {SEQUENCE}", "request", "sequence_start", True),
    of_parameter(
        Code.UNIMPLEMENTED, "parameter 'classification' of output 'y' is not supported: ask for the output itself and rank it", "output",
        "classification", 2,
    ),
    of_parameter(
        Code.UNIMPLEMENTED, f"parameter 'shared_memory_region' of input 'x' {READING}", "input", "shared_memory_region", "r",
    ),
    of_parameter(
        Code.INVALID_ARGUMENT, "parameter 'triton_final_response' of the request is reserved and cannot be set by a caller", "request",
        "triton_final_response", True,
    ),
    of_parameter(Code.INVALID_ARGUMENT, "parameter 'priority' of the request must be a non-negative integer", "request", "priority", -1),
    of_parameter(Code.INVALID_ARGUMENT, "parameter 'timeout' of the request must be a non-negative integer", "request", "timeout", "soon"),
    Refusal(
        Code.UNIMPLEMENTED, f"…{MEMORY}", ("SystemSharedMemoryRegister", pb.SystemSharedMemoryRegisterRequest(name="r")),
        ("POST", "/v2/systemsharedmemory/region/r/register", {}),
    ),
    Refusal(
        Code.UNIMPLEMENTED, f"…{MEMORY}", ("CudaSharedMemoryStatus", pb.CudaSharedMemoryStatusRequest()),
        ("GET", "/v2/cudasharedmemory/status", None),
    ),
    Refusal(
        Code.PERMISSION_DENIED, CHANGE, ("RepositoryModelLoad", pb.RepositoryModelLoadRequest(**OF_MODEL)),
        ("POST", "/v2/repository/models/rows/load", {}),
    ),
    Refusal(
        Code.UNIMPLEMENTED, NAMES, ("RepositoryIndex", pb.RepositoryIndexRequest(repository_name="main")),
        ("POST", "/v2/repository/main/index", {}),
    ),
    Refusal(
        Code.PERMISSION_DENIED, "trace settings are not changed from here: this server does not trace", ("TraceSetting", named_trace()),
        ("POST", "/v2/trace/setting", {"trace_level": ["TIMESTAMPS"]}),
    ),
    Refusal(
        Code.PERMISSION_DENIED, "log settings are not changed from here: they are its own settings (logging)", ("LogSettings", named_log()),
        ("POST", "/v2/logging", {"log_info": False}),
    ),
    Refusal(Code.UNIMPLEMENTED, GENERATE, None, ("POST", "/v2/models/rows/generate", {"text_input": "a"})),
    Refusal(Code.UNIMPLEMENTED, GENERATE, None, ("POST", "/v2/models/rows/versions/3/generate_stream", {"text_input": "a"})),
]  # fmt: skip


@pytest.mark.parametrize("refusal", [each for each in REFUSALS if each.grpc], ids=lambda each: f"{each.grpc[0]}: {each.text[:40]}")
def test_what_is_refused_over_grpc_is_refused_by_name(refusal: Refusal) -> None:
    """With its status and text; the next request of the connection is served, and one with the same head but for that."""
    assert refusal.grpc is not None
    desk, (call, message) = Desk(), refusal.grpc
    reply = desk.call(path(call).decode(), message.SerializeToString())
    assert (grpc_status(refusal.code), True) == (reply.status, refusal.matches(reply.text)), reply.text
    grpc, _ = parameter("request", "mine", 1)
    assert 0 == desk.call(path("ModelInfer").decode(), grpc[1].SerializeToString()).status


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda each: f"{each.http[1]}: {each.text[:40]}")
def test_what_is_refused_over_http_is_refused_by_name(refusal: Refusal) -> None:
    """The same text, with the status of the same code; the next request of the connection is served."""
    assert refusal.http is not None
    desk, (method, target, sent) = Desk(), refusal.http
    answer = desk.http.ask(method, target, None if sent is None else json.dumps(sent).encode())
    text = json.loads(answer.body)["error"]
    assert (http_status(refusal.code), True) == (answer.status, refusal.matches(text)), text
    assert 200 == desk.http.ask("POST", INFER, body([[1.0]])).status


def test_a_refused_request_of_a_stream_does_not_end_it() -> None:
    """Its answer has the text, and the next request its rows."""
    desk = Desk()
    (_, refused), _ = parameter("request", "sequence_start", True)
    (_, good), _ = parameter("request", "mine", 1)
    stream = desk.open(path("ModelStreamInfer").decode(), refused.SerializeToString(), good.SerializeToString())
    desk.loop.settle()
    first, second = (pb.ModelStreamInferResponse.FromString(message) for message in desk.replies()[stream].messages)
    assert ("parameter 'sequence_start' of the request " + SEQUENCE, "") == (first.error_message, second.error_message)
    assert ["sum", "y"] == [output.name for output in second.infer_response.outputs]


def test_the_page_quotes_what_is_said() -> None:
    """Every refusal stands in the table of compatibility, in its own words."""
    text = PAGE.read_text()
    assert [] == [refusal.text for refusal in REFUSALS if refusal.text.strip("…") not in text and _general(refusal.text) not in text]


def _general(text: str) -> str:
    """Without the names that a request gave."""
    return text.replace("'y'", "'…'").replace("'x'", "'…'")
