"""What a machine needs to serve, checked one thing at a time. Changes nothing but the kernels' cache, which it fills.

Each check takes what it looks at as an argument, so that tests can show it a sick machine.
"""

from __future__ import annotations

import contextlib
import enum
import importlib.metadata
import importlib.util
import os
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway import runtimes
from gateway.config import Config, Repository, load, threads_of, with_spare, worker_count
from gateway.control.ports import is_free
from gateway.exposure import exposure, is_careless
from gateway.serving.selection import effective, remedy, select

PACKAGES = ("numpy", "numba", "protobuf", "uvloop", "orjson", "msgspec", "grpcio", "onnx")
MIN_MEMORY_BYTES = 512 << 20  # a server with a small model takes about 220 MiB; the rest is for requests in flight
MIN_PYTHON, MAX_PYTHON = (3, 11), (3, 13)


class State(enum.Enum):
    """`WARN` can be lived with, `FAIL` cannot."""

    OK = "ok"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check. `advice` is what to do about it, "" where nothing is wrong."""

    check: str
    state: State
    detail: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is examined: the settings that a server would have, and whether its repository is part of the question."""

    config: Config
    with_repository: bool


def subject(path: Path | None, repository: str | None) -> Subject:
    """From the command line. Raises `ConfigError`."""
    if path is None and repository is None:
        return Subject(Config(repository=Repository(path=Path())), with_repository=False)
    return Subject(load(path, {"repository.path": repository}), with_repository=True)


def examine(case: Subject) -> list[Finding]:
    """All checks, in order. A check that raises is itself a finding."""
    server = case.config.server
    ports = [(server.host, port) for port in (server.http_port, server.grpc_port, server.metrics_port)]
    ports += [] if server.admin_port is None else [(server.admin_host, server.admin_port)]
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("python", lambda: python(sys.version_info[:2], sys.platform)),
        ("packages", lambda: packages(PACKAGES)),
        ("imports", imports),
        ("onnxruntime", lambda: runtime(runtimes.installed())),
        ("providers", lambda: providers(case.config, _installed_providers())),
        ("cpu", lambda: cpu(_usable_cores(), os.cpu_count() or 1, Path("/sys/fs/cgroup/cpu.max"))),
        ("workers", lambda: workers(case.config, _usable_cores())),
        ("memory", lambda: memory(Path("/proc/meminfo"), Path("/sys/fs/cgroup"))),
        ("files", lambda: open_files(resource.getrlimit(resource.RLIMIT_NOFILE), case.config.limits.wire.max_connections)),
        ("kernels", kernels),
        *((f"port {port}", lambda host=host, port=port: listening(host, port)) for host, port in ports),
        ("access", lambda: access(case.config)),
    ]
    if case.config.tls is not None or case.config.auth is not None:
        checks.append(("credentials", lambda: credentials(case.config)))
    if case.with_repository:
        checks.append(("repository", lambda: repository(case.config)))
    return list(_outcomes(checks))


def _outcomes(checks: Sequence[tuple[str, Callable[[], Finding]]]) -> Iterator[Finding]:
    for name, check in checks:
        try:
            yield check()
        except Exception as error:
            yield Finding(name, State.FAIL, f"could not be checked: {type(error).__name__}: {error}", "report this")


def python(version: tuple[int, ...], platform: str) -> Finding:
    """A supported interpreter on a supported system."""
    detail = f"Python {version[0]}.{version[1]} on {platform}"
    if not MIN_PYTHON <= version <= MAX_PYTHON:
        return Finding("python", State.FAIL, detail, "use Python 3.11, 3.12 or 3.13")
    if platform != "linux":
        return Finding("python", State.WARN, detail, "develop here, serve on Linux")
    return Finding("python", State.OK, detail)


