"""`tidegate rollout`: what is said of a rollout file, for people, scripts and CI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from gateway.commands.output import Exit
from gateway.rollout import spec
from tests.gateway.commands.console import done, failed, parsed, run
from tests.gateway.rollout import plans
from tests.gateway.rollout.test_recent import page

STEP = "spec.strategy.steps.1.until"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A rollout file that is right."""
    path = tmp_path / "f.yaml"
    path.write_text(plans.text())
    return path


def test_a_right_file_is_valid_and_has_a_digest(file: Path) -> None:
    """For people and for scripts."""
    digest = spec.digest(plans.plan())
    assert f"{file}: valid, plan {digest}\n" == done("rollout", "lint", file, "--strict")
    assert {"valid": True, "problems": [], "warnings": [], "digest": digest} == parsed("rollout", "lint", file)


def test_every_mistake_is_printed_and_fails_the_check(file: Path) -> None:
    """With its line; a file that cannot be read is one."""
    file.write_text(plans.text({"spec.model": "/", STEP: {"on_fial": "pause"}}))
    result = run("rollout", "lint", file)
    assert (Exit.FAILED, "") == (result.exit_code, result.stderr)
    assert f"{file}:" in result.stdout
    assert "on_fial: unknown setting; did you mean 'on_fail'?" in result.stdout
    found = run("rollout", "lint", file, "--json")
    assert Exit.FAILED == found.exit_code
    assert '"valid": false' in found.stdout
    assert '"digest": null' in found.stdout
    missing = run("rollout", "lint", file.with_name("none.yaml"))
    assert (Exit.FAILED, f"{file.with_name('none.yaml')}: cannot be read: No such file or directory\n") == (
        missing.exit_code,
        missing.stdout,
    )


def test_warnings_fail_only_a_strict_check(file: Path) -> None:
    """They have lines too, in the form that editors and CI find mistakes by."""
    file.write_text(plans.text({STEP: {}}))
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "until: {}" in text)
    text = done("rollout", "lint", file)
    assert f"{file}:{line}:14: warning: {STEP}.max_duration: without it the step waits without end" in text
    assert ": valid, plan sha256:" in text
    assert Exit.FAILED == run("rollout", "lint", file, "--strict").exit_code
    (warning,) = parsed("rollout", "lint", file)["warnings"]
    assert (line, f"{STEP}.max_duration") == (warning["line"], warning["path"])


def test_names_from_a_file_do_not_control_a_terminal(file: Path) -> None:
    """Nor does anything else in it."""
    file.write_text(plans.text({"metadata.name": "\x1b[2J", "spec.unit.from": ["\x9b31m"]}))
    text = run("rollout", "lint", file).stdout
    assert r"\x1b[2J" in text
    assert "\x1b" not in text
    assert "\x9b" not in text


RATES = ["--base-rate", "0.005", "--requests-per-second", "100"]


