"""The command line: what each command prints, and the exit code that a script sees."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway import config_explain, doctor
from gateway.commands import rollout_verbs
from gateway.commands.output import Exit, printable
from gateway.config import Config, load
from gateway.doctor import Finding, State
from gateway.exposure import exposure
from tests.gateway.commands.console import done, failed, parsed, run, serve_here
from tests.gateway.fake_server import FakeServer

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = (
    *(
        "serve",
        "reload",
        "publish",
        "models",
        "inspect",
        "profile",
        "verify",
        "alias",
        "approve",
        "reject",
        "log",
        "delete",
        "hold",
        "release",
        "gc",
    ),
    *("export", "pull", "backup", "sign", "infer", "drift", "replay", "score", "bench", "demo", "doctor"),
)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.close()


def test_help_lists_every_command_and_the_exit_codes() -> None:
    """And the documentation has the same codes."""
    text = done("--help")
    groups = ["config", "key", "labels", "capture", "rollout", "retrain"]
    assert [*COMMANDS, *groups] == re.findall(r"^  (\w+) ", text.partition("Commands:")[2], re.MULTILINE)[: len(COMMANDS) + len(groups)]
    page = (DOCS / "cli.md").read_text()
    assert [] == [code.name for code in Exit if f"| {code.value} |" not in page]


ROLLOUTS = ("lint", "plan", "schema", *rollout_verbs.COMMANDS)


@pytest.mark.parametrize("name", [*COMMANDS, "config explain", "config check", "key new", *(f"rollout {name}" for name in ROLLOUTS)])
def test_every_command_has_json_and_is_documented(name: str) -> None:
    """Scripts can rely on `--json` everywhere."""
    assert "--json" in done(*name.split(), "--help")
    assert f"`tidegate {name}" in (DOCS / "cli.md").read_text()


def test_the_version_is_the_package_s() -> None:
    """One line."""
    assert done("--version").startswith("tidegate 0.")


# serve


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Configurations that the server was started with."""
    seen: list[Config] = []

    def serve(config: Config, reload: Callable[[], Config]) -> int:
        assert config == reload()
        seen.append(config)
        return 1 if config.server.name == "broken" else 0

    serve_here(monkeypatch, serve)
    return seen


def test_flags_reach_the_worker(served: list[Config], tmp_path: Path) -> None:
    """Over the settings file."""
    path = tmp_path / "tidegate.yaml"
    path.write_text("repository: {path: m}\nserver: {http_port: 1, name: n}\n")
    done(
        "serve",
        "-c",
        path,
        "--http-port",
        0,
        "--grpc-port",
        7,
        "--log-level",
        "debug",
        "-w",
        3,
        "--set",
        "limits.wire.max_streams=9",
        "--json",
    )
    (config,) = served
    assert 3 == config.processes.workers
    assert (0, 7, "n", "debug", "json", 9) == (
        config.server.http_port, config.server.grpc_port, config.server.name, config.logging.level, config.logging.format,
        config.limits.wire.max_streams,
    )  # fmt: skip
    assert tmp_path / "m" == config.repository.path


def test_a_repository_may_be_a_url(served: list[Config]) -> None:
    """It reaches the worker as it is written; a scheme that no store has is an error of the flag."""
    done("serve", "--repository", "s3://bucket//prefix")
    assert "s3://bucket//prefix" == served[0].repository.path
    text = failed(Exit.USAGE, "serve", "--repository", "https://user:secret@host")
    assert "--repository: repository.path: a URL begins with s3://" in text
    assert "secret" not in text


def test_a_directory_may_be_that_of_one_model(served: list[Config]) -> None:
    """Its name is a flag, and a bad one is the flag's mistake."""
    done("serve", "--repository", "m", "--model", "iris")
    assert "iris" == served[0].repository.model
    assert "--model: repository.model: model name" in failed(Exit.USAGE, "serve", "--repository", "m", "--model", "a/b")


def test_a_server_that_cannot_start_fails_the_command(served: list[Config]) -> None:
    """So that a service manager notices."""
    failed(Exit.FAILED, "serve", "--repository", "m", "--name", "broken")
    assert 1 == len(served)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "--repository"),
        (["--repository", "m", "--http-port", "x"], "--http-port"),
        (["--repository", "m", "--http-port", "70000"], "tidegate: --http-port: server.http_port: expected a whole number from 0 to 65535"),
        (["--repository", "m", "--host", "0.0.0.0"], "tidegate: --host: server.host: '0.0.0.0' can be reached by others"),
        (["--repository", "m", "--set", "limits.wire.nope=1"], "tidegate: --set limits.wire.nope: limits.wire.nope: unknown setting"),
        (["--config", "/no/such/file"], "tidegate: /no/such/file: cannot be read: No such file"),
        (["--repositry", "m"], "No such option"),
    ],
)
def test_wrong_settings_do_not_start_a_server(served: list[Config], arguments: list[str], text: str) -> None:
    """Exit code 2, and the flag or file that is wrong."""
    assert text in failed(Exit.USAGE, "serve", *arguments)
    assert [] == served


