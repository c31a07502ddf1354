"""Processes that evaluate, seen from the supervisor: real ones, small ones, that answer, stay silent, die and do not end."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.clock import SystemClock
from gateway.config import Config, Repository, decode
from gateway.control import attendant
from gateway.control.drift_messages import EvaluatorInheritance, Learned, Watched
from gateway.control.evaluators import MAX_QUESTIONS, Evaluators
from gateway.control.respawn import LONGEST_S
from gateway.drift_settings import Contract, DriftPlan

SPEAKS = """
import json, os, signal, socket, sys, time
peer = socket.socket(fileno=int(sys.argv[1]))
def say(**message):
    content = json.dumps(message).encode()
    peer.sendall(len(content).to_bytes(4, "big") + content)
def heard():
    size = peer.recv(4, socket.MSG_WAITALL)
    if len(size) < 4:
        sys.exit()
    return json.loads(peer.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
"""
GOOD = f"""{SPEAKS}
while True:
    message = heard()
    match message["type"]:
        case "Evaluate":
            say(type="Gauges", families={{"config": [[[message["config"]], 1.0]]}})
        case "Watch":
            say(type="Gauges", families={{"watch": [[[block[0]], float(block[4])] for block in message["blocks"]]}})
            for block in message["blocks"]:
                if block[-1]:
                    say(type="Closed", serial=block[4])
        case "Tell" if message["model"] == "fatal":
            os._exit(3)
        case "Tell" if message["model"] == "learn":
            say(type="Learned", model="m", version=1, identity="i", path="/p")
        case "Tell" if message["model"] != "silent":
            say(type="Told", number=message["number"], content="about " + message["model"])
        case "End":
            open(sys.argv[2], "w").write("saved")
            break
"""
DIES = "import sys"
GROGGY = (
    f"{SPEAKS}\nfor _ in range(2): heard()\npeer.shutdown(2); peer.close()\nwhile True: signal.pause()"  # it lives on without a channel
)
DEAF = f"{SPEAKS}\nwhile True: signal.pause()"
PLAN = DriftPlan(watched=True, learn_rows=0, bins=False, segments=None)


def block(serial: int, *, closing: bool = False) -> Watched:
    return Watched(f"m{serial}", 1, "i", serial * 512, serial, PLAN, Contract(), closing=closing)


class Yard:
    """What the supervisor has, with processes that run `program`."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program, self.marker = program, folder / "saved"
        self.blocks: tuple[Watched, ...] = ()
        self.closed: list[int] = []
        self.learned: list[Learned] = []
        self.started: list[int] = []  # pids
        self.alive_together = 0
        self.delays: list[float] = []
        self.until_free: asyncio.Event | None = None
        self.error: OSError | None = None
        self.config = Config(repository=Repository(path=Path("r")))
        self.evaluators = Evaluators(
            self.config, EvaluatorInheritance(blocks=-1, run="r", state="", learned=""), SystemClock(),
            watched=lambda: self.blocks, closed=self.closed.append, learned=self.learned.append, start=self._start, sleep=self._sleep,
        )  # fmt: skip

    def _start(self, _given: EvaluatorInheritance) -> tuple[subprocess.Popen[bytes], socket.socket]:
        if self.error is not None:
            raise self.error
        ours, theirs = socket.socketpair()
        self.alive_together += sum(alive(pid) for pid in self.started)
        with theirs:
            command = [sys.executable, "-S", "-c", self.program, str(theirs.fileno()), str(self.marker)]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        self.started.append(process.pid)
        return process, ours

    async def _sleep(self, delay_s: float) -> None:
        self.delays.append(delay_s)
        if self.until_free is not None:
            await self.until_free.wait()
        await asyncio.sleep(0)

    def tell(self, *blocks: Watched) -> None:
        self.blocks = blocks
        self.evaluators.changed()

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not reached():
                await asyncio.to_thread(threading.Event().wait, 0.002)

    async def ask(self, model: str) -> str:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.evaluators.ask(model, answer.set_result)
        return await asyncio.wait_for(answer, 20)

    async def ready(self) -> None:
        """It has been told of the blocks there are."""
        await self.until(lambda: [*self.evaluators.gauges.families.get("watch", ())] == [((one.model,), one.serial) for one in self.blocks])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def yarded(folder: Path, program: str, deed: Callable[[Yard], Awaitable[None]]) -> Yard:
    async def run() -> Yard:
        yard = Yard(program, folder)
        await deed(yard)
        await yard.evaluators.end()
        for _ in range(3):  # the channel closes
            await asyncio.sleep(0)
        assert [] == [pid for pid in yard.started if alive(pid)]
        return yard

    return asyncio.run(run())


def test_it_is_started_by_the_first_block_and_told_of_all_others(tmp_path: Path) -> None:
    """Settings first, then lists, one a tick; at the end it may save."""

    async def deed(yard: Yard) -> None:
        yard.tell()
        await asyncio.sleep(0)
        assert [] == yard.started
        assert "" == await yard.ask("early")
        yard.tell(block(1))
        yard.tell(block(1), block(2))
        await yard.ready()
        assert "about m" == await yard.ask("m")
        yard.tell(block(2, closing=True))
        await yard.ready()
        await yard.until(lambda: [2] == yard.closed)
        yard.evaluators.ask("learn", lambda _: None)
        await yard.until(lambda: [Learned("m", 1, "i", "/p")] == yard.learned)
        assert (1, [0.0]) == (len(yard.started), yard.delays)
        assert yard.started[0] == yard.evaluators.pid

    yard = yarded(tmp_path, GOOD, deed)
    assert "saved" == yard.marker.read_text()
    assert 1 == len(yard.started)


def test_who_waits_when_it_dies_is_told_so_and_the_next_one_knows_every_block(tmp_path: Path) -> None:
    """Blocks that are closed and were not acknowledged among them."""

    async def deed(yard: Yard) -> None:
        yard.tell(block(1))
        await yard.ready()
        answers: list[str] = []
        yard.evaluators.ask("silent", answers.append)
        yard.blocks = (block(1), block(3, closing=True))  # nobody is told: it dies first
        yard.evaluators.ask("fatal", answers.append)
        await yard.until(lambda: ["", ""] == answers)
        await yard.ready()
        await yard.until(lambda: [3] == yard.closed)
        assert "about m" == await yard.ask("m")
        assert (2, 0) == (len(yard.started), yard.alive_together)

    yarded(tmp_path, GOOD, deed)


def test_one_that_dies_young_again_and_again_is_started_later_and_later(tmp_path: Path) -> None:
    """Also where it dies before anything was said to it."""

    async def deed(yard: Yard) -> None:
        yard.tell(block(1))
        await yard.until(lambda: len(yard.delays) >= 6)
        yard.program = GOOD
        await yard.ready()
        assert "about m" == await yard.ask("m")

    delays = yarded(tmp_path, DIES, deed).delays
    assert [0.0, 0.0, 0.0, 0.5, 1.0, 2.0] == delays[:6]
    assert max(delays) <= LONGEST_S


def test_one_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    """Never in a circle."""

    async def deed(yard: Yard) -> None:
        yard.error = OSError(errno.EAGAIN, "no processes")
        yard.tell(block(1))
        await yard.until(lambda: len(yard.delays) >= 4)
        yard.error = None
        await yard.ready()

    delays = yarded(tmp_path, GOOD, deed).delays
    assert 0.0 == delays[0]
    assert all(delays[1:])


def test_the_next_one_waits_until_the_one_before_it_is_dead(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """One that has lost its channel and lives on is killed: two would write the same files."""
    monkeypatch.setattr(attendant, "_REAP_S", 0.05)

    async def deed(yard: Yard) -> None:
        yard.tell(block(1))
        await yard.until(lambda: len(yard.started) == 1)
        yard.program = GOOD
        await yard.ready()
        assert (2, 0) == (len(yard.started), yard.alive_together)

    yarded(tmp_path, GROGGY, deed)


def test_questions_are_bounded_and_all_are_answered(tmp_path: Path) -> None:
    """Where it does not answer, callers beyond the bound are told at once, and the others when it dies."""

    async def deed(yard: Yard) -> None:
        yard.tell(block(1))
        await yard.ready()
        answers: list[str] = []
        for _ in range(MAX_QUESTIONS + 3):
            yard.evaluators.ask("silent", answers.append)
        assert [""] * 3 == answers
        assert "" == await yard.ask("m")
        os.kill(yard.started[0], 9)
        await yard.until(lambda: len(answers) == MAX_QUESTIONS + 3)
        assert {""} == set(answers)
        await yard.until(lambda: len(yard.started) == 2)

    yarded(tmp_path, GOOD, deed)


def test_what_makes_no_sense_ends_it_and_nothing_else(tmp_path: Path) -> None:
    """It is a fault of ours; another one is tried."""

    async def deed(yard: Yard) -> None:
        yard.tell(block(1))
        await yard.until(lambda: len(yard.started) >= 2)
        yard.program = GOOD
        await yard.ready()

    asyncio_silent = f"{SPEAKS}\nfor _ in range(2): heard()\nsay(type='Nonsense')\nheard()"
    yarded(tmp_path, asyncio_silent, deed)


def test_one_that_does_not_end_in_time_is_killed(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """The server ends all the same."""
    monkeypatch.setattr(attendant, "_END_S", 0.05)

    async def deed(yard: Yard) -> None:
        yard.tell(block(1))
        await yard.until(lambda: yard.evaluators.pid is not None)

    assert not yarded(tmp_path, DEAF, deed).marker.exists()


def test_nobody_is_started_once_the_server_ends(tmp_path: Path) -> None:
    """Whoever waited for its turn has lost it, and blocks that close now tell nobody."""

    async def deed(yard: Yard) -> None:
        yard.until_free = asyncio.Event()
        yard.tell(block(1))
        await yard.until(lambda: bool(yard.delays))
        await yard.evaluators.end()
        yard.until_free.set()
        yard.tell(block(1, closing=True))
        for _ in range(10):
            await asyncio.sleep(0)

    yard = yarded(tmp_path, GOOD, deed)
    assert [] == yard.started


def test_one_that_is_being_started_when_the_server_ends_is_seen_off(tmp_path: Path) -> None:
    """It is told nothing, so it does not save."""

    async def deed(yard: Yard) -> None:
        begun, go_on = threading.Event(), threading.Event()
        start = yard.evaluators._attendant._start

        def slow() -> tuple[subprocess.Popen[bytes], socket.socket]:
            begun.set()
            go_on.wait(20)
            return start()

        yard.evaluators._attendant._start = slow
        yard.tell(block(1))
        await yard.until(begun.is_set)
        end = asyncio.create_task(yard.evaluators.end())
        await asyncio.sleep(0)
        go_on.set()
        await end

    yard = yarded(tmp_path, GOOD, deed)
    assert (1, False) == (len(yard.started), yard.marker.exists())


def test_settings_arrive_whole(tmp_path: Path) -> None:
    """As the supervisor has them."""
    program = GOOD.replace('case "Watch":', 'case "Watch":\n            continue')

    async def deed(yard: Yard) -> None:
        yard.tell(block(1))
        await yard.until(lambda: "config" in yard.evaluators.gauges.families)
        (((config,), _),) = yard.evaluators.gauges.families["config"]
        assert yard.config == decode(config)

    yarded(tmp_path, program, deed)
