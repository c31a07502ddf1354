"""What a worker is made of once it has its settings: service, listener, health and versions, composed in order.

Takes connections from its first route table on, so that liveness can be asked for while models load.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import logging
import os
import socket
from collections.abc import Callable

import msgspec

from gateway.capture import capturing
from gateway.clock import Clock, seeded_random
from gateway.config import Config
from gateway.control.balance import Balance
from gateway.control.behind import behind_of
from gateway.control.calls import inference_methods, personal_inference, personal_labels
from gateway.control.captures import Captures
from gateway.control.configuration import ModelConfiguration
from gateway.control.crossings import Crossings
from gateway.control.drift_questions import DriftQuestions
from gateway.control.extensions import Extensions
from gateway.control.health import Health, statuses
from gateway.control.holding import Holding, routes_of
from gateway.control.index import RepositoryIndex
from gateway.control.instruments import Instruments
from gateway.control.label_questions import LabelQuestions
from gateway.control.messages import Asked, AskedDrift, AskedLabels, Change, Held, Report, Table, UnknownKey
from gateway.control.model_child import start_model_child, start_model_child_behind
from gateway.control.model_control import ModelControl
from gateway.control.parking import Parking
from gateway.control.quotas import Quotas
from gateway.control.rest import Rest
from gateway.control.rest_infer import RestInference
from gateway.control.rest_predict import RestPrediction
from gateway.control.rest_v1 import RestV1
from gateway.control.service import Service
from gateway.control.shadows import Shadows
from gateway.control.standard_calls import personal_health, standard_methods
from gateway.control.state import ServerState
from gateway.control.statistics import Statistics
from gateway.control.watches import Watches
from gateway.drift.watching import Watching
from gateway.errors import Code
from gateway.identity.gate import Gate, Known
from gateway.identity.settings import Auth
from gateway.identity.tenants import Weights
from gateway.limits import WireLimits
from gateway.model_settings import Versions
from gateway.observe.access import AccessLog
from gateway.observe.arena import Region
from gateway.observe.metrics import Metrics
from gateway.rollout.recorder import Recording
from gateway.rollout.ring import Ring
from gateway.rollout.shadowing import Shadowing
from gateway.serving.admission import Budget
from gateway.serving.batching import Batcher, Observer
from gateway.serving.loading import Loader, Say
from gateway.serving.sources import content_of, gives_way, is_isolated, open_repository, overlaid
from gateway.serving.versions import Version
from gateway.wire.grpc import GrpcRouter
from gateway.wire.listener import Listener
from gateway.wire.tls import TlsContext, TlsError
from registry.compiled import Compiled
from registry.discovery import Source
from registry.errors import Kind, RegistryError
from registry.niceness import give_way
from registry.overlay import Overlay, name_in
from registry.verified import ModelVersionRef, VerifiedModel

_log = logging.getLogger(__name__)
_LOOK_S = 0.02  # between two looks at what is still open while draining
_ONE_CORE_INLINE_S = 10e-3  # far below the 50 ms in which health must answer
_COLLECT_EVERY = 50_000  # allocations; measured: 5 % of a small request at Python's 700


class Serving:
    """Everything between the sockets and the sessions of one process."""

    def __init__(
        self,
        config: Config,
        *,
        metrics: Metrics,
        quotas: Quotas,
        watches: Watches,
        captures: Captures,
        ring: Ring,
        balance: Balance,
        clock: Clock,
        sockets: dict[str, int],
        workers: int,
        cores: set[int],
        report: Callable[[tuple[Report, ...]], None],
        wake: Callable[[str], None],
        ask: Callable[[Asked | AskedDrift | AskedLabels | Change | UnknownKey], None],
    ) -> None:
        """`sockets` are descriptors that listen; `report` gets the list of versions whenever it has changed, `wake` models that sleep;
        `ask` sends what only the supervisor can answer.

        Versions are loaded on any of `cores`, so that loading does not take the event loop's, which comes first on any.
        """
        self.config = config
        self.metrics = metrics
        self.quotas = quotas
        self.watches, self.captures = watches, captures
        self.crossings = Crossings(ring, clock)
        self.shadows = Shadows(ring, metrics, asyncio.get_running_loop(), clock)
        self.balance = balance
        self.clock = clock
        self.health = Health()
        self._wake, self._ask = wake, ask
        self._cores = cores
        self._wire = share_of(config.limits.wire, workers)
        self.state = ServerState(config.server.name, importlib.metadata.version("tidegate"))
        self._source: Source | None = None
        self._gives_way = False  # the loading thread
        self._weights = Weights(config.tenants, config.default_tenant)
        self.gate = None if config.auth is None else Gate(config.auth, clock, ask=lambda: ask(UnknownKey()))
        self._tls: TlsContext | None = None
        self.service, self.listener = self._compose()
        self._apply_quotas()
        self.holding = Holding(self._load, self._move, report, metrics.forget, lambda: os.sched_setaffinity(0, self._cores))
        self._sockets = sockets
        self._taking = False

    def _compose(self) -> tuple[Service, Listener]:
        config, limits = self.config, self.config.limits
        batcher = Batcher(
            Budget(limits.serving),
            loop=asyncio.get_running_loop(),
            clock=self.clock,
            observer=self._observer(),
            inline_max_s=_inline_max_s(config),
        )
        if config.capture.enabled:
            batcher.hold = capturing.hold if config.capture.durability == "sync" else capturing.promise
        service = Service(limits, batcher, self.metrics, _allow_empty(config))
        limit = limits.serving.max_queue_bytes
        service.parking = Parking(asyncio.get_running_loop(), self.clock.now, self._wake, max_bytes=limit)
        index = RepositoryIndex(service)
        self.statistics = Statistics(service, asyncio.get_running_loop(), lambda model: self._ask(Asked(model)))
        self.drift = DriftQuestions(service, asyncio.get_running_loop(), lambda *question: self._ask(AskedDrift(*question)))
        self.labels = LabelQuestions(
            asyncio.get_running_loop(), lambda *labels: self._ask(AskedLabels(*labels)), enabled=lambda: self.config.labels.enabled
        )
        self.control = ModelControl(lambda *change: self._ask(Change(*change)), config.repository)
        instruments = Instruments(service, lambda: self.config.logging.level)
        configuration = ModelConfiguration(service, self._chosen)
        extensions = Extensions(index, configuration, self.statistics, self.drift, self.labels, self.control, instruments)
        strict = config.rest.strict_json
        v1 = RestV1(service, RestPrediction(service, strict_json=strict))
        rest = Rest(service, self.state, RestInference(service, strict_json=strict), extensions, v1, auth=self._auth)
        methods = inference_methods(service, self.state, extensions) | standard_methods(self.health)
        calls = GrpcRouter(methods, limits, compression=config.grpc.compression)
        personal = personal_inference(service) | personal_labels(self.labels) | personal_health(self.health)
        behind = behind_of(calls, rest, self._wire, self.gate, personal)
        listener = Listener(self._wire, behind, clock=self.clock, rng=seeded_random(), gate=self.balance)
        batcher.answered = listener.flush
        self.balance.turn = listener.accepting.resume
        return service, listener

    def _auth(self) -> Auth | None:
        """What is asked of callers now; None: nothing."""
        return None if self.gate is None else self.config.auth

    def _chosen(self, model: str) -> Versions:
        """By the settings of now."""
        return self.config.versions(model)

    def _observer(self) -> Observer:
        """What is told of every batch: the metrics, the access log where one is wanted, and what is kept of versions' traffic."""
        share = self.config.logging.access_share
        counting = AccessLog(self.metrics, share=share, clock=self.clock, rng=seeded_random()) if share else self.metrics
        recording = Recording(Watching(counting))
        return Shadowing(capturing.Capturing(recording) if self.config.capture.enabled else recording, self.shadows.crowd)

    def configure(self, config: Config) -> None:
        """New settings. What is bound to sockets and sessions stays as it is; versions with other settings come as other versions."""
        self.config = config
        self._source = None
        self._apply_quotas()
        self.service.allow_empty(_allow_empty(config))
        self.service.batcher.inline_max_s = _inline_max_s(config)
        self._weights.configure(config.tenants, config.default_tenant)
        if self.gate is not None and config.auth is not None:
            self.gate.configure(config.auth)

    def _apply_quotas(self) -> None:
        """Where nobody has any, nothing on the way of a request knows of them; what was charged before is let go all the same."""
        service, quotas = self.service, self.quotas
        quotas.configure(self.config.tenants, self.config.default_tenant)
        service.quotas = quotas if quotas.is_on else None
        if quotas.is_on:
            service.batcher.let_go = quotas.let_go

    def know(self, known: Known) -> None:
        """Hold credentials against this from now on."""
        if self.gate is not None:
            self.gate.renew(known)

    def renew_certificate(self) -> None:
        """Show callers that come from now on what lies in the files now; connections that are open stay."""
        try:
            if self._tls is not None:
                self._tls.reload()
        except TlsError as error:  # somebody wrote them again meanwhile, and will be noticed
            _log.error("tls: %s; the certificate stays as it is", error)

    # --- versions --------------------------------------------------------------------------------------------------------------

    def _load(self, held: Held, say: Say) -> tuple[Version, int]:
        """In the loading thread. What is loaded is what was asked for, also where somebody changes files meanwhile.

        Until the server was ready once there is nobody to give way to; and a worker that takes another one's place is in a hurry.
        """
        if self.state.started and not self._gives_way:
            self._gives_way = True
            give_way()
        if gives_way(held.identity):
            import gateway.rollout.shadow  # noqa: F401 - kernels, before anybody on the event loop wants them

        config = self.config
        self._source = source = self._source or open_repository(config.repository)
        cores = len(os.sched_getaffinity(os.getpid()))  # of the main thread, and so of those that run models; this one has more
        compiled = None if config.processes.compiled is None else Compiled(config.processes.compiled)
        start = start_model_child_behind if gives_way(held.identity) else start_model_child
        loader = Loader(
            config, self.service.batcher.release, self.clock.now, start, cores, compiled, self._weights.of,
            prepare=self._preparing(held, config),
        )  # fmt: skip
        with overlaid(source, held.model, _brought(held)):
            version, size = loader.load(_wanted(source, held), say, isolated=is_isolated(held.identity))
            try:
                _wanted(source, held)
            except RegistryError:
                version.end()
                raise
        return version, size

    def _preparing(self, held: Held, config: Config) -> Callable[[Version, VerifiedModel], None]:
        """What is kept of its traffic."""
        watch = self.watches.preparing(held, config)

        def prepare(version: Version, verified: VerifiedModel) -> None:
            watch(version, verified)
            self.captures.prepare(version, content_of(held.identity), config)

        return prepare

    def _move(self, held: Held, version: Version) -> None:
        """In the loading thread."""
        self.watches.move(version, held, self.config)

    def route(self, table: Table) -> None:
        """Serve by a table, whole."""
        routes = routes_of(table, self.holding.find)
        self.service.set_routes(routes, self.crossings.of(routes, self.service.batcher.submit))
        self.shadows.follow(routes)
        first = table.ready and not self.state.ready
        self.state.ready = table.ready
        self.state.started |= table.ready
        if first:
            _settle_collector()
        self.health.update(statuses(ready=table.ready, models=routes.readiness()))
        if not self._taking:
            self._take()

    def _take(self) -> None:
        """Take connections from now on."""
        self._taking = True
        self._tls = None if self.config.tls is None else TlsContext(self.config.tls)
        for fd in self._sockets.values():
            self.listener.listen(socket.socket(fileno=fd), None if self._tls is None else self._tls.context)
        self.balance.begin()

    def gauge(self, region: Region) -> None:
        """What the metrics page shows of this process."""
        budget = self.service.batcher.budget
        region["refused_connections"] = self.listener.refused
        if self.gate is not None:
            for code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED):
                region[code.name.lower()] = self.gate.denials[code]
        region["inflight_requests"] = budget.requests
        region["inflight_bytes"] = budget.bytes

    # --- the end ---------------------------------------------------------------------------------------------------------------

    async def drain(self, grace_s: float) -> None:
        """No new connections, open requests finish, then everything closes."""
        listener = self.listener
        self.state.ready, self.state.draining = False, True
        self.balance.end()
        self.health.update(statuses(ready=False, models=self.service.routes.readiness()))
        self.health.close()
        if self.service.parking is not None:
            self.service.parking.close()
        self.control.close()
        listener.drain()
        until = self.clock.now() + grace_s
        while (listener.peers or self.service.batcher.budget.requests) and self.clock.now() < until:
            listener.sweep()
            await asyncio.sleep(_LOOK_S)
        await listener.close()
        self.shadows.close()
        self.holding.close()
        self.watches.settle(max(0.1, until - self.clock.now()))
        self.captures.close(max(1.0, until - self.clock.now()))


