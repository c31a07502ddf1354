"""Reading rollout files: every mistake is named with its line, nothing is passed over, warnings stop nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.rollout import spec
from gateway.rollout.hints import HINTS
from gateway.rollout.plan import Plan, Step, Target, Until, printed, seconds
from gateway.rollout.spec import SpecError
from gateway.setting_types import setting_paths
from tests.gateway.rollout import plans

METRICS, STEPS = "spec.analysis.metrics", "spec.strategy.steps"
RATE = {"name": "r", "type": "rate", "event": "rejected_input", "pass_if": {}}
QUERY = {"name": "q", "type": "query", "query": "up{v='{{version}}'}", "server": "http://127.0.0.1:9090", "below": 1}
ARMS = [{"name": "b", "version": 13, "weight": 30}, {"name": "c", "version": 14, "weight": 20}]
AB = {"spec.strategy": {"ab": {"arms": ARMS}}, "spec.candidate": ..., f"{METRICS}.1": ...}
BLUE = {"spec.strategy": {"bluegreen": {"shadow": {}}}}


def mistakes(changes: dict[str, Any]) -> list[str]:
    """Each as `line path: message`."""
    with pytest.raises(SpecError) as caught:
        spec.read(plans.text(changes).encode(), source="f.yaml")
    return [f"{problem.line} {problem.path}: {problem.message}" for problem in caught.value.problems]


def one(changes: dict[str, Any]) -> str:
    """The only mistake, without its line; which is that of what is wrong, or of what it is missing from."""
    (complaint,) = mistakes(changes)
    line, _, rest = complaint.partition(" ")
    assert int(line) > 0
    return rest


def warned(changes: dict[str, Any]) -> list[str]:
    found = spec.read(plans.text(changes).encode(), source="f.yaml").warnings
    return [f"{problem.path}: {problem.message}" for problem in found]


def test_a_good_file_has_no_mistakes_and_no_warnings() -> None:
    """What is not said is the default."""
    read = spec.read(plans.text().encode(), source="f.yaml")
    found = read.plan.spec
    assert ((), "churn", Target(version=13), Target(alias="champion")) == (read.warnings, found.model, found.candidate, found.stable)
    assert plans.plan() == read.plan
    assert ["shadow", 5.0, "approve", 25.0] == [
        step.set_weight or ("shadow" if step.shadow else "approve" if step.approve else None) for step in read.plan.steps()
    ]


def test_mistakes_of_types_are_reported_together_with_their_lines() -> None:
    """Unknown keys, wrong values, missing ones, whatever they stand in."""
    text = """\
apiVersion: tidegate/v2
kind: Rollout
metadata: {}
spec:
  model: churn
  candidate: {version: latest}
  unit: {sources: [header:x]}
  strategy:
    steps:
    - setWeight: 120
      untli: {}
    - pause: {duration: 15 minutes}
    - approve: {not: [nobody]}
    - shadow: {}
      setWeight: 5
    - until: {}
    - pause: {}
      until: {}
  analysis:
    alpha: {pass: 0}
    metrics:
    - {name: a, type: rates}
