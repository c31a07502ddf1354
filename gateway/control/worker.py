"""One serving process: listeners, service and models on one event loop, from start to a drained stop."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import logging
import os
import signal
import socket
from pathlib import Path

import uvloop

from gateway.clock import SystemClock, seeded_random
from gateway.config import Config
from gateway.control.calls import inference_methods
from gateway.control.health import Health, statuses
from gateway.control.monitor import Monitor
from gateway.control.rest import Rest
from gateway.control.rest_infer import RestInference
from gateway.control.service import Service
from gateway.control.standard_calls import standard_methods
from gateway.control.state import ServerState
from gateway.limits import WireLimits
from gateway.observe import logs
from gateway.observe.access import AccessLog
from gateway.observe.metrics import alone
from gateway.serving.admission import Budget
from gateway.serving.batching import Batcher, Observer
from gateway.serving.loading import Loader
from gateway.serving.routing import Routes
from gateway.wire.blocks import Router
from gateway.wire.grpc import GrpcRouter
from gateway.wire.head import RequestHead
from gateway.wire.http_stream import route_http
from gateway.wire.listener import Behind, Listener
from gateway.wire.stream import Acceptor
from gateway.wire.tls import TlsContext
from registry.discovery import open_source

_log = logging.getLogger(__name__)
_DRAIN_GRACE_S = 20.0
_ONE_CORE_INLINE_S = 5e-3  # far below the 50 ms in which health must answer
_COLLECT_EVERY = 50_000  # allocations; measured: 5 % of a small request at Python's 700


def run(config: Config) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status."""
    logs.configure(config.logging)
    try:
        sockets = _bind(config)
    except OSError as error:
        _log.error("cannot listen: %s", error)
        return 1
    return uvloop.run(Worker(config).serve(sockets))


class Worker:
    """The composition of one process. Everything is built in order and torn down in reverse."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = SystemClock()
        self.metrics, self.totals = alone(config.limits.observe)
        self.health = Health()
        self.state = ServerState(config.server.name, importlib.metadata.version("tidegate"))

    async def serve(self, sockets: dict[str, socket.socket]) -> int:
        """Listen at once, so that liveness can be asked for; be ready when the models are."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        service, listener, monitor = self._compose()
        await self._listen(sockets, listener, monitor)
        loading = asyncio.ensure_future(self._load(service))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({loading, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done() and loading.exception() is not None:
            _log.error("cannot serve: %s", loading.exception())
            return 1
        await stopped
        loading.cancel()
        await self._drain(listener, service, monitor)
        return 0

    def _compose(self) -> tuple[Service, Listener, Monitor]:
        limits = self.config.limits
        rng = seeded_random()
        budget = Budget(limits.serving)
        batcher = Batcher(
            budget,
            loop=asyncio.get_running_loop(),
            clock=self.clock,
            observer=self._observer(),
            inline_max_s=_inline_max_s(self.config),
        )
        allow_empty = {name for name, model in self.config.models.items() if model.allow_empty}
        service = Service(limits, batcher, self.metrics, allow_empty)
        rest = Rest(service, self.state, RestInference(service, strict_json=self.config.rest.strict_json))
        methods = inference_methods(service, self.state) | standard_methods(self.health)
        calls = GrpcRouter(methods, limits, compression=self.config.grpc.compression)
        listener = Listener(limits.wire, Behind(_router(calls, rest, limits.wire), rest), clock=self.clock, rng=rng)
        batcher.answered = listener.flush
        monitor = Monitor(self.totals, self.state, service, listener, clock=self.clock, rng=rng)
        return service, listener, monitor

    def _observer(self) -> Observer:
        """What is told of every batch: the metrics, behind the access log where one is wanted."""
        share = self.config.logging.access_share
        return AccessLog(self.metrics, share=share, clock=self.clock, rng=seeded_random()) if share else self.metrics

    async def _listen(self, sockets: dict[str, socket.socket], listener: Listener, monitor: Monitor) -> None:
        context = TlsContext(self.config.tls).context if self.config.tls is not None else None
        for name in ("http_port", "grpc_port"):
            await listener.listen(sockets[name], context)
        await monitor.listener.listen(sockets["metrics_port"])
        addresses = {name: "{}:{}".format(*sock.getsockname()[:2]) for name, sock in sockets.items()}
        _log.info("listening: http %s, grpc %s, metrics %s", *(addresses[name] for name in ("http_port", "grpc_port", "metrics_port")))

    async def _load(self, service: Service) -> None:
        """In a thread: loading is long, and liveness is asked for meanwhile."""
        config = self.config
        loader = Loader(config, service.batcher.release, self.clock.now)
        routes = await asyncio.to_thread(lambda: loader.load(open_source(Path(config.repository.path))))
        service.set_routes(routes)
        _settle_collector()
        self.state.ready = True
        self._tell_health(routes)
        _log.info("ready: %d versions, %d failed", len(list(routes.all())), len(routes.failed))

    def _tell_health(self, routes: Routes) -> None:
        models = dict.fromkeys((name for name, _ in routes.failed), False) | dict.fromkeys(routes.versions, True)
        self.health.update(statuses(ready=self.state.ready, models=models))

    async def _drain(self, listener: Listener, service: Service, monitor: Monitor) -> None:
        """Not ready, no new connections, open requests finish, then everything closes."""
        self.state.ready, self.state.draining = False, True
        self._tell_health(service.routes)
        self.health.close()
        listener.drain()
        until = self.clock.now() + _DRAIN_GRACE_S
        while (listener.peers or service.batcher.budget.requests) and self.clock.now() < until:
            listener.sweep()
            await asyncio.sleep(0.02)
        await listener.close()
        await monitor.listener.close()
        _log.info("stopped")


def _inline_max_s(config: Config) -> float:
    """On one core a thread cannot overlap anything with a run, it only interrupts it: somewhat longer runs then stay inline too."""
    seconds = config.batching.inline_max_us / 1e6
    return max(seconds, _ONE_CORE_INLINE_S) if seconds and len(os.sched_getaffinity(0)) == 1 else seconds


def _settle_collector() -> None:
    """Requests die by reference counts, so the cycle collector may look rarely; what is loaded now lives on and is not looked at."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY, 20, 20)


def _bind(config: Config) -> dict[str, socket.socket]:
    """The three sockets, bound; no SO_REUSEPORT, so that a second instance fails loudly."""
    bound: dict[str, socket.socket] = {}
    try:
        for name in ("http_port", "grpc_port", "metrics_port"):
            bound[name] = _bound(config.server.host, getattr(config.server, name))
    except OSError:
        for sock in bound.values():
            sock.close()
        raise
    return bound


def _bound(host: str, port: int) -> socket.socket:
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    sock = socket.socket(family, kind, proto)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise OSError(f"{host}:{port}: {error.strerror}") from None
    return sock


def _router(calls: GrpcRouter, rest: Rest, limits: WireLimits) -> Router:
    """gRPC by content type, everything else is HTTP: on either port."""

    def route(head: RequestHead) -> Acceptor:
        if head.content_type.startswith(b"application/grpc") and head.content_type[16:17] in (b"", b"+", b";"):
            return calls.route(head)
        return route_http(rest, head, limits)

    return route
