"""Calls the gateway with grpcio's synchronous client. Environment: TARGET, TLS_TARGET, CA_FILE, SLOW_MODEL; TARGET alone is
enough for `--through-proxy`, which leaves out what a proxy does not pass on: keepalive and our TLS."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import inference_pb2 as pb
import inference_pb2_grpc
import messages as m
import numpy as np
import report
from arrays import ODD_NAME
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from report import equal

UNLIMITED = [("grpc.max_receive_message_length", -1)]
Stub = inference_pb2_grpc.GRPCInferenceServiceStub


def refused(code: grpc.StatusCode, part: str, call: Callable[[], object]) -> grpc.RpcError:
    """The call must fail with `code` and a text that contains `part`."""
    try:
        answer = call()
    except grpc.RpcError as error:
        equal((code, True), (error.code(), part in error.details()))
        return error
    raise AssertionError(f"answered {str(answer)[:200]}, want {code}")


def server(channel: grpc.Channel) -> None:
    """Live, ready, and what it says of itself."""
    stub = Stub(channel)
    equal((True, True), (stub.ServerLive(pb.ServerLiveRequest()).live, stub.ServerReady(pb.ServerReadyRequest()).ready))
    described = stub.ServerMetadata(pb.ServerMetadataRequest())
    equal((True, True), (bool(described.name), "binary_tensor_data" in described.extensions))


def model(channel: grpc.Channel) -> None:
    """Ready, and its signature."""
    stub = Stub(channel)
    equal(True, stub.ModelReady(pb.ModelReadyRequest(name="plus_one", version="1")).ready)
    described = stub.ModelMetadata(pb.ModelMetadataRequest(name="plus_one"))
    equal((["1"], [("ROW", "FP32", [-1, 4])]), (described.versions, [(i.name, i.datatype, list(i.shape)) for i in described.inputs]))


def infer_raw(channel: grpc.Channel) -> None:
    """One row, raw contents."""
    m.check_row(Stub(channel).ModelInfer(m.row_request("raw-1", 41)), "raw-1", 41)


def infer_typed(channel: grpc.Channel) -> None:
    """One row, typed contents."""
    m.check_row(Stub(channel).ModelInfer(m.typed_request("typed-1", 7)), "typed-1", 7)


def datatypes(channel: grpc.Channel) -> None:
    """Every datatype at its extremes, raw and typed, comes back bit by bit."""
    for message in (m.mirror_request(typed=False), m.mirror_request(typed=True), m.half_request()):
        m.check_mirror(Stub(channel).ModelInfer(message))


def binary_metadata(channel: grpc.Channel) -> None:
    """`-bin` metadata of any bytes, twice under one name."""
    metadata = (("trace-bin", b"\x00\x01\xfe\xff\r\n,"), ("trace-bin", b""), ("x-text", "plain"))
    m.check_row(Stub(channel).ModelInfer(m.row_request("bin", 3), metadata=metadata), "bin", 3)


def not_found(channel: grpc.Channel) -> None:
    """NOT_FOUND names the model, whatever its letters."""
    message = m.row_request("lost", 1)
    message.model_name = ODD_NAME
    refused(grpc.StatusCode.NOT_FOUND, ODD_NAME, lambda: Stub(channel).ModelInfer(message))


def invalid_argument(channel: grpc.Channel) -> None:
    """An unknown input, too few bytes, raw beside typed, a message that is not protobuf."""
    wrong, short, both = m.row_request("wrong", 1), m.row_request("short", 1), m.typed_request("both", 1)
    wrong.inputs[0].name = "größe\n%"
    short.raw_input_contents[0] = b"\x00" * 12
    both.raw_input_contents.append(b"\x00" * 16)
    refused(grpc.StatusCode.INVALID_ARGUMENT, "größe", lambda: Stub(channel).ModelInfer(wrong))
    refused(grpc.StatusCode.INVALID_ARGUMENT, "ROW", lambda: Stub(channel).ModelInfer(short))
    refused(grpc.StatusCode.INVALID_ARGUMENT, "ROW", lambda: Stub(channel).ModelInfer(both))
    garbage = channel.unary_unary(f"/{m.SERVICE}/ModelInfer")
    refused(grpc.StatusCode.INVALID_ARGUMENT, "", lambda: garbage(b"\xff\xff\xff\xff"))


def unimplemented(channel: grpc.Channel) -> None:
    """A refused extension, an unknown method, an unknown service."""
    register = pb.SystemSharedMemoryRegisterRequest(name="region")
    refused(grpc.StatusCode.UNIMPLEMENTED, "", lambda: Stub(channel).SystemSharedMemoryRegister(register))
    for path in (f"/{m.SERVICE}/NoSuchCall", "/no.such.Service/Call"):
        refused(grpc.StatusCode.UNIMPLEMENTED, "", lambda path=path: channel.unary_unary(path)(b""))


def message_compression(channel: grpc.Channel) -> None:
    """A compressed message is refused, naming what is accepted; the connection lives on."""
    compressed = m.row_request("gzip", 1)
    compressed.parameters["filler"].string_param = "x" * 4096  # or the library sends it uncompressed
    error = refused(grpc.StatusCode.UNIMPLEMENTED, "", lambda: Stub(channel).ModelInfer(compressed, compression=grpc.Compression.Gzip))
    equal(True, "gzip" in error.details())
    infer_raw(channel)


def large_output(channel: grpc.Channel) -> None:
    """512 KiB come back, more than the peer's first window."""
    answer = Stub(channel).ModelInfer(m.request("ramp", "START", np.array([[5.0], [9.0]])))
    expected = np.arange(65_536, dtype="<f4") + np.array([[5.0], [9.0]], "<f4")
    equal(True, answer.raw_output_contents[0] == expected.tobytes())


