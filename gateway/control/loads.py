"""Loads and unloads that callers of workers ask for, one after the other: the repository is looked at, with what the load brought, and the
answer goes back once every worker that serves has followed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gateway.control.fleet import Member
from gateway.control.load_parameters import FILES_DENIED
from gateway.control.lookout import Lookout
from gateway.control.messages import Change, Changed
from gateway.control.overlays import Overlays
from gateway.control.steering import Done, Steering
from gateway.errors import Code, TidegateError
from registry.errors import Kind, RegistryError
from registry.overlay import Overlay

_log = logging.getLogger(__name__)
_CODES = {
    Kind.INVALID_NAME: Code.INVALID_ARGUMENT, Kind.INVALID_MODEL: Code.INVALID_ARGUMENT, Kind.NOT_FOUND: Code.NOT_FOUND,
    Kind.UNSUPPORTED: Code.UNIMPLEMENTED, Kind.DAMAGED: Code.FAILED_PRECONDITION,
}  # fmt: skip


class Loads:
    """Of one server."""

    def __init__(self, steering: Steering, lookout: Lookout, overlays: Overlays, *, files: bool, slowest: Callable[[], int | None]) -> None:
        """With `files`, loads may bring them. `slowest()` is the generation of the oldest table anybody serves by; None: nobody does."""
        self._steering, self._lookout, self._overlays, self._files, self._slowest = steering, lookout, overlays, files, slowest
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._followers: list[tuple[int, Callable[[], None]]] = []  # what is due once all workers serve by a generation

    def ask(self, member: Member, change: Change) -> None:
        """Begin to load or unload as the repository is now."""
        task = asyncio.get_running_loop().create_task(self._change(member, change))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def followed(self) -> None:
        """Somebody serves by another table, or is gone: answer those who waited for that."""
        slowest = self._slowest()
        waiting, self._followers = self._followers, []
        for generation, act in waiting:
            if slowest is None or slowest >= generation:
                act()
            else:
                self._followers.append((generation, act))

    async def _change(self, member: Member, change: Change) -> None:
        def done(error: TidegateError | None) -> None:
            answer = Changed(change.number, Code.OK) if error is None else Changed(change.number, error.code, error.message)
            self._followers.append((self._steering.table.generation, lambda: member.channel.send(answer)))
            self.followed()

        try:
            async with self._turn:
                await (self._load(change, member.process.pid, done) if change.load else self._unload(change.model, done))
        except TidegateError as error:
            done(error)
        except RegistryError as error:
            what = f"failed to {'load' if change.load else 'unload'} '{change.model[:128]}'"
            done(TidegateError(_CODES.get(error.kind, Code.UNAVAILABLE), f"{what}: {error.message}"))
        except Exception as error:  # a fault of ours costs this answer, and is one
            _log.exception("a load or unload failed: %s", change.model)
            done(TidegateError(Code.INTERNAL, f"internal error: {type(error).__name__}"))

    async def _load(self, change: Change, worker: int, done: Done) -> None:
        model, before = change.model, self._overlays.of(change.model)
        if change.bundle >= 0:
            overlay: Overlay | None = self._overlays.put(model, await asyncio.to_thread(self._received, change, worker))
        else:
            overlay = None
            self._overlays.restore(model, "")
        try:
            if overlay is not None or before:
                await asyncio.to_thread(self._lookout.overlay, model, overlay, lambda wish: self._steering.check_load(model, wish))
            else:
                await asyncio.to_thread(self._lookout.look)
            self._steering.load(model, done)
        except BaseException:
            self._overlays.restore(model, before)
            raise

    def _received(self, change: Change, worker: int) -> Overlay:
        """What came with a load, held against the settings once more: a worker runs models, and is not believed."""
        overlay = Overlay.received(worker, change.bundle, max_bytes=self._overlays.max_bytes)
        if overlay.model == change.model and (self._files or not overlay.places):
            return overlay
        overlay.close()
        raise FILES_DENIED if overlay.model == change.model else RegistryError(Kind.CONFLICT, "what came with the load is of another model")

    async def _unload(self, model: str, done: Done) -> None:
        await asyncio.to_thread(self._lookout.look)
        self._steering.unload(model, done)
        if self._overlays.of(model):
            self._overlays.restore(model, "")
            await asyncio.to_thread(self._lookout.overlay, model, None)
