"""The settings of a server: one YAML file under command-line flags, nothing from the environment.

A setting is declared once, here or in `limits.py`: its comment is what `tidegate config explain` and
`docs/configuration.md` print. Unknown, misplaced, repeated and ill-typed settings are errors; none is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec

from gateway import typed_yaml
from gateway.capture_settings import Capture, CapturePlan, capture_plan, log_directory
from gateway.drift_settings import Drift, DriftPlan, drift_plan
from gateway.hosts import is_loopback
from gateway.identity.settings import Auth
from gateway.identity.tenants import Tenant, check_names
from gateway.label_settings import Labels
from gateway.limits import Limits
from gateway.model_settings import Count, IsolationPlan, Milliseconds, ModelPlan, ModelSettings, Rows, Versions
from gateway.typed_yaml import MisfitError, Problem, YamlError
from gateway.webhook_settings import Webhooks
from registry.errors import RegistryError
from registry.names import check_model_name
from registry.queueing import Queueing
from registry.serving import Serving

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Microseconds = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Number = TypeVar("Number", int, float, bool)

MIN_WINDOW_BYTES, MAX_WINDOW_BYTES = 65_535, (1 << 31) - 1  # RFC 9113 §6.9.2: the initial window, and the largest one
MIN_FRAME_BYTES, MAX_FRAME_BYTES = 1 << 14, (1 << 24) - 1  # RFC 9113 §6.5.2, SETTINGS_MAX_FRAME_SIZE
_SCHEMES = ("s3", "gs", "az")
_ZERO_IS_NEVER = frozenset(("compress_over_bytes",))
_WIRE_RANGES = {
    "max_frame_bytes": (MIN_FRAME_BYTES, MAX_FRAME_BYTES),
    "stream_window_bytes": (MIN_WINDOW_BYTES, MAX_WINDOW_BYTES),
    "connection_window_bytes": (MIN_WINDOW_BYTES, MAX_WINDOW_BYTES),
    "max_streams": (1, MAX_WINDOW_BYTES),
}


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the gateway listens. Port 0 lets the system choose one."""

    name: str = "tidegate"  # reported by ServerMetadata and GET /v2
    host: str = "127.0.0.1"  # address of the first three listeners; another than loopback needs `tls` and `auth`, or `insecure: true`
    http_port: Port = 8000  # REST; recognises gRPC and HTTP/2 too
    grpc_port: Port = 8001  # gRPC; recognises HTTP/1.1 too
    metrics_port: Port = 8002  # Prometheus metrics and health, read-only
    admin_host: str = "127.0.0.1"  # address of the listener for administrators; another than loopback needs the same
    admin_port: Port | None = 8003  # rollouts, over HTTP and gRPC; null: no such listener
    insecure: bool = False  # allow a host that others can reach without TLS or without credentials

    def __post_init__(self) -> None:
        ports = {name: getattr(self, name) for name in ("http_port", "grpc_port", "metrics_port", "admin_port")}
        for name, port in ports.items():
            twin = next(other for other, taken in ports.items() if taken == port)
            if port and twin != name:
                raise MisfitError(name, f"{port} is the {twin} already")


