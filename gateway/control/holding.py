"""The versions of one worker: loaded in a thread beside the event loop, handed to the routes, drained when nobody wants them, closed.

Does what a list says and reports how far it is; which versions serve, and since when, is decided by the supervisor for all workers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from gateway.control.messages import Held, Key, Report, Table
from gateway.serving.lifecycle import State
from gateway.serving.loading import Say
from gateway.serving.model import ModelFault, RunFault
from gateway.serving.routing import Routes
from gateway.serving.splits import Split
from gateway.serving.versions import Version
from registry.errors import Kind, RegistryError

_log = logging.getLogger(__name__)
_LOOK_S = 0.02  # between two looks at versions that drain
_REFUSALS = (RegistryError, ModelFault, RunFault)

Load = Callable[[Held, Say], tuple[Version, int]]
Move = Callable[[Held, Version], None]


class Holding:
    """What one worker holds. Everything but `load` runs on the event loop."""

    def __init__(
        self,
        load: Load,
        move: Move,
        report: Callable[[tuple[Report, ...]], None],
        forget: Callable[[Version], None],
        settle: Callable[[], None],
    ) -> None:
        """`load` blocks, as does `move`, which has a version counted in another block; `report` gets the whole list whenever it has
        changed; `forget` is told of versions that are gone.

        `settle` is called in the thread before anything is loaded there.
        """
        self._load, self._move = load, move
        self._report = report
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "load", settle)
        self._wanted: dict[Key, Held] = {}
        self._states: dict[Key, Report] = {}
        self._versions: dict[Key, Version] = {}
        self._draining: dict[Key, Version] = {}
        self._told = False

    def hold(self, versions: Iterable[Held]) -> None:
        """Load what is new, drain what is not in the list."""
        before = self._wanted
        self._wanted = {key_of(held): held for held in versions}
        for key in [key for key in self._states if key not in self._wanted and key not in self._draining]:
            self._let_go(key)
        for key, held in self._wanted.items():
            if key not in self._states:
                self._set(Report(*key, State.VERIFY))
                self._loop.run_in_executor(self._thread, self._work, key, held)
            elif key in self._versions and held.block != before.get(key, held).block:
                self._loop.run_in_executor(self._thread, self._move, held, self._versions[key])

    def find(self, key: Key) -> Version | None:
        """A version that is ready here."""
        return self._versions.get(key)

    def close(self) -> None:
        """Start nothing more; a load that is under way ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    # --- loading ---------------------------------------------------------------------------------------------------------------

    def _work(self, key: Key, held: Held) -> None:
        """In the thread."""
        if key not in self._wanted:
            self._call(self._dropped, key)
            return
        try:
            version, size = self._load(held, lambda state: self._call(self._reached, key, state))
        except _REFUSALS as error:
            self._call(self._failed, key, str(error), isinstance(error, RegistryError) and error.kind is Kind.STORAGE)
        except Exception as error:  # a fault of ours costs this version, not the worker
            _log.exception("loading failed: %s/%d", held.model, held.version)
            self._call(self._failed, key, f"internal error: {type(error).__name__}", False)
        else:
            self._call(self._loaded, key, version, size, held)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop is closed: the worker ends
            return

    def _reached(self, key: Key, state: State) -> None:
        self._set(Report(*key, state))

    def _failed(self, key: Key, reason: str, unreachable: bool) -> None:
        if key in self._wanted:
            self._set(Report(*key, State.FAILED, reason, unreachable=unreachable))
        else:
            self._dropped(key)

    def _loaded(self, key: Key, version: Version, size: int, held: Held) -> None:
        self._versions[key] = version
        wanted = self._wanted.get(key, held)
        if wanted.block != held.block:
            self._loop.run_in_executor(self._thread, self._move, wanted, version)
        placement = version.description.placement
        missed = tuple([provider for provider, _ in placement.missed])
        self._set(Report(*key, State.READY, size_bytes=size, provider=placement.provider, missed=missed))
        if key not in self._wanted:
            self._let_go(key)

    def _dropped(self, key: Key) -> None:
        """It was let go of before it was loaded; wanted again meanwhile, it begins anew."""
        self._states.pop(key, None)
        self._tell()
        if key in self._wanted:
            self.hold(self._wanted.values())

    # --- the end of a version --------------------------------------------------------------------------------------------------

    def _let_go(self, key: Key) -> None:
        version = self._versions.pop(key, None)
        if version is not None:
            version.close()
            self._draining[key] = version
            self._set(Report(*key, State.DRAIN))
            self._look(key)
        elif self._states[key].state is State.FAILED:
            self._dropped(key)

    def _look(self, key: Key) -> None:
        """Close it once nothing of it waits or runs."""
        version = self._draining[key]
        if not version.idle:
            self._loop.call_later(_LOOK_S, self._look, key)
            return
        self._forget(version)
        self._loop.run_in_executor(self._thread, self._end, key, version)

    def _end(self, key: Key, version: Version) -> None:
        """In the thread. What is said of its end gives its block away, so nobody may write there any more."""
        if version.watch is not None:
            version.watch.end()
        version.end()
        self._call(self._ended, key)

    def _ended(self, key: Key) -> None:
        del self._draining[key]
        self._dropped(key)

    # --- reports ---------------------------------------------------------------------------------------------------------------

    def _set(self, report: Report) -> None:
        self._states[report.model, report.version, report.identity] = report
        self._tell()

    def _tell(self) -> None:
        """Once a tick."""
        if not self._told:
            self._told = True
            self._loop.call_soon(self._say)

    def _say(self) -> None:
        self._told = False
        self._report(tuple(self._states.values()))


def key_of(held: Held) -> Key:
    """What makes two versions the same."""
    return held.model, held.version, held.identity


def routes_of(table: Table, find: Callable[[Key], Version | None]) -> Routes:
    """The table with the versions of one process in it. One that is not there counts as failed; the supervisor routes none such."""
    versions: dict[str, dict[int, Version]] = {}
    failed = {(model, number): reason for model, numbers in table.failed.items() for number, reason in numbers.items()}
    for model, numbers in table.models.items():
        for number, identity in numbers.items():
            version = find((model, number, identity))
            if version is None:
                failed[model, number] = "this worker does not hold it"
            else:
                versions.setdefault(model, {})[number] = version
    return Routes(
        versions,
        failed,
        loading=_keys(table.loading),
        unloading=_keys(table.unloading),
        aliases=table.aliases,
        defaults=table.defaults,
        idle=table.idle,
        asleep=frozenset(table.asleep),
        splits={split.model: split for split in table.splits if {split.stable, *_others(split)} <= versions.get(split.model, {}).keys()},
        partial=table.partial,
    )


def _others(split: Split) -> list[int]:
    return [arm.version for arm in split.arms]


def _keys(numbers: Mapping[str, tuple[int, ...]]) -> frozenset[tuple[str, int]]:
    return frozenset([(model, number) for model, listed in numbers.items() for number in listed])
