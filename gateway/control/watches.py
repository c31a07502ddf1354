"""What a worker keeps of the traffic of each version that it holds: made when it is loaded, and again when a profile was learned."""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.config import Config
from gateway.control.messages import Held
from gateway.drift.blocks import Blocks
from gateway.drift.layout import CHECKSUM, Views
from gateway.drift.learned import read_profile
from gateway.drift.plans import WatchPlan, plan_of
from gateway.drift.watching import Aside, Later, Tick
from gateway.serving.terms import Segmenting
from gateway.serving.versions import Version
from registry.errors import RegistryError
from registry.schema import Schema
from registry.verified import VerifiedModel

_log = logging.getLogger(__name__)


class Watches:
    """Of one worker, which writes the blocks of its own place only."""

    def __init__(self, blocks: Blocks, place: int, now: Callable[[], float], later: Later) -> None:
        """`now` is in seconds; `later` is the event loop's `call_later`."""
        self._aside, self._tick = Aside(), Tick(later)
        self._blocks, self._place, self._now = blocks, place, now

    def settle(self, timeout_s: float) -> None:
        """On the event loop: return when everything is counted that was served so far, or time is up."""
        self._tick.end()
        self._aside.settle(timeout_s)

    def preparing(self, held: Held, config: Config) -> Callable[[Version, VerifiedModel], None]:
        """For `Loader.prepare`."""

        def prepare(version: Version, verified: VerifiedModel) -> None:
            asked = config.drift_plan(held.model).segments
            if asked is not None and asked.parameter is not None:
                version.segmenting = Segmenting(asked.parameter, {value: index for index, value in enumerate(asked.values)})
            self._set(version, held, config, verified.profile, verified.schema)

        return prepare

    def move(self, version: Version, held: Held, config: Config) -> None:
        """A profile was learned for a version that serves: count by it, in another block, from now on. Blocks."""
        schema = version.watch.schema if version.watch is not None else None
        try:
            self._set(version, held, config, None, schema)
        except RegistryError as error:
            _log.error("drift of %s/%d: %s", held.model, held.version, error.message)

    def _set(self, version: Version, held: Held, config: Config, profile: bytes | None, schema: Schema | None) -> None:
        if held.block < 0:
            return
        model = held.model
        plan = plan_of(read_profile(profile, held.learned), schema, config.drift_plan(model), config.model(model).contract)
        views = None if plan is None else self._begun(held, plan)
        if plan is None or views is None:
            _log.error("drift of %s/%d is not watched: its block is laid out by other settings", model, held.version)
            return
        from gateway.drift.making import made  # kernels: 10 MiB and 0.1 s of a worker that watches nothing

        version.watch, version.door = made(version, plan, views, aside=self._aside, tick=self._tick, now=self._now)

    def _begun(self, held: Held, plan: WatchPlan) -> Views | None:
        """The block, which a worker that had this place before may have begun. None where it is laid out by other settings than those
        of now: it may be too small."""
        layout = plan.layout
        if plan.checksum != held.checksum:
            return None
        views = layout.views(self._blocks.block(self._place, held.block, layout.block_words))
        if not views.head[CHECKSUM]:
            views.begin(layout.checksum)
        return views if views.head[CHECKSUM] == layout.checksum else None
