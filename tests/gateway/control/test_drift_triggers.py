"""An ALARM asks for a new version: once, whatever fails in between."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gateway.control.drift_triggers import RULES, DriftTriggers
from gateway.drift.layout import ROWS
from gateway.drift.states import Standing, State
from gateway.drift.watch import Watch
from registry.errors import Kind, RegistryError
from registry.triggers import BUCKET_S
from tests.gateway.drift.profiles import profile

NOON_S = 1_800_000_000.0


class Source:
    """A registry that may be away."""

    def __init__(self) -> None:
        self.proposed: list[dict[str, Any]] = []
        self.error: RegistryError | None = None

    def manifest(self, model: str, version: int) -> str:
        return f"sha256:{model}{version}"

    def triggers(self) -> Source:
        return self

    def propose(self, model: str, version: int, **more: Any) -> Any:
        if self.error is not None:
            raise self.error
        self.proposed.append({"model": model, "version": version, **more})
        return SimpleNamespace(id="0" * 32), True


def watch(state: State, *, since_s: float = NOON_S) -> Watch:
    """A version that has come to be in a state, by its first feature."""
    made = Watch(profile(), wall_s=NOON_S - 60.0)
    views = made.layout.views(np.zeros(made.layout.words, np.int64))
    views.begin(made.layout.checksum)
    views.head[ROWS] = 100
    for counts in views.counts:
        counts[0, :, 5] = 100
    made.look(views, NOON_S)
    made.standings = [Standing(state, since_s), *[Standing(State.OK, 0.0)] * (len(made.standings) - 1)]
    made.together, made.performance = Standing(State.OK, 0.0), Standing(State.OK, 0.0)
    return made


@pytest.mark.parametrize("state", [State.OK, State.DRIFT, State.WARN])
def test_nothing_less_than_an_alarm_asks(state: State) -> None:
    """Drift alone is no reason to train."""
    source = Source()
    DriftTriggers("s").look(source, "m", 1, watch(state), NOON_S)  # type: ignore[arg-type]
    assert [] == source.proposed


def test_an_alarm_asks_once_with_what_was_found() -> None:
    """Looks and restarts later too it is the same one: what makes its id is when the ALARM began."""
    source, alarm = Source(), watch(State.ALARM)
    triggers = DriftTriggers("s")
    triggers.look(source, "m", 1, alarm, NOON_S)  # type: ignore[arg-type]
    triggers.look(source, "m", 1, alarm, NOON_S + 3 * BUCKET_S)  # type: ignore[arg-type]
    DriftTriggers("s").look(source, "m", 1, alarm, NOON_S + 5 * BUCKET_S)  # type: ignore[arg-type]
    first, second = source.proposed
    assert (RULES["features"], ("x[0]",), "s", "sha256:m1") == (first["rule"], first["features"], first["proposer"], first["manifest"])
    assert NOON_S == first["now_s"] == second["now_s"]
    assert {"log_e", "log_e_needed", "psi x[0]"} == first["evidence"].keys()
    assert "x[0]" in first["reason"]
    assert first["window"].start <= first["window"].end


def test_the_next_alarm_asks_again() -> None:
    """After the version was calm; and so does another version."""
    source, triggers = Source(), DriftTriggers("s")
    for state, since_s in ((State.ALARM, NOON_S), (State.OK, NOON_S + 1), (State.ALARM, NOON_S + 2), (State.ALARM, NOON_S + 2)):
        triggers.look(source, "m", 1, watch(state, since_s=since_s), NOON_S + 9)  # type: ignore[arg-type]
    triggers.look(source, "m", 2, watch(State.ALARM), NOON_S + 9)  # type: ignore[arg-type]
    assert [(1, NOON_S), (1, NOON_S + 2), (2, NOON_S)] == [(one["version"], one["now_s"]) for one in source.proposed]


@pytest.mark.parametrize(("kind", "tries"), [(Kind.STORAGE, 2), (Kind.UNSUPPORTED, 1)])
def test_a_registry_that_does_not_answer_is_asked_again_and_one_that_refuses_is_not(
    kind: Kind, tries: int, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    """A line in the log for each try."""
    source, triggers, alarm = Source(), DriftTriggers("s"), watch(State.ALARM)
    source.error = RegistryError(kind, "no")
    for _ in range(2):
        triggers.look(source, "m", 1, alarm, NOON_S)  # type: ignore[arg-type]
    assert tries == caplog.text.count("no retrain trigger for m/1: no")
    source.error = None
    triggers.look(source, "m", 1, alarm, NOON_S)  # type: ignore[arg-type]
    assert (kind is Kind.STORAGE) == bool(source.proposed)
