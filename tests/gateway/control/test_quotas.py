"""Quotas of tenants: the arithmetic against a plain bucket, tables of several workers, and every way in which a request ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.control.parking import Parking
from gateway.control.quotas import AHEAD, Account, Quotas, Soon, quotas_of
from gateway.errors import Code
from gateway.identity.gate import Known
from gateway.identity.quota import OUTCOMES, Quota, Refused
from gateway.identity.tenants import Tenant
from gateway.observe.arena import Arena
from gateway.observe.ledger import COUNTS, ENTRY_WORDS, IN_FLIGHT, LEDGER_WORDS, USED, Tallies, find, key_of, places
from gateway.pb import inference_pb2 as pb
from gateway.serving.routing import Routes
from tests import naive
from tests.gateway.control.desk import INFER, STREAM, Desk, Line, body, infer
from tests.gateway.identity.issuing import api_key, auth
from tests.gateway.serving.mixed_models import ROWS
from tests.gateway.wire import http1_wire, http2_wire

ROW = np.array([[1.0, 2.0]], np.float32)
MESSAGE = infer(ROWS, ROW)
BODY = body([[1.0, 2.0]])
EXHAUSTED = 8
NS = 10**9


class Request:
    """What a quota charges."""

    account: Account | None = None


def ledgers(workers: int) -> list[memoryview]:
    return [memoryview(bytearray(8 * LEDGER_WORDS)).cast("q") for _ in range(workers)]


def at_once(deed: Callable[[], None]) -> None:
    """The tick ends with every request."""
    deed()


def crew(workers: int, tenant: Tenant, soon: Soon = at_once) -> list[Quotas]:
    """The quotas of so many workers; every tenant may take the same."""
    tables = ledgers(workers)
    made = [quotas_of(tables, place, soon) for place in range(workers)]
    for quotas in made:
        quotas.configure({}, tenant)
    return made


def in_flight(table: memoryview) -> int:
    return sum(table[place + IN_FLIGHT] for place in range(ENTRY_WORDS, LEDGER_WORDS, ENTRY_WORDS))


# --- rates ---------------------------------------------------------------------------------------------------------------------------

divisors = [1, 2, 5, 10, 64, 1000, 15625, 1_000_000]  # of 10^9: the exact bucket and whole nanoseconds agree
steps = st.lists(st.tuples(st.sampled_from([0, 1, 999, 10**6, 10**8, 3 * NS]), st.integers(0, 3)), max_size=60)


@settings(max_examples=300)
@given(steps, st.sampled_from(divisors), st.integers(1, 12), st.integers(1, 4))
def test_a_rate_is_a_bucket_whatever_worker_is_asked(asked: list, per_s: int, burst: int, workers: int) -> None:
    """Verdict by verdict, and a refused request costs nothing."""
    quotas, now, moments, verdicts = crew(workers, Tenant(requests_per_s=per_s, burst=burst)), 5 * NS, [], []
    for step, who in asked:
        now += step
        moments.append((now, 1))
        account = quotas[who % workers]._accounts.get("anonymous") or quotas[who % workers]._open("anonymous", now / NS)
        verdicts.append(account.admit(Exactly(now), 0) is None)
    assert naive.bucket_verdicts(moments, per_s=per_s, burst=burst) == verdicts


class Exactly(float):
    """Seconds that are whole nanoseconds when they are multiplied."""

    def __new__(cls, nanoseconds: int) -> Exactly:
        made = super().__new__(cls, nanoseconds / NS)
        made.nanoseconds = nanoseconds  # type: ignore[attr-defined]
        return made

    def __mul__(self, other: float) -> Any:
        return self.nanoseconds if other == NS else float(self) * other  # type: ignore[attr-defined]


sizes = st.lists(st.tuples(st.sampled_from([0, 1, 10**6, NS]), st.integers(0, 5_000)), max_size=60)


@given(sizes, st.sampled_from([1, 1000, 50_000]), st.integers(1, 6_000))
def test_bytes_are_a_bucket_too(asked: list, per_s: int, burst: int) -> None:
    """A request that is larger than the bucket is told never to come again."""
    (quotas,) = crew(1, Tenant(bytes_per_s=per_s, bytes_burst=burst))
    account, now, moments, found = quotas._open("anonymous", 5.0), 5 * NS, [], []
    for step, size in asked:
        now += step
        moments.append((now, size))
        found.append(account.admit(Exactly(now), size))
    assert naive.bucket_verdicts(moments, per_s=per_s, burst=burst) == [refused is None for refused in found]
    for (_, size), refused in zip(moments, found, strict=True):
        if refused is not None:
            assert ((Code.TOO_LARGE, None) == (refused.code, refused.wait_s)) == (size > burst)


@given(st.floats(1e-3, 1e6), st.integers(1, 100), st.lists(st.floats(0, 0.5), min_size=1, max_size=200))
def test_never_more_than_rate_times_time_and_burst(rate: float, burst: int, steps: list[float]) -> None:
    """For any rate and any window that ends now, also where a period is no whole number of nanoseconds."""
    (quotas,) = crew(1, Tenant(requests_per_s=rate, burst=burst))
    account, now, admitted = quotas._open("anonymous", 1e5), 1e5, []
    for step in steps:
        now += step
        admitted += [now for _ in range(3) if account.admit(now, 0) is None]
    for index, start in enumerate(admitted):
        assert len(admitted) - index <= rate * (admitted[-1] - start) + burst + 1e-6 * rate


@pytest.mark.parametrize("rate", [3.0, 7_777.7, 300_000.0])
def test_a_rate_does_not_drift(rate: float) -> None:
    """Who asks all the time gets what was promised, to a part in a thousand, over hours of uptime."""
    (quotas,) = crew(1, Tenant(requests_per_s=rate, burst=1))
    account, start, count = quotas._open("anonymous", 4e6), 4e6, 20_000
    now, admitted = start, 0
    while admitted < count:
        refused = account.admit(now, 0)
        if refused is None:
            admitted += 1
        else:
            assert refused.wait_s is not None
            now += max(refused.wait_s, 1e-9)
    assert count / rate * (1 - 1e-3) <= now - start <= count / rate * (1 + 2e-3)


def test_a_wait_is_long_enough() -> None:
    """Who comes again after it is let in, and not much before."""
    (quotas,) = crew(1, Tenant(requests_per_s=4, burst=2, bytes_per_s=100, bytes_burst=1000))
    account = quotas._open("anonymous", 5.0)
    assert [None, None] == [account.admit(5.0, 10) for _ in range(2)]
    refused = account.admit(5.0, 10)
    assert refused is not None
    assert (Code.OVERLOADED, "over the quota of 4 requests per second (requests_per_s)", 0.25) == (
        refused.code,
        refused.message,
        refused.wait_s,
    )
    assert account.admit(5.24, 10) is not None
    assert account.admit(5.25, 970) is None
    refused = account.admit(6.0, 120)
    assert refused is not None
    assert refused.message == "over the quota of 100 bytes per second (bytes_per_s)"
    assert account.admit(6.0 + (refused.wait_s or 0.0) + 1e-6, 120) is None


# --- requests in flight ----------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=80), st.integers(1, 5))
def test_never_more_in_flight_than_allowed_over_all_workers(deeds: list, most: int) -> None:
    """And one more as soon as one has ended, wherever that was."""
    quotas, held = crew(3, Tenant(concurrency=most)), []
    for who, begins in deeds:
        if begins:
            request = Request()
            refused = quotas[who].admit(request, None, 1.0, 0)
            assert (len(held) < most) == (refused is None)
            if refused is None:
                held.append(request)
            else:
                assert "over the quota of" in refused.message
        elif held:
            Quotas.leave(held.pop(who % len(held)))
        assert len(held) == sum(in_flight(table._own) for table in quotas)
    for request in held:
        Quotas.leave(request)
        Quotas.leave(request)
    assert [0, 0, 0] == [in_flight(each._own) for each in quotas]


def test_what_a_dead_worker_held_is_free_again() -> None:
    """Its region is emptied before another takes its place; its counts are kept."""
    arena = Arena.create(workers=2, slots=4)
    tables = [arena.region(place).ledger for place in range(2)]
    tallies = Tallies(tables)
    first, second = (quotas_of(tables, place, at_once) for place in range(2))
    for quotas in (first, second):
        quotas.configure({"key ann": Tenant(concurrency=3)}, Tenant(concurrency=2))
    assert [None, None] == [first.admit(Request(), None, 1.0, 0) for _ in range(2)]
    assert second.admit(Request(), None, 1.0, 0) is not None
    tallies.keep(0)
    arena.region(0).clear()
    assert [True, True, False] == [second.admit(Request(), None, 1.0, 0) is None for _ in range(3)]
    shown = tallies.of(["key ann"], OUTCOMES)
    assert (4, 2, 0) == (shown["_other", "admitted"], shown["_other", "concurrency"], shown["key ann", "admitted"])
    arena.close()


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["ask", "ask", "ask", "leave", "tick", "wait"])), max_size=300),
    st.integers(1, 90),
)
def test_places_for_a_whole_tick_break_no_bound(deeds: list, most: int) -> None:
    """Whenever ticks end: never more in flight, never more than the bucket holds, and everything is given back at the end."""
    due: list[Callable[[], None]] = []
    quotas, held, now, admitted = crew(2, Tenant(concurrency=most, requests_per_s=100, burst=150), due.append), [], 1.0, 0
    for who, deed in deeds:
        if deed == "ask":
            for _ in range(7):
                request = Request()
                if quotas[who].admit(request, None, now, 10) is None:
                    held.append(request)
                    admitted += 1
        elif deed == "leave" and held:
            Quotas.let_go([SimpleNamespace(caller=held.pop()) for _ in range(min(len(held), 9))])  # type: ignore[misc]
        elif deed == "tick":
            for settle in due:
                settle()
            due.clear()
        elif deed == "wait":
            now += 0.125
        assert len(held) <= most
        assert len(held) <= sum(in_flight(each._own) for each in quotas) <= len(held) + 2 * AHEAD
        assert admitted <= 100 * (now - 1.0) + 150 + 1
    for settle in due:
        settle()
    assert len(held) == sum(in_flight(each._own) for each in quotas)
    assert admitted == Tallies([each._own for each in quotas]).of([], OUTCOMES)["_other", "admitted"]


# --- tables ----------------------------------------------------------------------------------------------------------------------------


def colliding(count: int, like: str) -> list[str]:
    """Names of tenants that may stand in the same places only."""
    wanted, found, number = places(key_of(like)), [like], 0
    while len(found) < count:
        number += 1
        if f"key {number}" != like and places(key_of(f"key {number}")) == wanted:
            found.append(f"key {number}")
    return found


def test_a_place_is_given_on_when_its_tenant_holds_and_owes_nothing() -> None:
    """A busy one keeps it; where all are busy, one more is held to its quota all the same."""
    (quotas,) = crew(1, Tenant(requests_per_s=1, burst=1, concurrency=1))
    names = colliding(11, "anonymous")
    accounts = []
    for name in names[:9]:
        accounts.append(quotas._open(name, 1.0))
        assert accounts[-1].admit(1.0, 0) is None
    assert [True] * 8 + [False] == [account.place > 0 for account in accounts]
    assert ["concurrency"] * 9 == [OUTCOMES[refused.outcome] for account in accounts if (refused := account.admit(9.0, 0))]
    assert 0 == quotas._open(names[9], 9.0).place
    accounts[3].leave()
    last = quotas._open(names[10], 9.0)
    assert (accounts[3].place, None) == (last.place, last.admit(9.0, 0))
    assert names[3] not in quotas._accounts


def test_tenants_without_number_cost_no_more_than_so_many() -> None:
    """Idle ones are forgotten; those in flight are not."""
    (quotas,) = crew(1, Tenant(concurrency=1))
    busy = Request()
    quotas._open("key busy", 1.0)
    account = quotas._accounts["key busy"]
    assert account.admit(1.0, 0) is None
    busy.account = account
    for number in range(9_000):
        quotas._open(f"key {number}", 1.0)
    assert len(quotas._accounts) <= 4_200
    assert quotas._open("key busy", 1.0).admit(1.0, 0) is not None
    Quotas.leave(busy)
    assert quotas._open("key busy", 1.0).admit(1.0, 0) is None


def test_what_a_tenant_counted_goes_on_among_the_others_when_its_place_is_given_on() -> None:
    """Nothing that was counted is lost, and nothing is counted twice."""
    tables = ledgers(1)
    quotas = quotas_of(tables, 0, at_once)
    names = colliding(9, "key 1")
    quotas.configure(dict.fromkeys(names[:8], Tenant(concurrency=5)), Tenant(concurrency=1))
    for name in names[:8]:
        account = quotas._open(name, 1.0)
        assert account.admit(1.0, 0) is None
        account.leave()
    quotas.configure({names[0]: Tenant(concurrency=5)}, Tenant(concurrency=1))
    assert quotas._open(names[8], 1.0).admit(1.0, 0) is None
    shown = Tallies(tables).of([names[0]], OUTCOMES)
    assert (1, 8) == (shown[names[0], "admitted"], shown["_other", "admitted"])


def test_tables_are_found_again_after_a_reader_has_seen_them() -> None:
    """An entry that moved to another tenant is not taken for the old one."""
    tables = ledgers(2)
    own, key = tables[0], key_of("key a")
    assert 0 == find(own, key)
    quotas = quotas_of(tables, 0, at_once)
    quotas.configure({}, Tenant(concurrency=1))
    place = quotas._open("key a", 1.0).place
    assert (place, 1) == (find(own, key), own[USED])
    assert 0 == find(own, key + 1)


# --- every way in which a request ends -------------------------------------------------------------------------------------------------


def bounded(**more: Any) -> Desk:
    return Desk(default_tenant=Tenant(concurrency=1), **more)


def free(desk: Desk) -> bool:
    """Nothing is charged any more, and another request is let in."""
    assert 0 == in_flight(desk.metrics.region.ledger)
    assert 0 == desk.batcher.budget.requests
    return True


def test_a_second_request_in_flight_is_refused_and_a_neighbour_is_not() -> None:
    """Over both transports, in one tick, by key: who is over its quota costs nobody else anything."""
    secrets = {name: api_key(name, "infer:*") for name in ("ann", "ben")}
    desk = Desk(auth=auth(), tenants={"key ann": Tenant(concurrency=1)})
    desk.gate.renew(Known(keys=tuple(known for _, known in secrets.values())))
    fields = {name: [("authorization", f"Bearer {secret}")] for name, (secret, _) in secrets.items()}
    calls = [desk.open(INFER, MESSAGE, fields=fields[name]) for name in ("ann", "ben", "ann", "ben")]
    line = Line(desk)
    answers = [line.ask("POST", "/v2/models/rows/infer", BODY, f"authorization: {fields[name][0][1]}") for name in ("ann", "ben")]
    desk.loop.settle()
    replies = [desk.replies()[call] for call in calls]
    assert [0, 0, EXHAUSTED, 0] == [reply.status for reply in replies]
    assert ("over the quota of 1 requests in flight (concurrency)", b"1000") == (
        replies[2].text, replies[2].trailers[b"grpc-retry-pushback-ms"],
    )  # fmt: skip
    assert [429, 200] == [answer.status for answer in answers]
    assert "1" == answers[0].headers["retry-after"]
    assert free(desk)
    shown = Tallies([desk.metrics.region.ledger]).of(["key ann"], OUTCOMES)
    assert (1, 2, 3) == (shown["key ann", "admitted"], shown["key ann", "concurrency"], shown["_other", "admitted"])


def test_a_rate_is_refused_with_the_time_to_come_again() -> None:
    """Over both transports, HTTP in whole seconds; health and metadata are not counted."""
    desk = Desk(default_tenant=Tenant(requests_per_s=0.4, burst=1))
    assert 0 == desk.call(INFER, MESSAGE).status
    reply = desk.call(INFER, MESSAGE)
    assert (EXHAUSTED, b"2500") == (reply.status, reply.trailers[b"grpc-retry-pushback-ms"])
    answer = desk.http.ask("POST", "/v2/models/rows/infer", BODY)
    assert (429, "3") == (answer.status, answer.headers["retry-after"])
    assert {"error": "over the quota of 0.4 requests per second (requests_per_s)"} == json.loads(answer.body)
    for path in ("/v2/health/ready", "/v2", "/v2/models/rows", "/v2/models/rows/ready"):
        assert 200 == desk.http.ask("GET", path).status
    desk.loop.time += 2.5
    assert 200 == desk.http.ask("POST", "/v2/models/rows/infer", BODY).status
    assert free(desk)


def test_a_request_over_all_bytes_is_never_to_come_again() -> None:
    """TOO_LARGE on both transports."""
    desk = Desk(default_tenant=Tenant(bytes_per_s=10))
    reply, answer = desk.call(INFER, MESSAGE), desk.http.ask("POST", "/v2/models/rows/infer", BODY)
    assert (EXHAUSTED, b"-1", 413) == (reply.status, reply.trailers[b"grpc-retry-pushback-ms"], answer.status)
    assert "larger than the 10 bytes that this caller may send at once (bytes_burst)" == reply.text
    assert free(desk)


BAD = [infer("nobody", ROW), b"\xff", infer(ROWS, ROW.astype(np.float64)), infer(ROWS, ROW, version="99")]


@pytest.mark.parametrize("message", BAD)
def test_a_request_that_is_refused_is_let_go(message: bytes) -> None:
    """Unary and streamed; its HTTP twin too."""
    desk = bounded()
    for _ in range(2):
        assert 0 != desk.call(INFER, message).status
        stream_id = desk.open(STREAM, message)
        desk.loop.settle()
        assert desk.replies()[stream_id].messages
        assert 400 <= desk.http.ask("POST", "/v2/models/rows/infer", b"{").status < 429
        assert 404 == desk.http.ask("POST", "/v2/models/nobody/infer", BODY).status
        assert free(desk)
    assert 0 == desk.call(INFER, MESSAGE).status


def test_each_message_of_a_stream_counts() -> None:
    """One over the quota is answered with its error, and the stream goes on."""
    desk = bounded()
    stream_id = desk.open(STREAM, MESSAGE, MESSAGE, last=False)
    desk.loop.settle()
    desk.more(stream_id, MESSAGE, last=True)
    desk.loop.settle()
    reply = desk.replies()[stream_id]
    texts = [pb.ModelStreamInferResponse.FromString(message).error_message for message in reply.messages]
    assert (0, ["", "", "over the quota of 1 requests in flight (concurrency)"]) == (reply.status, sorted(texts))
    assert free(desk)


def reset(desk: Desk, stream_id: int) -> None:
    desk.wire.send(http2_wire.reset(stream_id))


def lost(desk: Desk, _stream_id: int) -> None:
    desk.wire.connection.lost()
    desk.wire = desk.line()


@pytest.mark.parametrize("path", [INFER, STREAM])
@pytest.mark.parametrize("ends", [reset, lost])
def test_one_whose_caller_goes_away_in_the_queue_is_let_go(path: str, ends: Callable[[Desk, int], None]) -> None:
    """When it leaves the queue, not before."""
    desk = bounded()
    stream_id = desk.open(path, MESSAGE, last=False) if path == STREAM else desk.open(path, MESSAGE)
    ends(desk, stream_id)
    assert 1 == in_flight(desk.metrics.region.ledger)
    desk.loop.settle()
    assert free(desk)
    assert 0 == desk.call(INFER, MESSAGE).status


@pytest.mark.parametrize("path", [INFER, STREAM])
@pytest.mark.parametrize("ends", [reset, lost])
def test_one_whose_caller_goes_away_is_held_against_it_until_its_run_has_ended(path: str, ends: Callable[[Desk, int], None]) -> None:
    """Otherwise who asks and resets has as many runs as it likes."""
    desk = bounded(threaded=True)
    stream_id = desk.open(path, MESSAGE, last=False) if path == STREAM else desk.open(path, MESSAGE)
    desk.loop.settle()
    ends(desk, stream_id)
    second = desk.open(INFER, MESSAGE)
    desk.loop.settle()
    assert EXHAUSTED == desk.replies()[second].status
    desk.finish_runs()
    assert free(desk)


def test_one_whose_deadline_passes_is_let_go() -> None:
    """In the queue behind a run, and in its run, when that has ended."""
    desk = Desk(threaded=True, default_tenant=Tenant(concurrency=2))
    calls = [desk.open(INFER, infer(ROWS, ROW, timeout_us=1_000_000)) for _ in range(1)]
    desk.loop.settle()
    calls.append(desk.open(INFER, infer(ROWS, ROW, timeout_us=1_000_000)))
    desk.loop.settle()
    desk.loop.advance(2.0)
    assert [4, 4] == [desk.replies()[call].status for call in calls]
    desk.finish_runs()
    desk.loop.settle()
    assert free(desk)


def test_one_that_finds_the_queue_full_is_let_go() -> None:
    """Unary, streamed and over HTTP."""
    desk = Desk(threaded=True, default_tenant=Tenant(concurrency=50))
    desk.batcher.budget.max_inflight_bytes = 20
    held = desk.open(INFER, MESSAGE)
    desk.open(INFER, MESSAGE)
    desk.loop.settle()
    assert EXHAUSTED == desk.call(INFER, MESSAGE).status
    assert 429 == desk.http.ask("POST", "/v2/models/rows/infer", BODY).status
    desk.open(STREAM, MESSAGE)
    desk.loop.settle()
    assert 2 == in_flight(desk.metrics.region.ledger)
    desk.finish_runs()
    desk.finish_runs()
    assert 0 == desk.replies()[held].status
    assert free(desk)


def test_a_fault_of_ours_lets_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """What raises on the way costs its own call."""
    desk = bounded()

    def broken(*_args: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(desk.service, "_decoder", SimpleNamespace(decode=broken))
    monkeypatch.setattr(desk.service, "bound", broken)
    assert 13 == desk.call(INFER, MESSAGE).status
    assert 500 == desk.http.ask("POST", "/v2/models/rows/infer", BODY).status
    desk.open(STREAM, MESSAGE)
    desk.loop.settle()
    assert free(desk)


@pytest.mark.parametrize("end", ["served", "late", "gone", "closed"])
@pytest.mark.parametrize("way", ["unary", "streamed", "http"])
def test_one_that_waits_for_its_model_is_charged_once_and_let_go(end: str, way: str) -> None:
    """Served, too late, its caller gone, or the server at its end."""
    desk = bounded()
    desk.service.parking = Parking(desk.loop, desk.loop.now, lambda _model: None, max_bytes=1 << 20)
    routes = desk.service.routes
    desk.service.set_routes(Routes({}, asleep=frozenset({ROWS})))
    if way == "http":
        desk.http.now = desk.loop.time
        desk.http.send(http1_wire.post("/v2/models/rows/infer", BODY))
    else:
        stream_id = desk.open(INFER if way == "unary" else STREAM, MESSAGE, last=True)
    assert (1, 1) == (len(desk.service.parking), in_flight(desk.metrics.region.ledger))
    if end == "gone":
        if way == "http":
            desk.http.connection.connection_lost()
        else:
            reset(desk, stream_id) if way == "unary" else lost(desk, stream_id)
    if end in {"gone", "late"}:
        desk.loop.advance(60.0)
    elif end == "served":
        desk.service.set_routes(routes)
    else:
        desk.service.parking.close()
    desk.loop.settle()
    assert free(desk)


# --- other settings --------------------------------------------------------------------------------------------------------------------


def test_other_settings_keep_what_is_in_flight() -> None:
    """A larger bound lets more in beside it; without any it is let go all the same, and counted again when there is one."""
    desk = bounded(threaded=True)
    desk.open(INFER, MESSAGE)
    desk.loop.settle()
    desk.quotas.configure({}, Tenant(concurrency=2))
    desk.open(INFER, MESSAGE)
    assert 2 == in_flight(desk.metrics.region.ledger)
    desk.quotas.configure({}, Tenant())
    desk.open(INFER, MESSAGE)
    assert (False, 2) == (desk.quotas.is_on, in_flight(desk.metrics.region.ledger))
    desk.quotas.configure({"anonymous": Tenant(concurrency=2)}, Tenant())
    refused = desk.open(INFER, MESSAGE)
    assert EXHAUSTED == desk.replies()[refused].status
    for _ in range(3):
        desk.loop.settle()
        desk.finish_runs()
    assert free(desk)


def test_a_caller_without_a_right_any_more_is_refused_for_that() -> None:
    """Not charged to anybody."""
    secret, known = api_key("ann", "infer:*")
    desk = Desk(auth=auth(), default_tenant=Tenant(concurrency=1))
    desk.gate.renew(Known(keys=(known,)))
    fields = [("authorization", f"Bearer {secret}")]
    stream_id = desk.open(STREAM, MESSAGE, last=False, fields=fields)
    desk.loop.settle()
    desk.gate.renew(Known())
    desk.more(stream_id, MESSAGE)
    desk.loop.settle()
    assert 16 == desk.replies()[stream_id].status
    assert free(desk)


def test_the_words_of_counts_are_the_outcomes() -> None:
    """An entry has a word for each."""
    assert len(OUTCOMES) == ENTRY_WORDS - COUNTS
    quota = Quota(Tenant(requests_per_s=1, concurrency=1, bytes_per_s=5))
    found = [quota.early(1, 9, 0, 1), quota.crowded(), quota.early(3, 9, 0, 1)]
    assert ["requests_per_s", "concurrency", "bytes_per_s"] == [OUTCOMES[refused.outcome] for refused in found]
    assert all(isinstance(refused, Refused) and OUTCOMES[refused.outcome] in refused.message for refused in found)
