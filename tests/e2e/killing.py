"""A rollout whose server is killed at each entry of its journal, and started again on its ports, until it is over."""

from __future__ import annotations

import enum
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import onnx

from gateway.clock import SystemClock
from gateway.rollout.machine import Phase
from gateway.rollout.standing import Standing
from registry.store import Store
from tests.e2e.journals import Away, Record, Watch, awaited, check_lost
from tests.e2e.rolling import AGREEMENT, ERRORS, SHADOW, Callers, Patience, apply, operations, plan, processes_of, weight
from tests.e2e.server import Server, free_ports, starting
from tests.gateway.serving import graphs
from tests.gateway.serving.registries import published

REFEREE = "gateway.control.referee"
HUGE = 100_000  # units that never come
PEOPLE = ("bob", "cas")


class Moment(enum.Enum):
    """When somebody dies, and who."""

    BEFORE = "before"  # the supervisor, before it can have done what the new entry says: it is stopped as soon as that is there
    AFTER = "after"  # the supervisor, once what the entry says is in effect
    WITH = "with"  # it and whoever decides, who may be about to write more: nothing lets go of the claim
    REFEREE = "referee"  # whoever decides, alone


class Story(NamedTuple):
    """What is rolled out, and how it goes."""

    steps: tuple[dict[str, Any], ...]
    metrics: tuple[dict[str, Any], ...]
    candidate: onnx.ModelProto
    events: tuple[str, ...]
    moves: tuple[tuple[int | None, int], ...]
    spec: dict[str, Any] = {}


ERRORS_TELL = {"name": "refused", "type": "rate", "event": "rejected_input or server_error", "critical": True}
PROMOTED = Story(
    (SHADOW, weight(20), {"pause": {}}, {"approve": {"count": 2}}, weight(60, verdict=None, min_duration="1s")),
    (ERRORS, AGREEMENT),
    graphs.twice(),
    ("apply", "admit", "prepare", "ready", "pass", "pass", "pause", "advance", "approval", "approval", "approved", "timer", "complete",
     "moved", "baked"),
    ((None, 1), (1, 2)),
)  # fmt: skip
ROLLED_BACK = Story(
    (weight(40, HUGE),), (ERRORS_TELL,), graphs.brittle(), ("apply", "admit", "prepare", "ready", "trip", "fail", "rolled"), ((None, 1),),
    {"consecutive_failures": 1_000_000},
)  # fmt: skip
SHORT = Story(
    (weight(30), weight(60)), (ERRORS,), graphs.twice(),
    ("apply", "admit", "prepare", "ready", "pass", "pass", "complete", "moved", "baked"), ((None, 1), (1, 2)),
)  # fmt: skip


class Killed(NamedTuple):
    """One kill."""

    seq: int  # entries when it was done
    event: str  # the newest one


