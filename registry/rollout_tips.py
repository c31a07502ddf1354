"""The open rollouts of a registry, looked at again and again: what was read once is not read twice, and what is over is not looked at.

A look costs one list call, one more for each model that ever had a rollout, one more for each open rollout, and a read for each new entry.
A journal that is damaged stays as it was last seen, and the damage is named.
"""

from __future__ import annotations

from registry.errors import Kind, RegistryError
from registry.rollout_entries import RolloutJournal
from registry.rollouts import Rollouts


class RolloutTips:
    """What was last seen of one registry."""

    def __init__(self, rollouts: Rollouts) -> None:
        self.problems: tuple[str, ...] = ()  # of the last look, a sentence each
        self._rollouts = rollouts
        self._open: dict[tuple[str, int], RolloutJournal] = {}
        self._over: dict[str, set[int]] = {}

    def look(self) -> tuple[RolloutJournal, ...]:
        """All that are open now, by model and number. Raises `Kind.STORAGE` where the registry cannot be reached."""
        found: dict[tuple[str, int], RolloutJournal] = {}
        problems: list[str] = []
        for model in self._rollouts.models():
            for number in self._numbers(model):
                try:
                    journal = self._rollouts.journal(model, number, self._open.get((model, number)))
                except RegistryError as error:
                    if error.kind is Kind.STORAGE:
                        raise
                    problems.append(error.message)
                    if (model, number) in self._open:
                        found[model, number] = self._open[model, number]
                    continue
                if journal.final:
                    self._over[model].add(number)
                elif journal.links:
                    found[model, number] = journal
        self._open, self.problems = found, tuple(problems)
        return tuple(found.values())

    def _numbers(self, model: str) -> list[int]:
        numbers = self._rollouts.numbers(model)
        if model not in self._over:
            through = self._rollouts.over_through(model)
            self._over[model] = {number for number in numbers if number <= through}
        return [number for number in numbers if number not in self._over[model]]