def test_a_plan_says_what_each_step_takes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traffic, units and time, for people; the numbers behind it for scripts."""
    monkeypatch.setenv("COLUMNS", "160")
    text = done("rollout", "plan", file, *RATES)
    found = parsed("rollout", "plan", file, *RATES)
    assert ["shadow 100 %", "weight 5 %", "approval by 1", "weight 25 %"] == [step["what"] for step in found["steps"]]
    for step in found["steps"]:
        assert f"{step['number']}. {step['what']}: " in text
        for metric in step["metrics"]:
            for needed in (*metric["passing"], *metric["failing"]):
                assert f"{needed['units']:,.0f} (" in text
    assert "at 100 requests/s, each a unit" in text
    assert "5 requests/s to the candidate" in text
    assert "until its approval" in text
    assert "all steps, for a candidate as good as stable: " in text.splitlines()[-1]
    assert text.splitlines()[-1].endswith(", and what these take: its approval")


def test_what_never_ends_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate at the margin, a metric without a say, no traffic, a step that is too short, and what nobody can know."""
    monkeypatch.setenv("COLUMNS", "200")
    metrics = [{"name": "slo", "type": "rate", "event": "latency_ms > 50", "critical": True, "pass_if": {"ratio": 1.25}},
               {"name": "inputs", "type": "rate", "event": "rejected_input"}, {"name": "times", "type": "dominance"}]  # fmt: skip
    steps = [{"setWeight": 5, "until": {"max_duration": "1m"}}]
    file.write_text(plans.text({"spec.analysis.metrics": metrics, "spec.strategy.steps": steps}))
    text = done("rollout", "plan", file, *RATES, "--requests-per-unit", "4")
    assert all(words in text for words in ("never", "no say", "max_duration is over first", "not known beforehand: times", "4 of a unit"))
    nothing = done("rollout", "plan", file, "--base-rate", "0.005", "--requests-per-second", "0")
    assert "without end: min_units is never reached; max_duration is over first" in nothing
    assert "(no traffic)" in nothing


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--base-rate", "0.01"], "--requests-per-second: missing; or --server, whose recent traffic is looked at"),
        (["--requests-per-second", "9"], "--base-rate: missing for errors; such as --base-rate errors=0.005, or --base-rate 0.005"),
        ([*RATES, "--base-rate", "agreement=0.01"], "--base-rate: no metric of type rate is called 'agreement'; there are errors"),
        ([*RATES, "--base-rate", "errors=1%"], "--base-rate: expected [METRIC=]RATE with a rate above 0 and below 1, got 'errors=1%'"),
        ([*RATES, "--base-rate", "nan"], "--base-rate: expected [METRIC=]RATE with a rate above 0 and below 1, got 'nan'"),
        ([*RATES, "--server", "h:1"], "--requests-per-second: what --server sees is used; leave one of them out"),
        (["--server", "h:1", "--over", "5"], "--over: expected a duration such as 15m, got '5'"),
    ],
)
def test_traffic_that_is_not_understood_is_refused(file: Path, arguments: list[str], reason: str) -> None:
    """Nothing is supposed silently."""
    assert f"tidegate: {reason}\n" == failed(Exit.USAGE, "rollout", "plan", file, *arguments)


def test_a_plan_of_a_wrong_file_shows_its_mistakes(file: Path) -> None:
    """As lint does."""
    file.write_text(plans.text({"spec.model": "/"}))
    assert "spec.model: model name '/' does not match" in failed(Exit.USAGE, "rollout", "plan", file, *RATES)


@pytest.fixture
def metrics() -> Iterator[tuple[str, list[str]]]:
    """(host:port, pages that are served one after another) of a metrics page."""
    pages: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.pop(0).encode() if self.path == "/metrics" and pages else b""
            self.send_response(200 if body else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}", pages
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_running_server_tells_its_traffic(file: Path, metrics: tuple[str, list[str]]) -> None:
    """Requests and rates between two looks; a rate that is stated wins."""
    url, pages = metrics
    looks = [page(ok=1_000, bad=100, model="churn"), page(ok=1_990, bad=110, model="churn")]
    pages += looks * 2
    traffic = parsed("rollout", "plan", file, "--server", url, "--over", "20ms")["traffic"]
    assert {"errors": 10.5 / 1_001} == traffic["base_rates"]
    assert 0 < traffic["requests_per_s"] <= 1_000 / 0.02
    stated = parsed("rollout", "plan", file, "--server", url, "--over", "20ms", "--base-rate", "errors=0.02")["traffic"]
    assert {"errors": 0.02} == stated["base_rates"]


def test_a_server_without_traffic_of_the_model_is_no_forecast(file: Path, metrics: tuple[str, list[str]]) -> None:
    """Nor is a page that is not a server's, or none."""
    url, pages = metrics
    pages += [page(ok=10), page(ok=20)]
    arguments = ["rollout", "plan", file, "--server", url, "--over", "1ms"]
    assert "--server: no request of model 'churn' in 0.001 s; look for longer with --over" in failed(Exit.USAGE, *arguments)
    pages += ['tidegate_requests_total{model="churn"} 3\n']
    assert "--server: a line of tidegate_requests_total lacks a label" in failed(Exit.USAGE, *arguments)
    assert "NOT_FOUND" in failed(Exit.REFUSED, *arguments)


def test_the_schema_is_printed_for_editors_and_the_manual() -> None:
    """As it is committed."""
    docs = Path(__file__).resolve().parents[3] / "docs"
    assert (docs / "rollout.schema.json").read_text() == done("rollout", "schema")
    assert json.loads(done("rollout", "schema")) == parsed("rollout", "schema")
    assert done("rollout", "schema", "--markdown") in (docs / "rollouts.md").read_text()
    assert "--markdown: not with --json" in failed(Exit.USAGE, "rollout", "schema", "--markdown", "--json")
