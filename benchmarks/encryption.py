"""What TLS costs: the same gateway with it and without, by turns, and grpcio's own server with it, under h2load and wrk.

The tools abandon what is in flight when their time is up and look at no answer, so answers are counted by the server, and a sample of each
kind is asked for beforehand and held against ONNX Runtime's. Figures are per second of the server's processor time, handshakes included.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import trustme

from benchmarks.load import tools
from benchmarks.load.headers import INFER_PATH
from benchmarks.processes import HOST, Cores, Server, accepts, free_port, peer_command
from benchmarks.runs import Target
from benchmarks.scrape import at_rest
from benchmarks.workloads import Workload, Workloads

SAMPLES = 48
HTTP_PATH = "/v2/models/tabular/infer"
FOUR_BY_SIXTEEN, SIXTY_FOUR = (4, 16), (64, 1)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files of a certificate for this machine, and who trusts it."""

    chain: Path
    key: Path
    authority: bytes

    @classmethod
    def made(cls, folder: Path) -> Certificate:
        """A new one."""
        authority = trustme.CA()
        leaf = authority.issue_cert(HOST, "localhost")
        chain, key = folder / "server.pem", folder / "server.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(key)
        return cls(chain, key, authority.cert_pem.bytes())

    @property
    def settings(self) -> list[str]:
        """Of a gateway; its metrics stay in the clear for the bench."""
        pairs = (f"tls.certificate={self.chain}", f"tls.key={self.key}", "tls.metrics=false")
        return [part for pair in pairs for part in ("--set", pair)]