def tensor_2mib(channel: grpc.Channel) -> None:
    """2 MiB both ways."""
    message = m.request("echo", "DATA", np.arange(1 << 19).reshape(1, -1) / 3)
    equal(True, message.raw_input_contents[0] == Stub(channel).ModelInfer(message).raw_output_contents[0])


def concurrent_200(channel: grpc.Channel) -> None:
    """200 calls at once on one channel: everyone gets its own row."""
    calls = [(i, Stub(channel).ModelInfer.future(m.row_request(f"row-{i}", 10 * i))) for i in range(200)]
    for i, call in calls:
        m.check_row(call.result(), f"row-{i}", 10 * i)


def threads_16(channel: grpc.Channel) -> None:
    """16 threads of 50 calls."""

    def caller(thread: int) -> None:
        for i in range(50):
            start = 1000 * thread + i
            m.check_row(Stub(channel).ModelInfer(m.row_request(f"row-{start}", start)), f"row-{start}", start)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(caller, range(16)))


def _from(waiting: queue.Queue) -> Iterator[pb.ModelInferRequest]:
    while (message := waiting.get()) is not None:
        yield message


def stream(channel: grpc.Channel) -> None:
    """Turn by turn, then 20 messages before the first answer is read."""
    waiting: queue.Queue = queue.Queue()
    answers = Stub(channel).ModelStreamInfer(_from(waiting))
    for i in range(3):
        waiting.put(m.row_request(f"turn-{i}", i))
        m.check_row(next(answers).infer_response, f"turn-{i}", i)
    for i in range(20):
        waiting.put(m.row_request(f"burst-{i}", 100 + i))
    waiting.put(None)
    seen = set()
    for answer in answers:
        ident = answer.infer_response.id
        m.check_row(answer.infer_response, ident, 100 + int(ident.removeprefix("burst-")))
        seen.add(ident)
    equal(20, len(seen))


def stream_error(channel: grpc.Channel) -> None:
    """A message that fails is answered with a text, and the stream goes on."""
    bad = m.row_request("bad", 1)
    bad.model_name = ODD_NAME
    first, second = Stub(channel).ModelStreamInfer(iter([bad, m.row_request("good", 2)]))
    equal((True, ""), (ODD_NAME in first.error_message, second.error_message))
    m.check_row(second.infer_response, "good", 2)


def stream_empty(channel: grpc.Channel) -> None:
    """No message, no answer, OK."""
    answers = Stub(channel).ModelStreamInfer(iter(()))
    equal(([], grpc.StatusCode.OK), (list(answers), answers.code()))


def health_check(channel: grpc.Channel) -> None:
    """The server and the service serve; another one is NOT_FOUND."""
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", m.SERVICE):
        equal(health_pb2.HealthCheckResponse.SERVING, health.Check(health_pb2.HealthCheckRequest(service=service)).status)
    refused(grpc.StatusCode.NOT_FOUND, "", lambda: health.Check(health_pb2.HealthCheckRequest(service="no.such.Service")))


