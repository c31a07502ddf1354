"""The settings of a server: what is accepted, what is refused, and what wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway import config_explain
from gateway.config import Config, ConfigError, ModelSettings, Processes, Repository, Versions, decode, encode, load, pins
from gateway.hosts import is_loopback
from gateway.limits import Limits, WireLimits
from registry.queueing import Queueing, QueuePolicy
from registry.serving import Serving

EXAMPLES = Path(__file__).parents[2] / "examples"
PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def written(folder: Path, text: str) -> Path:
    path = folder / "tidegate.yaml"
    path.write_text(text)
    return path


def refused(path: Path | None = None, overrides: dict[str, object] | None = None, assignments: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, overrides, assignments=assignments)
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def test_only_the_repository_is_required() -> None:
    """Everything else has a default, and it is the documented one."""
    config = load(None, {"repository.path": "models"})
    assert Config(repository=Repository(path=Path("models"))) == config
    assert ["repository.path: required: a path or a URL"] == refused()


def test_flags_win_over_the_file_and_assignments_over_both(tmp_path: Path) -> None:
    """File, then flag, then --set; a flag that was not given leaves the file's value."""
    path = written(tmp_path, "repository: {path: m}\nserver: {name: a, http_port: 1, grpc_port: 2}\n")
    config = load(path, {"server.http_port": 3, "server.grpc_port": 4, "server.host": None}, assignments=("server.grpc_port=5",))
    assert ("a", "127.0.0.1", 3, 5) == (config.server.name, config.server.host, config.server.http_port, config.server.grpc_port)


def test_paths_of_the_file_are_relative_to_it(tmp_path: Path) -> None:
    """A file can be moved together with what it names; a flag means the current folder."""
    path = written(tmp_path, "repository: {path: m}\ntls: {certificate: c.pem, key: /k.pem}\n")
    config = load(path)
    assert config.tls is not None
    assert (tmp_path / "m", tmp_path / "c.pem", Path("/k.pem")) == (config.repository.path, config.tls.certificate, config.tls.key)
    assert Path("m") == load(path, {"repository.path": "m"}).repository.path