def test_serve_imports_nothing_that_only_people_need() -> None:
    """Start-up time and memory are the server's."""
    assert not {"rich", "grpc", "onnx", "sklearn", "pandas", "skl2onnx"} & imported("gateway.cli, gateway.control.worker")


def test_the_supervisor_knows_no_runtime_and_no_kernel() -> None:
    """What can crash a worker cannot crash it, and it stays small."""
    assert not {"onnxruntime", "numba", "kernels", "google", "grpc"} & imported("gateway.control.supervisor")


def imported(modules: str) -> set[str]:
    """Packages that are there when these modules are."""
    program = f"import sys, {modules}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    return set(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split())


# infer


def test_infer_prints_a_table(server: FakeServer) -> None:
    """One line per row."""
    text = done("infer", "m", "--url", server.target, "-i", "x=[[1,2.5],[3,4]]", "-i", 't=[["a","b"],["c","d"]]')
    assert ["m version 7", "row  x      t", "  0  1 2.5  a b", "  1  3 4    c d"] == text.splitlines()


def test_infer_prints_the_protocol_s_json(server: FakeServer) -> None:
    """Datatype, shape and flat data of every output."""
    answer = parsed("infer", "m", "--url", f"grpc://{server.target}", "--input", "x=[[1,2]]", "--model-version", "3")
    assert {
        "model_name": "m",
        "model_version": "3",
        "id": "",
        "outputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}],
    } == answer


def test_infer_without_inputs_shows_the_model(server: FakeServer) -> None:
    """What can be sent."""
    text = done("infer", "m", "--url", server.target)
    assert "m, versions 1, 2" in text
    assert "input   x     FP32" in text
    assert "BYTES" == parsed("infer", "m", "--url", server.target)["inputs"][2]["datatype"]


def test_infer_sends_a_file(server: FakeServer, tmp_path: Path) -> None:
    """Id included."""
    path = tmp_path / "r.json"
    path.write_text('{"id":"r1","inputs":[{"name":"n","datatype":"INT32","shape":[2],"data":[1,2]}]}')
    assert "r1" == parsed("infer", "m", "--url", server.target, "--file", path)["id"]


def test_infer_sends_a_table_in_batches(server: FakeServer, tmp_path: Path) -> None:
    """And shows one answer, the first rows of it."""
    path = tmp_path / "rows.csv"
    path.write_text("x,n,t,h,b\n" + "".join(f"{row},{row},t{row},0.5,true\n" for row in range(300)))
    text = done("infer", "m", "--url", server.target, "--csv", path)
    assert 2 == server.calls.count("ModelInfer")
    assert "… 250 more rows; --json prints all" in text
    assert list(range(300)) == parsed("infer", "m", "--url", server.target, "--csv", path)["outputs"][1]["data"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["m", "-i", "z=[1]"], "tidegate: INVALID_ARGUMENT: unexpected inference input"),
        (["m", "-i", "x"], "tidegate: --input: expected NAME=JSON"),
        (["m", "-i", "x=1", "--csv", "f"], "tidegate: give one of --input, --file and --csv"),
        (["m", "--ca", "/no/ca.pem"], "tidegate: /no/ca.pem: No such file"),
    ],
)
def test_infer_says_what_is_wrong(server: FakeServer, arguments: list[str], text: str) -> None:
    """A request that is wrong before it is sent is the caller's mistake."""
    assert text in failed(Exit.USAGE, "infer", *arguments, "--url", server.target)


def test_infer_tells_a_refusal_from_silence(server: FakeServer, tmp_path: Path) -> None:
    """Exit codes 4 and 3."""
    path = tmp_path / "r.json"
    path.write_text('{"inputs":[{"name":"fail","datatype":"FP32","shape":[1],"data":[1]}]}')
    assert "NOT_FOUND: because" in failed(Exit.REFUSED, "infer", "NOT_FOUND", "--file", path, "--url", server.target)
    assert "UNAVAILABLE: " in failed(Exit.UNREACHABLE, "infer", "m", "--url", "127.0.0.1:1")
    assert "UNAVAILABLE: http://127.0.0.1:1" in failed(Exit.UNREACHABLE, "infer", "m", "--http", "--url", "127.0.0.1:1")


@pytest.mark.parametrize("url", ["localhost", "http://a/b:1", "h:1/path"])
def test_a_url_is_host_and_port(url: str) -> None:
    """A path would have to be ignored."""
    assert "expected host:port" in failed(Exit.USAGE, "infer", "m", "--url", url)


