"""The load generator against real servers: it must count what came back, keep true samples, and never hang."""

from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import pytest

from benchmarks.load.headers import HeaderStyle
from benchmarks.models import write_repository
from benchmarks.peers.grpc_threads import echo_handler
from benchmarks.peers.infer import SERVICE, Model, generic_handler
from benchmarks.replayer import Load, LoadError, replay_grpc, replay_http
from benchmarks.runs import Target, run
from benchmarks.workloads import Workloads

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The bench's models on disk."""
    return write_repository(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def workloads(repository):
    """Requests and truths of one seed."""
    return Workloads(repository, seed=7)


@pytest.fixture
def serve():
    """Start grpcio servers with one generic handler each; yields a function from handler to address."""
    servers = []

    def start(handler):
        server = grpc.server(ThreadPoolExecutor(4), options=UNLIMITED)
        server.add_generic_rpc_handlers((handler,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return "127.0.0.1", port

    yield start
    for server in servers:
        server.stop(None).wait()


def infer_handler(infer):
    """ModelInfer by a plain function."""
    return generic_handler(SERVICE, "ModelInfer", infer)


@pytest.mark.parametrize("style", [HeaderStyle(), HeaderStyle(varying=True, huffman=True, indexed=True), HeaderStyle(varying=True)])
def test_every_request_of_a_counted_load_is_answered_and_samples_are_true(style, repository, workloads, serve):
    """With a limit, exactly so many requests are sent; grpcio decodes every header style; sampled answers are ONNX Runtime's."""
    model = Model(repository, "tabular")
    host, port = serve(infer_handler(lambda request, _: model.infer(request)))
    load = Load(connections=3, streams=5, limit=700, sample_every=7, samples=64)
    result = run(Target(host, port, lambda: 0.0), workloads.raw, load, style)
    assert [] == result.faults
    assert 700 == result.answers
    assert 64 == result.compared
    assert result.mean_us > 0


def test_a_timed_load_measures_the_time_it_was_asked_to(repository, workloads, serve):
    """Warm-up answers are not in the rate, but they are in the count."""
    model = Model(repository, "tabular")
    address = serve(infer_handler(lambda request, _: model.infer(request)))
    report = replay_grpc(address, workloads.raw.wires, load=Load(connections=1, streams=4, warmup_s=0.1, seconds=0.2))
    assert 0.2 == report.seconds
    assert 0 < report.counted < report.ok
    assert {0: report.ok} == report.statuses


def test_a_wrong_answer_makes_a_run_that_does_not_count(repository, workloads, serve):
    """A server that answers with another row's probabilities is found out by its samples."""
    model = Model(repository, "tabular")

    def wrong(request, _):
        response = model.infer(request)
        response.raw_output_contents[1] = np.array([0.5, 0.5], np.float32).tobytes()
        return response

    host, port = serve(infer_handler(wrong))
    result = run(Target(host, port, lambda: 0.0), workloads.raw, Load(connections=1, streams=2, limit=50, sample_every=1))
    assert "output probabilities" in result.faults[0]


def test_failed_calls_are_counted_by_status_and_are_not_ok(repository, workloads, serve):
    """A shed call has HTTP status 200; only its trailers tell."""
    model, lock, calls = Model(repository, "tabular"), threading.Lock(), iter(range(10_000))

    def some(request, context):
        with lock:
            turn = next(calls)
        if turn % 4 == 0:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full")
        return model.infer(request)

    report = replay_grpc(serve(infer_handler(some)), workloads.raw.wires, load=Load(connections=2, streams=2, limit=200))
    assert {0: 150, 8: 50} == report.statuses
    assert 150 == report.ok
    assert any("queue is full" in text for text in report.failures)


def test_messages_larger_than_any_window_pass_both_ways(workloads, serve):
    """1 MiB bodies are cut by the peer's frame size and windows, and the answers' windows are given back."""
    load = Load(connections=2, streams=3, limit=48, sample_every=5, samples=4, answer_bytes=(1 << 20) + 4096)
    host, port = serve(echo_handler())
    result = run(Target(host, port, lambda: 0.0), workloads.bytes_echo, load)
    assert ([], 48) == (result.faults, result.answers)
    assert result.compared > 0


def test_a_server_that_never_answers_is_a_failure_and_not_a_hang():
    """The stall is noticed after the time that the load allows."""
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(LoadError, match="stalled"):
        replay_grpc(silent.getsockname(), [b"\0\0\0\0\0"], load=Load(connections=1, stall_s=0.2))


@pytest.mark.parametrize("replay", [replay_grpc, replay_http])
def test_a_server_that_closes_is_a_failure(replay):
    """A connection that ends under load ends the load."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closer = threading.Thread(target=lambda: listener.accept()[0].close())  # noqa: PLW0108
        closer.start()
        with pytest.raises(LoadError, match="closed"):
            replay(listener.getsockname(), [b"GET / HTTP/1.1\r\n\r\n"], load=Load(connections=1, stall_s=5))
        closer.join()


class JsonServer(BaseHTTPRequestHandler):
    """Answers POSTs with the model's outputs as JSON; every tenth request is refused when asked to."""

    protocol_version = "HTTP/1.1"
    model = None
    refuse = False
    served = iter(range(10**9))

    def do_POST(self):
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        row = np.array(document["inputs"][0]["data"], np.float32).reshape(document["inputs"][0]["shape"])
        label, probabilities = self.model.run(None, {"input": row})
        outputs = [
            {"name": "label", "datatype": "INT64", "shape": list(label.shape), "data": label.tolist()},
            {"name": "probabilities", "datatype": "FP32", "shape": list(probabilities.shape), "data": probabilities.ravel().tolist()},
        ]
        body = json.dumps({"id": document["id"], "outputs": outputs}).encode()
        self.send_response(503 if self.refuse and next(self.served) % 10 == 0 else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def rest(repository):
    """A REST server of the standard library; yields its address and its handler class."""
    from benchmarks.models import session

    handler = type("Handler", (JsonServer,), {"model": session(repository / "tabular" / "1" / "model.onnx"), "served": iter(range(10**9))})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_address, handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_rest_answers_are_counted_and_sampled(rest, workloads):
    """HTTP/1.1 with keep-alive: every answer by its status, samples compared."""
    (host, port), _ = rest
    result = run(Target(host, port, lambda: 0.0), workloads.json, Load(connections=4, limit=120, sample_every=3))
    assert ([], 120) == (result.faults, result.answers)
    assert result.compared > 10


def test_refused_rest_requests_make_a_run_that_does_not_count(rest, workloads):
    """A status other than 200 is no answer."""
    (host, port), handler = rest
    handler.refuse = True
    result = run(Target(host, port, lambda: 0.0), workloads.json, Load(connections=1, limit=50))
    assert 45 == result.answers
    assert "5 answers were not OK: statuses {200: 45, 503: 5}" in result.faults[0]
