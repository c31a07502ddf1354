"""Trace and log settings of the protocol, as they stand: both are set where the server is configured, and read here.

Sources: github.com/triton-inference-server/server/blob/main/docs/protocol/ extension_trace.md and extension_logging.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.control.replies import reply
from gateway.control.service import Service
from gateway.errors import Code, TidegateError
from gateway.pb import inference_pb2 as pb
from gateway.protocol import v2_grpc
from gateway.wire.exchange import HttpExchange
from gateway.wire.grpc import Message

_LEVELS = ("debug", "info", "warning", "error")
_NO_TRACE: dict[str, str | list[str]] = {
    "trace_level": ["OFF"], "trace_rate": "1000", "trace_count": "-1", "log_frequency": "0", "trace_file": "", "trace_mode": "triton",
}  # fmt: skip
TRACE_DENIED = TidegateError(Code.PERMISSION_DENIED, "trace settings are not changed from here: this server does not trace")
LOG_DENIED = TidegateError(Code.PERMISSION_DENIED, "log settings are not changed from here: they are its own settings (logging)")


class Instruments:
    """Both on both transports."""

    def __init__(self, service: Service, level: Callable[[], str]) -> None:
        """`level()` is the least severe level that is written."""
        self._service = service
        self._level = level

    def trace_http(self, exchange: HttpExchange, model: str = "") -> None:
        """GET and POST /v2[/models/M]/trace/setting. Raises TidegateError."""
        self._check(model)
        if exchange.method == "POST":
            raise TRACE_DENIED
        reply(exchange, _NO_TRACE)

    def log_http(self, exchange: HttpExchange) -> None:
        """GET and POST /v2/logging. Raises TidegateError."""
        if exchange.method == "POST":
            raise LOG_DENIED
        reply(exchange, self._logging())

    def trace_grpc(self, message: Message) -> bytes:
        """TraceSetting. Raises TidegateError."""
        request = v2_grpc.parse(pb.TraceSettingRequest, message)
        self._check(request.model_name)
        if request.settings:
            raise TRACE_DENIED
        answer = pb.TraceSettingResponse()
        for name, value in _NO_TRACE.items():
            answer.settings[name].value.extend([value] if isinstance(value, str) else value)
        return answer.SerializeToString()

    def log_grpc(self, message: Message) -> bytes:
        """LogSettings. Raises TidegateError."""
        if v2_grpc.parse(pb.LogSettingsRequest, message).settings:
            raise LOG_DENIED
        answer = pb.LogSettingsResponse()
        fields = {bool: "bool_param", int: "uint32_param", str: "string_param"}
        for name, value in self._logging().items():
            setattr(answer.settings[name], fields[type(value)], value)
        return answer.SerializeToString()

    def _logging(self) -> dict[str, Any]:
        place = _LEVELS.index(self._level())
        written = {f"log_{name}": _LEVELS.index(name) >= place for name in _LEVELS[1:]}
        return {"log_file": "", **written, "log_verbose_level": int(place == 0), "log_format": "default"}

    def _check(self, model: str) -> None:
        """Settings of a model that does not exist are an error."""
        if model:
            self._service.routes.ready(model, "")