# bench


def test_bench_reports_throughput_and_latency(server: FakeServer) -> None:
    """As text and as JSON."""
    arguments = ["bench", "m", "--url", server.target, "--duration", "0.2", "--concurrency", "2", "--rows", "3"]
    found = parsed(*arguments)
    assert found["requests"] > 0
    assert (3 * found["requests"], {}) == (found["rows"], found["errors"])
    assert "throughput" in done(*arguments)


def test_bench_fails_where_a_request_failed(server: FakeServer) -> None:
    """A figure over errors is no figure."""
    server.failures = 1 << 30
    result = run("bench", "m", "--url", server.target, "--duration", "0.1", "--concurrency", "1", "--json")
    assert Exit.FAILED == result.exit_code
    assert {"UNAVAILABLE"} == set(json.loads(result.stdout)["errors"])


def test_bench_sends_the_rows_of_a_table(server: FakeServer, tmp_path: Path) -> None:
    """Instead of invented ones."""
    path = tmp_path / "rows.csv"
    path.write_text("x,n,t,h,b\n1,2,a,0.5,true\n3,4,b,0.5,false\n")
    found = parsed("bench", "m", "--url", server.target, "--duration", "0.1", "--concurrency", "1", "--csv", path)
    assert found["rows"] == found["requests"] > 0


# doctor, config


def test_the_doctor_s_advice_and_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning passes, a failure does not."""
    findings = [Finding("python", State.OK, "fine"), Finding("files", State.WARN, "few", "ulimit -n 9")]
    monkeypatch.setattr(doctor, "examine", lambda _case: findings)
    assert ["ok    python       fine", "WARN  files        few", "                   → ulimit -n 9"] == done("doctor").splitlines()
    findings.append(Finding("port 1", State.FAIL, "taken", "stop it"))
    result = run("doctor", "--json")
    assert Exit.FAILED == result.exit_code
    assert {"check": "port 1", "state": "FAIL", "detail": "taken", "advice": "stop it"} == json.loads(result.stdout)[2]


def test_config_explain_finds_settings() -> None:
    """All of them, one section, one setting, or the whole page."""
    assert "max_queue_rows" in done("config", "explain")
    assert ["limits.serving.max_queue_rows"] == [row["path"] for row in parsed("config", "explain", "limits.serving.max_queue_rows")]
    assert config_explain.markdown() == done("config", "explain", "--markdown")
    assert "there is no setting or section 'nope'" in failed(Exit.USAGE, "config", "explain", "nope")


def test_config_check_reports_every_mistake(tmp_path: Path) -> None:
    """With its line, for people and for machines."""
    path = tmp_path / "tidegate.yaml"
    path.write_text("repository: {path: m}\n")
    valid, *opened = done("config", "check", path).splitlines()
    assert (f"{path}: valid", exposure(load(path))) == (valid, [line.strip() for line in opened])
    assert {"valid": True, "problems": [], "open": exposure(load(path))} == parsed("config", "check", path)
    path.write_text("repository: {path: m}\nserver:\n  http_port: x\n  grpc_prot: 1\n")
    result = run("config", "check", path)
    assert Exit.FAILED == result.exit_code
    first, second = result.stdout.splitlines()
    assert first.startswith(f"{path}:3:14: server.http_port: ")
    assert second.startswith(f"{path}:4:3: server.grpc_prot: ")
    assert [(3, 14), (4, 3)] == [
        (found["line"], found["column"]) for found in json.loads(run("config", "check", path, "--json").stdout)["problems"]
    ]


def test_a_token_comes_from_a_file_or_standard_input_never_from_the_arguments(server: FakeServer, tmp_path: Path) -> None:
    """Others see the arguments of every process."""
    path = tmp_path / "token"
    path.write_text("tidegate_x\n")
    done("infer", "m", "--url", server.target, "--token-file", path)
    assert Exit.DONE == run("infer", "m", "--url", server.target, "--token-file", "-", stdin="tidegate_y\n").exit_code
    assert ["Bearer tidegate_x", "Bearer tidegate_y"] == [metadata["authorization"] for metadata in server.metadata]
    for text in ("", "two words", "tök", "a\nb"):
        path.write_text(text)
        assert "expected one API key or token" in failed(Exit.USAGE, "infer", "m", "--url", server.target, "--token-file", path)
    assert "No such file" in failed(Exit.USAGE, "bench", "m", "--url", server.target, "--token-file", tmp_path / "none")


def test_control_characters_are_shown_not_obeyed() -> None:
    """Names come from files and servers."""
    assert "a\\x1b[2Jb\\n" == printable("a\x1b[2Jb\n")
    assert "\x1b" not in failed(Exit.USAGE, "infer", "m", "-i", "\x1b[2J")
