"""The same questions as `client.Client` over REST and JSON, with the standard library alone. For people who look at what HTTP says."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gateway import client_tensors as tensors
from gateway.client import DEFAULT_TIMEOUT_S, Answer, CallError, ModelMetadata
from gateway.errors import Code, TidegateError
from gateway.protocol.tensors import DATATYPES, TensorSpec

_CODES = {
    400: Code.INVALID_ARGUMENT, 401: Code.UNAUTHENTICATED, 403: Code.PERMISSION_DENIED, 404: Code.NOT_FOUND, 408: Code.REQUEST_TIMEOUT,
    409: Code.ALREADY_EXISTS, 413: Code.TOO_LARGE, 429: Code.OVERLOADED, 501: Code.UNIMPLEMENTED, 503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}  # fmt: skip


class RestClient:
    """A server at `host:port`. Opens a connection per call; not for load."""

    def __init__(
        self, target: str, *, context: ssl.SSLContext | None = None, token: str = "", timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> None:
        """`token` is an API key or a bearer token, sent with every call: without a context others can read it."""
        self.base = f"{'https' if context else 'http'}://{target}"
        self._context = context
        self._token = token
        self._timeout_s = timeout_s

    def infer(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str = "",
        outputs: Sequence[str] = (),
        request_id: str = "",
        parameters: Mapping[str, bool | int | float | str] | None = None,
    ) -> Answer:
        """One request. Values as for `client.Client.infer`. Raises `CallError`."""
        body = self.body(model, inputs, version=version, outputs=outputs)
        body |= {"id": request_id} if request_id else {}
        body |= {"parameters": dict(parameters)} if parameters else {}
        return answer_of(self.call("POST", infer_path(model, version), body))

    def body(self, model: str, inputs: Mapping[str, Any], *, version: str = "", outputs: Sequence[str] = ()) -> dict[str, Any]:
        """The JSON of a request."""
        specs = {spec.name: spec for spec in self.metadata(model, version).inputs} if tensors.needs_metadata(inputs) else {}
        arrays = tensors.arrays_of(model, inputs, specs)
        found = [
            {"name": name, "datatype": datatype, "shape": array.shape, "data": listed_data(array, datatype)}
            for name, (array, datatype) in arrays.items()
        ]
        return {"inputs": found} | ({"outputs": [{"name": name} for name in outputs]} if outputs else {})

    def metadata(self, model: str, version: str = "") -> ModelMetadata:
        """Inputs, outputs and versions of a model."""
        found = self.call("GET", infer_path(model, version).removesuffix("/infer"))
        return ModelMetadata(
            found["name"], tuple(found.get("versions", ())), found.get("platform", ""), _specs(found["inputs"]), _specs(found["outputs"])
        )

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON that the server answers with. Raises `CallError` for an error status, a broken answer, and where nobody answers."""
        return self.send(method, path, None if body is None else json.dumps(body).encode(), "application/json")

    def send(self, method: str, path: str, data: bytes | None, content_type: str) -> Any:
        """As `call`, with a body as it is."""
        try:
            return json.loads(self._answer(method, path, data, content_type))
        except ValueError:
            raise CallError(Code.INTERNAL, "the answer is no JSON", status="HTTP 200") from None

    def text(self, path: str) -> str:
        """A page as the server has it. Raises as `call`."""
        return self._answer("GET", path, None, "text/plain").decode("utf-8", "replace")

    def _answer(self, method: str, path: str, data: bytes | None, content_type: str) -> bytes:
        request = urllib.request.Request(self.base + path, data, {"content-type": content_type}, method=method)  # noqa: S310
        if self._token:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")  # whoever is redirected to gets none
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s, context=self._context) as response:  # noqa: S310
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            raise CallError(_CODES.get(error.code, Code.INTERNAL), _message(error), status=f"HTTP {error.code}") from None
        except TimeoutError:
            raise CallError(Code.DEADLINE_EXCEEDED, f"no answer within {self._timeout_s:g} s", status="timeout") from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise CallError(Code.UNAVAILABLE, f"{self.base}: {reason}", status="unreachable") from None


def infer_path(model: str, version: str) -> str:
    """`/v2/models/M/infer`, or with `/versions/V`."""
    place = f"/v2/models/{urllib.parse.quote(model, safe='')}"
    return f"{place}/versions/{urllib.parse.quote(version, safe='')}/infer" if version else f"{place}/infer"


def listed_data(array: np.ndarray, datatype: str) -> list[Any]:
    """A tensor's elements as flat JSON values."""
    if datatype == "BF16":
        return list(tensors.from_bfloat16(array).ravel().tolist())
    if datatype == "BYTES":
        return [item.decode("utf-8", "surrogateescape") if isinstance(item, bytes) else str(item) for item in array.ravel().tolist()]
    if datatype in ("FP16", "FP32"):
        return [float(str(value)) for value in array.ravel()]  # the shortest text that reads back as the same value
    return list(array.ravel().tolist())


def answer_of(body: Any) -> Answer:
    """An inference response in JSON. Raises INTERNAL where it contradicts itself."""
    try:
        outputs = {output["name"]: _array(output) for output in body["outputs"]}
        return Answer(body["model_name"], body.get("model_version", ""), body.get("id", ""), outputs)
    except (KeyError, TypeError, ValueError) as error:
        raise TidegateError(Code.INTERNAL, f"the answer cannot be read: {error!r}") from None


def _array(output: dict[str, Any]) -> np.ndarray:
    datatype = output["datatype"]
    kind = np.dtype(np.float32) if datatype == "BF16" else DATATYPES[datatype].numpy
    return np.array(output["data"], kind).reshape(output["shape"])


def _specs(found: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(item["name"], item["datatype"], tuple(item["shape"])) for item in found)


def _message(error: urllib.error.HTTPError) -> str:
    content = error.read(65_536)
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode("utf-8", "replace") or str(error.reason)
