"""The process that stays: owns the sockets, the arena, the workers and the view of the repository, and answers probes and scrapes.

Nothing that serves a request waits for it. It knows no runtime and no kernel, so that what can crash a worker cannot crash it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import os
import signal
import socket
from collections.abc import Callable

import msgspec
import uvloop

from gateway.clock import SystemClock, seeded_random
from gateway.config import Config, pins, worker_count
from gateway.control.administration import Administration
from gateway.control.board import Board
from gateway.control.certificates import Certificates
from gateway.control.chores import every
from gateway.control.counting import Counting, series_of
from gateway.control.credentials import Credentials, CredentialsError
from gateway.control.drift import Drift
from gateway.control.fleet import Fleet, Member
from gateway.control.inheritance import Inheritance
from gateway.control.label_desks import LabelDesks
from gateway.control.loads import Loads
from gateway.control.lookout import Lookout
from gateway.control.messages import (
    Asked,
    AskedDrift,
    AskedLabels,
    Change,
    Counted,
    FromWorker,
    Renew,
    Reports,
    Routed,
    Table,
    ToldDrift,
    UnknownKey,
    Wake,
)
from gateway.control.monitor import Monitor
from gateway.control.notify import notify
from gateway.control.overlays import Overlays
from gateway.control.placements import Placements
from gateway.control.recorders import Recorders
from gateway.control.rereading import reread
from gateway.control.rollouts import Rollouts
from gateway.control.sockets import SERVED, addresses, bind
from gateway.control.state import ServerState
from gateway.control.steering import Outcome, Steering
from gateway.control.verifying import Verifying
from gateway.drift.blocks import Blocks
from gateway.identity.gate import Gate, Known
from gateway.identity.tenants import metered
from gateway.observe import logs, saved
from gateway.observe.arena import Arena
from gateway.observe.totals import Totals
from gateway.serving.explicit import Explicit
from gateway.serving.lifecycle import Wanted
from gateway.serving.sources import Wish, open_repository
from gateway.wire.tls import TlsError
from registry.checkpoint import CheckpointFile
from registry.errors import RegistryError
from registry.state_directory import StateDirectory

_log = logging.getLogger(__name__)
_SPARES = 2  # places beside the workers': one that has died is taken before it is free
_SAVE_S = 10.0
_USE_S = 1.0
_FRESH_S = 2.0

Reload = Callable[[], Config]


def run(config: Config, reload: Reload | None = None) -> int:
    """Serve until SIGTERM or SIGINT: the exit status. `reload` reads the settings anew, for SIGHUP."""
    logs.configure(config.logging)
    try:
        with contextlib.ExitStack() as held:
            path = config.processes.state
            state = None if path is None else held.enter_context(contextlib.closing(StateDirectory.hold(path, now_s=SystemClock().wall())))
            return uvloop.run(Supervisor(config, bind(config.server), state, reload).serve())
    except OSError as error:
        _log.error("cannot listen: %s", error)
    except RegistryError as error:
        _log.error("cannot serve: %s", error.message)
    except (CredentialsError, TlsError) as error:
        _log.error("cannot serve: %s", error)
    return 1


class Supervisor:
    """The composition of the process."""

    def __init__(self, config: Config, sockets: dict[str, socket.socket], state: StateDirectory | None, reload: Reload | None) -> None:
        self.config = config
        self.clock = SystemClock()
        self.state = ServerState(config.server.name, importlib.metadata.version("tidegate"))
        self._sockets = sockets
        self._reload = reload
        self._file = None if state is None else CheckpointFile(state)
        self._directory = None if state is None else state.medium.root
        self._stop = asyncio.Event()
        self._status = 0
        self._ready_from = 0  # the first generation that was ready
        self._served_by: dict[int, int] = {}  # worker → generation of its table
        self._changes: set[asyncio.Task[None]] = set()
        self._counted: dict[tuple[str, str], int] = {}  # requests by model and version, when use was last looked at

    async def serve(self) -> int:
        """Until a signal. Returns the exit status."""
        self._loop = asyncio.get_running_loop()
        self._compose()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        metrics = self.certificates.metrics
        self.monitor.listener.listen(self._sockets["metrics_port"], None if metrics is None else metrics.context)
        found = addresses(self._sockets)
        _log.info("listening: %s", ", ".join(f"{name.removesuffix('_port')} {address}" for name, address in found.items()))
        self.administration.open()
        self.lookout.start()
        await self.credentials.look()
        await self.fleet.begin()
        chores = ((_SAVE_S, self._save), (_USE_S, self._watch_use), (_FRESH_S, self._stay_fresh))
        tasks = [self._loop.create_task(every(period_s, chore)) for period_s, chore in chores]
        await self._stop.wait()
        for task in tasks:
            task.cancel()
        await self._drain()
        return self._status

    def _compose(self) -> None:
        config, cores = self.config, sorted(os.sched_getaffinity(0))
        self.certificates = Certificates(config.tls, self._renewed)
        self.credentials = Credentials(config.auth, self.clock, self._know)
        self.credentials.read()
        workers = worker_count(config.processes, len(cores))
        places = workers + _SPARES
        arena = Arena.create(workers=places, slots=config.limits.observe.max_versions + 2)
        blocks = Blocks.create(regions=places, words=config.drift.max_bytes // 8)
        self.labels, self.recorders = LabelDesks(config, self.clock), Recorders(config, self.clock)
        self.rollouts = Rollouts(
            config, places, self.clock, self.labels, table=lambda: self.steering.table,
            appended=lambda: self._loop.run_in_executor(None, self.lookout.look),
        )  # fmt: skip
        triton_names = config.metrics.triton_names
        self.totals = Totals(arena, config.limits.observe, series=series_of(triton_names=triton_names))
        if self._file is not None and (problem := saved.restore(self.totals, self._file)):
            _log.error("totals: %s", problem)
        self.board = Board.create(places)
        given = Inheritance(
            place=0, workers=workers, board=self.board.fd, bells=self.board.bells, arena=arena.fd, blocks=blocks.fd,
            rings=self.rollouts.rings.fd,
            sockets={name: sock.fileno() for name, sock in self._sockets.items() if name in SERVED},
        )  # fmt: skip
        self.fleet = Fleet(
            config,
            self.board,
            given,
            workers=workers,
            cores=tuple(cores) if pins(config, workers, len(cores)) else (),
            clock=self.clock,
            joined=self._joined,
            said=self._said,
            left=self._left,
        )
        self.overlays, self.placements = Overlays(config.repository.load_bytes), Placements()
        self.steering = Steering(
            self, self.clock, workers=workers, budget_bytes=config.processes.models_bytes, routed=self._routed,
            explicit=Explicit(config.repository.load_models) if config.repository.model_control == "explicit" else None,
        )  # fmt: skip
        self.drift = Drift(config, blocks, self.clock, state=self._directory, moved=self.steering.tell_again)
        self.counting = Counting(
            arena, self.totals, config.limits.observe, state=self.state, triton_names=triton_names, fleet=self.fleet, board=self.board,
            more=[one.gauges for one in (self.drift, self.rollouts, self.labels, self.recorders)], steering=self.steering,
            placements=self.placements, clock=self.clock,
        )  # fmt: skip
        self.counting.tenants = metered(config.tenants, config.default_tenant)
        self.gate = Gate(config.auth, self.clock, ask=self.credentials.ask) if config.auth and config.auth.metrics else None
        self.monitor = Monitor(self.counting.page, self.state, config.limits.wire, clock=self.clock, rng=seeded_random(), gate=self.gate)
        admin, credentials = self._sockets.get("admin_port"), self.credentials
        self.administration = Administration(config, admin, self.clock, known=lambda: credentials.known, ask=credentials.ask)
        self._know(self.credentials.known)
        self.verifying = Verifying(
            lambda: open_repository(config.repository), trials=config.processes.trials, brought=self.overlays.copy,
            look_into=self.drift.observing.look_into,
        )  # fmt: skip
        self.lookout = Lookout(config, self._seen, self._unseen)
        self.loads = Loads(self.steering, self.lookout, self.overlays, files=config.repository.load_files, slowest=self._slowest)

    # --- workers ---------------------------------------------------------------------------------------------------------------

    def _joined(self, member: Member) -> None:
        member.channel.send(self.credentials.known)
        self.steering.joined(member.number)

    def _said(self, member: Member, message: FromWorker) -> None:
        match message:
            case Reports():
                self.placements.reported(member.number, message)
                self.steering.reported(member.number, message)
            case Routed(generation):
                self._acknowledged(member, generation)
            case Wake(model):
                self.steering.wake(model)
            case Change():
                self.loads.ask(member, message)
            case AskedDrift(number, model, messages):
                self.drift.evaluators.ask(model, lambda content: member.channel.send(ToldDrift(number, content)), messages=messages)
            case AskedLabels(number, content, is_message):
                self.labels.ask(number, content, is_message, member.channel.send)
            case Asked(model):
                member.channel.send(Counted(model, self.counting.statistics(model)))
            case UnknownKey():
                self.credentials.ask()

    def _slowest(self) -> int | None:
        """The generation of the oldest table that anybody serves by."""
        return min((self._served_by.get(worker, 0) for worker in self.steering.snapshot.serving), default=None)

    def _left(self, member: Member) -> None:
        if not self.state.draining:
            self.rollouts.died()
        self.totals.fold(member.place)
        self._served_by.pop(member.number, None)
        self.placements.left(member.number)
        self.steering.died(member.number)
        self.loads.followed()

    # --- what a decision needs done (`steering.Actions`) -----------------------------------------------------------------------

    def verify(self, wanted: Wanted) -> asyncio.Future[Outcome]:
        """Begin to look into a version."""
        return self.verifying.begin(wanted)

    def tell(self, message: msgspec.Struct, worker: int | None = None) -> None:
        """Send a message to one worker, or to all."""
        if worker is None:
            self.fleet.tell(message)
        elif worker in self.fleet.members:
            self.fleet.members[worker].channel.send(message)

    def end(self, worker: int) -> None:
        """A worker that cannot load what the others serve."""
        if worker in self.fleet.members:
            _log.error("worker %d cannot load what the others serve: killed", worker)
            self.fleet.members[worker].process.kill()

    def open_slot(self, model: str, version: int) -> int:
        """Where a version counts."""
        return self.totals.open((model, str(version)))

    def close_slot(self, model: str, version: int) -> None:
        """It counts no more; what it counted stays."""
        self.totals.close((model, str(version)))

    def bundle(self, identity: str) -> int:
        """The descriptor of what came with the load of a version; -1 for none."""
        return self.overlays.bundle(identity)

    def open_block(self, wanted: Wanted) -> tuple[int, str, int]:
        """Where its traffic is counted for drift, by which learned profile, and the checksum of the plan."""
        return self.drift.observing.open(wanted)

    def close_block(self, wanted: Wanted) -> None:
        """Nobody counts there any more."""
        self.drift.observing.close(wanted)

    # --- what serves -----------------------------------------------------------------------------------------------------------

    def _seen(self, wish: Wish) -> None:
        """In the lookout's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._wish, wish)

    def _wish(self, wish: Wish) -> None:
        self.steering.wants(wish)
        self.rollouts.wished(open_=wish.rolls)

    def _unseen(self, error: RegistryError) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._give_up, error)

    def _give_up(self, error: RegistryError) -> None:
        _log.error("cannot serve: %s", error.message)
        self._status = 1
        self._stop.set()

    def _routed(self, table: Table) -> None:
        """There is another table; workers have it when they say so."""
        self._loop.call_soon(self.rollouts.follow)
        self.labels.serves(table)
        if not table.ready:
            self.state.ready = False
        elif not self._ready_from:
            self._ready_from = table.generation

    def _acknowledged(self, member: Member, generation: int) -> None:
        """A worker serves by a table. The server is ready when all of them do by one that is."""
        self._served_by[member.number] = generation
        self.loads.followed()
        if member.served_s is None:
            member.served_s = self.clock.now()
        if self.state.ready or self.state.draining or not self._ready_from:
            return
        if all(self._served_by.get(worker, 0) >= self._ready_from for worker in self.steering.snapshot.serving):
            self._become_ready()

    def _become_ready(self) -> None:
        table = self.steering.table
        self.state.ready = self.state.started = True
        _log.info("ready: %d versions, %d failed", sum(map(len, table.models.values())), sum(map(len, table.failed.values())))
        notify("READY=1")
        self._loop.create_task(self.fleet.keep_spare())

    # --- who may call ---------------------------------------------------------------------------------------------------------

    def _know(self, known: Known) -> None:
        self.fleet.tell(known)
        self.administration.tell(known)
        if self.gate is not None:
            self.gate.renew(known)

    def _renewed(self) -> None:
        self.fleet.tell(Renew())
        self.administration.tell(Renew())

    async def _stay_fresh(self) -> None:
        self.certificates.look()
        await self.credentials.look()

    async def _reread(self) -> None:
        self.certificates.look(again=True)
        self.credentials.configure(self.config.auth)
        if self.gate is not None and self.config.auth is not None:
            self.gate.configure(self.config.auth)
        await self.credentials.look(again=True)
        notify("READY=1")

    # --- signals ---------------------------------------------------------------------------------------------------------------

    def _hang_up(self) -> None:
        """SIGHUP: read the settings and the repository anew, and try again what failed."""
        notify("RELOADING=1", now_s=self.clock.now())
        self.config = reread(self.config, self._reload)
        logs.configure(self.config.logging)
        self.fleet.configure(self.config)
        self.administration.configure(self.config)
        self.drift.observing.configure(self.config)
        self.counting.tenants = metered(self.config.tenants, self.config.default_tenant)
        self.steering.retry()
        task = self._loop.create_task(self._reread())
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        self._loop.run_in_executor(None, self.lookout.configure, self.config)

    async def _watch_use(self) -> None:
        """Which models were asked since the last look, for those that sleep when they are not; and what of loads nobody holds any more."""
        self.overlays.keep([one.identity for one in self.steering.snapshot.known])
        if self.steering.lazy:
            now = {key: int(slab.requests.sum()) for key, slab in self.totals.snapshot().items()}
            self.steering.used({key[0] for key, count in now.items() if count != self._counted.get(key, 0)})
            self._counted = now

    async def _save(self) -> None:
        """What is counted is taken here, written in a thread."""
        if self._file is None:
            return
        try:
            await asyncio.to_thread(self._file.save, saved.checkpoint(self.totals, now_s=self.clock.wall()))
        except RegistryError as error:
            _log.error("totals: %s", error.message)

    async def _drain(self) -> None:
        """Not ready; a while later no new connections; open requests finish, then everything ends."""
        notify("STOPPING=1")
        processes = self.config.processes
        self.state.ready, self.state.draining = False, True
        self.lookout.stop()
        self.steering.drain()
        self.verifying.close()
        await asyncio.sleep(processes.drain_delay_s if not self._status else 0.0)
        for name in SERVED:
            self._sockets[name].close()
        if not await self.fleet.drain(processes.drain_grace_s):
            self._status = 1
        await asyncio.gather(*[one.end() for one in (self.administration, self.drift, self.rollouts, self.labels, self.recorders)])
        await self._save()
        self.monitor.listener.drain()
        await self.monitor.listener.close()
        _log.info("stopped")