"""
    with pytest.raises(SpecError) as caught:
        spec.read(text.encode(), source="f.yaml")
    assert [
        "f.yaml:1:13: apiVersion: expected one of tidegate/v1, got the text 'tidegate/v2'; did you mean 'tidegate/v1'?",
        "f.yaml:3:11: metadata.name: required: text",
        "f.yaml:6:24: spec.candidate.version: expected a whole number of at least 1, got the text 'latest'",
        "f.yaml:7:10: spec.unit.sources: unknown setting; known here: from, fallback",
        "f.yaml:10:18: spec.strategy.steps.0.setWeight: expected a number from 0 to 100, got 120",
        "f.yaml:11:7: spec.strategy.steps.0.untli: unknown setting; did you mean 'until'?",
        "f.yaml:12:25: spec.strategy.steps.1.pause.duration: expected a duration such as 15m: a number with ms, s, m, h or d, "
        "got the text '15 minutes'",
        "f.yaml:13:23: spec.strategy.steps.2.approve.not.0: expected one of publisher, starter, got the text 'nobody'",
        "f.yaml:14:7: spec.strategy.steps.3: a step is one of shadow, setWeight, pause, approve",
        "f.yaml:16:7: spec.strategy.steps.4: a step is one of shadow, setWeight, pause, approve",
        "f.yaml:18:14: spec.strategy.steps.5.until: belongs to a shadow or a weight",
        "f.yaml:20:19: spec.analysis.alpha.pass: expected a number above 0 and below 1, got 0",
        "f.yaml:22:23: spec.analysis.metrics.0.type: expected one of rate, dominance, distribution, agreement, label, query, "
        "got the text 'rates'; did you mean 'rate'?",
    ] == [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"metadata.name": "a b"}, "metadata.name: name 'a b' does not match [A-Za-z0-9][A-Za-z0-9._-]{0,127}"),
        ({"spec.model": "../x"}, "spec.model: model name '../x' does not match [A-Za-z0-9][A-Za-z0-9._-]{0,127}"),
        ({"spec.stable": {"alias": "Latest"}},
         "spec.stable.alias: 'latest' cannot be an alias: no version serves because it is the newest"),
        ({"spec.candidate": {"alias": "latest"}},
         "spec.candidate.alias: 'latest' cannot be an alias: no version serves because it is the newest"),
        ({"spec.candidate": ...}, "spec.candidate: required: the version that is tried, such as {version: 13}"),
        ({"spec.candidate": {}}, "spec.candidate.version: a version is named by its number or by an alias: set one of the two"),
        ({"spec.candidate": {"alias": "champion"}}, "spec.candidate: the candidate is what is stable already"),
        ({"spec.unit.from": ["jwt:sub"]}, "spec.unit.from.0: 'jwt:sub' is no source: write header:NAME, metadata:NAME or parameter:NAME"),
        ({"spec.unit.from": ["header"]}, "spec.unit.from.0: 'header' is no source: write header:NAME, metadata:NAME or parameter:NAME"),
        ({"spec.unit.from": ["header:X-User"]}, "spec.unit.from.0: 'X-User' is not a header's name in lower case"),
        ({"spec.unit.from": ["metadata:"]}, "spec.unit.from.0: '' is not a key of gRPC metadata in lower case"),
        ({"spec.unit.from": ["parameter:a b"]}, "spec.unit.from.0: 'a b' is not a parameter's name"),
        ({"spec.unit.from": ["header:tidegate-arm"]}, "spec.unit.from.0: 'tidegate-arm' says nothing of who asks"),
        ({"spec.unit.from": ["metadata:user-bin"]}, "spec.unit.from.0: 'user-bin' says nothing of who asks"),
        ({"spec.unit.from": ["header:a", "header:a"]}, "spec.unit.from.1: 'header:a' is there already"),
        ({"spec.unit.from": [f"header:a{i}" for i in range(9)]}, "spec.unit.from: 9 are more than the 8 that are allowed"),
        ({"spec.strategy": {}}, "spec.strategy: a strategy is one of steps, bluegreen, ab"),
        ({f"{STEPS}.3.setWeight": 5}, "spec.strategy.steps.3.setWeight: weights rise from step to step, and the one before was 5"),
        ({f"{STEPS}.1.setWeight": 0}, "spec.strategy.steps.1.setWeight: weights rise from step to step, and 0 is where it begins"),
        ({f"{STEPS}.1.setWeight": 5.001}, "spec.strategy.steps.1.setWeight: weights are multiples of 0.01 percent, and 5.001 is none"),
        ({f"{STEPS}.2": {"shadow": {}}},
         "spec.strategy.steps.2.shadow: a shadow comes before the first weight: at this one the candidate answers callers already"),
        ({f"{STEPS}.0.shadow": {"percent": 0}}, "spec.strategy.steps.0.shadow.percent: a shadow of nothing sees nothing"),
        ({f"{STEPS}.3.setWeight": 100},
         "spec.strategy.steps.3.until.verdict: at 100 percent nothing is left to compare with: end with less, or write verdict: null and a "
         "min_duration"),
        ({f"{STEPS}.3": {"setWeight": 100}},
         "spec.strategy.steps.3.until.verdict: at 100 percent nothing is left to compare with: end with less, or write verdict: null and a "
         "min_duration"),
        ({f"{STEPS}.1.until": {"min_duration": "2h", "max_duration": "2h"}},
         "spec.strategy.steps.1.until.max_duration: it is over before min_duration, 2h, is reached"),
        ({f"{STEPS}.1.until": {"verdict": None}},
         "spec.strategy.steps.1.until.min_duration: a step that asks for no verdict lasts as long as this says, and that is no time"),
        ({STEPS: [{"pause": {}}], f"{METRICS}.1": ...}, "spec.strategy.steps: no step meets traffic: add shadow or setWeight"),
        ({f"{STEPS}.2.approve": {"by": ["ann", "ann"]}}, "spec.strategy.steps.2.approve.by: somebody is named twice"),
        ({f"{STEPS}.2.approve": {"by": ["ann"], "count": 2}}, "spec.strategy.steps.2.approve.count: 2 people must agree, and 1 may"),
        ({STEPS: [{"setWeight": 0.5 * n, "until": {"max_duration": "1d"}} for n in range(1, 66)], f"{METRICS}.1": ...},
         "spec.strategy.steps: 65 are more than the 64 that are allowed"),
        (AB | {"spec.candidate": {"version": 13}}, "spec.candidate: what an A/B compares is named by its arms"),
        (AB | {"spec.strategy.ab.arms": []}, "spec.strategy.ab.arms: a split has 1 to 16 arms beside stable"),
        (AB | {"spec.strategy.ab.arms.1.weight": 71}, "spec.strategy.ab.arms: their weights come to 101 percent"),
        (AB | {"spec.strategy.ab.arms.1.weight": 70},
         "spec.strategy.ab.arms: their weights leave nothing to stable, which they are compared with"),
        (AB | {"spec.strategy.ab.arms.1.weight": 0}, "spec.strategy.ab.arms.1.weight: an arm without traffic compares nothing"),
        (AB | {"spec.strategy.ab.arms.1.weight": 0.005},
         "spec.strategy.ab.arms.1.weight: weights are multiples of 0.01 percent, and 0.005 is none"),
        (AB | {"spec.strategy.ab.arms.1.name": "b"}, "spec.strategy.ab.arms.1.name: 'b' is there already"),
        (AB | {"spec.strategy.ab.arms.1.name": "stable"},
         "spec.strategy.ab.arms.1.name: 'stable' cannot be the name of an arm: a letter, then letters, digits, _ and -"),
        (AB | {"spec.strategy.ab.arms.1.version": 13}, "spec.strategy.ab.arms.1.version: version 13 has an arm already"),
        (AB | {"spec.stable": {"version": 14}}, "spec.strategy.ab.arms.1.version: version 14 has an arm already"),
        (BLUE | {"spec.strategy.bluegreen": {"until": {"min_units": 9}}, f"{METRICS}.1": ...},
         "spec.strategy.bluegreen.until: belongs to the shadow, and there is none"),
        (BLUE | {"spec.strategy.bluegreen.bake": {}},
         "spec.strategy.bluegreen.bake.verdict: at 100 percent nothing is left to compare with: end with less, or write verdict: null "
         "and a min_duration"),
        (BLUE | {"spec.strategy.bluegreen.shadow": {"percent": 0}},
         "spec.strategy.bluegreen.shadow.percent: a shadow of nothing sees nothing"),
        ({"spec.analysis.alpha": {"fail": 0.5}}, "spec.analysis.alpha.fail: 0.5 is no better than a coin: 0.01 to 0.05 are usual"),
        ({f"{METRICS}.1.name": "errors"}, "spec.analysis.metrics.1.name: 'errors' is there already"),
        ({f"{METRICS}.0.name": "a b"},
         "spec.analysis.metrics.0.name: 'a b' is no name: a letter, then letters, digits, _ and -, 64 at most"),
        ({f"{METRICS}.0.event": "errors"},
         "spec.analysis.metrics.0.event: 'errors' is no event; did you mean 'server_error'?"),
        ({f"{METRICS}.0.event": "latency_ms >= 5"},
         "spec.analysis.metrics.0.event: 'latency_ms >= 5' is no event: only > is known; write latency_ms > 50"),
        ({f"{METRICS}.0.query": "up"}, "spec.analysis.metrics.0.query: belongs to a metric of type query, and this one is of type rate"),
        ({f"{METRICS}.0.tolerate": {"slower": 1.5}},
         "spec.analysis.metrics.0.tolerate.slower: belongs to a metric of type dominance: of a rate, write it into the bound of its event"),
        ({f"{METRICS}.1": {"name": "l", "type": "label", "label": "churned", "tolerate": {"slower": 1.5}}},
         "spec.analysis.metrics.1.tolerate.slower: belongs to a metric of type dominance"),
        ({f"{METRICS}.0.min": 0.5}, "spec.analysis.metrics.0.min: belongs to a metric of type agreement, and this one is of type rate"),
        ({f"{METRICS}.1.pass_if": {}},
         "spec.analysis.metrics.1.pass_if: belongs to a metric of type rate or dominance or label, and this one is of type agreement"),
        ({f"{METRICS}.1.event": "server_error"},
         "spec.analysis.metrics.1.event: belongs to a metric of type rate, and this one is of type agreement"),
        ({f"{METRICS}.0.dryRun": True, f"{METRICS}.1": RATE},
         "spec.analysis.metrics.0.dryRun: a metric that is only reported cannot be critical"),
        ({f"{METRICS}.0.pass_if": {"ratio": None}}, "spec.analysis.metrics.0.pass_if: nothing could pass: set ratio, or_abs or both"),
        ({f"{STEPS}.0": {"pause": {}}},
         "spec.analysis.metrics.1.type: only a shadow and stable answer the same requests, and there is no shadow step"),
        ({f"{METRICS}.1": {"name": "l", "type": "label", "dryRun": True}},
         "spec.analysis.metrics.1.label: required of type label: the name of the label"),
        ({f"{METRICS}.1": QUERY | {"query": " "}}, "spec.analysis.metrics.1.query: required of type query: a PromQL expression"),
        ({f"{METRICS}.1": QUERY | {"query": "a{{b}} {{ version }}"}},
         "spec.analysis.metrics.1.query: there is nothing to put for {{b}}: {{version}} and {{model}} are known"),
        ({f"{METRICS}.1": QUERY | {"below": None}},
         "spec.analysis.metrics.1: a query needs a constant to be held against: below, above or both"),
        ({f"{METRICS}.1": QUERY | {"above": 2}}, "spec.analysis.metrics.1.above: no number is above 2 and below 1"),
        ({f"{METRICS}.1": QUERY | {"server": "prometheus:9090"}},
         "spec.analysis.metrics.1.server: expected a URL such as https://host/path"),
        ({f"{METRICS}.1": QUERY | {"server": "https://u:p@h"}},
         "spec.analysis.metrics.1.server: a URL with a password would be shown to everybody who sees the plan"),
        ({"spec.notifications": [{"url": "http://example.com/hook", "secretFile": "/s"}]},
         "spec.notifications.0.url: what is told must not be read on the way: write https, or name this machine"),
        ({"spec.notifications": [{"url": "https://example.com:x/", "secretFile": "/s"}]},
         "spec.notifications.0.url: expected a URL such as https://host/path"),
        ({"spec.notifications": [{"url": "ftp://127.0.0.1", "secretFile": "/s"}]},
         "spec.notifications.0.url: expected a URL such as https://host/path"),
        ({"spec.notifications": [{"url": "https://h", "secretFile": "s"}]},
         "spec.notifications.0.secretFile: an absolute path, since servers read it wherever they run"),
        ({"spec.notifications": [{"url": "https://h", "secretFile": "/s", "on": []}]}, "spec.notifications.0.on: nothing would be told"),
        ({"spec.notifications": [{"url": "https://h", "secretFile": "/s", "on": ["paused", "paused"]}]},
         "spec.notifications.0.on: an event is named twice"),
    ],
)  # fmt: skip
def test_what_could_not_be_done_is_refused(changes: dict[str, Any], complaint: str) -> None:
    """One change to a file that is right, and the one thing that is wrong with it then."""
    assert complaint == one(changes)


def test_mistakes_of_meaning_are_reported_together_in_the_order_of_the_file() -> None:
    """Each with the line of what is wrong."""
    found = mistakes({"spec.model": "/", f"{STEPS}.3.setWeight": 1, f"{METRICS}.0.event": "x", f"{METRICS}.1.name": "errors"})
    assert ["spec.model", f"{STEPS}.3.setWeight", f"{METRICS}.0.event", f"{METRICS}.1.name"] == [
        line.partition(" ")[2].partition(":")[0] for line in found
    ]
    lines = plans.text({"spec.model": "/"}).splitlines()
    assert lines.index("  model: /") + 1 == int(found[0].partition(" ")[0])


def test_a_step_that_wants_a_verdict_needs_a_metric_that_can_pass() -> None:
    """Of its own kind: agreement passes shadows only; what is only reported, and what has no margin, passes nothing."""
    weight, shadow = "it takes pass_if, or type query", "a shadow asks for agreement, and for pass_if of a rate that is no latency"

    def nothing(step: int, ways: str) -> str:
        return f"{STEPS}.{step}.until.verdict: no metric of spec.analysis can pass here: {ways}; or write verdict: null and a min_duration"

    found = mistakes({f"{METRICS}.0.pass_if": ...})
    assert [nothing(1, weight), nothing(3, weight)] == [line.partition(" ")[2] for line in found]
    slow = mistakes({METRICS: [RATE | {"event": "latency_ms > 50"}]})
    assert [nothing(0, shadow)] == [line.partition(" ")[2] for line in slow]
    assert 3 == len(mistakes({METRICS: []}))
    assert [] == [line for line in mistakes({METRICS: []}) if "or write verdict: null" not in line]
    assert 3 == len(mistakes({METRICS: [RATE | {"dryRun": True}]}))
    spec.read(plans.text({METRICS: [QUERY, RATE]}).encode(), source="f")


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({f"{STEPS}.0": {"pause": {}}, f"{METRICS}.1": ...},
         "spec.strategy: no shadow step: the first requests that the candidate sees are callers', answered in a process of its own"),
        ({f"{STEPS}.0": {"pause": {}}, f"{METRICS}.1": ..., "spec.inline": True},
         "spec.strategy: no shadow step: the first requests that the candidate sees are callers', answered in this process"),
        ({"spec.keep_stable_warm": "0s"}, "spec.keep_stable_warm: nothing is kept to go back to: it has to be loaded first"),
        ({"spec.unit": ...}, "spec.unit: every request is a unit of its own, so one caller meets both versions: name whose requests stay "
         "together in from"),
        ({f"{STEPS}.1.until": {}},
         f"{STEPS}.1.until.max_duration: without it the step waits without end where traffic is too little for a verdict"),
        ({f"{STEPS}.1.until": ...},
         f"{STEPS}.1.until.max_duration: without it the step waits without end where traffic is too little for a verdict"),
        ({f"{STEPS}.1.until": {"on_inconclusive": "hold"}},
         f"{STEPS}.1.until.on_inconclusive: without a max_duration nothing is ever inconclusive, so it never comes to 'hold'"),
        (BLUE,
         "spec.strategy.bluegreen.until.max_duration: without it the step waits without end where traffic is too little for a verdict"),
        ({f"{METRICS}.0.critical": False},
         f"{METRICS}: none is critical, so nothing that is measured rolls back; crashes and failures in a row still do"),
        ({METRICS: [QUERY | {"critical": True}]},
         f"{METRICS}: only queries have a say in passing: a constant passes a version that got no traffic"),
        ({f"{METRICS}.0.pass_if": {}}, f"{METRICS}.0.pass_if: where stable has next to no such events, a ratio takes very many requests: "
         "add or_abs, such as 0.005"),
        ({f"{METRICS}.0.tolerate": {"ratio": 2}},
         f"{METRICS}.0.tolerate.ratio: a candidate between 1.5 and 2 times stable's rate neither passes nor fails"),
        ({f"{METRICS}.1": {"name": "d", "type": "distribution", "critical": True}},
         f"{METRICS}.1.critical: another mix of answers is not worse by itself"),
        ({f"{METRICS}.1": QUERY | {"query": "up"}},
         f"{METRICS}.1.query: it does not name {{{{version}}}}, so it measures the same whatever the candidate does"),
        ({f"{METRICS}.1": {"name": "l", "type": "label", "label": "churned"}},
         f"{METRICS}.1.type: only servers with labels.enabled and capture.enabled count labels; elsewhere it is NO_DATA, which never "
         "passes: set dryRun: true there"),
        ({"spec.analysis.alpha": {"fail": 0.25}}, "spec.analysis.alpha.fail: one verdict in 4 may be wrong"),
    ],
)  # fmt: skip
def test_what_is_probably_not_meant_is_warned_of(changes: dict[str, Any], warning: str) -> None:
    """The plan is read all the same."""
    assert [warning] == warned(changes)


def test_an_isolated_candidate_is_slower_for_that() -> None:
    """So its latency is compared where it is in the servers' process: after a shadow, or at once."""
    slow, pause = {"name": "slow", "type": "dominance"}, {f"{STEPS}.0": {"pause": {}}}
    kept, late = RATE | {"critical": True}, RATE | {"name": "late", "event": "latency_ms > 50"}
    home, *timed = warned(pause | {METRICS: [kept, slow, late]})
    assert "no shadow step" in home
    isolated = "the candidate runs in a process of its own, which takes longer: let it be inline"
    assert [f"{METRICS}.{number}: {isolated}" for number in (1, 2)] == timed
    assert 1 == len(warned(pause | {METRICS: [kept, slow], "spec.inline": True}))
    assert [] == warned({f"{METRICS}.1": slow})


