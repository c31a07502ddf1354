"""Reading a rollout file: types, rules and advice, every mistake with its line and all together. Writes nothing, asks nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gateway import typed_yaml
from gateway.rollout import advice, plan_rules
from gateway.rollout.hints import HINTS
from gateway.rollout.plan import Plan
from gateway.typed_yaml import Problem, YamlError
from registry.names import digest_of


class SpecError(Exception):
    """Every mistake of a rollout file, with file, line and column; and its warnings, as far as it could be understood."""

    def __init__(self, problems: Sequence[Problem], warnings: Sequence[Problem] = ()) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)


@dataclass(frozen=True, slots=True)
class Read:
    """A plan that can be carried out."""

    plan: Plan
    warnings: tuple[Problem, ...]


def read(data: bytes, *, source: str) -> Read:
    """The plan that a text states, in YAML or JSON. `source` names it in messages. Raises `SpecError`."""
    try:
        root = typed_yaml.compose(data, source=source)
        plan = typed_yaml.read(root, Plan, folder=Path(), hints=HINTS)
    except YamlError as error:
        raise SpecError(error.problems) from None

    def found(findings: Sequence[tuple[str, str]]) -> list[Problem]:
        problems = [typed_yaml.problem_at(root, path, message) for path, message in findings]
        return sorted(problems, key=lambda problem: (problem.line, problem.column))

    problems = found(list(plan_rules.mistakes(plan)))
    if problems:
        raise SpecError(problems)
    return Read(plan, tuple(found(list(advice.warnings(plan)))))


def load(path: Path) -> Read:
    """The plan of a file. Raises `SpecError`, also where it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(typed_yaml.MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SpecError([Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror}")]) from None
    return read(data, source=str(path))


def canonical(plan: Plan) -> bytes:
    """The plan as one JSON text in which every default is written out, as the registry keeps it."""
    return msgspec.json.encode(plan, order="deterministic")


def digest(plan: Plan) -> str:
    """`sha256:` and 64 hexadecimal digits of the canonical text: files that mean the same have the same."""
    return digest_of(canonical(plan))
