"""All 122 bad inputs against a real server: each alone and among good neighbours, on both transports, with the invariants after each."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.clock import SystemClock
from tests.e2e import render_catalogue
from tests.e2e.catalogue import CASES
from tests.e2e.desk import GOOD, Desk
from tests.e2e.peer_http1 import Http1Peer, request
from tests.e2e.peer_http2 import Answer, Http2Peer
from tests.e2e.rows import Call, Case, Rest, Scene, Step, infer, item
from tests.e2e.server import SETTLE_S, Series, Server, requests_of

MIB = 1 << 20
SHOWN = 4_096  # of a request, in which what its answer repeats must be found
# What an error text must not tell: where the program lies, what it is made of, or anything that a terminal would act on.
LEAKS = re.compile(
    r"(?<![\w.])/(?:\w+/)+\w+|\.py\b|\w+Error\b|\bTraceback|0x[0-9a-f]{6,}|::|onnxruntime|google\.protobuf|msgspec|numpy|<class"
)
ROOT = Path(__file__).resolve().parents[2]
PROTOCOL_AND_CODE = re.compile(r'protocol="\w+"|,?code="\w+"')
OURS = [case for case in CASES if not case.later]
PLAYED = [
    pytest.param(case, steps, company, id=f"{case.number}-{transport}-{'among neighbours' if company else 'alone'}")
    for case in OURS
    for transport, steps in (("grpc", case.grpc), ("http", case.http))
    for company in (False, True)
    if not isinstance(steps, str) and steps and (company or not case.slow)
]


@pytest.fixture(scope="module")
def series(server: Server) -> set[Series]:
    """The series of the metrics page, once every version was asked over both transports."""
    desk = Desk(server)
    http, grpc = desk.http1(), desk.http2()
    for model in json.loads(server.get("/v2/models")[1])["models"]:
        metadata = json.loads(server.get(f"/v2/models/{model}")[1])
        for version in metadata["versions"]:
            inputs = [ones(spec) for spec in metadata["inputs"]]
            http.send(request("POST", f"/v2/models/{model}/versions/{version}/infer", json.dumps({"inputs": inputs}).encode()))
            assert 200 == http.answer().status, model
    for model in GOOD:
        desk.golden(grpc, model)
    grpc.wait(unknown(grpc))
    desk.close()
    assert len(server.values()) == sum(len(family.samples) for family in text_string_to_metric_families(server.page()))
    return named(server)


def ones(spec: dict[str, Any]) -> dict[str, Any]:
    """One row of ones for an input as the metadata describes it."""
    shape = [abs(size) for size in spec["shape"]]
    value = {"BYTES": "1", "BOOL": True}.get(spec["datatype"], 1)
    return item(spec["name"], spec["datatype"], shape, [value] * math.prod(shape))


def unknown(peer: Http2Peer) -> int:
    """A call to no model."""
    stream, data = peer.call(infer(model="nothing"))
    peer.send(data)
    return stream


def named(server: Server) -> set[Series]:
    """Series but for the labels `protocol` and `code`, of which each pair appears with the first answer of its kind."""
    return {PROTOCOL_AND_CODE.sub("", series) for series in server.values()}


@contextmanager
def watched(server: Server, series: set[Series], secure: Callable[[], Any]) -> Iterator[Desk]:
    """A desk whose invariants are checked when the case is over and went as it must."""
    before, descriptors = server.values(), server.descriptors()
    played = Desk(server, secure)
    try:
        yield played
    finally:
        played.close()
    fresh = Desk(server)
    for peer in (fresh.http1(), fresh.http2()):
        fresh.golden(peer)
    fresh.close()
    played.answered += fresh.answered
    assert 200 == server.get("/v2/health/ready")[0]
    settle(server, before, played, descriptors)
    assert set() == series ^ named(server)
    assert [] == server.faults()


def settle(server: Server, before: dict[Series, float], desk: Desk, descriptors: int) -> None:
    """What was answered is what was counted, nothing is in flight, connections and descriptors are gone."""
    clock = SystemClock()
    until = clock.now() + SETTLE_S
    old = requests_of(before)
    while True:
        values = server.values()
        counted = Counter({key: count - old[key] for key, count in requests_of(values).items() if count != old[key]})
        held = [values[name] for name in ("tidegate_inflight_requests", "tidegate_inflight_bytes", "tidegate_connections")]
        beyond = counted - desk.answered
        settled = desk.answered <= counted and beyond <= desk.maybe, held, server.descriptors() <= descriptors
        if settled == (True, [0.0, 0.0, 0.0], True) or clock.now() > until:
            break
        server.child.wait(0.02)
    assert (True, [0.0, 0.0, 0.0], True) == settled, (desk.answered - counted, beyond - desk.maybe)


@pytest.mark.parametrize(("case", "steps", "company"), PLAYED)
def test_a_bad_input_costs_nobody_else_anything(
    server: Server, series: set[Series], secure: Callable[[], Any], case: Case, steps: list[Step], company: bool
) -> None:
    """Right code, bounded text, neighbours unharmed, the connection as expected; then the invariants."""
    with watched(server, series, secure) as desk:
        play(desk, case, steps, company=company)


def play(desk: Desk, case: Case, steps: list[Step], *, company: bool) -> None:
    """One case over one transport."""
    peer: Http1Peer | Http2Peer | None = None
    for step in steps:
        if isinstance(step, Scene):
            if company:
                with desk.company(case.neighbours):
                    step.play(desk)
            else:
                step.play(desk)
            continue
        if peer is None or peer.over:
            peer = desk.http2() if isinstance(step, Call) else desk.http1()
        rest_before = desk.server.forget_peak()
        if company:
            play_among(desk, peer, step, case.neighbours)
        else:
            play_alone(desk, peer, step)
        grown = desk.server.memory("VmHWM") - rest_before
        assert grown <= case.memory_bytes or grown <= min(50 * len(wire(step)), 256 * MIB), f"{step.label}: {grown >> 10} KiB"


def wire(step: Call | Rest) -> bytes:
    payload = step.body if isinstance(step, Call) else step.data
    return payload() if callable(payload) else payload


def play_alone(desk: Desk, peer: Http1Peer | Http2Peer, step: Call | Rest) -> None:
    """The bad one, then a good one on the same connection where it lives on."""
    if isinstance(step, Call):
        assert isinstance(peer, Http2Peer)
        stream, data = peer.call(wire(step), path=step.path, metadata=step.fields(), framed=step.framed)
        peer.send(data)
        judge_call(desk, step, peer.wait(stream)[0])
        desk.golden(peer)
        return
    assert isinstance(peer, Http1Peer)
    peer.send(wire(step))
    judge_rest(desk, peer, step)
    if not step.closes:
        desk.golden(peer)


def play_among(desk: Desk, peer: Http1Peer | Http2Peer, step: Call | Rest, model: str) -> None:
    """Four good ones on another connection, then two, the bad one and two more in one write."""
    goods = [GOOD[model]() for _ in range(8)]
    if isinstance(step, Call):
        assert isinstance(peer, Http2Peer)
        other = desk.http2()
        elsewhere = [other.call(good.message) for good in goods[:4]]
        first = [peer.call(good.message) for good in goods[4:6]]
        stream, data = peer.call(wire(step), path=step.path, metadata=step.fields(), framed=step.framed)
        last = [peer.call(good.message) for good in goods[6:]]
        other.send(b"".join(sent for _, sent in elsewhere))
        peer.send(b"".join([*(sent for _, sent in first), data, *(sent for _, sent in last)]))
        desk.collect(other, goods[:4], [number for number, _ in elsewhere])
        desk.collect(peer, goods[4:], [number for number, _ in first + last])
        judge_call(desk, step, peer.wait(stream)[0])
        other.close()
        return
    assert isinstance(peer, Http1Peer)
    neighbour = desk.http1()
    neighbour.send(b"".join(good.http for good in goods[:4]))
    behind = [] if step.closes else goods[6:]
    peer.send(b"".join([*(good.http for good in goods[4:6]), wire(step), *(good.http for good in behind)]))
    desk.collect(neighbour, goods[:4], [])
    desk.collect(peer, goods[4:6], [])
    judge_rest(desk, peer, step)
    desk.collect(peer, behind, [])
    neighbour.close()


def judge_call(desk: Desk, step: Call, answer: Answer) -> None:
    assert step.expect == answer.status, (step.label, answer.status, answer.text)
    if step.counted:
        desk.answered["grpc", step.counted] += 1
    if step.expect > 0:
        judge_text(answer.text, len(answer.text.encode()), wire(step))
    elif step.check is not None:
        step.check(answer.message)


def judge_rest(desk: Desk, peer: Http1Peer, step: Rest) -> None:
    answer = peer.answer(is_head=step.is_head)
    assert (step.expect, step.closes) == (answer.status, answer.closes), (step.label, answer.status, answer.body[:200])
    if step.counted:
        desk.answered["http", step.counted] += 1
    if step.check is not None:
        step.check(answer.body)
    elif answer.status >= 400:
        judge_text(answer.text, len(answer.body), wire(step))
        assert answer.body.isascii()
    if step.closes:
        assert peer.ends(), step.label


def judge_text(text: str, size: int, sent: bytes) -> None:
    """Short, on one line, about the request and not about us: what looks like a part of us came from the caller."""
    assert text
    assert size <= 512 + len('{"error": ""}')
    assert text.isprintable(), text
    sent = sent[:SHOWN] + unquote_to_bytes(sent[:SHOWN])
    assert [] == [found for found in LEAKS.findall(text) if found.encode() not in sent], text


def test_all_cases_are_in_the_table() -> None:
    """Each number once, in order; each case is played here on a transport, by a test that is named, or belongs to a named part."""
    assert list(range(1, 123)) == [case.number for case in CASES]
    for case in CASES:
        played = [steps for steps in (case.grpc, case.http) if steps and not isinstance(steps, str)]
        assert 1 == sum(map(bool, (played, case.later, case.elsewhere))), case.number
        assert not case.elsewhere or (ROOT / case.elsewhere).exists()
        if played:
            assert case.grpc, case.number
            assert case.http, case.number


def test_the_page_is_fresh() -> None:
    """`docs/catalogue.md` says what is played."""
    assert render_catalogue.page() == render_catalogue.PAGE.read_text(), "run: python -m tests.e2e.render_catalogue"
