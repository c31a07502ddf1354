"""Work that blocks, done for callers of an event loop: a few threads, a bounded queue, and failures as errors that callers may see.

What somebody asked for is done even where they went away meanwhile, because it may have begun.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from gateway.errors import Code, TidegateError
from registry.errors import Kind, RegistryError

THREADS = 4
MAX_WAITING = 64  # with those under way
CROWDED = TidegateError(Code.OVERLOADED, "too many requests wait for the registry")
ENDING = TidegateError(Code.UNAVAILABLE, "the server is shutting down")
INTERNAL = TidegateError(Code.INTERNAL, "internal error")

_log = logging.getLogger(__name__)
_CODES = {
    Kind.INVALID_NAME: Code.INVALID_ARGUMENT,
    Kind.INVALID_MODEL: Code.INVALID_ARGUMENT,
    Kind.NOT_FOUND: Code.NOT_FOUND,
    Kind.CONFLICT: Code.FAILED_PRECONDITION,
    Kind.POLICY: Code.FAILED_PRECONDITION,
    Kind.DAMAGED: Code.INTERNAL,
    Kind.UNSUPPORTED: Code.UNIMPLEMENTED,
    Kind.STORAGE: Code.UNAVAILABLE,
}

T = TypeVar("T")


class Loop(Protocol):
    """What is needed of an event loop."""

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> Any:
        """Call it on the loop."""
        ...


class Errands:
    """The threads of one process."""

    def __init__(self, loop: Loop, threads: Executor | None = None) -> None:
        self._loop = loop
        self._threads = threads or ThreadPoolExecutor(THREADS, thread_name_prefix="errand")
        self._waiting = 0
        self._closed = False

    def run(self, work: Callable[[], T], done: Callable[[T], None], failed: Callable[[TidegateError], None]) -> None:
        """Do `work` in a thread, then call one of the others on the loop; `failed` at once where there is no room."""
        if self._closed or self._waiting >= MAX_WAITING:
            failed(ENDING if self._closed else CROWDED)
            return
        self._waiting += 1

        def came(future: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._finish, future, done, failed)

        self._threads.submit(work).add_done_callback(came)

    def close(self) -> None:
        """No more; what is under way ends by itself."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _finish(self, future: Future[T], done: Callable[[T], None], failed: Callable[[TidegateError], None]) -> None:
        self._waiting -= 1
        if future.cancelled():
            failed(ENDING)
            return
        error = future.exception()
        if error is None:
            done(future.result())
        else:
            failed(told(error))


def told(error: BaseException) -> TidegateError:
    """A failure as its caller may see it; a fault of ours stands in the log."""
    match error:
        case TidegateError():
            return error
        case RegistryError():
            if error.kind in (Kind.DAMAGED, Kind.STORAGE):
                _log.error("registry: %s", error.message)
            return TidegateError(_CODES[error.kind], error.message)
    _log.error("an errand failed", exc_info=error)
    return INTERNAL