class Encryption:
    """The servers and what is measured on them. `plain` and `secure` are a gateway's ports by "grpc" and "rest"."""

    def __init__(
        self, plain: dict[str, Target], secure: dict[str, Target], workloads: Workloads, certificate: Certificate, cores: Cores
    ) -> None:
        self._gateways = {False: plain, True: secure}
        self._workloads, self._certificate, self._cores = workloads, certificate, cores

    def wrong(self) -> list[str]:
        """What is wrong with sampled answers over TLS, of every kind."""
        found = self._wrong_calls()
        for workload in (self._workloads.json, self._workloads.binary):
            found += self._wrong_requests(workload)
        return found

    def measure(self, stack: ExitStack, repository: Path, log: Path, *, rounds: int) -> dict[str, Any]:
        """All kinds with and without TLS by turns, and the peer; who comes first changes with each round."""
        peer = self._peer(stack, repository, log)
        runs: dict[str, list[dict[str, Any]]] = {}
        for number in range(rounds):
            for name, (port, load) in self._kinds().items():
                for secure in (True, False) if number % 2 else (False, True):
                    target = self._gateways[secure][port]
                    done = _counted(target, lambda target=target, load=load, secure=secure: load(target, secure))
                    runs.setdefault(f"{name}_{'tls' if secure else 'plaintext'}", []).append(done)
                if port == "grpc":
                    runs.setdefault(f"grpc_aio_{name.removeprefix('grpc_')}_tls", []).append(_timed(peer, load))
        return {name: {"runs": entries} for name, entries in runs.items()}

    def _kinds(self) -> dict[str, tuple[str, Callable[[Target, bool], float]]]:
        raw, binary = self._workloads.raw.wires[0], self._workloads.binary.wires[0]
        bodies = [wire.partition(b"\r\n\r\n")[2] for wire in self._workloads.json.wires]
        times = {"warmup_s": 1, "seconds": 1, "cpu": self._cores.load}

        def calls(size: tuple[int, int]) -> Callable[[Target, bool], float]:
            shape = dict(zip(("connections", "streams"), size, strict=True))
            return lambda target, secure: tools.h2load((target.host, target.port), raw, **shape, **times, secure=secure)

        def json(target: Target, secure: bool) -> float:
            return tools.wrk(
                (target.host, target.port), HTTP_PATH, bodies, connections=SIXTY_FOUR[0], seconds=2, cpu=times["cpu"], secure=secure
            )

        head, _, body = binary.partition(b"\r\n\r\n")
        fields = [line for line in head.decode().split("\r\n")[1:] if not line.lower().startswith(("host:", "content-length:"))]
        post = tools.Post(HTTP_PATH, tuple(fields), http1=True)

        def binary_tensors(target: Target, secure: bool) -> float:
            return tools.h2load((target.host, target.port), body, connections=SIXTY_FOUR[0], streams=1, **times, post=post, secure=secure)

        return {
            "grpc_4x16": ("grpc", calls(FOUR_BY_SIXTEEN)), "grpc_64x1": ("grpc", calls(SIXTY_FOUR)),
            "rest_json": ("rest", json), "rest_binary": ("rest", binary_tensors),
        }  # fmt: skip

    def _peer(self, stack: ExitStack, repository: Path, log: Path) -> Target:
        port = free_port()
        command = peer_command("grpc_async", str(repository), str(port), "--tls", str(self._certificate.chain), str(self._certificate.key))
        server = stack.enter_context(Server(command, core=self._cores.server, ready=accepts(port), log=log))
        return Target(HOST, port, server.cpu_s)

    def _wrong_calls(self) -> list[str]:
        target, workload = self._gateways[True]["grpc"], self._workloads.raw
        credentials = grpc.ssl_channel_credentials(self._certificate.authority)
        with grpc.secure_channel(f"{target.host}:{target.port}", credentials) as channel:
            call = channel.unary_unary(INFER_PATH)
            answers = [call(wire[5:], timeout=10) for wire in workload.wires[:SAMPLES]]
        return workload.check([(index, b"\0" + len(answer).to_bytes(4, "big") + answer) for index, answer in enumerate(answers)])

    def _wrong_requests(self, workload: Workload) -> list[str]:
        target = self._gateways[True]["rest"]
        context = ssl.create_default_context(cadata=self._certificate.authority.decode())
        with (
            socket.create_connection((target.host, target.port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname=HOST) as line,
        ):
            return workload.check([(index, _answer(line, wire)) for index, wire in enumerate(workload.wires[:SAMPLES])])


def _answer(line: ssl.SSLSocket, wire: bytes) -> bytes:
    """One answer of HTTP/1.1 as it came, but for the case and order of its fields."""
    line.sendall(wire)
    answer = http.client.HTTPResponse(line)
    answer.begin()
    body = answer.read()
    fields = "".join([f"{name}: {value}\r\n" for name, value in answer.getheaders()])
    return f"HTTP/1.1 {answer.status} {answer.reason}\r\n{fields}\r\n".encode() + body


def _counted(target: Target, load: Callable[[], float]) -> dict[str, Any]:
    """A tool's run on a gateway, which counts its answers."""
    assert target.metrics_port is not None
    try:
        before, cpu, start = at_rest(target.metrics_port), target.cpu_s(), time.monotonic()
        rate = load()
        took, added, cpu = time.monotonic() - start, at_rest(target.metrics_port).since(before), target.cpu_s() - cpu
    except (tools.ToolError, subprocess.TimeoutExpired, OSError) as error:
        return {"rate": 0.0, "per_cpu_s": None, "faults": [str(error)[-500:], *target.last_words()]}
    faults = [f"the server refused {added.refused} requests"] if added.refused else []
    if added.ok < rate:
        faults.append(f"the server counted {added.ok} OK answers, the tool {rate:.0f} a second")
    return {
        "rate": round(rate, 1), "per_cpu_s": round(added.ok / cpu, 1) if cpu else None, "server_cpu": round(cpu / took, 3),
        "mean_batch": round(added.rows / added.batches, 2) if added.batches else None, "faults": faults,
    }  # fmt: skip


def _timed(target: Target, load: Callable[[Target, bool], float]) -> dict[str, Any]:
    """A tool's run on the peer, which counts nothing."""
    try:
        return {"rate": round(load(target, True), 1), "faults": []}
    except (tools.ToolError, subprocess.TimeoutExpired) as error:
        return {"rate": 0.0, "faults": [str(error)[-500:]]}
