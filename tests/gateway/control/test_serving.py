"""What a worker is made of: the router of its ports, what a table does to its state, its share of the limits, its end."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from gateway.clock import SystemClock
from gateway.config import Batching, Config, Logging, Repository, Tls
from gateway.control import serving
from gateway.control.balance import Balance
from gateway.control.board import Board
from gateway.control.captures import Captures
from gateway.control.health import statuses
from gateway.control.messages import Held, Report, Table
from gateway.control.quotas import quotas_of
from gateway.control.serving import Serving, share_of
from gateway.control.watches import Watches
from gateway.drift.blocks import Blocks
from gateway.errors import Code
from gateway.identity.gate import Known
from gateway.identity.settings import Auth
from gateway.limits import WireLimits
from gateway.observe.access import AccessLog
from gateway.observe.arena import Arena
from gateway.observe.metrics import Metrics
from gateway.rollout.ring import Rings
from gateway.serving.lifecycle import State
from gateway.serving.sources import open_repository, wish
from tests.gateway.control.desk import Desk
from tests.gateway.identity.issuing import api_key
from tests.gateway.serving import graphs
from tests.gateway.serving.registries import published
from tests.gateway.wire import http2_wire
from tests.gateway.wire.test_tls import write


@pytest.fixture
def settled() -> Iterator[None]:
    """The collector as it was before."""
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


class Place:
    """One worker's things, without a process."""

    def __init__(self, config: Config, ask: Callable[[object], None] = lambda message: None) -> None:
        self.reports: list[tuple[Report, ...]] = []
        self.changed = asyncio.Event()
        self.board = Board.create(1)
        arena = Arena.create(workers=1, slots=8)
        self.ledger = arena.region(0).ledger
        self.balance = Balance(self.board, 0, SystemClock().now)
        self.sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in ("http_port", "grpc_port")}
        self.serving = Serving(
            config,
            metrics=Metrics(arena.region(0), lambda key: 2, lambda: 1.0),
            quotas=quotas_of([self.ledger], 0, asyncio.get_running_loop().call_soon),
            watches=Watches(Blocks.create(regions=1, words=1 << 16), 0, SystemClock().now, asyncio.get_running_loop().call_later),
            captures=Captures(0, SystemClock(), asyncio.get_running_loop().call_soon_threadsafe, asyncio.get_running_loop().call_later),
            ring=Rings.create(1).ring(0),
            balance=self.balance,
            clock=SystemClock(),
            sockets={name: os.dup(sock.fileno()) for name, sock in self.sockets.items()},
            workers=1,
            cores=os.sched_getaffinity(0),
            report=self._report,
            wake=lambda model: None,
            ask=ask,
        )

    def _report(self, versions: tuple[Report, ...]) -> None:
        self.reports.append(versions)
        self.changed.set()

    async def hold(self, *held: Held) -> tuple[Report, ...]:
        """The last report, once nothing moves any more."""
        self.serving.holding.hold(held)
        rest = {State.READY, State.FAILED}
        while not self.reports or len(self.reports[-1]) != len(held) or {one.state for one in self.reports[-1]} - rest:
            self.changed.clear()
            await self.changed.wait()
        return self.reports[-1]

    async def close(self) -> None:
        """The listening sockets are these, and their copies that the worker has taken."""
        await self.serving.drain(0.0)
        for sock in self.sockets.values():
            sock.close()
        self.board.close()


def wanted(config: Config) -> tuple[Held, ...]:
    source = open_repository(config.repository)
    return tuple(Held(one.model, one.version, one.identity, 2) for one in sorted(wish(config, source.listing()).desired.versions))


# --- the ports' router -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "grpc"),
    [("application/grpc", True), ("application/grpc+proto", True), ("application/grpc;charset=utf-8", True),
     ("application/grpc-web", False), ("application/json", False), ("", False)],
)  # fmt: skip
def test_grpc_is_told_from_http_by_its_content_type(content_type: str, grpc: bool) -> None:
    """Either port takes either; grpc-web is another protocol."""
    desk = Desk()
    fields = [("content-type", content_type)] if content_type else []
    desk.wire.send(http2_wire.head(1, desk.wire.block(http2_wire.request("/v2/nothing", *fields)), last=True))
    (head,) = http2_wire.read_answers(b"".join(desk.wire.writes))[1].heads
    assert (b"200", b"12") == (head[b":status"], head[b"grpc-status"]) if grpc else head[b":status"] == b"404"


