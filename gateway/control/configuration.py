"""The configuration of a version over both transports: Triton's extension `model_configuration`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.control.replies import reply
from gateway.control.service import Service
from gateway.model_settings import Versions
from gateway.pb import inference_pb2 as pb
from gateway.protocol import v2_grpc, v2_model_config
from gateway.protocol.v2_model_config import Place
from gateway.serving.versions import Version
from gateway.wire.exchange import HttpExchange
from gateway.wire.grpc import Message
from registry.verified import VersionPolicy


class ModelConfiguration:
    """What each version is and how it is served."""

    def __init__(self, service: Service, chosen: Callable[[str], Versions]) -> None:
        """`chosen(model)`: which versions of a model the settings choose."""
        self._service = service
        self._chosen = chosen

    def http(self, exchange: HttpExchange, model: str, version: str) -> None:
        """GET /v2/models/M[/versions/V]/config. Raises TidegateError."""
        reply(exchange, v2_model_config.plain(self.of(self._service.version(model, version))))

    def grpc(self, message: Message) -> bytes:
        """ModelConfig. Raises TidegateError."""
        request = v2_grpc.parse(pb.ModelConfigRequest, message)
        return v2_model_config.response(self.of(self._service.version(request.name, request.version)))

    def of(self, version: Version) -> Any:
        """The complete `ModelConfig` of a loaded version."""
        placement = version.description.placement
        return v2_model_config.model_config(
            version.signature,
            said=version.description.configuration or b"",
            parameters=version.description.parameters,
            joins=version.joins,
            max_delay_s=version.max_delay_s,
            queueing=version.queueing,
            policy=self._policy(version.name),
            place=Place(placement.provider, placement.instances, placement.device),
        )

    def _policy(self, model: str) -> VersionPolicy | None:
        """By the settings; None where a Triton-style repository decides. What aliases choose is told as the versions that serve."""
        chosen, routes = self._chosen(model), self._service.routes
        if chosen.all or chosen.latest or chosen.specific:
            return VersionPolicy(latest=chosen.latest or 1, specific=chosen.specific, all=chosen.all)
        if chosen.aliases or model in routes.aliases:
            return VersionPolicy(specific=tuple(routes.numbers(model)))
        return None
