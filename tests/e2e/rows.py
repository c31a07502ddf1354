"""How a row of the catalogue is written: what is sent over each transport, and what must come back. No sockets here."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.errors import Code
from gateway.pb import inference_pb2 as pb
from gateway.wire.status import ANSWERS
from tests.e2e.peer_http1 import INFER as HTTP_INFER
from tests.e2e.peer_http1 import request
from tests.e2e.peer_http2 import INFER as GRPC_INFER
from tests.e2e.peer_http2 import Fields

RESET = -1  # the status of a stream that was reset

Payload = bytes | Callable[[], bytes]  # large ones are made when they are sent


@dataclass(frozen=True, slots=True)
class Call:
    """One gRPC call and the status that it must end with."""

    label: str
    body: Payload
    expect: int
    counted: str = ""  # the code by which the metrics count it; nothing where it never reaches inference
    path: str = GRPC_INFER
    metadata: Sequence[tuple[str | bytes, str | bytes]] = ()
    framed: bool = True  # whether `body` is the message; else all that follows the headers
    check: Callable[[bytes], None] | None = None  # of the answered message

    def fields(self) -> Fields:
        return list(self.metadata)


@dataclass(frozen=True, slots=True)
class Rest:
    """One HTTP/1.1 request as bytes and the status of its answer."""

    label: str
    data: Payload
    expect: int
    counted: str = ""
    closes: bool = False  # the connection ends with this answer
    check: Callable[[bytes], None] | None = None
    is_head: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """What needs connections of its own. `play` gets the desk and raises AssertionError where the server misbehaves."""

    label: str
    play: Callable[[Any], None]


Step = Call | Rest | Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row. `grpc` and `http` hold steps, or the reason why that transport has none; `later` the part that the row belongs to.

    `elsewhere` is the test that plays it with a server of its own.
    """

    number: int
    what: str
    grpc: Sequence[Call | Scene] | str = ""
    http: Sequence[Rest | Scene] | str = ""
    later: str = ""
    elsewhere: str = ""
    note: str = ""  # where the answer differs from reference/reliability.md, and why
    neighbours: str = "rows"
    slow: bool = False  # waits for the server's time limits: run once, with neighbours
    memory_bytes: int = 8 << 20  # that a request may cost however few bytes it has


# --- gRPC ------------------------------------------------------------------------------------------------------------------------


def call(label: str, code: Code, message: Payload, *, metadata: Sequence[tuple[str | bytes, str | bytes]] = (), **more: Any) -> Call:
    """A ModelInfer call that ends with a code of ours and is counted so."""
    return Call(label, message, ANSWERS[code].grpc, code.name, metadata=metadata, **more)


def tensor(
    name: str = "x", datatype: str = "FP32", shape: Sequence[int] = (1, 4), *, parameters: dict[str, Any] | None = None, **contents: Any
) -> pb.ModelInferRequest.InferInputTensor:
    """An input; `contents` are fields of InferTensorContents."""
    built = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    if contents:
        built.contents.CopyFrom(pb.InferTensorContents(**contents))
    set_parameters(built.parameters, parameters or {})
    return built


def set_parameters(target: Any, parameters: dict[str, Any]) -> None:
    for name, given in parameters.items():
        kind = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}[type(given)]
        setattr(target[name], kind, given)


def infer(
    *inputs: pb.ModelInferRequest.InferInputTensor,
    raw: Sequence[bytes] = (),
    model: str = "rows",
    version: str = "",
    id_: str = "",
    outputs: Sequence[str] = (),
    parameters: dict[str, Any] | None = None,
) -> bytes:
    """A ModelInferRequest."""
    built = pb.ModelInferRequest(model_name=model, model_version=version, id=id_, inputs=inputs, raw_input_contents=raw)
    for name in outputs:
        built.outputs.add(name=name)
    set_parameters(built.parameters, parameters or {})
    return built.SerializeToString()


ROW = bytes(16)  # four zeros, FP32
GOOD = infer(tensor(), raw=[ROW])


# --- HTTP ------------------------------------------------------------------------------------------------------------------------


def rest(
    label: str,
    code: Code,
    body: bytes | str | dict[str, Any] | list[Any] | Callable[[], bytes],
    *,
    model: str = "rows",
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Rest:
    """An infer request that ends with a code of ours and is counted so."""
    target = HTTP_INFER.format(model)
    if callable(body):
        made: Payload = lambda: request("POST", target, body(), headers)  # noqa: E731
    else:
        made = request("POST", target, encoded(body), headers)
    return Rest(label, made, ANSWERS[code].http, code.name, **more)


def refused(label: str, status: int, data: Payload, *, closes: bool = False, **more: Any) -> Rest:
    """Bytes that are answered by the wire or the router, before inference."""
    return Rest(label, data, status, "", closes, **more)


def encoded(body: bytes | str | dict[str, Any] | list[Any]) -> bytes:
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def item(
    name: str = "x", datatype: str = "FP32", shape: Any = (1, 4), data: Any = (0, 0, 0, 0), parameters: dict[str, Any] | None = None
) -> dict[str, Any]:
    """One element of `inputs`."""
    built: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
    if data is not None:
        built["data"] = data
    return built | ({"parameters": parameters} if parameters else {})


def body(*inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An infer body."""
    return {"inputs": list(inputs), **more}


GOOD_BODY = body(item())
