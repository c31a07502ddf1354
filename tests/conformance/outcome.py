"""What one check found. Knows no client and no server."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """`failure` is empty for a check that passed."""

    name: str
    failure: str = ""

    def line(self, group: str) -> str:
        """As it is printed."""
        return f"FAIL {group}/{self.name}: {self.failure}" if self.failure else f"ok   {group}/{self.name}"


def attempts(checks: Iterable[Callable[..., None]], *arguments: object) -> Iterator[Outcome]:
    """Each check called with `arguments`; an exception is its failure, its name the function's with hyphens."""
    for check in checks:
        name = check.__name__.replace("_", "-")
        try:
            check(*arguments)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            yield Outcome(name, json.dumps(f"{type(error).__name__}: {error} ({frame.name}:{frame.lineno})", ensure_ascii=False))
        else:
            yield Outcome(name)


def equal(expected: object, actual: object, where: str = "") -> None:
    """An assertion whose text shows both sides."""
    if expected != actual:
        raise AssertionError(f"{where}{': ' if where else ''}expected {str(expected)[:400]}, got {str(actual)[:400]}")


def contains(part: object, whole: object, where: str = "") -> None:
    """`part in whole`, and both shown where not."""
    if part not in whole:  # type: ignore[operator]
        raise AssertionError(f"{where}{': ' if where else ''}no {part!r} in {str(whole)[-1500:]!r}")
