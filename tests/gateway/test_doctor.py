"""What the doctor says about healthy and sick machines."""

from __future__ import annotations

import resource
import socket
import sys
from pathlib import Path

import pytest

from gateway import doctor
from gateway.config import Config, ModelSettings, Processes, Repository, Versions
from gateway.doctor import Finding, State
from tests.gateway.serving import graphs
from tests.gateway.serving.registries import published


def test_a_healthy_machine_has_nothing_to_do(tmp_path: Path) -> None:
    """All checks run here; only ports and the fill of the cache may differ between machines."""
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "model.onnx").write_bytes(b"x")
    config = Config(repository=Repository(path=tmp_path))
    findings = {found.check: found for found in doctor.examine(doctor.Subject(config, with_repository=True))}
    assert [
        "python",
        "packages",
        "imports",
        "onnxruntime",
        "providers",
        "cpu",
        "workers",
        "memory",
        "files",
        "kernels",
        "port 8000",
        "port 8001",
        "port 8002",
        "port 8003",
        "access",
        "repository",
    ] == list(findings)
    for name in ("python", "packages", "imports", "onnxruntime", "providers", "cpu", "repository"):
        assert State.OK is findings[name].state, findings[name]
    assert all(bool(found.advice) == (found.state is not State.OK) for found in findings.values())


@pytest.mark.parametrize(
    ("version", "platform", "state"),
    [
        ((3, 11), "linux", State.OK),
        ((3, 13), "linux", State.OK),
        ((3, 10), "linux", State.FAIL),
        ((3, 14), "linux", State.FAIL),
        ((3, 12), "darwin", State.WARN),
    ],
)
def test_the_interpreter_must_be_supported(version: tuple[int, int], platform: str, state: State) -> None:
    """3.11 to 3.13, on Linux to serve."""
    assert state is doctor.python(version, platform).state


def test_a_missing_package_is_named() -> None:
    """With the command that installs it."""
    found = doctor.packages(["numpy", "no-such-package"])
    assert (State.FAIL, "missing: no-such-package", "pip install no-such-package") == (found.state, found.detail, found.advice)


def test_a_package_from_elsewhere_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`kernels` is another distribution's name too."""
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "kernels")
    found = doctor.imports()
    assert State.FAIL is found.state
    assert "'kernels'" in found.detail


@pytest.mark.parametrize(
    ("installed", "state", "advice"),
    [
        ({"onnxruntime": "1"}, State.OK, ""),
        ({"onnxruntime-openvino": "1"}, State.OK, ""),
        ({}, State.FAIL, "pip install --no-deps onnxruntime"),
        (
            {"onnxruntime": "1", "onnxruntime-gpu": "1"}, State.FAIL,
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install --no-deps onnxruntime-gpu",
        ),
    ],
)  # fmt: skip
def test_two_runtimes_in_one_environment_are_found_out(installed: dict[str, str], state: State, advice: str) -> None:
    """They have the same files; whichever came last has won."""
    found = doctor.runtime(installed)
    assert (state, advice) == (found.state, found.advice)


@pytest.mark.parametrize(
    ("asked", "state", "detail"),
    [
        ((), State.OK, "cpu"),
        (("cuda", "cpu"), State.WARN, "cpu; 'm' asks for cuda"),
        (("cuda",), State.FAIL, "cpu; 'm' asks for cuda"),
        (("tensorrt", "cuda"), State.FAIL, "cpu; 'm' asks for tensorrt, cuda"),
    ],
)
def test_a_provider_that_is_not_installed_is_found_before_the_start(asked: tuple, state: State, detail: str) -> None:
    """A list that ends with one that is there only falls back."""
    found = doctor.providers(_config(Path(), m=ModelSettings(providers=asked)), ("cpu",))
    assert (state, detail) == (found.state, found.detail)


def test_a_throttled_container_is_told(tmp_path: Path) -> None:
    """A control group may allow less than the cores that are visible."""
    quota = tmp_path / "cpu.max"
    quota.write_text("50000 100000\n")
    assert (State.WARN, "2 of 8 cores, control group allows 0.5") == _short(doctor.cpu(2, 8, quota))
    quota.write_text("max 100000\n")
    assert (State.OK, "2 of 8 cores") == _short(doctor.cpu(2, 8, quota))
    assert (State.OK, "2 of 8 cores") == _short(doctor.cpu(2, 8, tmp_path / "none"))


@pytest.mark.parametrize(
    ("settings", "threads", "cores", "state", "text"),
    [
        ({}, 1, 1, State.OK, "1 workers on 1 cores, 1 threads a model"),
        ({}, 1, 8, State.OK, "4 workers on 8 cores, 1 threads a model, one spare process"),
        ({"workers": 3, "spare": False}, 2, 8, State.OK, "3 workers on 8 cores, 2 threads a model"),
        ({"workers": 3}, 4, 8, State.WARN, "3 workers on 8 cores, 4 threads a model, one spare process"),
    ],
)
def test_cores_are_shared_by_workers_and_the_threads_of_their_runs(
    settings: dict[str, int], threads: int, cores: int, state: State, text: str
) -> None:
    """More threads than cores stand in each other's way."""
    models = {"m": ModelSettings(intra_op_threads=threads), "n": ModelSettings()}
    found = doctor.workers(Config(repository=Repository(path=Path("r")), processes=Processes(**settings), models=models), cores)
    assert (state, text) == (found.state, found.detail)


