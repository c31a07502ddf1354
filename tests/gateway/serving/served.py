"""A server's versions without its processes: what the settings choose is loaded here and now, and routed as the supervisor routes it."""

from __future__ import annotations

import itertools
import logging

from gateway.config import Config
from gateway.control.holding import routes_of
from gateway.control.model_child import start_model_child
from gateway.control.tables import table_of
from gateway.serving.deciding import applied, decide
from gateway.serving.lifecycle import STEPS, Event, Failure, Snapshot, State, Wanted
from gateway.serving.loading import Loader
from gateway.serving.model import ModelFault, RunFault
from gateway.serving.routing import Routes
from gateway.serving.sources import open_repository, wish
from gateway.serving.versions import Version
from registry.errors import RegistryError

_log = logging.getLogger(__name__)
WORKER = 1


def served(config: Config) -> Routes:
    """What a server with these settings serves; every look at the clock is a millisecond later."""
    source = open_repository(config.repository)
    wished = wish(config, source.listing())
    for problem in wished.problems:
        _log.warning("%s", problem)
    ticks = itertools.count()
    loader = Loader(config, lambda version, item, code: None, lambda: next(ticks) / 1e3, start_model_child)
    versions: dict[tuple[str, int, str], Version] = {}
    snapshot = Snapshot().wants(wished.desired).joined(WORKER)
    for _ in range(2 + 2 * len(wished.desired.versions)):
        snapshot = applied(snapshot, decide(snapshot))
        for wanted in tuple(snapshot.verifying):
            snapshot = snapshot.verified(wanted)
        for wanted, known in snapshot.known.items():
            if known.by_worker.get(WORKER) is State.VERIFY:
                snapshot = _loaded(snapshot, wanted, loader, versions, source.ref(wanted.model, wanted.version))
    table = table_of(wished, snapshot.routes, snapshot.desired, generation=1, partial=False, ready=True)
    return routes_of(table, versions.get)


def _loaded(snapshot: Snapshot, wanted: Wanted, loader: Loader, versions: dict, ref) -> Snapshot:
    try:
        version, _ = loader.load(ref, lambda state: None)
    except (RegistryError, ModelFault, RunFault) as error:
        return snapshot.reported(WORKER, wanted, Event.FAIL, failure=Failure.MODEL, reason=str(error))
    versions[wanted.model, wanted.version, wanted.identity] = version
    for event in STEPS:
        snapshot = snapshot.reported(WORKER, wanted, event)
    return snapshot