def test_a_public_address_needs_more_than_its_name(tmp_path: Path) -> None:
    """The gateway is not opened to a network by accident: see tests/gateway/identity/test_settings.py."""
    path = written(tmp_path, "repository: {path: m}\nserver:\n  host: 0.0.0.0\n")
    with pytest.raises(ConfigError, match=r"tidegate\.yaml:3:9: server\.host: '0\.0\.0\.0' can be reached by others"):
        load(path)
    assert load(path, {"server.insecure": True}).server.insecure
    assert load(path, {"tls.certificate": "c", "tls.key": "k", "auth.keys": "k"}).tls


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_hosts(host: str) -> None:
    """What only this machine reaches is served without TLS."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org", ""])
def test_public_hosts(host: str) -> None:
    """A name could resolve to anything, so it counts as public."""
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("server: {http_port: 9, grpc_port: 9}", "server.grpc_port: 9 is the http_port already"),
        ("tls: {certificate: c, key: k, client_certificates: required}", "tls.client_certificates: 'required' needs client_ca"),
        ("tls: {certificate: c}", "tls.key: required: a path"),
        ("models: {m: {versions: {latest: 1, specific: [2]}}}", "models.m.versions.specific: latest is set already; choose one"),
        ("models: {m: {versions: {aliases: [a], all: true}}}", "models.m.versions.all: aliases is set already; choose one"),
        ("models: {m: {instances: 65}}", "models.m.instances: expected a whole number from 1 to 64, got 65"),
        (
            "models: {m: {instances: 2, isolation: process}}",
            "models.m.instances: a model in a process of its own runs once at a time: leave out isolation, or instances",
        ),
        (
            "models: {m: {providers: [cudda]}}",
            "models.m.providers.0: expected one of cpu, cuda, tensorrt, openvino, got the text 'cudda'; did you mean 'cuda'?",
        ),
        ("models: {m: {providers: [cuda, cpu, cuda]}}", "models.m.providers: cuda is listed twice"),
        (
            "models: {m: {providers: [cpu], provider_options: {cuda: {}}}}",
            "models.m.provider_options.cuda: cuda is not among the providers",
        ),
        (
            "models: {m: {provider_options: {cuda: {stream: 2}}}}",
            "models.m.provider_options.cuda.stream: unknown setting; known here: device, memory_bytes, arena, conv_search, tf32",
        ),
        (
            "models: {m: {provider_options: {openvino: {device: AUTO}}}}",
            "models.m.provider_options.openvino.device: expected one of CPU, GPU, GPU.0, GPU.1, GPU.2, GPU.3, NPU, got the text 'AUTO'",
        ),
        (
            "models: {m: {session_entries: {session.use_env_allocators: '0'}}}",
            "models.m.session_entries: session.use_env_allocators: no entry that may be set; docs/providers.md lists those",
        ),
        (
            "models: {m: {session_entries: {session.disable_prepacking: 'on'}}}",
            "models.m.session_entries: session.disable_prepacking: expected 0 or 1, got 'on'",
        ),
        ("models: [m]", "models: expected a mapping by name, got a list"),
        ("models: {m: }", "models.m: expected a mapping, got nothing"),
        ("limits: {wire: {max_streams: 0}}", "limits.wire.max_streams: expected a number above 0, got 0"),
        ("limits: {wire: {idle_timeout_s: -1}}", "limits.wire.idle_timeout_s: expected a number above 0, got -1.0"),
        ("limits: {wire: {max_frame_bytes: 100}}", "limits.wire.max_frame_bytes: HTTP/2 allows 16384 to 16777215, got 100"),
        (
            "limits: {wire: {stream_window_bytes: 2147483648}}",
            "limits.wire.stream_window_bytes: HTTP/2 allows 65535 to 2147483647, got 2147483648",
        ),
        ("limits: {observe: {max_series: 0}}", "limits.observe.max_series: expected a number above 0, got 0"),
        (
            "limits: {observe: {max_versions: 1000001}}",
            "limits.observe.max_versions: expected a whole number from 1 to 1000000, got 1000001",
        ),
        ("max_body_bytes: 1", "max_body_bytes: unknown setting; it belongs under 'limits.wire'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    """Rules between settings are errors of the file as well."""
    assert [complaint] == refused(written(tmp_path, f"repository: {{path: m}}\n{text}\n"))


FILES = {"repository.path": "m", "repository.model_control": "explicit", "repository.load_files": True}


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"repository.model_control": "repository"}, "belongs to model_control: explicit"),
        ({"repository.path": "s3://bucket/models"}, "over a Triton-style model repository"),
        ({"server.host": "0.0.0.0", "server.insecure": True}, "it needs `auth`"),
    ],
)
def test_files_that_nobody_has_signed_come_in_by_decision_only(settings: dict[str, object], part: str) -> None:
    """With explicit control over files that are not signed either, and from callers who show who they are."""
    (complaint,) = refused(None, FILES | settings)
    assert "load_files" in complaint
    assert part in complaint
    (signed,) = refused(None, FILES, ("repository.keys=[k.pem]",))
    assert "over a Triton-style model repository" in signed
    assert load(None, FILES).repository.load_files
    assert not load(None, {"repository.path": "m"}).repository.load_files


def test_a_port_of_zero_may_repeat() -> None:
    """Zero asks the system for a free port, each time another."""
    ports = dict.fromkeys(("server.http_port", "server.grpc_port", "server.metrics_port"), 0)
    assert 0 == load(None, {"repository.path": "m", **ports}).server.metrics_port


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    """Missing files and folders are mistakes of the settings, not faults."""
    assert [": cannot be read: No such file or directory"] == refused(tmp_path / "none.yaml")
    assert [": cannot be read: Is a directory"] == refused(tmp_path)


@pytest.mark.parametrize("text", ["server.http_port", "=1", ""])
def test_an_assignment_needs_both_sides(text: str) -> None:
    """`--set` says what it wants."""
    assert [f": expected section.setting=value, got {text!r}"] == refused(assignments=(text,))


def test_a_wrong_assignment_is_read_as_in_the_file() -> None:
    """The same words, and the same traps, as in YAML."""
    assert ["server.insecure: expected true or false, got yes; write true"] == refused(
        None, {"repository.path": "m"}, ("server.insecure=yes",)
    )


def test_a_model_inherits_what_it_does_not_set(tmp_path: Path) -> None:
    """The plan of a model is its own settings over the batching section, also for a model that is not named."""
    text = "repository: {path: m}\nbatching: {max_batch_size: 64, max_queue_delay_ms: 2}\n"
    text += "models: {a: {max_queue_delay_ms: 0, allow_empty: true}}"
    config = load(written(tmp_path, text))
    own, other = config.plan("a"), config.plan("b")
    assert (64, 0.0, True, 250) == (own.max_batch_size, own.max_queue_delay_ms, own.allow_empty, own.inline_max_us)
    assert (64, 2.0, False, Versions()) == (other.max_batch_size, other.max_queue_delay_ms, other.allow_empty, config.versions("b"))


def test_a_version_speaks_between_its_model_and_the_rest(tmp_path: Path) -> None:
    """The settings of its model win over what it says, and that over the general ones; no batching is a batch size of 0."""
    text = "repository: {path: m}\nbatching: {max_batch_size: 64, max_queue_delay_ms: 2}\nmodels: {a: {max_batch_size: 4, instances: 1}}"
    config = load(written(tmp_path, text))
    said = Serving(format=1, max_batch_size=8, max_queue_delay_ms=3.0, instances=2)
    own, other = config.plan("a", said), config.plan("b", said)
    assert (4, 3.0, 1) == (own.max_batch_size, own.max_queue_delay_ms, own.instances)
    assert (8, 3.0, 2) == (other.max_batch_size, other.max_queue_delay_ms, other.instances)
    single = config.plan("b", Serving(format=1, batching=False))
    assert (0, 2.0, 1) == (single.max_batch_size, single.max_queue_delay_ms, single.instances)


QUEUE = "repository: {path: m}\nmodels: {a: {queue: {"


def test_a_queue_is_the_models_own_or_what_the_version_says(tmp_path: Path) -> None:
    """One or the other, whole; a worker reads what the supervisor has read."""
    text = (
        QUEUE + "priority_levels: 2, default_priority_level: 2, priority_queue_policy: {1: {timeout_action: delay, max_queue_size: 8}}}}}"
    )
    config = load(written(tmp_path, text))
    own = Queueing(
        priority_levels=2,
        default_priority_level=2,
        priority_queue_policy={"1": QueuePolicy(timeout_action="delay", max_queue_size=8)},
    )
    said = Serving(format=1, queue=Queueing(default_queue_policy=QueuePolicy(max_queue_size=3)))
    assert own == config.plan("a", said).queue == decode(encode(config)).plan("a").queue
    assert (said.queue, Queueing()) == (config.plan("b", said).queue, config.plan("b").queue)


@pytest.mark.parametrize(
    ("queue", "problem"),
    [
        ("priority_levels: 2", "queue.default_priority_level: expected a level from 1 to 2, got 0"),
        ("default_priority_level: 1", "queue.default_priority_level: there are no levels: set priority_levels"),
        (
            "priority_levels: 2, default_priority_level: 1, priority_queue_policy: {3: {}}",
            "queue.priority_queue_policy: '3' is no level: they go from 1 to 2",
        ),
        (
            "priority_levels: 2, default_priority_level: 1, priority_queue_policy: {high: {}}",
            "queue.priority_queue_policy: 'high' is no level: they go from 1 to 2",
        ),
        ("priority_queue_policy: {1: {}}", "queue.priority_queue_policy: '1' is no level: there are none: set priority_levels"),
        (
            "default_queue_policy: {timeout_action: REJECT}",
            "queue.default_queue_policy.timeout_action: expected one of reject, delay, got the text 'REJECT'",
        ),
        (
            "default_queue_policy: {default_timeout_us: -1}",
            "queue.default_queue_policy.default_timeout_us: expected a whole number from 0 to 3600000000, got -1",
        ),
    ],
)
def test_a_queue_that_cannot_be(tmp_path: Path, queue: str, problem: str) -> None:
    """With the place in the file."""
    (found,) = refused(written(tmp_path, QUEUE + queue + "}}}"))
    assert f"models.a.{problem}" == found


def test_a_registry_in_an_object_store_is_a_url(tmp_path: Path) -> None:
    """It stays as it is written, while paths beside it are taken from the file's folder; a flag may give one too."""
    text = "repository:\n  path: s3://bucket/prefix\n  options: {aws_region: eu-west-1, aws_endpoint: 'http://127.0.0.1:9000'}\n"
    repository = load(written(tmp_path, text + "  cache: kept\n  keys: [a.pem, /b.pem]\n")).repository
    assert ("s3://bucket/prefix", tmp_path / "kept", (tmp_path / "a.pem", Path("/b.pem"))) == (
        repository.path, repository.cache, repository.keys,
    )  # fmt: skip
    assert {"aws_region": "eu-west-1", "aws_endpoint": "http://127.0.0.1:9000"} == repository.options
    assert "gs://b/p" == load(None, {"repository.path": "gs://b/p"}).repository.path


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("path: m, options: {aws_region: r}", "options: belongs to an object store, and repository.path is a directory"),
        ("path: m, cache: c", "cache: belongs to an object store, and repository.path is a directory"),
        ("path: 'http://example.org/secret'", "path: a URL begins with s3://, gs://, az://"),
        ("path: 's3://secret@bucket/p'", "path: a URL holds no user, password or query; what else the store needs belongs under"
                                         " repository.options"),
        ("path: 'az://c/p?sig=secret'", "path: a URL holds no user, password or query; what else the store needs belongs under"
                                        " repository.options"),
        ("path: 's3://b/p', options: {aws_token: 0123}", "options.aws_token: expected text; put the value in quotes"),
        ("path: 's3://b/p', options: {a: [secret]}", "options.a: expected text; put the value in quotes"),
        ("path: 's3://b/p', options: secret", "options: expected texts by name"),
        ("path: 's3://b/p', keys: k", "keys: expected a list of paths, got the text 'k'"),
        ("path: 's3://b/p', model: m", "model: belongs to a directory, and repository.path is an object store"),
        ("path: m, model: a/b", "model: model name 'a/b' does not match [A-Za-z0-9][A-Za-z0-9._-]{0,127}"),
    ],
)  # fmt: skip
def test_what_does_not_belong_to_a_repository_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    """Nothing is ignored, and no value that might be a secret is repeated."""
    assert [f"repository.{complaint}"] == refused(written(tmp_path, f"repository: {{{text}}}\n"))


