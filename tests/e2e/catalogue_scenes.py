"""Cases of the catalogue that take more than one request: connections held open, left, crowded and slowed down."""

from __future__ import annotations

import json
import random
import select
import socket
import struct

import numpy as np

from gateway.pb import inference_pb2 as pb
from tests.e2e.desk import Desk, good_rows
from tests.e2e.peer_http1 import INFER, Http1Peer, request
from tests.e2e.peer_http2 import DATA, grpc_fields, prefixed, raw_frame
from tests.e2e.peer_http2 import INFER as GRPC_INFER
from tests.e2e.rows import GOOD, body, infer, item, tensor

MAX_CONNECTIONS = 200  # limits.wire.max_connections of the tests' server
MAX_STREAMS = 128
SERVER_LIVE = "/inference.GRPCInferenceService/ServerLive"
BODY = json.dumps(body(item())).encode()


# --- gRPC ------------------------------------------------------------------------------------------------------------------------


def duplicate_ids(desk: Desk) -> None:
    """Both are answered, each with its own row."""
    peer = desk.http2()
    rows = [struct.pack("<4f", *[float(index)] * 4) for index in range(2)]
    calls = [peer.call(infer(tensor(), raw=[row], id_="same")) for row in rows]
    peer.send(b"".join(data for _, data in calls))
    answers = [pb.ModelInferResponse.FromString(answer.message) for answer in peer.wait(*(stream for stream, _ in calls))]
    assert ["same", "same"] == [answer.id for answer in answers]
    assert [0.0, -1.0] == [struct.unpack_from("<f", answer.raw_output_contents[0])[0] for answer in answers]
    desk.answered["grpc", "OK"] += 2


def half_requests(desk: Desk) -> None:
    """Calls whose message stops halfway end in time, the connection goes on."""
    peer = desk.http2()
    streams = []
    for payload in (b"", b"\0", prefixed(GOOD)[:-1], b"\0\x40\0\0\0a"):  # the last one says that 1 GiB will come
        stream, head = peer.open(grpc_fields(GRPC_INFER, []))
        peer.send(head + (raw_frame(DATA, 0, stream, payload) if payload else b""))
        streams.append(stream)
    assert {4} == {answer.status for answer in peer.wait(*streams)}
    desk.golden(peer)


def duplicate_ids_http(desk: Desk) -> None:
    """Both are answered, in order and each with its own row."""
    peer = desk.http1()
    bodies = [json.dumps(body(item(data=[index] * 4), id="same")).encode() for index in range(2)]
    peer.send(b"".join(request("POST", INFER.format("rows"), sent) for sent in bodies))
    found = [json.loads(peer.answer().body) for _ in bodies]
    assert [("same", 0.0), ("same", -1.0)] == [(answer["id"], answer["outputs"][0]["data"][0]) for answer in found]
    desk.answered["http", "OK"] += 2


def timed_calls(desk: Desk) -> None:
    """Expired calls beside good ones in one segment: each ends as it must."""
    peer = desk.http2()
    goods = [good_rows() for _ in range(4)]
    pairs = [
        (peer.call(GOOD, metadata=[("grpc-timeout", "1n")]), peer.call(good.message, metadata=[("grpc-timeout", "5S")])) for good in goods
    ]
    peer.send(b"".join(late[1] + in_time[1] for late, in_time in pairs))
    assert [4] * 4 == [answer.status for answer in peer.wait(*(late[0] for late, _ in pairs))]
    desk.answered["grpc", "DEADLINE_EXCEEDED"] += 4
    desk.collect(peer, goods, [in_time[0] for _, in_time in pairs])


def all_streams(desk: Desk) -> None:
    """As many calls at once as the server allows."""
    desk.golden(desk.http2(), count=MAX_STREAMS)


def silent_streams(desk: Desk) -> None:
    """A hundred calls that begin and never send: all are ended, the connection serves on meanwhile."""
    peer = desk.http2()
    opened = [peer.open(grpc_fields(GRPC_INFER, [])) for _ in range(100)]
    peer.send(b"".join(head for _, head in opened))
    desk.golden(peer)
    assert {4} == {answer.status for answer in peer.wait(*(stream for stream, _ in opened))}
    desk.golden(peer)