def test_a_split_is_only_reported_on() -> None:
    """It needs neither a verdict nor a critical metric; what the arms leave is stable's."""
    assert [] == warned(AB)
    assert (50.0,) == tuple(step.set_weight for step in plans.plan(AB).steps())


def test_keys_of_other_programs_have_a_hint() -> None:
    """Where there is something like it here."""
    steps = [{"setWeight": 5, "setMirrorRoute": {}}, {"setCanaryScale": {}}]
    found = mistakes({"spec.strategy": {"steps": steps}, "spec.targetRef": {}, "spec.analysis.threshold": 10, "spec.selector": {}})
    assert [] == [line for line in found if "unknown setting; " not in line and "a step is one of" not in line]
    assert any("a mirror is a step here: shadow: {percent: 100}" in line for line in found)
    assert any("spec.targetRef: unknown setting; what is tried stands in spec.candidate" in line for line in found)
    assert any("analysis.threshold: unknown setting; a verdict holds whenever it is looked at" in line for line in found)


def test_hints_hide_no_key_of_ours_and_name_places_that_exist() -> None:
    """A key that some place of the file knows is sent there."""
    paths = [tuple(part for part in path if part != "<number>") for path in setting_paths(Plan)]
    assert set() == set(HINTS) & {path[-1] for path in paths}
    named = {name for hint in HINTS.values() for name in re.findall(r"spec\.[a-z_.]*[a-z_]", hint)}
    assert set() == named - {".".join(path) for path in paths}
    assert len(named) > 3