def test_a_header_list_over_its_limit_is_431_on_either_kind_of_call() -> None:
    """RFC 6585 §5."""
    desk = Desk()
    desk.wire.send(http2_wire.head(1, desk.wire.block(http2_wire.request("/v2", ("x-long", "l" * 20_000))), last=True, cuts=(16_000,)))
    assert b"431" == http2_wire.read_answers(b"".join(desk.wire.writes))[1].heads[0][b":status"]


# --- the worker ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cores", "us", "seconds"), [(2, 250, 250e-6), (1, 250, 10e-3), (1, 20_000, 20e-3), (1, 0, 0.0), (4, 0, 0.0)])
def test_on_one_core_longer_runs_stay_inline(cores: int, us: int, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread overlaps nothing there; 0 is never."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    config = Config(repository=Repository(path=Path("r")), batching=Batching(inline_max_us=us))
    assert seconds == pytest.approx(serving._inline_max_s(config))


@pytest.mark.parametrize(("share", "kind"), [(0.0, Metrics), (0.5, AccessLog)])
def test_the_access_log_stands_before_the_metrics_only_where_it_is_wanted(share: float, kind: type) -> None:
    """Behind what is told to versions that are watched; without it nothing is paid."""

    async def made() -> Any:
        place = Place(Config(repository=Repository(path=Path("r")), logging=Logging(access_share=share)))
        observer = place.serving._observer()
        await place.close()
        return observer

    assert isinstance(asyncio.run(made())._inner._inner._inner, kind)


@pytest.mark.parametrize(("workers", "connections", "per_peer"), [(1, 1000, 7), (2, 500, 4), (3, 334, 3), (32, 32, 1)])
def test_the_limits_of_connections_are_shared_by_the_workers(workers: int, connections: int, per_peer: int) -> None:
    """Rounded up, so that together they hold at least what the settings say."""
    shared = share_of(WireLimits(max_connections=1000, max_connections_per_peer=7), workers)
    assert (connections, per_peer) == (shared.max_connections, shared.max_connections_per_peer)


def test_a_worker_loads_what_it_is_told_and_serves_by_its_table(tmp_path: Path, settled: None) -> None:
    """Routes, readiness, health, and a collector that looks rarely; what failed says why and costs nobody."""
    graphs.saved(tmp_path / "good" / "1" / "model.onnx", graphs.twice())
    graphs.saved(tmp_path / "bad" / "1" / "model.onnx", graphs.sequence())
    config = Config(repository=Repository(path=tmp_path))

    async def load() -> tuple[tuple[Report, ...], Serving]:
        place = Place(config)
        held = wanted(config)
        reports = await place.hold(*held)
        good = next(one for one in held if one.model == "good")
        place.serving.route(Table(generation=1, ready=True, models={"good": {1: good.identity}}, failed={"bad": {1: "no"}}))
        routed = place.serving.service.routes, place.serving.state.ready, dict(place.serving.health._serving)
        await place.close()
        return reports, routed  # type: ignore[return-value]

    reports, (routes, ready, health) = asyncio.run(load())  # type: ignore[misc]
    assert {("good", State.READY), ("bad", State.FAILED)} == {(one.model, one.state) for one in reports}
    assert "not a tensor" in next(one.reason for one in reports if one.model == "bad")
    assert ([1], True, statuses(ready=True, models={"good": True, "bad": False})) == (routes.numbers("good"), ready, health)
    assert gc.get_threshold()[0] > 10_000


def test_a_version_whose_files_change_while_it_is_loaded_does_not_serve(tmp_path: Path) -> None:
    """What was asked for is the content that the supervisor saw, not what lies there now."""
    path = graphs.saved(tmp_path / "m" / "1" / "model.onnx", graphs.twice())
    config = Config(repository=Repository(path=tmp_path))
    held = wanted(config)
    graphs.saved(path, graphs.twice(weight=7.0))

    async def load() -> tuple[Report, ...]:
        place = Place(config)
        reports = await place.hold(*held)
        await place.close()
        return reports

    (report,) = asyncio.run(load())
    assert (State.FAILED, "the files of version 1 of model 'm' changed meanwhile") == (report.state, report.reason)


def test_a_version_that_is_let_go_is_drained_and_closed(tmp_path: Path) -> None:
    """It is in the reports until nothing of it is left, and can be held again."""
    store = published(tmp_path / "r", "m", graphs.twice(), graphs.twice(weight=3.0), aliases={"champion": 1, "other": 2})
    config = Config(repository=Repository(path=tmp_path / "r"))

    async def go() -> list[dict[int, State]]:
        place = Place(config)
        first, second = wanted(config)
        await place.hold(first, second)
        place.serving.route(Table(generation=1, ready=True, models={"m": {2: second.identity}}))
        await place.hold(second)
        await place.hold(first, second)
        await place.hold()
        await place.close()
        return [{one.version: one.state for one in reports} for reports in place.reports]

    assert store.versions("m") == [1, 2]
    seen = asyncio.run(go())
    assert {} == seen[-1]
    ready = {1: State.READY, 2: State.READY}
    assert 2 == sum(one == ready and before != ready for before, one in zip([{}, *seen], seen, strict=False))


def test_a_drained_worker_is_not_ready_and_waits_for_what_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readiness goes first, connections last; who waits for a model is told, requests that are open are waited for, within the grace."""
    seen: list[tuple[str, bool]] = []

    async def go() -> Serving:
        place = Place(Config(repository=Repository(path=Path("r"))))
        made = place.serving
        budget = SimpleNamespace(requests=2)

        async def close() -> None:
            seen.append(("close", made.state.ready))

        def sweep() -> None:
            seen.append(("sweep", made.state.ready))
            budget.requests -= 1

        await made.listener.close()
        made.listener = SimpleNamespace(peers=(), drain=lambda: seen.append(("drain", made.state.ready)), sweep=sweep, close=close)  # type: ignore[assignment]
        parking = SimpleNamespace(close=lambda: seen.append(("told", made.state.ready)))
        made.service = SimpleNamespace(batcher=SimpleNamespace(budget=budget), routes=Desk().service.routes, parking=parking)  # type: ignore[assignment]
        made.state.ready = True
        await made.drain(20.0)
        for sock in place.sockets.values():
            sock.close()
        return made

    made = asyncio.run(go())
    assert [(name, False) for name in ("told", "drain", "sweep", "sweep", "close")] == seen
    assert (True, {False}) == (made.state.draining, set(made.health._serving.values()))


# --- who may call --------------------------------------------------------------------------------------------------------------------


def test_a_worker_asks_for_credentials_where_the_settings_say_so_and_counts_who_is_refused() -> None:
    """What it is told of keys holds at once; other settings too; the page shows how many were refused."""
    secret, known = api_key("a", "meta")
    region = Arena.create(workers=1, slots=8).region(0)

    async def go() -> list[Code]:
        asked: list[object] = []
        place = Place(Config(repository=Repository(path=Path("r")), auth=Auth(keys=Path("k"))), ask=asked.append)
        made, codes = place.serving, []
        assert made.gate is not None
        caller = made.gate.caller(f"Bearer {secret}".encode())

        def code() -> None:
            found = caller.refusal("GET /v2/models", None, made.clock.now())
            codes.append(Code.OK if found is None else found.code)

        code()
        made.know(Known(keys=(known,)))
        code()
        made.configure(Config(repository=Repository(path=Path("r")), auth=Auth(keys=Path("k"), anonymous=("meta",))))
        assert made.gate.caller(None).principal is not None
        made.know(Known())
        code()
        made.gauge(region)
        made.renew_certificate()  # there is none
        await place.close()
        return codes

    assert [Code.UNAUTHENTICATED, Code.OK, Code.UNAUTHENTICATED] == asyncio.run(go())
    assert (2, 0) == (region["unauthenticated"], region["permission_denied"])


def test_without_the_section_nobody_is_asked() -> None:
    """Requests go straight to their handlers, and what is told of keys is no matter."""

    async def go() -> None:
        place = Place(Config(repository=Repository(path=Path("r"))))
        place.serving.know(Known())
        assert place.serving.gate is None
        assert place.serving.listener.behind.known is None
        await place.close()

    asyncio.run(go())


def test_a_certificate_that_became_bad_meanwhile_stays_as_it_was(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The supervisor has tried it, and somebody wrote it again since."""
    certificate, key = write(tmp_path, trustme.CA().issue_cert("gate"))

    async def go() -> None:
        place = Place(Config(repository=Repository(path=Path("r")), tls=Tls(certificate=certificate, key=key)))
        place.serving.route(Table())
        assert place.serving._tls is not None
        shown = place.serving._tls._current
        place.serving.renew_certificate()
        assert shown is not place.serving._tls._current
        shown = place.serving._tls._current
        key.write_text("half")
        place.serving.renew_certificate()
        assert shown is place.serving._tls._current
        await place.close()

    asyncio.run(go())
    assert 1 == sum("the certificate stays as it is" in message for message in caplog.messages)
