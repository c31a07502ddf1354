"""The rules: read by Prometheus as it is deployed, of names that the page has, the same for an operator, and documented."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gateway.drift.states import State
from tests.deploy.files import DEPLOY, ROOT, documents

(RULES,) = documents("prometheus/drift.yaml")
EVERY: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]
RECORDED = {rule["record"] for rule in EVERY if "record" in rule}
ALERTS = {rule["alert"]: rule for rule in EVERY if "alert" in rule}
LABELS = {"model", "version", "feature", "bin", "scope", "instance", "input", "rule", "mode"}
WORDS = {"sum", "max", "by", "on", "group_left", "increase", "ln", "and", "unless", *LABELS}


def names(expression: str) -> set[str]:
    """Everything in an expression that is no text, number or range."""
    return set(re.findall(r"[a-zA-Z_][\w:]*", re.sub(r'"[^"]*"|\[\w+\]|\b\d\w*', "", expression)))


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.get("record") or rule["alert"])
def test_an_expression_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    """Metrics of docs/drift.md, of the page as it was, or recorded above; parentheses that match."""
    documented = set(re.findall(r"`(tidegate_\w+)", (ROOT / "docs" / "drift.md").read_text()))
    assert set() == names(rule["expr"]) - WORDS - RECORDED - documented - {"tidegate_batch_rows_sum"}
    for opening, closing in ("()", "{}", "[]"):
        assert rule["expr"].count(opening) == rule["expr"].count(closing) > -1


def test_recorded_names_come_before_they_are_used() -> None:
    """A group is evaluated from top to bottom."""
    known: set[str] = set()
    for rule in EVERY:
        assert names(rule["expr"]) & RECORDED <= known
        known |= {rule.get("record", "")}


def test_alerts_are_of_states_that_there_are() -> None:
    """ALARM and WARN, by their numbers."""
    assert ALERTS["TidegateDriftAlarm"]["expr"].endswith(f">= {int(State.ALARM)}")
    assert ALERTS["TidegateDriftWarning"]["expr"].endswith(f"== {int(State.WARN)}")
    scopes = {scope for rule in EVERY for scope in re.findall(r'scope="(\w+)"', rule["expr"])}
    assert {"global", "performance"} == scopes


def test_every_alert_says_what_and_what_next() -> None:
    """And how urgent it is; a page is for what is far off."""
    for rule in ALERTS.values():
        assert {"summary", "description"} == set(rule["annotations"])
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_an_operator_gets_the_same_rules() -> None:
    """Word for word."""
    (resource,) = documents("kubernetes/prometheusrule.yaml")
    assert "PrometheusRule" == resource["kind"]
    assert RULES == resource["spec"]


def test_the_prometheus_of_compose_reads_them() -> None:
    """At the place where the file is mounted."""
    (scraping,) = documents("compose/prometheus.yml")
    (compose,) = documents("compose/compose.yaml")
    mounted = {volume["target"]: volume["source"] for volume in compose["services"]["prometheus"]["volumes"]}
    (path,) = scraping["rule_files"]
    assert (DEPLOY / "compose" / mounted[f"/etc/prometheus/{path}"]).resolve() == DEPLOY / "prometheus" / "drift.yaml"