def health_watch(channel: grpc.Channel) -> None:
    """The first state at once; then the watch stays open until it is cancelled."""
    health = health_pb2_grpc.HealthStub(channel)
    for service, status in (("", "SERVING"), ("no.such.Service", "SERVICE_UNKNOWN")):
        watch = health.Watch(health_pb2.HealthCheckRequest(service=service))
        equal(health_pb2.HealthCheckResponse.ServingStatus.Value(status), next(watch).status)
        threading.Timer(0.1, watch.cancel).start()
        refused(grpc.StatusCode.CANCELLED, "", lambda watch=watch: next(watch))


def reflection(channel: grpc.Channel) -> None:
    """Lists the services, and describes ours with its 20 calls (the v1alpha service, which grpcio's package speaks)."""
    ask = reflection_pb2.ServerReflectionRequest
    questions = iter([ask(list_services=""), ask(file_containing_symbol=m.SERVICE)])
    listed, described = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(questions)
    names = [service.name for service in listed.list_services_response.service]
    equal((True, True), (m.SERVICE in names, "grpc.health.v1.Health" in names))
    files = map(descriptor_pb2.FileDescriptorProto.FromString, described.file_descriptor_response.file_descriptor_proto)
    equal([20], [len(service.method) for file in files for service in file.service if file.package == "inference"])


def deadline(channel: grpc.Channel) -> None:
    """DEADLINE_EXCEEDED on time, in the middle of a run."""
    started = time.perf_counter()
    refused(grpc.StatusCode.DEADLINE_EXCEEDED, "", lambda: Stub(channel).ModelInfer(m.slow_request(3000), timeout=0.2))
    equal(True, time.perf_counter() - started < 1.0)


def cancel(channel: grpc.Channel) -> None:
    """The caller goes away in the middle of a run; its neighbours on the channel are served meanwhile and after."""
    running = Stub(channel).ModelInfer.future(m.slow_request(3000))
    threading.Timer(0.1, running.cancel).start()
    for i in range(50):
        m.check_row(Stub(channel).ModelInfer(m.row_request("neighbour", i)), "neighbour", i)
        time.sleep(0.004)
    equal(True, running.cancelled())


def cancel_stream(channel: grpc.Channel) -> None:
    """A stream that is cancelled after an answer leaves the channel whole."""
    waiting: queue.Queue = queue.Queue()
    answers = Stub(channel).ModelStreamInfer(_from(waiting))
    waiting.put(m.row_request("first", 1))
    m.check_row(next(answers).infer_response, "first", 1)
    answers.cancel()
    refused(grpc.StatusCode.CANCELLED, "", lambda: next(answers))
    waiting.put(None)
    infer_raw(channel)


def tls(channel: grpc.Channel) -> None:
    """The same over TLS, ALPN h2."""
    trust = grpc.ssl_channel_credentials(Path(os.environ["CA_FILE"]).read_bytes())
    with grpc.secure_channel(m.TLS_TARGET, trust, UNLIMITED) as secure:
        infer_raw(secure)
        tensor_2mib(secure)


def keepalive(channel: grpc.Channel) -> None:
    """A ping every 200 ms without a call for 5 s: the connection never leaves READY."""
    options = [
        ("grpc.keepalive_time_ms", 200), ("grpc.keepalive_timeout_ms", 1000), ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0), ("grpc.use_local_subchannel_pool", 1),
    ]  # fmt: skip
    states: list[grpc.ChannelConnectivity] = []
    with grpc.insecure_channel(m.TARGET, options) as pinging:
        infer_raw(pinging)
        pinging.subscribe(states.append)
        time.sleep(5)
        infer_raw(pinging)
    equal([grpc.ChannelConnectivity.READY], [state for state in states if state is not grpc.ChannelConnectivity.SHUTDOWN])


CHECKS = [
    server, model, infer_raw, infer_typed, datatypes, binary_metadata, not_found, invalid_argument, unimplemented,
    message_compression, large_output, tensor_2mib, concurrent_200, threads_16, stream, stream_error, stream_empty,
    health_check, health_watch, reflection, deadline, cancel, cancel_stream, tls, keepalive,
]  # fmt: skip

if __name__ == "__main__":
    chosen = [check for check in CHECKS if "--through-proxy" not in sys.argv or check not in (tls, keepalive)]
    with grpc.insecure_channel(m.TARGET, UNLIMITED) as shared:
        report.run(chosen, shared)