def packages(names: Sequence[str]) -> Finding:
    """Everything that a server imports is installed."""
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("packages", State.FAIL, f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    return Finding("packages", State.OK, ", ".join(found))


def runtime(installed: Mapping[str, str]) -> Finding:
    """ONNX Runtime comes from one distribution; two of them write over each other's files."""
    detail = ", ".join([f"{name} {version}" for name, version in installed.items()])
    if len(installed) == 1:
        return Finding("onnxruntime", State.OK, detail)
    wanted = [*runtimes.DISTRIBUTIONS[:1], *installed][-1]
    removal = f"pip uninstall -y {' '.join(installed)} && " if installed else ""
    return Finding("onnxruntime", State.FAIL, detail or "missing", f"{removal}pip install --no-deps {wanted}")


def _installed_providers() -> tuple[str, ...]:
    from gateway.serving.model import providers

    return providers()


def providers(config: Config, installed: Sequence[str]) -> Finding:
    """The execution providers that the installed ONNX Runtime has, and whether the settings ask for others."""
    detail = ", ".join(installed)
    asked = {name: [each for each in model.providers if each not in installed] for name, model in config.models.items()}
    missing = {name: absent for name, absent in asked.items() if absent}
    if not missing:
        return Finding("providers", State.OK, detail)
    name, absent = next(iter(missing.items()))
    detail = f"{detail}; '{name}' asks for {', '.join(absent)}"
    state = State.FAIL if config.models[name].providers[-1] in absent else State.WARN
    return Finding("providers", state, detail, "install an ONNX Runtime that has it (docs/providers.md), or change models.M.providers")


def imports() -> Finding:
    """Our packages are the ones that are imported under their names; `kernels` and `registry` are names that others use too."""
    home = Path(__file__).resolve().parents[1]
    for name in ("kernels", "registry", "gateway", "retrain"):
        spec = importlib.util.find_spec(name)
        place = Path((spec.submodule_search_locations or [""])[0]).resolve() if spec else None
        if place is None or place.parent != home:
            return Finding("imports", State.FAIL, f"package {name!r} comes from {place}", f"uninstall the package that brings {name!r}")
    return Finding("imports", State.OK, "packages come from one installation")


def cpu(usable: int, total: int, quota: Path) -> Finding:
    """How much of the machine this process may use."""
    cores = float(usable)
    detail = f"{usable} of {total} cores"
    with contextlib.suppress(OSError, ValueError):  # no control group of version 2, or one without a limit ("max")
        limit, period = map(int, quota.read_text().split())
        cores = min(cores, limit / period)
        detail += f", control group allows {limit / period:g}"
    if cores < 1:
        return Finding("cpu", State.WARN, detail, "give the server at least one core: latency suffers while it is throttled")
    return Finding("cpu", State.OK, detail)


def workers(config: Config, cores: int) -> Finding:
    """How the cores are shared: workers, and in each of them the threads of one run of a model."""
    count = worker_count(config.processes, cores)
    threads = max([threads_of(model) for model in config.models.values()], default=1)
    detail = f"{count} workers on {cores} cores, {threads} threads a model" + (
        ", one spare process" if with_spare(config.processes, count) else ""
    )
    if count * threads > cores:
        return Finding(
            "workers", State.WARN, detail, "have at most as many threads as cores: lower processes.workers, intra_op_threads or instances"
        )
    return Finding("workers", State.OK, detail)


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # macOS has no affinity


def memory(meminfo: Path, group: Path) -> Finding:
    """Memory that is free for a server, in this machine and in its control group."""
    if not meminfo.exists():
        return Finding("memory", State.WARN, "unknown: this system does not say", f"have at least {MIN_MEMORY_BYTES >> 20} MiB free")
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    free = int(fields["MemAvailable"].split()[0]) << 10
    with contextlib.suppress(OSError, ValueError):  # no control group, or one without a limit
        free = min(free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    detail = f"{free >> 20} MiB available"
    if free < MIN_MEMORY_BYTES:
        return Finding(
            "memory", State.WARN, detail, f"free at least {MIN_MEMORY_BYTES >> 20} MiB, or lower limits.serving.max_inflight_bytes"
        )
    return Finding("memory", State.OK, detail)


def open_files(limits: tuple[int, int], connections: int) -> Finding:
    """Every connection is an open file, and the rest of the process needs some too."""
    soft, hard = limits
    wanted = connections + 256
    detail = f"{soft} open files allowed, {wanted} wanted for {connections} connections"
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return Finding("files", State.OK, detail)
    how = f"ulimit -n {wanted}" if hard >= wanted else f"LimitNOFILE={wanted} in the service's unit"
    return Finding("files", State.WARN, detail, f"{how}, or lower limits.wire.max_connections")


def kernels() -> Finding:
    """The numeric kernels are compiled and their cache can be read: otherwise every start compiles them again."""
    from kernels import jit

    jit.compile_all()
    compiled = jit.compilations()
    if compiled == 0:
        return Finding("kernels", State.OK, f"{len(jit.KERNELS)} kernels in the cache")
    detail = f"{compiled} of {len(jit.KERNELS)} kernels had to be compiled"
    where = os.environ.get("NUMBA_CACHE_DIR")
    if where and not os.access(where, os.W_OK):
        return Finding("kernels", State.FAIL, detail, f"make NUMBA_CACHE_DIR ({where}) writable, or fill it with `python -m kernels.jit`")
    return Finding("kernels", State.WARN, detail, "they are cached now; run `python -m kernels.jit` when you install or build an image")


def listening(host: str, port: int) -> Finding:
    """A port that the server would listen on."""
    name = f"port {port}"
    try:
        free = is_free(host, port)
    except OSError as error:
        return Finding(name, State.FAIL, f"{host} cannot be listened on: {error.strerror}", "set server.host to an address of this machine")
    if not free:
        return Finding(name, State.FAIL, f"{host}:{port} is taken", "stop what listens there, or choose another port")
    return Finding(name, State.OK, f"{host}:{port} is free")


def access(config: Config) -> Finding:
    """What is open to whom."""
    detail = "; ".join(exposure(config))
    if is_careless(config):
        return Finding("access", State.WARN, detail, "give it `tls` and `auth`, unless something in front of it does both")
    return Finding("access", State.OK, detail)


def credentials(config: Config) -> Finding:
    """The files of certificates and keys can be used. An issuer is not asked."""
    from gateway.identity import key_file
    from gateway.wire.tls import TlsContext, TlsError

    try:
        if config.tls is not None:
            TlsContext(config.tls)
        keys = key_file.read(config.auth.keys) if config.auth is not None and config.auth.keys else ()
    except (TlsError, key_file.KeyFileError) as error:
        return Finding("credentials", State.FAIL, str(error), "correct the file, or what the settings say of it")
    return Finding("credentials", State.OK, f"{len(keys)} API keys" + (", certificate and key" if config.tls else ""))


def repository(config: Config) -> Finding:
    """The models can be listed, and something of each is served."""
    from gateway.serving.sources import by_model, open_repository
    from registry.errors import Kind, RegistryError

    path = config.repository.path
    try:
        listing = open_repository(config.repository).listing()
    except RegistryError as error:
        absent = "name a registry or a repository with `<model>/<version>/model.onnx`"
        advice = absent if error.kind is Kind.NOT_FOUND else "correct the repository, or what the settings say of it"
        return Finding("repository", State.FAIL, f"{path}: {error.message}", advice)
    models = by_model(listing)
    detail = f"{path}: {len(models)} models, {len(listing.versions)} versions"
    if listing.problems:
        return Finding("repository", State.WARN, f"{detail}; {listing.problems[0]}", "correct or remove what is passed over")
    if not models:
        advice = "publish a model: tidegate publish model.onnx --name NAME --registry DIR --alias champion"
        return Finding("repository", State.WARN, detail, advice)
    for name, refs in models.items():
        aliases = listing.aliases_of(name)
        chosen = select(effective(config.versions(name), listing.policies.get(name)), refs, aliases)
        if not chosen.versions:
            return Finding("repository", State.WARN, f"{detail}; '{name}' serves none: {chosen.reason}", remedy(name, path, aliases))
    return Finding("repository", State.OK, detail)