def test_aliases_are_chosen_by_their_names(tmp_path: Path) -> None:
    """As the registry knows them; `latest` is none."""
    text = "repository: {path: m}\nmodels: {m: {versions: {aliases: [champion, challenger]}}}\n"
    assert Versions(aliases=("champion", "challenger")) == load(written(tmp_path, text)).versions("m")
    (found,) = refused(written(tmp_path, text.replace("champion", "latest")))
    assert found.startswith("models.m.versions.aliases: 'latest' cannot be an alias")
    (found,) = refused(written(tmp_path, text.replace("champion", "7")))
    assert found.startswith("models.m.versions.aliases.0: expected text, got 7")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_valid(path: Path) -> None:
    """Every example file loads as it is."""
    assert Path(load(path).repository.path).is_absolute()


def test_the_manual_is_fresh() -> None:
    """`docs/configuration.md` is what `tidegate config explain --markdown` prints."""
    assert config_explain.markdown() == PAGE.read_text(), "run: tidegate config explain --markdown > docs/configuration.md"


def test_every_setting_is_described() -> None:
    """A setting without a comment beside it is not finished."""
    assert [] == [setting.path for section in config_explain.sections() for setting in section.settings if not setting.meaning]


def test_explain_shows_type_default_and_unit() -> None:
    """One setting found by its dotted path."""
    ((section,),) = ([found] for found in config_explain.find("limits.wire.idle_timeout_s"))
    (setting,) = section.settings
    assert ("a number", "60", "seconds") == (setting.type, setting.default, setting.unit)
    assert [] == config_explain.find("limits.wir")