def no_window(desk: Desk) -> None:
    """Answers that cannot be sent end with the connection; they hold nothing afterwards."""
    peer = desk.http2(window=0)
    calls = [peer.call(GOOD) for _ in range(20)]
    peer.send(b"".join(data for _, data in calls))
    desk.answered["grpc", "OK"] += 20
    assert peer.ends() is not None


def leaving_http2(desk: Desk) -> None:
    """Resets and closed connections in mid-request and in mid-answer."""
    desk.maybe.update({("grpc", "OK"): 20, ("grpc", "CANCELLED"): 20})
    for index in range(20):
        peer = desk.http2()
        whole = peer.call(infer(tensor(shape=(512, 4)), raw=[bytes(16 * 512)]))[1]
        peer.send(whole if index % 4 == 0 else whole[: 40 + 97 * index])
        if index % 4 == 1:
            peer.send(raw_frame(3, 0, 1, bytes(4)))
        peer.close()


def random_calls(desk: Desk) -> None:
    """Names, methods, agents and ids that differ in every call."""
    rng = random.Random(1)
    peer = desk.http2()
    for _ in range(20):
        calls = []
        for index in range(100):
            word = f"{rng.getrandbits(64):x}"
            agent = [("user-agent", word), (f"x-{word}", word)]
            if index % 2:
                calls.append(peer.call(infer(tensor(), raw=[bytes(16)], model=word, id_=word), metadata=agent))
            else:
                calls.append(peer.call(GOOD, path=f"/{word}/{word}", metadata=agent))
        peer.send(b"".join(data for _, data in calls))
        assert {5, 12} == {answer.status for answer in peer.wait(*(stream for stream, _ in calls))}
        desk.answered["grpc", "NOT_FOUND"] += 50


def grpc_probes(desk: Desk) -> None:
    """Five thousand liveness calls, between good requests."""
    peer = desk.http2()
    for _ in range(50):
        calls = [peer.call(b"", path=SERVER_LIVE) for _ in range(100)]
        peer.send(b"".join(data for _, data in calls))
        assert {b"\x08\x01"} == {answer.message for answer in peer.wait(*(stream for stream, _ in calls))}
        desk.golden(peer)


def large_among_small(desk: Desk) -> None:
    """The large one and the small ones of the same tick get their own answers."""
    peer, other = desk.http2(), desk.http2()
    rows = np.arange(4 * (1 << 19), dtype=np.float32)
    stream, data = peer.call(infer(tensor(shape=(1 << 19, 4)), raw=[rows.tobytes()]))
    goods = [good_rows() for _ in range(100)]
    calls = [other.call(good.message) for good in goods]
    peer.send(data)
    other.send(b"".join(data for _, data in calls))
    desk.collect(other, goods, [stream for stream, _ in calls])
    answer = pb.ModelInferResponse.FromString(peer.wait(stream)[0].message)
    assert np.array_equal(-rows, np.frombuffer(answer.raw_output_contents[0], np.float32))
    desk.answered["grpc", "OK"] += 1


# --- HTTP ------------------------------------------------------------------------------------------------------------------------


def slow_peers(desk: Desk) -> None:
    """A head that never ends, a body that never ends, nothing at all: each is closed in time, with 408 where there is a request."""
    head, begun, silent = desk.http1(), desk.http1(), desk.http1()
    head.send(b"GET /v2 HTTP/1.1\r\nhost: a\r\nx: ")
    begun.send(request("POST", INFER.format("rows"), b" " * 1_000 + BODY)[:-1_000])
    silent.send(b"P")
    reader = desk.http1(receive_buffer_bytes=4_096)
    large = request("POST", INFER.format("same_fp32"), json.dumps(body(item(shape=[1, 100_000], data=[0.123456] * 100_000))).encode())
    reader.send(large * 10)
    while not any(select.select([head.socket, begun.socket], [], [], 0.05)[:1]):  # byte by byte: it does not begin anew with each
        head.send(b"y")
        begun.send(b" ")
    assert [408, 408] == [head.answer().status, begun.answer().status]
    assert [True, True, True] == [head.ends(), begun.ends(), silent.ends()]
    desk.close(head, begun, silent)
    desk.maybe["http", "OK"] += 10  # of which the last are not even read while the first cannot be sent
    assert desk.server.settles(connections=desk.connections - 1), "the reader that takes nothing is still there"
    while not reader.over:  # what was sent before still arrives
        reader._more()


