"""Where a case is played: connections that are closed, good requests with answers of their own, a ledger of what was answered."""

from __future__ import annotations

import itertools
import json
import math
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gateway.pb import inference_pb2 as pb
from tests.e2e.models import TABLE
from tests.e2e.peer_http1 import INFER, Http1Peer, HttpAnswer, request
from tests.e2e.peer_http2 import Answer, Http2Peer
from tests.e2e.rows import body, infer, item, tensor
from tests.e2e.server import Server

_sentinels = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Good:
    """One good request with an answer that no other request has."""

    model: str
    message: bytes
    json: bytes
    output: str
    expected: tuple[float, ...]
    tolerance: float = 0.0  # relative; a function's last bit may depend on the rows beside it

    def check(self, found: Sequence[float]) -> None:
        """Raise AssertionError unless these are this request's values."""
        assert len(self.expected) == len(found)
        assert all(map(partial(math.isclose, rel_tol=self.tolerance), self.expected, found)), (self.expected, found)

    def check_grpc(self, answer: Answer) -> None:
        assert 0 == answer.status, answer.text
        found = pb.ModelInferResponse.FromString(answer.message)
        raw = found.raw_output_contents[[output.name for output in found.outputs].index(self.output)]
        self.check(np.frombuffer(raw, "<f4").tolist())

    def check_http(self, answer: HttpAnswer) -> None:
        assert 200 == answer.status, answer.body
        found = {output["name"]: output["data"] for output in json.loads(answer.body)["outputs"]}
        self.check([float(np.float32(value)) for value in found[self.output]])

    @property
    def http(self) -> bytes:
        return request("POST", INFER.format(self.model), self.json)


def good_rows() -> Good:
    sentinel = float(next(_sentinels))
    row = (sentinel, 0.5, -sentinel, 2.0)
    message = infer(tensor(), raw=[struct.pack("<4f", *row)], id_=f"good{sentinel:.0f}")
    return Good("rows", message, json.dumps(body(item(data=row))).encode(), "y", tuple(-value for value in row))


def good_embedding() -> Good:
    chosen = next(_sentinels) % TABLE
    message = infer(tensor("id", "INT64", (1,)), raw=[struct.pack("<q", chosen)], model="embedding")
    row = tuple(float(4 * chosen + column) for column in range(4))
    return Good("embedding", message, json.dumps(body(item("id", "INT64", [1], [chosen]))).encode(), "y", row)


def good_logarithm() -> Good:
    exponent = next(_sentinels) % 60
    value = 2.0**exponent
    message = infer(tensor(shape=(1, 1)), raw=[struct.pack("<f", value)], model="logarithm")
    expected = float(np.log(np.float32(value)))
    return Good("logarithm", message, json.dumps(body(item(shape=[1, 1], data=[value]))).encode(), "y", (expected,), 1e-6)


GOOD: dict[str, Callable[[], Good]] = {"rows": good_rows, "embedding": good_embedding, "logarithm": good_logarithm}


class Desk:
    """One case's view of the server."""

    def __init__(self, server: Server, secure: Callable[[], Any] | None = None) -> None:
        self.server = server
        self._secure = secure
        self.answered: Counter[tuple[str, str]] = Counter()  # inference answers by (protocol, code), as the metrics must count them
        self.maybe: Counter[tuple[str, str]] = Counter()  # the same for requests whose senders did not wait to see whether they count
        self._peers: list[Http1Peer | Http2Peer] = []

    def http1(self, **more: int) -> Http1Peer:
        peer = Http1Peer(self.server.http_port, **more)
        self._peers.append(peer)
        return peer

    def http2(self, **more: Any) -> Http2Peer:
        peer = Http2Peer(self.server.grpc_port, **more)
        self._peers.append(peer)
        return peer

    @property
    def connections(self) -> int:
        """How many of them are open on this side."""
        return len(self._peers)

    def secure(self) -> Any:
        """A server that speaks TLS, and the authorities of its certificates."""
        assert self._secure is not None
        return self._secure()

    def close(self, *peers: Http1Peer | Http2Peer) -> None:
        """Close these connections; all of them where none is given."""
        for peer in peers or self._peers[:]:
            peer.close()
            self._peers.remove(peer)

    # --- good requests ---------------------------------------------------------------------------------------------------------

    def golden(self, peer: Http1Peer | Http2Peer, model: str = "rows", count: int = 1) -> None:
        """Good requests on a connection, all at once."""
        self.pipelined(peer, [GOOD[model]() for _ in range(count)])

    def pipelined(self, peer: Http1Peer | Http2Peer, goods: Sequence[Good]) -> None:
        if isinstance(peer, Http1Peer):
            peer.send(b"".join(good.http for good in goods))
            self.collect(peer, goods, [])
        else:
            calls = [peer.call(good.message) for good in goods]
            peer.send(b"".join(data for _, data in calls))
            self.collect(peer, goods, [stream for stream, _ in calls])

    def collect(self, peer: Http1Peer | Http2Peer, goods: Sequence[Good], streams: Sequence[int]) -> None:
        """Read the answers of good requests and hold each against its own."""
        if isinstance(peer, Http1Peer):
            for good in goods:
                good.check_http(peer.answer())
            self.answered["http", "OK"] += len(goods)
        else:
            for good, answer in zip(goods, peer.wait(*streams), strict=True):
                good.check_grpc(answer)
            self.answered["grpc", "OK"] += len(goods)

    @contextmanager
    def company(self, model: str = "rows") -> Iterator[None]:
        """Good requests go on all the time, over both transports, in a thread; a wrong answer is raised at the end."""
        stop, started = threading.Event(), threading.Event()
        failures: list[BaseException] = []
        peers = [self.http2(), self.http1()]
        thread = threading.Thread(target=self._keep_asking, args=(peers, model, stop, started, failures))
        thread.start()
        try:
            assert started.wait(10)
            yield
        finally:
            stop.set()
            thread.join(20)
        if failures:
            raise failures[0]

    def _keep_asking(
        self,
        peers: Sequence[Http1Peer | Http2Peer],
        model: str,
        stop: threading.Event,
        started: threading.Event,
        failures: list[BaseException],
    ) -> None:
        try:
            while not stop.is_set():
                for peer in peers:
                    self.golden(peer, model, 4)
                started.set()
                stop.wait(0.002)
        except BaseException as error:
            failures.append(error)
            started.set()
