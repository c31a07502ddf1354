"""Where `tidegate retrain` has its work done, and what it says where nobody does it there."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway.commands.output import UsageError
from gateway.errors import Code, TidegateError
from retrain.errors import ClusterError

if TYPE_CHECKING:
    from retrain.carrying import Carrier


def carrier(engine: str, address: str | None) -> Carrier:
    """The place. Raises `UsageError` where Ray is not installed, `ClusterError` where nobody listens at an address that was given."""
    if address is not None and engine != "ray":
        raise UsageError("--ray-address: goes with --engine ray")
    if engine == "local":
        from retrain.carrying import HERE

        return HERE
    if importlib.util.find_spec("ray") is None:
        raise UsageError("--engine ray needs ray, which is not installed: pip install 'tidegate[ray]'")
    from retrain.cluster import AUTO, reached
    from retrain.spread import Ray

    found = address or os.environ.get("RAY_ADDRESS") or AUTO
    with answering():
        reached(found)
    return Ray(found)


@contextmanager
def waiting(trigger: str) -> Iterator[None]:
    """A cluster that is not there says which trigger waits for it."""
    try:
        yield
    except ClusterError as error:
        raise ClusterError(f"{error}; trigger {trigger} waits for the next job", reachable=error.reachable) from error


@contextmanager
def answering() -> Iterator[None]:
    """A cluster that does not answer is UNAVAILABLE, one that cannot be used a precondition that failed."""
    try:
        yield
    except ClusterError as error:
        raise TidegateError(Code.FAILED_PRECONDITION if error.reachable else Code.UNAVAILABLE, str(error)) from error
