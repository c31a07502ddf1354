"""Which of the models that are loaded on demand are awake: those that somebody asked for, as many as fit, the least recently used go first.

Pure but for its memory: times and sizes come in as numbers. What being awake means, and how a model gets there, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping


class Drowsing:
    """The models of one server that sleep until they are asked for."""

    def __init__(self, budget_bytes: int | None) -> None:
        """`budget_bytes`: for all versions that one worker holds; None: who was awakened stays awake."""
        self._budget_bytes = budget_bytes
        self._used_s: dict[str, float] = {}  # of those that are awake: when they were last asked

    def wake(self, model: str, now_s: float) -> bool:
        """Somebody asks for a model. Whether it slept."""
        slept = model not in self._used_s
        self._used_s[model] = now_s
        return slept

    def used(self, model: str, now_s: float) -> None:
        """A model that is awake answered somebody; for any other this says nothing."""
        if model in self._used_s:
            self._used_s[model] = now_s

    def awake(self, lazy: Mapping[str, int], eager_bytes: int) -> frozenset[str]:
        """Of the lazy models, by their bytes, those that are awake beside what is always loaded. The others fall asleep.

        The one that was asked last stays also where it does not fit, so that whoever asked is told why it cannot be loaded.
        """
        order = sorted((model for model in self._used_s if model in lazy), key=lambda model: (-self._used_s[model], model))
        kept: list[str] = []
        taken = eager_bytes
        for model in order:
            taken += lazy[model]
            if kept and self._budget_bytes is not None and taken > self._budget_bytes:
                taken -= lazy[model]
                continue
            kept.append(model)
        self._used_s = {model: self._used_s[model] for model in kept}
        return frozenset(kept)