class Trials:
    """One registry, one rollout, callers who go on calling, and a server that is killed."""

    def __init__(self, folder: Path, story: Story) -> None:
        self.folder, self.story = folder, story
        self.root = folder / "registry"
        published(self.root, "m", graphs.twice(), story.candidate, aliases={"champion": 1})
        self.ports = free_ports()
        self.kills: list[Killed] = []
        self.away: list[Away] = []
        self._clock = SystemClock()

    def play(self, moments: Callable[[str, int], Moment | None]) -> None:
        """To the end; `moments(event, entry)` says what is done once an entry is there. Checks what must hold."""
        apply(self.root, self._plan())
        self.record = Record(self.root)
        began = self.record.standing.begun
        self._since_s = self._clock.wall()
        callers = Callers(self.ports[1], {"m": {"1": 2.0, "2": 2.0}})  # who have gone before the last server has
        with Watch(self.record.directory) as watch, ExitStack() as all_, callers as self.callers:
            server = self._begin(all_)
            seen = self.record.seq
            while not self.record.standing.final or seen < self.record.seq:
                self._lead_on()
                if self.record.seq == seen:
                    awaited(self.record, watch, seen)
                seen += 1  # on a busy machine several have come
                moment = moments(self.record.entries[seen - 1].event, seen)
                if moment is None:
                    continue
                before = self.record.entries
                self._kill(server, moment)
                if moment is not Moment.REFEREE:
                    server = self._begin(all_)
                assert before == self.record.entries[: len(before)]
            self._follow(lambda arms: arms <= {"none"})
        assert began == self.record.standing.begun, "the same plan, the same salt"
        self._check()

    def _plan(self) -> Any:
        made = plan(*self.story.steps, metrics=self.story.metrics)
        if not self.story.spec:
            return made
        document = {"warmup": {"requests": 0, "duration": "0s"}, "metrics": list(self.story.metrics), **self.story.spec}
        return plan(*self.story.steps, metrics=self.story.metrics, analysis=document)

    def _begin(self, stack: ExitStack) -> Server:
        """A server on the same ports, ready."""
        server = stack.enter_context(starting(self.folder, self.root, ports=self.ports))
        server.wait_ready()
        self.away.append(Away(self._since_s, self._clock.wall()))
        return server

    def _lead_on(self) -> None:
        """What people have to do in the phase that it is in."""
        standing, asked = self.record.standing, operations(self.root)
        if standing.phase is Phase.PAUSED:
            asked.resume("m-1", actor="bob", reason="looks good")
        elif standing.phase is Phase.STEP and _asks(standing) and len(standing.approvals) < len(PEOPLE):
            asked.approve("m-1", actor=PEOPLE[len(standing.approvals)])

    def _kill(self, server: Server, moment: Moment) -> None:
        """One kill, and until nothing of it is left."""
        pid, record = server.child.pid, self.record
        if moment is Moment.REFEREE:
            for referee in processes_of(pid, REFEREE):
                os.kill(referee, signal.SIGKILL)
            self.kills.append(Killed(record.seq, record.entries[-1].event))
            return
        os.kill(pid, signal.SIGSTOP if moment is Moment.BEFORE else 0)
        family = descendants(pid)
        if moment is Moment.WITH:
            for referee in processes_of(pid, REFEREE):
                os.kill(referee, signal.SIGKILL)
        if moment is Moment.AFTER:
            self._settle()
        self._since_s = self._clock.wall()
        os.kill(pid, signal.SIGKILL)
        server.child.wait(30)
        patience = Patience()
        while left := alive(family):
            patience.turn(f"{left} outlive their supervisor")
        self.kills.append(Killed(record.seq, record.entries[-1].event))

    def _settle(self) -> None:
        """Until callers get what the journal says, where that can be seen."""
        standing = self.record.standing
        wanted = {"canary", "fallback"} if standing.share else set()
        self._follow(lambda arms: not wanted or bool(arms & wanted))

    def _follow(self, wanted: Callable[[set[str]], bool]) -> None:
        """Until twenty answers in a row are of such arms."""
        since, patience = len(self.callers.answers), Patience()
        while True:
            last = self.callers.answers[-20:]
            if len(self.callers.answers) > since + 20 and wanted({one.arm for one in last}):
                return
            patience.turn(last)

    def _check(self) -> None:
        record, callers = self.record, self.callers
        assert list(self.story.events) == record.events
        assert list(self.story.moves) == record.moves()
        assert (self.story.moves[-1][1], []) == (Store.open(self.root).resolve("m", "champion"), callers.faults)
        record.check_words()
        record.check_evidence(callers)
        record.check_assigned(callers)
        check_lost(callers, self.away)


def _asks(standing: Standing) -> bool:
    """Whether it is at a step that waits for people."""
    steps = standing.plan.steps()
    return standing.step < len(steps) and steps[standing.step].approve is not None


def descendants(pid: int) -> list[int]:
    """All processes that it, or one of them, has started."""
    found = processes_of(pid, "")
    return found + [one for child in found for one in descendants(child)]


def alive(pids: Sequence[int]) -> list[int]:
    """Those that have not ended."""
    return [pid for pid in pids if _state(pid) not in {"", "Z"}]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return ""


def each(moment: Moment) -> Callable[[str, int], Moment | None]:
    """At every entry that the server writes or follows, once."""
    return lambda event, _: None if event in {"apply", "admit"} else moment


def at(*kills: tuple[str, Moment]) -> Callable[[str, int], Moment | None]:
    """Each at the next entry with that event, in this order."""
    left: Iterator[tuple[str, Moment]] = iter(kills)
    coming = [next(left, None)]

    def moment(event: str, _: int) -> Moment | None:
        if coming[0] is None or coming[0][0] != event:
            return None
        found, coming[0] = coming[0][1], next(left, None)
        return found

    return moment
