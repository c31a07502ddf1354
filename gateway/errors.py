"""The closed list of ways a request can fail. Knows no HTTP and no gRPC: `wire/status.py` maps each code to both."""

from __future__ import annotations

import enum


class Code(enum.IntEnum):
    """Why a request was not answered with tensors. One row per meaning in `docs/errors.md`."""

    OK = 0
    INVALID_ARGUMENT = 1  # malformed or semantically wrong; sending it again cannot help
    NOT_FOUND = 2  # unknown model, version or route
    TOO_LARGE = 3  # over a byte or element limit
    OVERLOADED = 4  # shed by admission: queue, quota, bytes, or a deadline that cannot be met
    UNAVAILABLE = 5  # loading, draining or failed version; another replica may answer
    DEADLINE_EXCEEDED = 6
    CANCELLED = 7  # the caller went away
    INTERNAL = 8  # the model raised on this input, or a fault of ours
    UNIMPLEMENTED = 9  # a known feature that this server refuses by name
    UNAUTHENTICATED = 10
    PERMISSION_DENIED = 11
    ALREADY_EXISTS = 12
    FAILED_PRECONDITION = 13
    REQUEST_TIMEOUT = 14  # the request's bytes did not arrive in time


class TidegateError(Exception):
    """An expected failure with a text that is safe to show to the caller.

    `message` names tensors, models and limits only: no paths, class names or stacks. Transports cut it at 512 bytes.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class AsleepError(TidegateError):
    """The model is loaded on demand and not loaded now. Whoever can wait awakens it; for others it is not available."""

    def __init__(self, model: str) -> None:
        super().__init__(Code.UNAVAILABLE, "the model is being loaded")
        self.model = model


def invalid(message: str) -> TidegateError:
    """A request that is wrong in itself."""
    return TidegateError(Code.INVALID_ARGUMENT, message)


def too_large(message: str) -> TidegateError:
    """A request over a limit of bytes, elements or counts."""
    return TidegateError(Code.TOO_LARGE, message)


def unimplemented(message: str) -> TidegateError:
    """A feature of the protocol that is refused by name, never ignored."""
    return TidegateError(Code.UNIMPLEMENTED, message)