def test_files_that_mean_the_same_have_one_digest() -> None:
    """Order, spelling, comments and defaults that are written out do not count; a weight does."""
    plain = spec.read(plans.text().encode(), source="f").plan
    written = spec.read(spec.canonical(plain), source="g").plan
    assert plain == written
    assert spec.digest(plain) == spec.digest(written)
    assert spec.digest(plain).startswith("sha256:")
    assert spec.digest(plain) != spec.digest(plans.plan({f"{STEPS}.1.setWeight": 6}))


def test_a_plan_is_the_same_from_its_canonical_text() -> None:
    """What stands in a journal is read by types alone."""
    plan = plans.plan()
    assert plan == msgspec.json.decode(spec.canonical(plan), type=Plan)


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    """As is one that is no YAML, or too large."""
    with pytest.raises(SpecError, match=r"nowhere\.yaml: cannot be read: No such file"):
        spec.load(tmp_path / "nowhere.yaml")
    (tmp_path / "f.yaml").write_text("a: [")
    with pytest.raises(SpecError, match=r"f\.yaml:1:5: while parsing a flow"):
        spec.load(tmp_path / "f.yaml")
    (tmp_path / "f.yaml").write_text(plans.text())
    assert plans.plan() == spec.load(tmp_path / "f.yaml").plan