class Repository(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the models are."""

    path: Path | str  # a registry, in a directory or at s3://bucket/prefix, gs://… or az://…; or a Triton-style model repository
    options: dict[str, str] = {}  # of an object store: aws_endpoint, aws_region; credentials belong where the cloud's own tools look
    cache: Path | None = None  # a directory that keeps what was read of an object store, for when it cannot be reached
    model: str | None = None  # name of the one model whose directory `path` is: `model.onnx` in it, its version 1, or numbered versions
    keys: tuple[Path, ...] = ()  # PEM: public keys that signatures over a registry's versions are checked with
    model_control: Literal["repository", "explicit"] = "repository"  # explicit: callers of the repository extension load and unload models
    load_models: tuple[str, ...] = ()  # with explicit control, models that are loaded from the start on; "*": all
    load_files: bool = False  # with explicit control, whoever may load may bring a model's files along, which nobody has signed
    load_bytes: Count = 256 << 20  # of all configurations and files that came with loads, held in memory until the next load or unload

    def __post_init__(self) -> None:
        remote = isinstance(self.path, str) and "://" in self.path
        for name in ("options", "cache"):
            if getattr(self, name) and not remote:
                raise MisfitError(name, "belongs to an object store, and repository.path is a directory")
        if self.load_models and self.model_control != "explicit":
            raise MisfitError("load_models", "belongs to model_control: explicit; without it the repository says what is loaded")
        if self.load_files and (self.model_control != "explicit" or remote or self.keys):
            raise MisfitError("load_files", "belongs to model_control: explicit, over a Triton-style model repository")
        if self.model is not None:
            _check_one_model(self.model, remote=remote)
        if not remote:
            return
        scheme, _, rest = str(self.path).partition("://")
        if scheme not in _SCHEMES:
            raise MisfitError("path", "a URL begins with " + ", ".join(f"{name}://" for name in _SCHEMES))
        if "?" in rest or "@" in rest:  # never repeated: it may be a secret
            raise MisfitError("path", "a URL holds no user, password or query; what else the store needs belongs under repository.options")


class Processes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The processes of a server, and how it ends."""

    workers: Annotated[int, msgspec.Meta(ge=0, le=32)] = 0  # that serve, each with models of its own; 0: one a core, at most 4
    spare: bool | None = None  # keep one more in reserve, with everything imported, for one that dies; null: where there are two or more
    trials: bool = True  # a confined child loads a version and asks its golden requests before any worker loads it
    pin: bool | None = None  # bind each worker to a core of its own; null: where there is one for each and runs have one thread
    watchdog_s: Annotated[float, msgspec.Meta(ge=1, le=600)] = 10.0  # a worker whose event loop stands still for so long is replaced
    lazy: bool = False  # load a model when the first request for it comes, which waits meanwhile; for many models of which few are asked
    models_bytes: Count | None = None  # of the files of all versions that a worker holds at once, old and new during a change together
    drain_delay_s: Annotated[float, msgspec.Meta(ge=0, le=600)] = 0.0  # on SIGTERM, not ready but serving: until balancers have noticed
    drain_grace_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 20.0  # then, for what is open
    compiled: Path | None = None  # a directory of this server's user alone for optimised graphs, so that models load faster the next time
    state: Path | None = None  # a directory for the totals of the counters, so that they go on after a restart; held by one server


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Encryption of all ports. Leave the section out to serve without it. The files are read again when they change, and on a reload."""

    certificate: Path  # PEM: the server's certificate, then the chain to its issuer
    key: Path  # PEM: the certificate's private key, not encrypted
    client_ca: Path | None = None  # PEM: the authorities that client certificates are checked against
    client_certificates: Literal["none", "optional", "required"] = "none"  # whether callers present one; the port of metrics demands none
    metrics: bool = True  # of the port of metrics too; false where probes or scrapers cannot

    def __post_init__(self) -> None:
        if self.client_certificates != "none" and self.client_ca is None:
            raise MisfitError("client_certificates", f"{self.client_certificates!r} needs client_ca")


class Grpc(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The gRPC transport."""

    compression: bool = False  # accept gzip and deflate messages; without it they are refused as UNIMPLEMENTED


class Rest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP transport."""

    strict_json: bool = False  # refuse an answer that JSON cannot express (NaN, Infinity), naming the output


class Logging(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log on standard error. It never contains payloads."""

    level: Literal["debug", "info", "warning", "error"] = "info"  # the least severe lines that are written
    format: Literal["auto", "json", "console"] = "auto"  # auto: console on a terminal, JSON lines elsewhere
    access_share: Share = 0.0  # share of the requests that reach a model which get an access line


class Metrics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The metrics page."""

    triton_names: bool = False  # counters of versions by Triton's names (nv_inference_*) too, for dashboards that were made for it


class Batching(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How requests are put together, unless a model says otherwise."""

    max_batch_size: Rows = 256  # rows of one run; a larger request is split
    max_queue_delay_ms: Milliseconds = 0.0  # wait for more rows; 0 sends what arrived together, which suits most models
    inline_max_us: Microseconds = 250  # runs expected to be shorter execute on the event loop, longer ones in a thread


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of one server."""

    server: Server = Server()
    repository: Repository
    processes: Processes = Processes()
    tls: Tls | None = None
    auth: Auth | None = None
    tenants: dict[str, Tenant] = msgspec.field(default_factory=dict)
    default_tenant: Tenant = Tenant()
    grpc: Grpc = Grpc()
    rest: Rest = Rest()
    logging: Logging = Logging()
    metrics: Metrics = Metrics()
    drift: Drift = Drift()
    labels: Labels = Labels()
    capture: Capture = Capture()
    webhooks: Webhooks = Webhooks()
    batching: Batching = Batching()
    models: dict[str, ModelSettings] = msgspec.field(default_factory=dict)
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        self._check_exposure()
        check_names(list(self.tenants), with_credentials=self.auth is not None)
        _check_limits(self.limits)
        if self.labels.enabled and self.label_log is None:
            raise MisfitError("labels.directory", "labels need a directory, or processes.state, in which there is one")
        if self.capture.enabled and self.log is None:
            raise MisfitError("capture.directory", "a log needs a directory, or processes.state, in which there is one")

    def _check_exposure(self) -> None:
        """Others are let in by somebody's decision, never by an oversight."""
        server, tls, auth = self.server, self.tls, self.auth
        is_alone = is_loopback(server.host) or server.insecure
        missing = [name for name, section in (("tls", tls), ("auth", auth)) if section is None]
        for setting, host in (("host", server.host), *([] if server.admin_port is None else [("admin_host", server.admin_host)])):
            if missing and not (is_loopback(host) or server.insecure):
                sections = " and ".join([f"`{name}`" for name in missing])
                raise MisfitError(
                    f"server.{setting}",
                    f"{host!r} can be reached by others: add {sections}, or set server.insecure to true to let in everybody",
                )
        if auth is None and self.repository.load_files and not is_loopback(server.host):
            raise MisfitError(
                "repository.load_files", "on a host that others can reach it needs `auth`: nobody else tells who may bring a model"
            )
        if auth is None:
            return
        if auth.clients and (tls is None or tls.client_certificates == "none"):
            raise MisfitError("auth.clients", "needs tls.client_certificates: optional, or required")
        if auth.metrics and not is_alone and not (tls and tls.metrics):
            raise MisfitError("auth.metrics", "credentials would be sent in the clear: leave tls.metrics at true")

    def model(self, name: str) -> ModelSettings:
        """What a model does differently, also one that the file does not name."""
        return self.models.get(name, ModelSettings())

    def is_lazy(self, model: str) -> bool:
        """Whether a model is loaded only when somebody asks for it."""
        own = self.model(model).lazy
        return self.processes.lazy if own is None else own

    def versions(self, model: str) -> Versions:
        """Which versions of a model are served."""
        return self.model(model).versions

    def drift_plan(self, model: str) -> DriftPlan:
        """What is watched of a model."""
        return drift_plan(self.drift, self.model(model).drift)

    def capture_plan(self, model: str) -> CapturePlan | None:
        """What is logged of a model; None: nothing."""
        return capture_plan(self.capture, self.model(model).capture)

    @property
    def log(self) -> Path | None:
        """The directory of the inference log; None where there is none."""
        return log_directory(self.capture, self.processes.state)

    @property
    def label_log(self) -> Path | None:
        """The directory of the inference log that labels are kept in; None where there is none."""
        return self.labels.directory or self.log

    def plan(self, model: str, serving: Serving | None = None) -> ModelPlan:
        """The settings that hold for a version: the model's own here, then what the version says of itself, then the general ones."""
        own, said = self.model(model), serving or Serving(format=1)
        return ModelPlan(
            max_batch_size=_first(own.max_batch_size, said.max_batch_size if said.batching else 0, self.batching.max_batch_size),
            dynamic_batching=said.dynamic_batching if own.dynamic_batching is None else own.dynamic_batching,
            max_queue_delay_ms=_first(own.max_queue_delay_ms, said.max_queue_delay_ms, self.batching.max_queue_delay_ms),
            queue=own.queue or said.queue or Queueing(),
            instances=_first(own.instances, said.instances, 1),
            inline_max_us=self.batching.inline_max_us,
            allow_empty=own.allow_empty,
            intra_op_threads=_first(own.intra_op_threads, said.intra_op_threads, 1),
            inter_op_threads=said.inter_op_threads or 1,
            execution=said.execution or "sequential",
            optimization=own.optimization or said.optimization or "all",
            providers=own.providers or said.providers or ("cpu",),
            provider_options=own.provider_options.over(said.provider_options),
            memory_pattern=_first(own.memory_pattern, said.memory_pattern, True),
            entries=dict(said.entries) | own.session_entries,
            isolation=self.isolation(model) if own.isolation == "process" else None,
        )

    def isolation(self, model: str) -> IsolationPlan:
        """The bounds of a model's process, where one of its versions has a process of its own."""
        own = self.model(model)
        return IsolationPlan(own.isolation_memory_bytes, own.run_timeout_s)


class ConfigError(Exception):
    """Every mistake of the settings, with file, line and column."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def load(path: Path | None, overrides: Mapping[str, object] | None = None, *, assignments: tuple[str, ...] = ()) -> Config:
    """The settings of a file under those of the command line. Raises `ConfigError` with every mistake.

    `overrides` maps a dotted path to a value, `None` leaving the file's; `assignments` are texts `dotted.path=value`
    and win over both. Relative paths are taken from the file's folder, those of the command line from the current one.
    """
    try:
        root = typed_yaml.compose(_content(path), source=str(path) if path else "settings")
        for key, value in (overrides or {}).items():
            if value is not None:
                root = typed_yaml.overlay(root, key.split("."), value, source=flag_of(key))
        for text in assignments:
            key, equals, value = text.partition("=")
            if not (key and equals):
                raise ConfigError((Problem("--set", 0, 0, "", f"expected section.setting=value, got {text!r}"),))
            root = typed_yaml.overlay_text(root, key.split("."), value, source=f"--set {key}")
        return typed_yaml.read(root, Config, folder=path.parent if path else Path())
    except YamlError as error:
        raise ConfigError(error.problems) from None


def encode(config: Config) -> str:
    """All settings as one text, for a process of the same release in the same working directory."""
    return msgspec.json.encode(config, enc_hook=str).decode()


def decode(text: str) -> Config:
    """The inverse of `encode`. JSON is YAML, so there is one reader of settings."""
    return typed_yaml.read(typed_yaml.compose(text.encode(), source="settings"), Config, folder=Path())


def worker_count(settings: Processes, cores: int) -> int:
    """As many as the settings say, or one for each core up to four: past that, memory costs more than cores bring."""
    return settings.workers or max(1, min(cores, 4))


def pins(config: Config, workers: int, cores: int) -> bool:
    """Whether each worker gets a core of its own. Runs with threads, or at once, and processes of models want the others' cores too."""
    wanted = config.processes.pin
    alone = all(threads_of(model) == 1 and model.isolation == "none" for model in config.models.values())
    return workers <= cores and (workers == cores > 1 and alone if wanted is None else wanted)


def threads_of(model: ModelSettings) -> int:
    """Cores that the settings let one model use in a worker."""
    return (model.intra_op_threads or 1) * (model.instances or 1)


def with_spare(settings: Processes, workers: int) -> bool:
    """Whether one more process is kept in reserve."""
    return workers > 1 if settings.spare is None else settings.spare


def flag_of(key: str) -> str:
    """The command-line flag that sets `key`: `--http-port` for `server.http_port`."""
    renamed = {"repository.path": "--repository", "logging.level": "--log-level", "logging.format": "--json"}
    return renamed.get(key, "--" + key.rpartition(".")[2].replace("_", "-"))


def _check_one_model(name: str, *, remote: bool) -> None:
    if remote:
        raise MisfitError("model", "belongs to a directory, and repository.path is an object store")
    try:
        check_model_name(name)
    except RegistryError as error:
        raise MisfitError("model", error.message) from None


def _first(own: Number | None, said: Number | None, general: Number) -> Number:
    """The first that says something."""
    return own if own is not None else said if said is not None else general


def _content(path: Path | None) -> bytes:
    if path is None:
        return b""
    try:
        with path.open("rb") as file:
            return file.read(typed_yaml.MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError((Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror}"),)) from None


def _check_limits(limits: Limits) -> None:
    for section in msgspec.structs.fields(Limits):
        bounds = getattr(limits, section.name)
        for info in msgspec.structs.fields(type(bounds)):
            value = getattr(bounds, info.name)
            low, high = _WIRE_RANGES.get(info.name, (None, None))
            if value < 0 or (value == 0 and info.name not in _ZERO_IS_NEVER):
                raise MisfitError(f"limits.{section.name}.{info.name}", f"expected a number above 0, got {value}")
            if low is not None and high is not None and not low <= value <= high:
                raise MisfitError(f"limits.{section.name}.{info.name}", f"HTTP/2 allows {low} to {high}, got {value}")
