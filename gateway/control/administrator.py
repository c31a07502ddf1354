"""The process of the admin port: rollouts over HTTP and gRPC. A program, `python -m gateway.control.administrator`.

It works on the registry like a command does, and nothing that serves a request waits for it. What it knows can be read again; it ends
with the supervisor's end of the channel.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import signal
import socket
import sys

import msgspec
import uvloop

from gateway.clock import SystemClock, seeded_random
from gateway.config import Config, decode
from gateway.control.admin_messages import Administer, AdministratorInheritance, Finish, ToAdministrator
from gateway.control.behind import behind_of
from gateway.control.channel import Channel
from gateway.control.errands import Errands
from gateway.control.messages import Renew, UnknownKey
from gateway.control.reflection import OF_INFERENCE, Reflection
from gateway.control.rollout_calls import RolloutCalls
from gateway.control.rollout_registry import RolloutRegistry, store_of
from gateway.control.rollout_rest import RolloutRest
from gateway.control.rollout_watches import RolloutWatches
from gateway.control.standard_calls import reflection_methods
from gateway.control.state import ServerState
from gateway.hosts import is_loopback
from gateway.identity.gate import Gate, Known
from gateway.identity.settings import Auth
from gateway.limits import Limits, WireLimits
from gateway.observe import logs
from gateway.typed_yaml import MAX_FILE_BYTES
from gateway.wire.grpc import GrpcRouter
from gateway.wire.listener import Listener
from gateway.wire.tls import TlsContext, TlsError

_log = logging.getLogger(__name__)
_LOOK_S = 0.02  # between two looks at what is still open while finishing
_GRACE_S = 5.0


class Administrator:
    """One process, from its start to its end."""

    def __init__(self, inheritance: AdministratorInheritance) -> None:
        self._inheritance = inheritance
        self._clock = SystemClock()
        self._channel: Channel[ToAdministrator] = Channel(ToAdministrator, self._received, self._finish)
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        self._config: Config | None = None
        self._gate: Gate | None = None
        self._tls: TlsContext | None = None
        self._listener: Listener | None = None
        self._watches: RolloutWatches | None = None
        self._errands: Errands | None = None

    async def live(self) -> None:
        """Until the supervisor says so, or is gone."""
        await self._channel.open(socket.socket(fileno=self._inheritance.channel))
        await self._ended.wait()
        self._channel.close()

    def _received(self, message: ToAdministrator) -> None:
        match message:
            case Administer(config):
                self._administer(decode(config))
            case Known():
                self._know(message)
            case Renew():
                self._renew()
            case Finish():
                self._finish()

    def _administer(self, config: Config) -> None:
        """The first time, compose; later, take over what may change."""
        logs.configure(config.logging)
        self._config = config
        if self._listener is None:
            self._compose(config)
        elif self._gate is not None and config.auth is not None:
            self._gate.configure(config.auth)

    def _compose(self, config: Config) -> None:
        limits = _limits(config.limits)
        self._gate = None if config.auth is None else Gate(config.auth, self._clock, ask=lambda: self._channel.send(UnknownKey()))
        self._errands = Errands(self._loop)
        work = RolloutRegistry(lambda: store_of(config.repository), self._clock.wall)
        self._watches = RolloutWatches(self._errands, work, self._loop.call_later)
        state = ServerState(config.server.name, importlib.metadata.version("tidegate"))
        alone = config.auth is None and is_loopback(config.server.admin_host)
        rest = RolloutRest(self._errands, work, state, auth=self._auth, only_here=alone)
        calls = RolloutCalls(self._errands, work, self._watches)
        methods = calls.methods() | reflection_methods(Reflection(without=OF_INFERENCE))
        router = GrpcRouter(methods, limits, compression=config.grpc.compression)
        behind = behind_of(router, rest, limits.wire, self._gate, calls.personal())
        self._listener = Listener(limits.wire, behind, clock=self._clock, rng=seeded_random())

    def _know(self, known: Known) -> None:
        """Credentials are known: take connections from now on."""
        if self._gate is not None:
            self._gate.renew(known)
        if self._listener is not None and self._ending is None and self._tls is None and self._config is not None:
            self._take(self._config, self._listener)

    def _take(self, config: Config, listener: Listener) -> None:
        sock, self._inheritance = self._inheritance.socket, msgspec.structs.replace(self._inheritance, socket=-1)
        if sock >= 0:
            self._tls = None if config.tls is None else TlsContext(config.tls)
            listener.listen(socket.socket(fileno=sock), None if self._tls is None else self._tls.context)

    def _renew(self) -> None:
        try:
            if self._tls is not None:
                self._tls.reload()
        except TlsError as error:  # somebody wrote them again meanwhile, and will be noticed
            _log.error("tls: %s; the certificate stays as it is", error)

    def _auth(self) -> Auth | None:
        return None if self._config is None else self._config.auth

    def _finish(self) -> None:
        if self._ending is None:
            self._ending = self._loop.create_task(self._end())

    async def _end(self) -> None:
        """Open requests have a while."""
        if self._watches is not None:
            self._watches.close()
        listener = self._listener
        if listener is not None:
            listener.drain()
            until = self._clock.now() + _GRACE_S
            while listener.peers and self._clock.now() < until:
                listener.sweep()
                await asyncio.sleep(_LOOK_S)
            await listener.close()
        if self._errands is not None:
            self._errands.close()
        self._ended.set()


def _limits(limits: Limits) -> Limits:
    """Nothing that is sent here is larger than a plan may be."""
    wire: WireLimits = msgspec.structs.replace(limits.wire, max_body_bytes=min(limits.wire.max_body_bytes, MAX_FILE_BYTES))
    return msgspec.structs.replace(limits, wire=wire)


async def _live(inheritance: AdministratorInheritance) -> None:
    await Administrator(inheritance).live()


def main(argument: str) -> None:
    """The program."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    uvloop.run(_live(msgspec.json.decode(argument, type=AdministratorInheritance)))


if __name__ == "__main__":
    main(sys.argv[1])