def test_a_weight_without_an_end_asks_for_a_verdict() -> None:
    """Nothing passes because somebody forgot to say when."""
    (step,) = plans.plan({STEPS: [{"setWeight": 5}]}).steps()
    assert Step(set_weight=5, until=Until()) == step
    assert (None, None) == tuple(step.until for step in plans.plan({STEPS: [{"pause": {}}, {"approve": {}}]}).steps())


@pytest.mark.parametrize(("text", "expected"), [("0s", 0), ("250ms", 0.25), ("90s", 90), ("15m", 900), ("2h", 7200), ("14d", 1_209_600)])
def test_durations_are_seconds(text: str, expected: float) -> None:
    """Of one unit."""
    assert expected == seconds(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.25, "250ms"), (59, "59s"), (61, "1m 1s"), (3_600, "1h"), (3_661, "1h 1m"), (129_600, "1d 12h"), (35_000_000, "405d")],
)
def test_durations_are_printed_in_two_units(seconds: float, text: str) -> None:
    """As precise as anybody cares."""
    assert text == printed(seconds)


@pytest.mark.parametrize("text", ["", "15", "1h30m", "-1s", "015m", "1.5h", "15 m", "15m\n", "9999999999s"])
def test_other_durations_are_refused(text: str) -> None:
    """With an example."""
    assert "expected a duration such as 15m" in one({"spec.keep_stable_warm": text})


@settings(max_examples=200)
@given(st.data())
def test_no_file_does_more_than_complain(data: st.DataObject) -> None:
    """One value anywhere replaced by anything: a plan, or a list of mistakes with lines."""
    document = yaml.safe_load(plans.text({f"{METRICS}.1": QUERY}))
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not (isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans())):
            break
        place = place[key]
    junk = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
    place[key] = data.draw(junk | st.lists(junk, max_size=2) | st.dictionaries(st.text(max_size=5), junk, max_size=2))
    try:
        spec.read(yaml.safe_dump(document, allow_unicode=False).encode(), source="f")
    except SpecError as error:
        assert all(problem.line > 0 for problem in error.problems)  # noqa: PT017
