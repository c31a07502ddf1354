"""`make conformance`: one gateway against real clients and tools in other languages. Arguments choose groups; none means all.

Prints one line per check and ends with 'N passed, N failed'. Nothing is skipped: what cannot be built or started is an error.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import builds
import certificates
import curl_checks
import h2spec_checks
import models
import nghttp_checks
import openapi_checks
import perf_checks
import proxy_checks
import slow_reader_checks
import tls_checks
from outcome import Outcome, attempts, contains, equal
from programs import checked
from servers import Envoy, Gateway, StartError

SCRATCH = builds.BUILD
PYTHON = builds.HERE / "python"
TIDEGATE = Path(sys.executable).with_name("tidegate")


@dataclass(frozen=True, slots=True)
class Bench:
    """The servers under test and where their files are."""

    plain: Gateway
    tls: Gateway
    mutual: Gateway
    certificates: Path

    def client(self, name: str, *, target: str | None = None) -> dict[str, str]:
        """The environment of a client program. `name` says which copy of the slow model is its own."""
        return {
            "TARGET": target or self.plain.grpc, "HTTP_TARGET": self.plain.http, "TLS_TARGET": self.tls.grpc,
            "CA_FILE": str(self.certificates / "ca.pem"), "SLOW_MODEL": f"slow_{name}", "PROTO": str(builds.PROTO),
            "MODELS": str(SCRATCH / "models"),
            "PYTHONPATH": f"{builds.python_stubs()}:{PYTHON}",
        }  # fmt: skip


def _python(bench: Bench, script: str, name: str, python: str | Path = sys.executable) -> Iterator[Outcome]:
    return checked([python, PYTHON / script], bench.client(name))


def _kserve(bench: Bench) -> Iterator[Outcome]:
    return _python(bench, "kserve_clients.py", "grpcio", builds.environment("kserve", PYTHON / "kserve-requirements.txt"))


def _registry(*names: str) -> Path:
    """A new one of these models, each its champion."""
    registry = SCRATCH / "registry"
    shutil.rmtree(registry, ignore_errors=True)
    for name in names:
        submitted = SCRATCH / "models" / name / "1" / "model.onnx"
        builds.shell([TIDEGATE, "publish", submitted, "--name", name, "--registry", registry, "--alias", "champion"])
    return registry


def _v1_rest(bench: Bench) -> Iterator[Outcome]:
    """Beside the models of all others a registry, whose aliases are labels."""
    python = builds.environment("kserve", PYTHON / "kserve-requirements.txt")
    with Gateway(_registry("plus_one"), log=SCRATCH / "gateway-registry.log") as labelled:
        yield from checked([python, PYTHON / "v1_rest.py"], {**bench.client("grpcio"), "LABELLED_TARGET": labelled.http})


def _openapi(bench: Bench) -> Iterator[Outcome]:
    """The documents of all servers, and two servers whose models may come and go: one for everybody, one that asks for a key."""
    python = builds.environment("openapi", openapi_checks.FOLDER / "requirements.txt")
    yield from attempts(openapi_checks.CHECKS, python, bench.plain)
    registry, keys = _registry("plus_one", "echo"), SCRATCH / "keys.yaml"
    explicit = ["repository.model_control=explicit", "repository.load_models=['*']"]
    with Gateway(registry, log=SCRATCH / "gateway-open.log", settings=explicit) as everybody:
        yield from openapi_checks.fuzzed(python, everybody, "open")
        yield from attempts([serving], everybody)
    keys.unlink(missing_ok=True)
    key = openapi_checks.new_key(TIDEGATE, keys)
    with Gateway(registry, log=SCRATCH / "gateway-guarded.log", settings=[*explicit, f"auth.keys={keys}"]) as guarded:
        yield from attempts([openapi_checks.valid], python, guarded)
        yield from openapi_checks.fuzzed(python, guarded, "guarded", "--header", f"Authorization: Bearer {key}")


def _perf_analyzer(bench: Bench) -> Iterator[Outcome]:
    python = builds.environment("perf", builds.HERE / "perf" / "requirements.txt")
    return attempts(perf_checks.CHECKS, python, bench.plain)


def _envoy(bench: Bench) -> Iterator[Outcome]:
    folder = builds.HERE / "envoy"
    python = builds.environment("envoy", folder / "requirements.txt")
    with Envoy(python.with_name("envoy"), folder / "bootstrap.yaml", bench.plain, folder=SCRATCH) as envoy:
        yield from checked([sys.executable, PYTHON / "grpcio_sync.py", "--through-proxy"], bench.client("envoy", target=envoy.address))
        yield from attempts(proxy_checks.CHECKS, envoy)


def _tls(bench: Bench) -> Iterator[Outcome]:
    yield from attempts([*tls_checks.CHECKS, nghttp_checks.over_tls], bench.tls, bench.certificates)
    yield from attempts(tls_checks.REQUIRED, bench.mutual, bench.certificates)


GROUPS: dict[str, Callable[[Bench], Iterator[Outcome]]] = {
    "curl": lambda bench: attempts(curl_checks.CHECKS, bench.plain),
    "tls": _tls,
    "nghttp": lambda bench: attempts(nghttp_checks.CHECKS, bench.plain),
    "slow-reader": lambda bench: attempts(slow_reader_checks.CHECKS, bench.plain),
    "h2spec": lambda bench: h2spec_checks.conforms(builds.h2spec(), bench.plain),
    "h2spec-tls": lambda bench: h2spec_checks.conforms(builds.h2spec(), bench.tls, tls=True),
    "grpcio": lambda bench: _python(bench, "grpcio_sync.py", "grpcio"),
    "grpcio-aio": lambda bench: _python(bench, "grpcio_aio.py", "aio"),
    "tritonclient-grpc": lambda bench: _python(bench, "triton_grpc.py", "grpcio"),
    "tritonclient-http": lambda bench: _python(bench, "triton_http.py", "grpcio"),
    "v1-rest": _v1_rest,
    "kserve": _kserve,
    "grpc-go": lambda bench: checked([builds.go_client()], bench.client("go")),
    "grpc-java": lambda bench: checked(builds.java_client(), bench.client("java")),
    "grpc-js": lambda bench: checked(["node", "client.js"], bench.client("node"), builds.node_client()),
    "openapi": _openapi,
    "perf-analyzer": _perf_analyzer,
    "envoy": _envoy,
}


def serving(server: Gateway) -> None:
    """After everything, the same process still answers, and its log has no stack."""
    equal(None, server.process.poll())
    curl_checks.prior_knowledge(server)
    stacks = re.findall(r"Traceback \(most recent call last\).{0,2000}", server.log.read_text(errors="replace"), re.DOTALL)
    equal([], stacks)


def counted(server: Gateway) -> None:
    """The metrics know of it: answers and refusals by code, of both protocols."""
    exposed = curl_checks.curl(f"http://{server.metrics}/metrics").body.decode()
    for part in ('model="plus_one"', 'protocol="grpc"', 'protocol="http"'):
        contains(part, "\n".join(re.findall(r"^tidegate_requests_total\{.*", exposed, re.MULTILINE)))


def drains(server: Gateway) -> None:
    """SIGTERM in the middle of a run: its caller still gets the answer, then the process ends with status 0."""
    body = json.dumps({"inputs": [{"name": "STEPS", "datatype": "FP32", "shape": [1, 1], "data": [2000]}]})
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(curl_checks.curl, "--http1.1", "-d", body, curl_checks.infer(server.http, "slow_nghttp"))
        time.sleep(0.3)
        status = server.stop()
        equal([2000.0], curl_checks.answered(running.result(), 200).json()["outputs"][0]["data"])
    equal(0, status, server.log.read_text(errors="replace")[-1000:])


def stops(*servers: Gateway) -> None:
    """SIGTERM ends each of them, in order, with status 0."""
    for server in servers:
        equal(0, server.stop(), server.log.read_text(errors="replace")[-1000:])


def _group(name: str, bench: Bench) -> Iterator[Outcome]:
    """A group whose tools cannot be built or started has failed; the others go on."""
    try:
        yield from GROUPS[name](bench)
    except (builds.BuildError, StartError, OSError) as error:
        yield Outcome("set-up", json.dumps(str(error)[:2000], ensure_ascii=False))


def _outcomes(chosen: list[str]) -> Iterator[tuple[str, Outcome]]:
    folder = SCRATCH / "certificates"
    models.write(SCRATCH / "models")
    certificates.write(folder)
    tls = [f"tls.certificate={folder}/server.pem", f"tls.key={folder}/server.key", f"tls.client_ca={folder}/ca.pem", "tls.metrics=false"]
    with ExitStack() as stack:

        def gateway(name: str, *settings: str) -> Gateway:
            return stack.enter_context(Gateway(SCRATCH / "models", log=SCRATCH / f"gateway-{name}.log", settings=settings))

        plain = gateway("plain", "repository.model_control=explicit", "repository.load_models=['*']", "repository.load_files=true")
        optional = gateway("tls", *tls, "tls.client_certificates=optional")
        bench = Bench(plain, optional, gateway("mutual-tls", *tls, "tls.client_certificates=required"), folder)
        for name in chosen:
            yield from ((name, outcome) for outcome in _group(name, bench))
        last = [serving, counted] if len(chosen) == len(GROUPS) else [serving]
        yield from (("gateway", outcome) for outcome in attempts(last, plain))
        yield from (("gateway", outcome) for outcome in attempts([drains], plain))
        yield from (("gateway", outcome) for outcome in attempts([stops], optional, bench.mutual))


def main(chosen: list[str]) -> int:
    """Run the chosen groups. Returns the exit status."""
    unknown = [name for name in chosen if name not in GROUPS]
    if unknown:
        raise SystemExit(f"no group {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    SCRATCH.mkdir(parents=True, exist_ok=True)
    passed = failed = 0
    for group, outcome in _outcomes(chosen or list(GROUPS)):
        print(outcome.line(group), flush=True)
        passed, failed = passed + (not outcome.failure), failed + bool(outcome.failure)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
