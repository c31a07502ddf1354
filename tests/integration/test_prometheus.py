"""Prometheus in the flesh: it reads the page and the rules, and what it answers decides rollouts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper

from gateway.rollout.verdict import StepVerdict, Verdict
from registry.store import Store
from tests.deploy.files import DEPLOY
from tests.e2e.rolling import Callers, apply, operations, plan, until
from tests.e2e.server import Server, serving
from tests.gateway.serving import graphs
from tests.gateway.serving.graphs import value
from tests.gateway.serving.registries import published
from tests.integration.prometheus import Prometheus, scraping

MEAN = (
    'sum(rate(tidegate_compute_duration_seconds_sum{model="{{model}}",version="{{version}}"}[5s]))'
    ' / sum(rate(tidegate_compute_duration_seconds_count{model="{{model}}",version="{{version}}"}[5s]))'
)
SLOW_S = 0.005
RULE_TEST = Path(__file__).with_name("prometheus_rules.yaml")


def slow() -> onnx.ModelProto:
    """y [n, 2] = 2x, after some 10 ms of a loop."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["on"]), helper.make_node("Abs", ["v"], ["w"])],
        "body", [value("i", TensorProto.INT64), value("c", TensorProto.BOOL), value("v", 1, "n", 2)],
        [value("on", TensorProto.BOOL), value("w", 1, "n", 2)],
    )  # fmt: skip
    nodes = [helper.make_node("Add", ["x", "x"], ["d"]), helper.make_node("Loop", ["times", "", "d"], ["y"], body=body)]
    return graphs.graph(nodes, [value("x", 1, "n", 2)], [value("y", 1, "n", 2)], times=np.array(5_000))


def query(server: str, **more: Any) -> dict[str, Any]:
    return {"name": "speed", "type": "query", "server": server, "query": MEAN, "below": SLOW_S, "critical": True} | more


def asking(model: str, metric: dict[str, Any], **ends: Any) -> Any:
    """A plan of one step in which only the query has a say."""
    step = {"setWeight": 50, "until": {"min_units": 20} | ends}
    return plan(step, metrics=(metric,), model=model, inline=True)


@contextmanager
def watched(tmp_path: Path, candidates: dict[str, onnx.ModelProto]) -> Iterator[tuple[Path, Server, Prometheus]]:
    """A server whose models have callers all the time, and a Prometheus that scrapes it."""
    root = tmp_path / "registry"
    for model, candidate in candidates.items():
        published(root, model, graphs.twice(), candidate, aliases={"champion": 1})
    with ExitStack() as stack:
        server = stack.enter_context(serving(tmp_path, root))
        callers = [stack.enter_context(Callers(server.grpc_port, {model: {"1": 2.0, "2": 2.0}}, pause_s=0.02)) for model in candidates]
        yield root, server, stack.enter_context(scraping(tmp_path / "prometheus", server.metrics_port))
        assert [] == [fault for one in callers for fault in one.faults]


def report(root: Path, rollout: str) -> StepVerdict:
    """The newest verdict that the journal refers to."""
    store = Store.open(root)
    found = operations(root).status(rollout).report
    assert found is not None
    return msgspec.json.decode(store.read_blob(found), type=StepVerdict)


@pytest.mark.timeout(300)
def test_what_prometheus_answers_decides(tmp_path: Path) -> None:
    """Fast enough: promoted. Too slow: rolled back. Nothing to select, or nobody there any more: no verdict, and never promoted."""
    candidates = {"fast": graphs.twice(), "slow": slow(), "empty": graphs.twice(), "gone": graphs.twice()}
    with watched(tmp_path, candidates) as (root, server, prometheus), scraping(tmp_path / "other", server.metrics_port) as other:
        ids = {
            "fast": apply(root, asking("fast", query(prometheus.url))),
            "slow": apply(root, asking("slow", query(prometheus.url))),
            "empty": apply(root, asking("empty", query(prometheus.url, query="sum(nobody_counts_this)"), max_duration="55s")),
            "gone": apply(root, asking("gone", query(other.url), max_duration="55s")),
        }
        other.wait(MEAN.replace("{{model}}", "gone").replace("{{version}}", "2") + f" < {SLOW_S}")
        other.end()
        ends = {"fast": "succeeded", "slow": "rolled_back", "empty": "paused", "gone": "paused"}
        found = {model: until(root, ids[model], phase) for model, phase in ends.items()}
        verdicts = {model: report(root, rollout) for model, rollout in ids.items()}
        phases = prometheus.wait('count(tidegate_rollout_phase{phase="paused"} == 1)')
    assert (2.0, {"fast": 2, "slow": 1, "empty": 1, "gone": 1}) == (
        phases, {model: Store.open(root).resolve(model, "champion") for model in candidates},
    )  # fmt: skip
    metrics = {model: verdict.metrics[0] for model, verdict in verdicts.items()}
    assert {"fast": Verdict.PASS, "slow": Verdict.FAIL, "empty": Verdict.ERROR, "gone": Verdict.ERROR} == {
        model: metric.verdict for model, metric in metrics.items()
    }
    assert "and should be below 0.005: 3 in a row are not" in metrics["slow"].found.detail
    assert "the query has no value" in metrics["empty"].found.error
    assert "Connection refused" in metrics["gone"].found.error
    assert "" != found["slow"].reason


def test_prometheus_reads_the_rules(tmp_path: Path) -> None:
    """Its own checker and its unit tests of rules; both forms in which the groups are deployed."""
    (resource,) = yaml.safe_load_all((DEPLOY / "kubernetes" / "prometheusrule.yaml").read_text())
    groups = tmp_path / "groups.yaml"
    groups.write_text(yaml.safe_dump(resource["spec"]))
    for rules in (DEPLOY / "prometheus" / "drift.yaml", groups):
        said = promtool("check", "rules", str(rules))
        assert "SUCCESS: 8 rules found" in said
    assert "SUCCESS" in promtool("test", "rules", str(RULE_TEST))


def test_prometheus_reads_the_settings_of_compose(tmp_path: Path) -> None:
    """With the rules where compose mounts them."""
    (tmp_path / "rules").mkdir()
    for path in ("compose/prometheus.yml", "prometheus/drift.yaml"):
        to = tmp_path / ("rules" if path.endswith("drift.yaml") else "") / Path(path).name
        to.write_text((DEPLOY / path).read_text())
    assert "SUCCESS" in promtool("check", "config", str(tmp_path / "prometheus.yml"))


def test_prometheus_reads_the_page(tmp_path: Path) -> None:
    """Every sample is taken, by both formats, and its linter has nothing to say."""
    with watched(tmp_path, {"m": graphs.twice()}) as (_, server, prometheus):
        taken = prometheus.wait('scrape_samples_scraped{job="tidegate"} > 0')
        assert len(server.values()) * 0.9 < taken
        assert 0.0 < prometheus.wait('sum(tidegate_requests_total{model="m",code="OK"}) > 0')
        page = server.page()
    promtool("check", "metrics", given=page)


def promtool(*arguments: str, given: str = "") -> str:
    """What it says. AssertionError unless it is content."""
    done = subprocess.run(["promtool", *arguments], input=given, capture_output=True, text=True, check=False, timeout=60)
    assert (0, "") == (done.returncode, done.stderr), done.stdout + done.stderr
    return done.stdout