def test_the_smaller_of_machine_and_control_group_counts(tmp_path: Path) -> None:
    """Memory that the machine has and the container may not use is not available."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  9 kB\nMemAvailable:  4194304 kB\n")
    assert (State.OK, "4096 MiB available") == _short(doctor.memory(meminfo, tmp_path))
    (tmp_path / "memory.max").write_text(f"{300 << 20}\n")
    (tmp_path / "memory.current").write_text(f"{100 << 20}\n")
    assert (State.WARN, "200 MiB available") == _short(doctor.memory(meminfo, tmp_path))
    assert State.WARN is doctor.memory(tmp_path / "none", tmp_path).state


@pytest.mark.parametrize(
    ("soft", "hard", "state", "advice"),
    [
        (4096, 4096, State.OK, ""),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, State.OK, ""),
        (256, 4096, State.WARN, "ulimit -n 1256"),
        (256, 256, State.WARN, "LimitNOFILE=1256"),
    ],
)
def test_open_files_must_cover_the_connections(soft: int, hard: int, state: State, advice: str) -> None:
    """The advice is one that this process could follow."""
    found = doctor.open_files((soft, hard), 1_000)
    assert state is found.state
    assert found.advice.startswith(advice)


def test_a_taken_port_is_found() -> None:
    """Before the server fails to start."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert (State.FAIL, f"127.0.0.1:{port} is taken") == _short(doctor.listening("127.0.0.1", port))
    assert State.OK is doctor.listening("127.0.0.1", port).state
    assert State.FAIL is doctor.listening("203.0.113.1", 0).state


def test_the_repository_is_listed(tmp_path: Path) -> None:
    """Missing, empty, odd."""
    assert State.FAIL is doctor.repository(_config(tmp_path / "none")).state
    assert State.WARN is doctor.repository(_config(tmp_path)).state
    (tmp_path / "bad name" / "1").mkdir(parents=True)
    assert "passed over" in doctor.repository(_config(tmp_path)).detail


def test_a_model_that_serves_nothing_is_a_warning(tmp_path: Path) -> None:
    """Until an alias or the settings choose a version."""
    root = tmp_path / "r"
    store = published(root, "m", graphs.twice())
    advice = f"tidegate alias m champion N --registry {root}, or set models.m.versions"
    expected = Finding("repository", State.WARN, f"{root}: 1 models, 1 versions; 'm' serves none: no alias stands for one", advice)
    assert expected == doctor.repository(_config(root))
    assert State.OK is doctor.repository(_config(root, m=ModelSettings(versions=Versions(latest=1)))).state
    store.aliases("m").move("champion", to=1, expected_from=None, actor="ann", reason="", now_s=1e9)
    assert State.OK is doctor.repository(_config(root)).state


def test_a_triton_repository_is_looked_into(tmp_path: Path) -> None:
    """What its config.pbtxt chooses, and what of it cannot be honoured."""
    graphs.saved(tmp_path / "m" / "1" / "model.onnx", graphs.twice())
    config = tmp_path / "m" / "config.pbtxt"
    for text, state, part in (
        ("version_policy { specific { versions: [ 1 ] } }", State.OK, "1 models, 1 versions"),
        ("version_policy { specific { versions: [ 2 ] } }", State.WARN, "'m' serves none: none of the chosen versions is there"),
        ("response_cache { enable: true }", State.WARN, "m/config.pbtxt sets 'response_cache.enable', which cannot be honoured"),
    ):
        config.write_text(text)
        found = doctor.repository(_config(tmp_path))
        assert (state, True) == (found.state, part in found.detail)


def test_what_the_settings_say_of_a_repository_is_checked(tmp_path: Path) -> None:
    """Keys that cannot be read, and a place that is no object store."""
    published(tmp_path / "r", "m", graphs.twice(), aliases={"champion": 1})
    found = doctor.repository(Config(repository=Repository(path=tmp_path / "r", keys=(tmp_path / "none.pem",))))
    assert (State.FAIL, True) == (found.state, "none.pem" in found.detail)
    url = doctor.subject(None, "s3://bucket/prefix").config.repository
    found = doctor.repository(Config(repository=Repository(path=url.path, options={"no_such_option": "secret"})))
    assert (State.FAIL, "s3://bucket/prefix: the address or an option of the object store is not understood") == _short(found)


def test_a_check_that_breaks_is_a_finding() -> None:
    """A doctor that crashes helps nobody."""

    def broken() -> Finding:
        raise KeyError("MemAvailable")

    (found,) = doctor._outcomes([("memory", broken)])
    assert (State.FAIL, "could not be checked: KeyError: 'MemAvailable'") == _short(found)


def _config(path: Path, **models: ModelSettings) -> Config:
    return Config(repository=Repository(path=path), models=models)


def _short(found: Finding) -> tuple[State, str]:
    return found.state, found.detail
