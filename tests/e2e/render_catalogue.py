"""Renders the catalogue of bad inputs into docs/catalogue.md: `python -m tests.e2e.render_catalogue`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import grpc

from tests.e2e.catalogue import CASES, SECTIONS
from tests.e2e.rows import RESET, Call, Case, Scene, Step

PAGE = Path(__file__).resolve().parents[2] / "docs" / "catalogue.md"
GRPC_NAMES = {code.value[0]: code.name for code in grpc.StatusCode} | {RESET: "RST_STREAM"}
INTRODUCTION = """# Bad inputs

Rendered by `tests/e2e/render_catalogue.py` from the tables that `tests/e2e/test_catalogue.py` plays against a real server: every variant
alone and again among good requests of the same tick, on both transports. Held after each:

* the status is the one below, with a text of at most 512 bytes on one line that tells nothing of the server's own paths, classes or stacks;
* good requests, before it, behind it and on other connections, get their own answers, each with values that no other has;
* the connection goes on, or ends where the protocol demands it; a fresh one serves;
* the metrics count every answer once under its code, nothing is in flight, no connection or descriptor is left, no series was added;
* the resident peak grew by at most 50 times the request's bytes and at most 256 MiB (the first 8 MiB are free);
* the server's log has no error.

"""


def page() -> str:
    """The whole document."""
    parts = [INTRODUCTION, f"{_summary()}\n"]
    for name, cases in SECTIONS.items():
        parts += [f"\n## {name}\n\n", "| # | input | gRPC | HTTP | note |\n|---:|---|---|---|---|\n", *map(_row, cases)]
    return "".join(parts)


def _summary() -> str:
    played = [case for case in CASES if not case.later and not case.elsewhere]
    elsewhere = sum(bool(case.elsewhere) for case in CASES)
    both = sum(not isinstance(case.grpc, str) and not isinstance(case.http, str) for case in played)
    steps = sum(len(side) for case in played for side in (case.grpc, case.http) if not isinstance(side, str))
    later = Counter(case.later for case in CASES if case.later)
    waiting = ", ".join(f"{count} to {part}" for part, count in sorted(later.items()))
    return (
        f"{len(CASES)} cases: {len(played)} are played, in {steps} variants, {both} of them over both transports; where one transport "
        f"cannot have such an input, its column says why. {elsewhere} need a server of their own, and their row names the test. "
        f"{len(CASES) - len(played) - elsewhere} belong to parts that are not built yet ({waiting})."
    )


def _row(case: Case) -> str:
    if case.elsewhere:
        cells = ["", "", f"played by `{case.elsewhere}`" + (f"; {case.note}" if case.note else "")]
    elif case.later:
        cells = ["", "", f"belongs to {case.later}" + (f"; {case.note}" if case.note else "")]
    else:
        cells = [_side(case.grpc), _side(case.http), case.note]
    return f"| {case.number} | {' | '.join([_escaped(cell) for cell in (case.what, *cells)])} |\n"


def _side(steps: Sequence[Step] | str) -> str:
    """The outcomes of all variants, most frequent first, then what is played as a scene; or why there are none."""
    if isinstance(steps, str):
        return steps
    outcomes = Counter(_outcome(step) for step in steps if not isinstance(step, Scene))
    told = [outcome if count == 1 else f"{outcome} × {count}" for outcome, count in outcomes.most_common()]
    return ", ".join([*told, *[f"played: {step.label}" for step in steps if isinstance(step, Scene)]])


def _outcome(step: Step) -> str:
    assert not isinstance(step, Scene)
    if isinstance(step, Call):
        return GRPC_NAMES[step.expect]
    return f"{step.expect} and closed" if step.closes else str(step.expect)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
