"""Every version that is watched, in the process that evaluates: which blocks belong to which, what is saved, learned, told and triggered.

Blocks of a version that are laid out otherwise than those before them wait until the last of those is closed, so that one watch at a time
spends the version's chance of a false alarm.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gateway.config import Config
from gateway.control.drift_messages import Learned, Watched
from gateway.control.drift_page import families_of
from gateway.control.drift_shelf import Shelf
from gateway.control.drift_triggers import DriftTriggers
from gateway.drift.blocks import Blocks
from gateway.drift.findings import VersionFindings
from gateway.drift.learned import learned_path, read_profile
from gateway.drift.learning import profile_of_rows
from gateway.drift.plans import WatchPlan, plan_of
from gateway.drift.policy import Policy
from gateway.drift.states import State
from gateway.drift.tracked import Tracked
from gateway.drift.watch import Watch
from gateway.serving.sources import content_of, open_repository
from registry import profile as profiles
from registry.discovery import Source
from registry.drift_files import write_learned
from registry.errors import RegistryError

_log = logging.getLogger(__name__)

_AGAIN_S = 60.0  # until it is tried again to learn a profile

Key = tuple[str, int, str]  # model, version, digest of the profile; "" where there is none


class Desk:
    """Of one server. Everything may take a while; nothing that serves waits for it."""

    def __init__(self, config: Config, blocks: Blocks, *, run: str, state: Path, learned: Path) -> None:
        """`run` tells this start of the server from others."""
        self._config, self._shared, self._run, self._learned = config, blocks, run, learned
        drift = config.drift
        self._policy = Policy(alpha=drift.alpha, warn_psi=drift.warn_psi, alarm_psi=drift.alarm_psi, recent_minutes=drift.window_min)
        self._shelf = Shelf(state)
        self._triggers = DriftTriggers(config.server.name)
        self._source: Source | None = None
        self._plans: dict[int, WatchPlan | None] = {}  # by serial of the block
        self._tracked: dict[Key, Tracked] = {}
        self._learned_s: dict[int, float] = {}  # by serial: when a profile of a block's rows was made, or could not be
        self.blocks: tuple[Watched, ...] = ()  # the list that came last

    # --- blocks ----------------------------------------------------------------------------------------------------------------

    def watch(self, blocks: tuple[Watched, ...], wall_s: float) -> list[int]:
        """These are all there are. Returns the serials of those that are closed and kept."""
        self._plans = {block.serial: self._plan(block) for block in blocks}
        for block in sorted(blocks, key=lambda block: block.serial):  # all before any is closed: what is saved says of each what it holds
            self._open(block, wall_s)
        done = [serial for block in blocks if block.closing for serial in self._close(block, wall_s)]
        for block in blocks:
            if not block.closing:
                self._open(block, wall_s)
        here = {self._key(block) for block in blocks}
        for key in [key for key, tracked in self._tracked.items() if key not in here and not tracked.tally.names]:
            self._put(self._tracked.pop(key))
        self.blocks = blocks
        self._learned_s = {serial: at_s for serial, at_s in self._learned_s.items() if serial in self._plans}
        return done

    def _plan(self, block: Watched) -> WatchPlan | None:
        """What is counted in a block; None where nobody can say, which costs this version its evaluation."""
        known = self._plans.get(block.serial)
        if known is not None:
            return known
        try:
            self._source = source = self._source or open_repository(self._config.repository)
            reference = source.reference(block.model, block.version)
            profile = read_profile(reference.profile, block.learned)
        except RegistryError as error:
            _log.error("drift of %s/%d cannot be evaluated: %s", block.model, block.version, error.message)
            return None
        return plan_of(profile, reference.schema, block.drift, block.contract)

    def _key(self, block: Watched) -> Key:
        plan = self._plans.get(block.serial)
        return block.model, block.version, plan.profile.digest if plan is not None and plan.profile is not None else ""

    def _open(self, block: Watched, wall_s: float) -> Tracked | None:
        """Have a block counted, unless it has to wait."""
        plan = self._plans[block.serial]
        if plan is None:
            return None
        key, name = self._key(block), self._name(block)
        tracked = self._tracked.get(key)
        if tracked is not None and tracked.plan != plan:
            if tracked.tally.names:
                return None
            self._put(self._tracked.pop(key))
            tracked = None
        if tracked is None:
            title = "/".join(map(str, key))
            tracked = self._tracked[key] = Tracked(title, plan, self._policy, self._shelf.load(title), wall_s)
        if name not in tracked.tally.names and not tracked.tally.is_kept(name):
            words = plan.layout.block_words
            tracked.tally.open(name, [self._shared.block(region, block.start, words) for region in range(self._shared.regions)])
        return tracked

    def _close(self, block: Watched, wall_s: float) -> list[int]:
        """Keep what a block held. One that was waiting is counted first."""
        tracked = self._open(block, wall_s)
        if tracked is None:
            return [] if self._plans[block.serial] is not None else [block.serial]
        name = self._name(block)
        if name in tracked.tally.names:
            tracked.look(wall_s)
            tracked.tally.close(name)
        return [block.serial] if self._put(tracked) else []

    def _name(self, block: Watched) -> str:
        return f"{self._run}-{block.serial}"

    def _put(self, tracked: Tracked) -> bool:
        """Save it. Whether that worked."""
        return self._shelf.save(tracked.name, tracked.saved())

    # --- ticks -----------------------------------------------------------------------------------------------------------------

    def look(self, wall_s: float) -> list[Learned]:
        """Conclude from what was counted. Returns profiles that were learned."""
        for (model, version, _), tracked in self._tracked.items():
            if tracked.look(wall_s) and tracked.watch is not None:
                _say(f"{model}/{version}", tracked.watch)
                if self._config.drift.triggers and self._source is not None:
                    self._triggers.look(self._source, model, version, tracked.watch, wall_s)
        return [*self._learn(wall_s)]

    def _learn(self, wall_s: float) -> Iterator[Learned]:
        """Once for each block: workers count on in it for a while, and who loads the profile must find the same one for good."""
        for block in self.blocks:
            plan = self._plans.get(block.serial)
            if block.closing or plan is None or not plan.learn_rows or self._learned_s.get(block.serial, -math.inf) > wall_s - _AGAIN_S:
                continue
            path = learned_path(self._learned, block.model, block.version, content_of(block.identity))
            try:
                known = _is_profile(path) or self._write_profile(block, plan, path)
            except RegistryError as error:
                _log.error("no profile can be learned for %s/%d: %s", block.model, block.version, error.message)
                self._learned_s[block.serial] = wall_s
                continue
            if known:
                self._learned_s[block.serial] = math.inf
                yield Learned(block.model, block.version, block.identity, str(path))

    def _write_profile(self, block: Watched, plan: WatchPlan, path: Path) -> bool:
        """Whether there were rows enough. Raises `RegistryError`."""
        tracked = self._tracked.get(self._key(block))
        if tracked is None or tracked.tally.rows() < plan.learn_rows or (found := tracked.learned()) is None:
            return False
        write_learned(path, profiles.encode(profile_of_rows(*found, plan.schema)))
        return True

    def save(self) -> None:
        """All that has changed."""
        for tracked in self._tracked.values():
            if tracked.changed:
                self._put(tracked)

    # --- answers ---------------------------------------------------------------------------------------------------------------

    def told(self, model: str) -> str:
        """JSON: a list of `findings` of a model's versions, each with its version."""
        found: dict[int, VersionFindings] = {}  # by the reference that came last, while there are two of a version
        for (name, version, _), tracked in self._tracked.items():
            findings = tracked.findings() if name == model else None
            if findings is not None:
                found[version] = VersionFindings(version=str(version), **msgspec.structs.asdict(findings))
        return msgspec.json.encode([found[version] for version in sorted(found)]).decode()

    def gauges(self) -> dict[str, list[tuple[tuple[str, ...], float]]]:
        """What the metrics page shows, by family."""
        return families_of([(model, str(version), tracked) for (model, version, _), tracked in self._tracked.items()])


def _say(subject: str, watch: Watch) -> None:
    """To whoever reads the log: what is in another state now, upwards as a warning."""
    for move in watch.moves():
        level = logging.WARNING if State[move.after] > State[move.before] else logging.INFO
        _log.log(level, "drift of %s: %s: %s -> %s", subject, move.scope, move.before, move.after)


def _is_profile(path: Path) -> bool:
    """Whether one was learned before, and can be read."""
    try:
        return path.exists() and read_profile(None, str(path)) is not None
    except RegistryError:
        return False
