"""What may wait: rows and bytes per version, bytes in flight over all, and no request that cannot meet its deadline."""

from __future__ import annotations

from gateway.errors import Code
from gateway.limits import ServingLimits

QUEUE_FULL = "Exceeds maximum queue size"
EXPIRED = "Request timeout expired"


class Budget:
    """Bytes of decoded inputs held by requests that are not answered yet, over all versions."""

    __slots__ = ("bytes", "max_inflight_bytes", "max_queue_bytes", "requests")

    def __init__(self, limits: ServingLimits) -> None:
        self.max_inflight_bytes = limits.max_inflight_bytes
        self.max_queue_bytes = limits.max_queue_bytes
        self.bytes = 0
        self.requests = 0


class Rejection:
    """Why a request is not queued. Values, not exceptions: overload must be cheap."""

    __slots__ = ("code", "message")

    def __init__(self, code: Code, message: str) -> None:
        self.code = code
        self.message = message


FULL = Rejection(Code.OVERLOADED, QUEUE_FULL)
NO_MEMORY = Rejection(Code.OVERLOADED, "the server holds too many request bytes")
TOO_LATE = Rejection(Code.OVERLOADED, "the deadline cannot be met by the work that already waits")
LATE = Rejection(Code.DEADLINE_EXCEEDED, EXPIRED)
CLOSED = Rejection(Code.UNAVAILABLE, "the model version is being unloaded")
