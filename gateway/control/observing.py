"""Blocks of the versions that are held: the supervisor gives them out, and takes them back when what they held is kept.

Knows no kernel and no process; who evaluates what lies in the blocks is told of every change.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gateway.config import Config
from gateway.control.drift_messages import Learned, Watched
from gateway.drift.blocks import Blocks, Extents
from gateway.drift.learned import learned_path, read_profile
from gateway.drift.plans import plan_of
from gateway.drift_settings import Contract, DriftPlan
from gateway.serving.lifecycle import Wanted
from gateway.serving.sources import content_of
from registry.errors import RegistryError
from registry.profile import Profile
from registry.schema import Schema
from registry.verified import VerifiedModel

_log = logging.getLogger(__name__)


Settings = tuple[DriftPlan, Contract]


@dataclass(frozen=True, slots=True)
class _Need:
    """What a version's block must hold, and the settings that say so."""

    words: int
    checksum: int
    learned: str
    schema: Schema | None
    settings: Settings


@dataclass(slots=True)
class _Block:
    watched: Watched
    words: int
    checksum: int


class Observing:
    """The blocks of one server. All but `look_into` runs on the event loop."""

    def __init__(self, config: Config, blocks: Blocks, learned: Path, *, told: Callable[[], None], moved: Callable[[], None]) -> None:
        """`learned`: the directory of learned profiles. `told` is called when `watched` has changed, `moved` when a version that is held
        has another block from now on."""
        self.blocks = blocks
        self.unwatched = 0  # versions that no block was left for, since the start
        self._config = config
        self._learned = learned
        self._told, self._moved = told, moved
        self._extents = Extents(blocks.words)
        self._needs: dict[Wanted, _Need] = {}
        self._open: dict[Wanted, _Block] = {}
        self._past: dict[Wanted, _Block] = {}  # of versions that have learned a profile: what they counted in before
        self._closing: dict[int, _Block] = {}  # by serial
        self._serials = 0

    @property
    def watched(self) -> tuple[Watched, ...]:
        """Every block that is not given back."""
        return tuple([block.watched for part in (self._closing, self._past, self._open) for block in part.values()])

    def look_into(self, wanted: Wanted, verified: VerifiedModel) -> None:
        """Find out what has to be counted of a version. In the thread of verifications. Raises `Kind.DAMAGED`, `Kind.STORAGE`."""
        config = self._config  # that of one moment
        learned, profile = self._learned_of(wanted) if verified.profile is None else ("", read_profile(verified.profile, ""))
        self._need(wanted, profile, learned, verified.schema, (config.drift_plan(wanted.model), config.model(wanted.model).contract))

    def _learned_of(self, wanted: Wanted) -> tuple[str, Profile | None]:
        """The file of the profile that was learned for it before, if there is one. What cannot be read is learned again."""
        path = learned_path(self._learned, wanted.model, wanted.version, content_of(wanted.identity))
        try:
            return (str(path), read_profile(None, str(path))) if path.exists() else ("", None)
        except RegistryError as error:
            _log.error("drift of %s/%d: %s", wanted.model, wanted.version, error.message)
            return "", None

    def _need(self, wanted: Wanted, profile: Profile | None, learned: str, schema: Schema | None, settings: Settings) -> bool:
        """Note what has to be counted of a version. Whether anything has."""
        plan = plan_of(profile, schema, *settings)
        if plan is not None:
            self._needs[wanted] = _Need(plan.layout.block_words, plan.checksum, learned, schema, settings)
        return plan is not None

    def configure(self, config: Config) -> None:
        """New settings, for versions that come."""
        self._config = config

    def open(self, wanted: Wanted) -> tuple[int, str, int]:
        """The first word of the block of a version, -1 for none, the file of its learned profile, and the checksum of the plan.

        The same until `close`, or until it has learned a profile."""
        found = self._open.get(wanted)
        need = self._needs.get(wanted)
        if found is None and need is not None:
            found = self._take(wanted, need)
        return (-1, "", 0) if found is None else (found.watched.start, found.watched.learned, found.checksum)

    def _take(self, wanted: Wanted, need: _Need) -> _Block | None:
        start = self._extents.take(need.words)
        if start is None:
            del self._needs[wanted]
            self.unwatched += 1
            _log.error("drift of %s/%d is not watched: drift.max_bytes has no room for it", wanted.model, wanted.version)
            return None
        self._serials += 1
        watched = Watched(
            wanted.model, wanted.version, wanted.identity, start, self._serials, *need.settings, need.learned
        )  # fmt: skip
        found = _Block(watched, need.words, need.checksum)
        self._open[wanted] = found
        self._told()
        return found

    def close(self, wanted: Wanted) -> None:
        """Nobody adds to it any more; it is given out again when what it held is kept."""
        self._needs.pop(wanted, None)
        for part in (self._open, self._past):
            found = part.pop(wanted, None)
            if found is not None:
                found.watched = msgspec.structs.replace(found.watched, closing=True)
                self._closing[found.watched.serial] = found
                self._told()

    def kept(self, serial: int) -> None:
        """What a block that is closed held is kept elsewhere."""
        block = self._closing.pop(serial, None)
        if block is not None:
            self.blocks.clear(block.watched.start, block.words)
            self._extents.give_back(block.watched.start)
            self._told()

    def learned(self, message: Learned) -> None:
        """A version has a profile now. Workers count by it in another block, once they are told; the one of before stays until the end,
        because nobody knows when the last of them has changed over."""
        wanted = Wanted(message.model, message.version, message.identity)
        block, need = self._open.get(wanted), self._needs.get(wanted)
        if block is None or need is None or block.watched.learned:
            return
        try:
            profile = read_profile(None, message.path)
        except RegistryError as error:
            _log.error("drift of %s/%d: %s", wanted.model, wanted.version, error.message)
            return
        if profile is None or not self._need(wanted, profile, message.path, need.schema, need.settings):
            return
        self._past[wanted] = self._open.pop(wanted)
        _log.info("drift of %s/%d is watched by a profile of its first %d rows", wanted.model, wanted.version, profile.rows)
        self._moved()
