"""The process that keeps labels, seen from the supervisor: a real one, small, that answers, dies, and comes again."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from gateway.clock import SystemClock
from gateway.config import Config, Repository
from gateway.control.label_desks import MAX_ASKED, LabelDesks
from gateway.control.matured import Matured, Want, Wants
from gateway.control.messages import Table, ToldLabels
from gateway.errors import Code
from gateway.label_settings import Labels
from tests.gateway.control.test_evaluators import SPEAKS

PROGRAM = f"""{SPEAKS}
import base64
while True:
    message = heard()
    match message["type"]:
        case "Serving":
            figures = [[[model], float(number)] for model, number in message["versions"]]
            say(type="Judged", families={{"tidegate_label_quality": figures}})
        case "Wants":
            for reader, _, _, metric, *_ in message["wants"]:
                say(type="Matured", reader=reader, metric=metric, answers=base64.b64encode(b"all").decode())
        case "Ingest" if message["content"] == base64.b64encode(b"fatal").decode():
            os._exit(3)
        case "Ingest" if message["content"] != base64.b64encode(b"silent").decode():
            say(type="ToldLabels", number=message["number"], code=0, text="", content=message["content"])
        case "End":
            break
"""


def tried(
    folder: Path, deed: Callable[[LabelDesks, list[ToldLabels]], Awaitable[None]], *, enabled: bool = True
) -> list[subprocess.Popen[bytes]]:
    """The processes that were started."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, theirs = socket.socketpair()
        with theirs:
            started.append(subprocess.Popen([sys.executable, "-c", PROGRAM, str(theirs.fileno())], pass_fds=[theirs.fileno()]))
        return started[-1], ours

    async def run() -> None:
        async def at_once(_delay_s: float) -> None:
            await asyncio.sleep(0)

        config = Config(repository=Repository(path=folder), labels=Labels(enabled=enabled, directory=folder))
        desks = LabelDesks(config, SystemClock(), start=start, sleep=at_once)
        async with asyncio.timeout(30):
            await deed(desks, [])
        await desks.end()

    asyncio.run(run())
    return started


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - what another process does rings no bell here
        await asyncio.sleep(0.005)


def table(*versions: int) -> Table:
    return Table(models={"m": dict.fromkeys(versions, "")})


def test_labels_go_there_and_answers_come_back_with_the_callers_number(tmp_path: Path) -> None:
    """Two workers may have given the same number; figures of what serves come on their own."""

    async def deed(desks: LabelDesks, told: list[ToldLabels]) -> None:
        desks.ask(1, b"early", False, told.append)
        assert [Code.UNAVAILABLE] == [one.code for one in told]
        desks.serves(table(3))
        await until(lambda: bool(desks.gauges()))
        assert {("m",): 3.0} == desks.gauges()["tidegate_label_quality"]
        desks.ask(7, b"first", False, told.append)
        desks.ask(7, b"second", True, told.append)
        await until(lambda: len(told) == 3)
        assert [(7, 0, b"first"), (7, 0, b"second")] == [(one.number, one.code, one.content) for one in told[1:]]

    (process,) = tried(tmp_path, deed)
    assert 0 == process.returncode


def test_when_it_dies_whoever_waits_is_told_and_another_comes(tmp_path: Path) -> None:
    """And what serves is known to that one too."""

    async def deed(desks: LabelDesks, told: list[ToldLabels]) -> None:
        desks.serves(table(3))
        await until(lambda: desks.pid is not None and bool(desks.gauges()))
        first = desks.pid
        desks.ask(5, b"silent", False, told.append)
        desks.ask(6, b"fatal", False, told.append)
        await until(lambda: len(told) == 2)
        assert [(5, Code.UNAVAILABLE), (6, Code.UNAVAILABLE)] == [(one.number, one.code) for one in told]
        assert "send the same again" in told[0].text
        while True:
            desks.ask(8, b"again", False, told.append)
            await until(lambda: len(told) > 2)
            if told.pop().code == Code.OK:
                break
            await asyncio.sleep(0.005)
        assert desks.pid not in (None, first)

    assert 2 == len(tried(tmp_path, deed))


def test_what_is_wanted_is_asked_of_everyone_who_comes(tmp_path: Path) -> None:
    """Before there is anybody too; the one after a death tells all of it again."""
    want = Want("reader", "m-1", "m", "accuracy", "label", 0.0, 0.0, (1, 2))

    async def deed(desks: LabelDesks, told: list[ToldLabels]) -> None:
        found: list[Matured] = []
        desks.matured = found.append
        desks.want(Wants((want,)))
        desks.serves(table(3))
        await until(lambda: len(found) == 1)
        desks.ask(6, b"fatal", False, told.append)
        await until(lambda: len(found) == 2)
        desks.want(Wants((want, msgspec.structs.replace(want, metric="other"))))
        await until(lambda: len(found) == 4)
        assert [Matured("reader", metric, b"all") for metric in ("accuracy", "accuracy", "accuracy", "other")] == found

    assert 2 == len(tried(tmp_path, deed))


def test_so_many_wait_and_no_more(tmp_path: Path) -> None:
    """The next one is shed."""

    async def deed(desks: LabelDesks, told: list[ToldLabels]) -> None:
        desks.serves(table())
        await until(lambda: desks._attendant.there)
        for number in range(MAX_ASKED + 1):
            desks.ask(number, b"silent", False, told.append)
        assert [(MAX_ASKED, Code.OVERLOADED)] == [(one.number, one.code) for one in told]

    tried(tmp_path, deed)


def test_where_labels_are_not_taken_there_is_no_process(tmp_path: Path) -> None:
    """Whatever serves."""

    async def deed(desks: LabelDesks, told: list[ToldLabels]) -> None:
        desks.serves(table(1))
        await asyncio.sleep(0)
        desks.ask(1, b"x", False, told.append)
        assert [Code.UNAVAILABLE] == [one.code for one in told]

    assert [] == tried(tmp_path, deed, enabled=False)