def _wanted(source: Source, held: Held) -> ModelVersionRef:
    """What a source has now, where it is what the supervisor has seen. Raises `Kind.CONFLICT`, and as `Source.ref`."""
    ref = source.ref(held.model, held.version)
    if ref.content != content_of(held.identity):
        raise RegistryError(Kind.CONFLICT, f"the files of version {held.version} of model '{held.model}' changed meanwhile")
    return ref


def _brought(held: Held) -> Overlay | None:
    """What came with the version's load, in the memory of the supervisor. Raises `Kind.CONFLICT` where that is not there any more."""
    if held.bundle < 0:
        return None
    overlay = Overlay.received(os.getppid(), held.bundle)
    if overlay.name != name_in(content_of(held.identity)):
        overlay.close()
        raise RegistryError(Kind.CONFLICT, f"what came with the load of model '{held.model}' is gone")
    return overlay


def share_of(limits: WireLimits, workers: int) -> WireLimits:
    """What one of so many workers may hold. Connections are spread evenly, so an equal share of the limits of a server is enough."""
    return msgspec.structs.replace(
        limits,
        max_connections=-(-limits.max_connections // workers),
        max_connections_per_peer=-(-limits.max_connections_per_peer // workers),
    )


def _allow_empty(config: Config) -> set[str]:
    return {name for name, model in config.models.items() if model.allow_empty}


def _inline_max_s(config: Config) -> float:
    """On one core a thread cannot overlap anything with a run, it only interrupts it: somewhat longer runs then stay inline too."""
    seconds = config.batching.inline_max_us / 1e6
    return max(seconds, _ONE_CORE_INLINE_S) if seconds and len(os.sched_getaffinity(0)) == 1 else seconds


def _settle_collector() -> None:
    """Requests die by reference counts, so the cycle collector may look rarely; what is loaded now lives on and is not looked at."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY, 20, 20)
