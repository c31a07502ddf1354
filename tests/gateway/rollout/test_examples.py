"""The rollout files that people copy are right, those in the manual too, and the workflow calls commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from gateway.rollout import spec
from tests.gateway.commands.console import done

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "examples" / "rollouts").glob("*.yaml"))
WORKFLOW = ROOT / "examples" / "ci" / "rollout.yml"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_neither_mistakes_nor_warnings(path: Path) -> None:
    """And names the schema for editors by a path that is there."""
    assert () == spec.load(path).warnings
    (schema,) = re.findall(r"yaml-language-server: \$schema=(\S+)", path.read_text())
    assert (path.parent / schema).exists()


def test_every_strategy_and_every_kind_of_step_has_an_example() -> None:
    """So that nobody has to guess."""
    plans = [spec.load(path).plan for path in EXAMPLES]
    strategies = [plan.spec.strategy for plan in plans]
    assert [True] * 3 == [any(getattr(each, kind) for each in strategies) for kind in ("steps", "bluegreen", "ab")]
    steps = [step for plan in plans for step in plan.steps()]
    assert [True] * 3 == [any(getattr(step, kind) is not None for step in steps) for kind in ("shadow", "set_weight", "approve")]
    types = {metric.type for plan in plans for metric in plan.spec.analysis.metrics}
    assert {"rate", "dominance", "distribution", "agreement", "query"} == types


def test_the_file_in_the_manual_is_right() -> None:
    """What it says in words is what it does."""
    (text,) = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs" / "rollouts.md").read_text(), re.MULTILINE | re.DOTALL)
    assert [None, 5.0, None, 50.0] == [step.set_weight for step in spec.read(text.encode(), source="f").plan.steps()]


def test_the_workflow_calls_commands_with_options_that_exist() -> None:
    """Every `tidegate …` line of it, by its help."""
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["check"]["steps"]
    called = [line for step in steps for line in re.findall(r"tidegate ([^|;\n]+)", step.get("run", "")) if not line.startswith("tidegate")]
    commands = {" ".join(re.match(r"(?:rollout )?\w+", line)[0].split()): re.findall(r"--[\w-]+", line) for line in called}  # type: ignore[index]
    assert {"rollout lint", "rollout plan", "replay"} == set(commands)
    for command, options in commands.items():
        text = done(*command.split(), "--help")
        assert [] == [option for option in options if option not in text], command