def crowd(desk: Desk) -> None:
    """Connections over the limit are closed at once, those within it serve, and the probes' port is not theirs."""
    peers = [desk.http1() for _ in range(MAX_CONNECTIONS + 50)]
    for peer in peers[-20:]:
        peer.send(b"GET /v2 HTTP/1.1\r\nhost: a\r\n\r\n")
    assert all(peer.ends() for peer in peers[-20:])
    assert 200 == desk.server.get("/v2/health/ready", desk.server.metrics_port)[0]
    desk.golden(peers[0])
    desk.close(*peers)


def http09(desk: Desk) -> None:
    """A request without a version is no request."""
    peer = desk.http1()
    peer.send(b"GET /v2\r\n\r\n")
    try:
        assert 400 == peer.answer().status
    except EOFError:
        assert peer.over  # closed without a word, or as HTTP/2


def pipelined(desk: Desk) -> None:
    """Answered in order."""
    desk.golden(desk.http1(), count=1_000)


def half_close(desk: Desk) -> None:
    """A peer that announces to close gets its answer; one that only stops sending gets it or has gone, but nobody waits for it."""
    peer = desk.http1()
    good = good_rows()
    peer.send(request("POST", INFER.format("rows"), good.json, {"connection": "close"}))
    peer.socket.shutdown(socket.SHUT_WR)
    good.check_http(peer.answer())
    assert peer.ends()
    desk.answered["http", "OK"] += 1
    peer = desk.http1()
    peer.send(request("GET", "/v2") * 3)
    peer.socket.shutdown(socket.SHUT_WR)
    while not peer.over:
        peer._more()


def leaving_http1(desk: Desk) -> None:
    """Closed in mid-head, in mid-body and in mid-answer, and with a thousand requests under way."""
    desk.maybe.update({("http", "OK"): 1_020, ("http", "CANCELLED"): 1_020})
    large = request("POST", INFER.format("rows"), json.dumps(body(item(shape=[512, 4], data=[0] * 2_048))).encode())
    many = desk.http1()
    many.send(b"".join(good_rows().http for _ in range(1_000)))
    many.close()
    for index in range(20):
        peer = desk.http1()
        peer.send(large if index % 4 == 0 else large[: 30 + 97 * index])
        peer.close()


def random_requests(desk: Desk) -> None:
    """Paths, models and agents that differ in every request."""
    rng = random.Random(2)
    peer = desk.http1()
    for _ in range(20):
        sent = []
        for index in range(100):
            word = f"{rng.getrandbits(64):x}"
            agent = {"user-agent": word, f"x-{word}": word}
            sent.append(request("POST", INFER.format(word), BODY, agent) if index % 2 else request("GET", f"/{word}", headers=agent))
        peer.send(b"".join(sent))
        assert {404} == {peer.answer().status for _ in sent}
        desk.answered["http", "NOT_FOUND"] += 50


def http_probes(desk: Desk) -> None:
    """Five thousand probes, between good requests."""
    peer = desk.http1()
    for _ in range(50):
        peer.send(request("GET", "/v2/health/ready") * 100)
        assert {200} == {peer.answer().status for _ in range(100)}
        desk.golden(peer)


def scrapers(desk: Desk) -> None:
    """A query of 3 KiB, one of 900 KiB, a reader that stops, a hundred at once: good requests go on."""
    port = desk.server.metrics_port
    peers = [Http1Peer(port) for _ in range(100)]
    try:
        peers[0].send(request("GET", "/metrics?" + "name[]=a&" * 300))
        assert 200 == peers[0].answer().status
        peers[1].send(request("GET", "/metrics?" + "name[]=a&" * 100_000))
        assert 414 == peers[1].answer().status
        for peer in peers[2:]:
            peer.send(request("GET", "/metrics"))
        desk.golden(desk.http2(), count=8)
        assert {200} == {peer.answer().status for peer in peers[3:]}  # peers[2] never reads
    finally:
        for peer in peers:
            peer.close()


def large_among_small_http(desk: Desk) -> None:
    """As over gRPC."""
    peer, other = desk.http1(), desk.http1()
    values = [0.5] * (4 << 16)
    peer.send(request("POST", INFER.format("rows"), json.dumps(body(item(shape=[1 << 16, 4], data=values))).encode()))
    desk.golden(other, count=100)
    found = json.loads(peer.answer().body)["outputs"][0]["data"]
    assert [-0.5] * len(values) == found
    desk.answered["http", "OK"] += 1
