"""What the supervisor does before workers load a version: its files are read and checked, and a confined child loads it and asks its
golden requests. A version that crashes, hangs or answers otherwise fails there, and no worker meets it.

One version at a time, in a thread of its own; the child stays while there is more to try, and goes when there is not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from gateway.control.steering import Outcome
from gateway.serving.lifecycle import Failure, Wanted
from gateway.serving.sources import content_of, overlaid
from registry.discovery import Source
from registry.errors import Kind, RegistryError
from registry.niceness import give_way
from registry.overlay import Overlay
from registry.trials import TrialChild, Verdict
from registry.verified import VerifiedModel

_log = logging.getLogger(__name__)
IDLE_S = 60.0  # until a child that has nothing to do is ended: versions come in bursts, and to start one on a full core takes seconds


class Verifying:
    """Verifications of one server."""

    def __init__(
        self, source: Callable[[], Source], *, trials: bool, brought: Callable[[str], Overlay | None],
        look_into: Callable[[Wanted, VerifiedModel], None],
    ) -> None:  # fmt: skip
        """`source` opens the repository, in the thread, which shares it with nobody. Without `trials`, files are checked and not loaded.

        `brought(identity)` gives what came with the load of a version, to keep, and is called in the thread, as is `look_into`, with
        versions that passed.
        """
        self._open = source
        self._trials = trials
        self._brought, self._look_into = brought, look_into
        self._source: Source | None = None
        self._child = TrialChild()
        self._thread = ThreadPoolExecutor(1, "verify", give_way)
        self._loop = asyncio.get_running_loop()
        self._waiting = 0
        self._idle: asyncio.TimerHandle | None = None
        self._closed = False

    def begin(self, wanted: Wanted) -> asyncio.Future[Outcome]:
        """Look into a version."""
        self._waiting += 1
        if self._idle is not None:
            self._idle.cancel()
        future = self._loop.run_in_executor(self._thread, self._verified, wanted)
        future.add_done_callback(self._done)
        return future

    def close(self) -> None:
        """End the child; a verification that is under way ends with it."""
        self._closed = True
        if self._idle is not None:
            self._idle.cancel()
        self._thread.submit(self._child.close)
        self._thread.shutdown(wait=False)

    def _done(self, future: asyncio.Future[Outcome]) -> None:
        self._waiting -= 1
        if not self._waiting and not self._closed:
            self._idle = self._loop.call_later(IDLE_S, self._thread.submit, self._child.close)

    def _verified(self, wanted: Wanted) -> Outcome:
        """In the thread. Never raises."""
        try:
            return self._looked_into(wanted)
        except RegistryError as error:
            return Outcome(error.message, Failure.UNREACHABLE if error.kind is Kind.STORAGE else Failure.MODEL)
        except OSError as error:
            return Outcome(f"it cannot be tried: {error.strerror}", Failure.UNREACHABLE)
        except Exception as error:  # a fault of ours costs this version, not the server
            _log.exception("verifying failed: %s/%d", wanted.model, wanted.version)
            return Outcome(f"internal error: {type(error).__name__}")

    def _looked_into(self, wanted: Wanted) -> Outcome:
        self._source = source = self._source or self._open()
        with overlaid(source, wanted.model, self._brought(wanted.identity)):
            ref = source.ref(wanted.model, wanted.version)
            if ref.content != content_of(wanted.identity):
                return Outcome("its files have changed since they were listed")
            with ref.open() as verified:
                outcome = self._tried(verified)
                if outcome.reason is None:
                    self._look_into(wanted, verified)
                return outcome

    def _tried(self, verified: VerifiedModel) -> Outcome:
        """What came over the network is examined and tried whatever the settings say of trials."""
        if not self._trials and not verified.submitted:
            return Outcome(size_bytes=verified.size_bytes)
        tried = self._child.tried(verified, golden=verified.golden, examine=verified.submitted)
        reason = None if tried.verdict is Verdict.PASSED else tried.reason or tried.verdict.value
        return Outcome(reason, size_bytes=verified.size_bytes)
