"""Drift as the supervisor has it: the blocks that it gives out, and the process that evaluates them."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.clock import Clock
from gateway.config import Config
from gateway.control.drift_messages import EvaluatorInheritance
from gateway.control.evaluators import Evaluators
from gateway.control.observing import Observing
from gateway.drift.blocks import Blocks
from gateway.observe.page import Values


class Drift:
    """`observing` and `evaluators` of one server, joined."""

    def __init__(self, config: Config, blocks: Blocks, clock: Clock, *, state: Path | None, moved: Callable[[], None]) -> None:
        """`state`: the server's directory. Without one, learned profiles end with the server, and so does what was found; the process
        that evaluates may die all the same."""
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if state is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="tidegate-drift-")
            state = Path(self._temporary.name)
        learned = state / "learned"
        given = EvaluatorInheritance(blocks=blocks.fd, run=uuid.uuid4().hex, state=str(state), learned=str(learned))
        self.observing = Observing(config, blocks, learned, told=self._told, moved=moved)
        self.evaluators = Evaluators(
            config, given, clock,
            watched=lambda: self.observing.watched, closed=self.observing.kept, learned=self.observing.learned,
        )  # fmt: skip

    def _told(self) -> None:
        """There are other blocks."""
        self.evaluators.changed()

    def gauges(self) -> Mapping[str, Values]:
        """What the metrics page shows."""
        found: dict[str, Values] = {name: dict(values) for name, values in self.evaluators.gauges.families.items()}
        return found | {"tidegate_drift_unwatched_total": float(self.observing.unwatched)}

    async def end(self) -> None:
        """Workers are gone: look a last time, and save."""
        await self.evaluators.end()
        if self._temporary is not None:
            self._temporary.cleanup()
