"""Rollouts as the supervisor has them: the rings that workers record into, and the process that decides."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

from gateway.clock import Clock
from gateway.config import Config
from gateway.control.label_desks import LabelDesks
from gateway.control.messages import Table
from gateway.control.referees import Referees
from gateway.control.rollout_messages import RefereeInheritance
from gateway.observe.page import Values
from gateway.rollout.ring import Rings


class Rollouts:
    """Of one server."""

    def __init__(
        self, config: Config, places: int, clock: Clock, labels: LabelDesks, *, table: Callable[[], Table], appended: Callable[[], object]
    ) -> None:  # fmt: skip
        """`labels` tell of answers; `table` is what serves; `appended` is called when a rollout has gone on."""
        self.rings = Rings.create(places)
        self._table = table
        self._open = False
        self._deaths = 0
        inheritance = RefereeInheritance(rings=self.rings.fd, run=uuid.uuid4().hex)
        self._referees = Referees(config, inheritance, clock, appended=appended, wanted=labels.want)
        labels.matured = self._referees.matured

    def wished(self, *, open_: bool) -> None:
        """The registry was looked at: whether it has a rollout that is not over."""
        self._open = open_
        self.follow()

    def died(self) -> None:
        """A worker is gone that nobody had asked to end."""
        self._deaths += 1
        self.follow()

    def follow(self) -> None:
        """What serves may be something else: whoever decides is told, and there while a rollout is open."""
        self._referees.follow(self._table(), open_=self._open, deaths=self._deaths)

    def gauges(self) -> Mapping[str, Values]:
        """What the metrics page shows."""
        return self._referees.gauges()

    async def end(self) -> None:
        """Claims are let go of."""
        await self._referees.end()