def test_the_documented_default_is_the_real_one() -> None:
    """The manual's table and the type agree for a limit."""
    assert str(WireLimits().max_streams) == config_explain.find("limits.wire.max_streams")[0].settings[0].default
    assert Limits() == load(None, {"repository.path": "m"}).limits


@pytest.mark.parametrize(
    ("processes", "model", "workers", "cores", "pinned"),
    [
        ({}, {}, 2, 2, True),
        ({}, {}, 2, 4, False),
        ({}, {}, 1, 1, False),
        ({}, {"intra_op_threads": 2}, 2, 2, False),
        ({}, {"isolation": "process"}, 2, 2, False),
        ({}, {"instances": 2}, 2, 2, False),
        ({"pin": True}, {"intra_op_threads": 2}, 2, 4, True),
        ({"pin": True}, {}, 4, 2, False),
        ({"pin": False}, {}, 2, 2, False),
    ],
)
def test_workers_are_bound_to_cores_where_each_has_one_and_needs_no_other(
    processes: dict[str, bool], model: dict[str, Any], workers: int, cores: int, pinned: bool
) -> None:
    """Or where the settings say so and there are enough."""
    config = Config(repository=Repository(path=Path("r")), processes=Processes(**processes), models={"m": ModelSettings(**model)})
    assert pinned is pins(config, workers, cores)
