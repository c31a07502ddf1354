"""What a worker has for the inference log: a ledger, a writer, and a recorder for each version whose requests are logged.

The log is opened where versions are loaded, in that thread. Where it cannot be, versions serve all the same, nothing of them is accepted
for the log, and it is tried again.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from gateway.capture.capturing import Tick
from gateway.capture.draws import Draws
from gateway.capture.fields import UnfitError
from gateway.capture.recorder import Capture, Desk
from gateway.capture.shape import Shape
from gateway.capture.writer import Bounds, Writer
from gateway.capture_settings import Capture as Settings
from gateway.capture_settings import CapturePlan
from gateway.clock import Clock, seeded_random
from gateway.config import Config
from gateway.errors import Code
from gateway.serving.versions import Version
from gateway.wire.status import ANSWERS
from registry.directory import DirectoryMedium
from registry.errors import RegistryError
from registry.log_layout import KEY_BYTES, make_key, make_log, node_name, read_key, segment_id
from registry.log_ledger import Ledger
from registry.log_rows import Head, head_frame
from registry.log_segment import SegmentFile

_log = logging.getLogger(__name__)
_AGAIN_S = 5.0
_CODES = tuple([(code.name, ANSWERS[code].grpc) for code in sorted(Code)])

Loop = Callable[..., object]  # asyncio's `call_soon_threadsafe`


class Captures:
    """Of one worker."""

    def __init__(self, place: int, clock: Clock, call: Loop, later: Callable[[float, Callable[[], None]], object]) -> None:
        """`call` and `later` are the event loop's `call_soon_threadsafe` and `call_later`."""
        self._place, self._clock, self._call, self._later = place, clock, call, later
        self._rng = seeded_random()
        self._tick = Tick(later)
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], None]] = []  # versions that are to be logged once there is a log
        self._ledger: Ledger | None = None
        self._writer: Writer | None = None
        self._desk: Desk | None = None
        self._key = b""

    def prepare(self, version: Version, manifest: str, config: Config) -> None:
        """See to it that its requests are logged, if they shall be. Blocks."""
        plan, log = config.capture_plan(version.name), config.log
        if plan is None or log is None:
            return
        with self._lock:
            if self._desk is None and not self._opened(log, config):
                if not self._waiting:
                    self._call(self._later, _AGAIN_S, lambda: self._again(log, config))
                self._waiting.append(lambda: self._attach(version, manifest, plan, config))
                return
        self._attach(version, manifest, plan, config)

    def _again(self, log: Path, config: Config) -> None:
        """In a thread of its own: a disk may take its time."""
        threading.Thread(target=self._retry, args=(log, config), name="capture", daemon=True).start()

    def _retry(self, log: Path, config: Config) -> None:
        with self._lock:
            opened = self._opened(log, config)
            waiting, self._waiting = (self._waiting, []) if opened else ([], self._waiting)
        if not opened:
            self._call(self._later, _AGAIN_S, lambda: self._again(log, config))
        for attach in waiting:
            attach()

    def _opened(self, log: Path, config: Config) -> bool:
        """Open the log, or make it. Whether that went well."""
        settings, rng = config.capture, self._rng
        worker = f"{int(self._clock.wall() * 1000):012x}{rng.getrandbits(48):012x}"
        try:
            root = log.resolve()
            make_log(DirectoryMedium(root), f"{rng.getrandbits(128):032x}")
            key = read_key(settings.key) if settings.key is not None else make_key(root, rng.randbytes(KEY_BYTES))
            self._ledger = ledger = Ledger.create(root, worker)
        except (RegistryError, OSError) as error:
            _log.error("inference log: nothing is logged, and it is tried again: %s", error)
            return False
        self._key = (key * 2)[:16]
        self._writer = Writer(ledger, self._creating(root, worker, settings), _bounds(settings), self._clock.now)
        self._desk = Desk(
            self._writer,
            self._tick.add,
            now=self._clock.now,
            wall=self._clock.wall,
            rng=rng,
            tenants=config.auth is not None,
            call=self._call,
        )
        return True

    def _creating(self, root: Path, worker: str, settings: Settings) -> Callable[[], SegmentFile]:
        """What makes the next segment, in the writer's thread."""
        node = node_name(settings.node or socket.gethostname())
        numbers = iter(range(1 << 32))

        def create() -> SegmentFile:
            segment = segment_id(worker, next(numbers))
            created_us = int(self._clock.wall() * 1e6)
            head = Head(segment=segment, worker=worker, node=node, place=self._place, created_us=created_us, codes=_CODES)
            return SegmentFile.create(root, segment, head_frame(head))

        return create

    def _attach(self, version: Version, manifest: str, plan: CapturePlan, config: Config) -> None:
        assert self._ledger is not None
        assert self._desk is not None
        name = f"{version.name}/{version.number}"
        try:
            shape = Shape(version.signature, version.number, manifest, plan, self._key)
        except UnfitError as error:
            _log.error("requests of %s are not logged: %s", name, error)
            return
        words = self._ledger.words(version.name)
        if words is None:
            _log.error("requests of %s are not logged: a worker keeps accounts of 512 models at most", name)
            return
        entrance = None if version.watch is None else version.watch.entrance
        draws = Draws(plan.sample, seeded_random())
        version.capture = Capture(
            version, shape, draws, words, self._desk, violations=None if entrance is None else entrance.broken,
            tells=config.capture.request_ids,
        )  # fmt: skip

    def close(self, timeout_s: float) -> None:
        """Everything that was answered is in the log, or time is up. Blocks; nothing is served any more."""
        self._tick.end()
        if self._writer is not None:
            self._writer.close(timeout_s)


def _bounds(settings: Settings) -> Bounds:
    return Bounds(
        max_bytes=settings.max_bytes, flush_s=settings.flush_s, flush_bytes=settings.flush_bytes, seal_s=settings.seal_s,
        seal_bytes=settings.seal_bytes, group=settings.durability == "sync",
    )  # fmt: skip
