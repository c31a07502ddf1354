"""Loads and unloads that callers ask for, over a real directory and steering, without processes: what they brought, and their end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.config import Config, Repository
from gateway.control.loads import Loads
from gateway.control.lookout import Lookout
from gateway.control.messages import Change, Changed, Report
from gateway.control.overlays import Overlays
from gateway.control.steering import Outcome, Steering
from gateway.errors import Code
from gateway.serving.explicit import Explicit
from gateway.serving.lifecycle import State, Wanted
from registry.overlay import bundled, name_in
from tests.gateway.control.test_steering import Floor
from tests.gateway.serving import graphs
from tests.gateway.serving.registries import published

EVERY = '{"version_policy": {"all": {}}}'


class Server(Floor):
    """One worker that holds at once whatever it is told to hold, and versions that are all good unless they are named in `bad`."""

    def __init__(self, root: Path, load_bytes: int = 1 << 20, files: bool = True) -> None:
        super().__init__()
        config = Config(repository=Repository(path=root, model_control="explicit"))
        self.loop = asyncio.get_running_loop()
        self.overlays = Overlays(load_bytes)
        self.steering = Steering(
            self, SystemClock(), workers=1, budget_bytes=None, routed=self.tables.append, explicit=Explicit(()),
        )  # fmt: skip
        self.lookout = Lookout(config, lambda wish: self.loop.call_soon_threadsafe(self.steering.wants, wish), lambda error: None)
        self.slowest: int | None = None
        self.loads = Loads(self.steering, self.lookout, self.overlays, files=files, slowest=lambda: self.slowest)
        self.answers: asyncio.Queue[Changed] = asyncio.Queue()
        self.member: Any = SimpleNamespace(process=SimpleNamespace(pid=os.getpid()), channel=SimpleNamespace(send=self.answers.put_nowait))
        self.bad: dict[str, str] = {}
        self.asked = 0

    def verify(self, wanted: Wanted) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = self.loop.create_future()
        future.set_result(Outcome(self.bad.get(name_in(wanted.identity.partition("/")[0]))))
        return future

    def tell(self, message: Any, worker: int | None = None) -> None:
        super().tell(message, worker)
        if hasattr(message, "versions"):
            self.loop.call_soon(self._hold, message)

    def _hold(self, hold: Any) -> None:
        if self.told and hold is self.holds(1):
            reports = [Report(one.model, one.version, one.identity, State.READY) for one in hold.versions]
            self.steering.reported(1, SimpleNamespace(number=hold.number, versions=reports))  # type: ignore[arg-type]

    def bundle(self, identity: str) -> int:
        return self.overlays.bundle(identity)

    async def change(self, model: str = "m", *, load: bool = True, configuration: str | None = None, **files: bytes) -> Changed:
        """The answer to one of them."""
        self.asked += 1
        placed = {(int(name[1:]), "model.onnx"): content for name, content in files.items()}
        brought = None if configuration is None else bundled(model, configuration, placed)
        self.loads.ask(self.member, Change(self.asked, model, load, -1 if brought is None else brought.fileno()))
        answer = await asyncio.wait_for(self.answers.get(), 20)
        if brought is not None:
            brought.close()
        assert self.asked == answer.number
        return answer

    @property
    def serving(self) -> dict[str, list[int]]:
        return {model: sorted(numbers) for model, numbers in self.steering.table.models.items()}


def served(root: Path, deed: Callable[[Server], Awaitable[None]], **settings: int) -> None:
    async def run() -> None:
        server = Server(root, **settings)
        server.join(1)
        server.lookout.start()
        while server.lookout.source is None or not server.steering._wished:  # noqa: ASYNC110 - a thread is what is waited for
            await asyncio.sleep(0.001)
        await server.settle()
        await deed(server)
        server.steering.close()
        server.lookout.stop()
        await asyncio.to_thread(server.lookout._thread.join)
        for model in [*server.overlays._current]:
            server.overlays.restore(model, "")
        server.overlays.keep([])

    asyncio.run(run())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Versions 1 and 2 of one model."""
    for number in (1, 2):
        graphs.saved(tmp_path / "models" / "m" / str(number) / "model.onnx", graphs.twice())
    return tmp_path / "models"


OK = (Code.OK, "")


def told(answer: Changed) -> tuple[int, str]:
    return answer.code, answer.message


def test_a_configuration_holds_until_the_next_load(root: Path) -> None:
    """A plain load forgets it; so does an unload. What nobody holds any more is given up."""

    async def deed(server: Server) -> None:
        for _ in range(2):
            assert OK == told(await server.change(configuration=EVERY))
            assert ({"m": [1, 2]}, True) == (server.serving, server.overlays.of("m") != "")
            assert {True} == {one.bundle >= 0 for one in server.holds(1).versions}
            assert OK == told(await server.change())
            assert ({"m": [2]}, "") == (server.serving, server.overlays.of("m"))
            assert [-1] == [one.bundle for one in server.holds(1).versions]
        assert OK == told(await server.change(configuration=EVERY))
        assert OK == told(await server.change(load=False))
        await server.settle()
        assert ({}, "") == (server.serving, server.overlays.of("m"))
        server.overlays.keep([one.identity for one in server.steering.snapshot.known])
        assert {} == server.overlays._held
        assert OK == told(await server.change())
        assert {"m": [2]} == server.serving

    served(root, deed)


def test_files_make_a_model_that_the_repository_does_not_have(root: Path) -> None:
    """Until it is unloaded; and hide the versions of one that it has, until it is loaded plainly."""

    async def deed(server: Server) -> None:
        for model in ("new", "m"):
            assert OK == told(await server.change(model, configuration=EVERY, _3=b"x", _7=b"y"))
        assert {"new": [3, 7], "m": [3, 7]} == server.serving
        gone = (Code.NOT_FOUND, "failed to load 'new': the repository has no such model")
        assert gone == told(await server.change("new"))
        assert {"new": [3, 7], "m": [3, 7]} == server.serving
        assert OK == told(await server.change("new", load=False))
        assert OK == told(await server.change("m"))
        assert {"m": [2]} == server.serving
        assert gone == told(await server.change("new"))

    served(root, deed)


BAD = [
    ('{"sequence_batching": {}}', Code.INVALID_ARGUMENT, "sets 'sequence_batching', which cannot be honoured"),
    ('{"more": 1}', Code.INVALID_ARGUMENT, "cannot be read"), ('{"name": "n"}', Code.INVALID_ARGUMENT, "is of a model 'n'"),
    ('{"version_policy": {"specific": {"versions": [9]}}}', Code.FAILED_PRECONDITION, "no version is available"),
]  # fmt: skip


@pytest.mark.parametrize(("configuration", "code", "part"), BAD)
def test_what_cannot_be_honoured_leaves_everything_as_it_was(root: Path, configuration: str, code: Code, part: str) -> None:
    """What serves goes on under the configuration of before."""

    async def deed(server: Server) -> None:
        await server.change(configuration=EVERY)
        before = server.overlays.of("m"), server.steering.table
        answer = await server.change(configuration=configuration)
        assert (code, True, True) == (answer.code, part in answer.message, answer.message.startswith("failed to load 'm': "))
        await server.settle()
        assert before == (server.overlays.of("m"), server.steering.table)
        nobody = await server.change("nobody", configuration=EVERY)
        assert (Code.NOT_FOUND, "", before[1]) == (nobody.code, server.overlays.of("nobody"), server.steering.table)

    served(root, deed)


def test_files_that_fail_leave_what_serves_serving_with_the_reason(root: Path) -> None:
    """Until a load that is better."""

    async def deed(server: Server) -> None:
        await server.change()
        with bundled("m", "{}", {(1, "model.onnx"): b"bad"}) as file:
            name = await asyncio.to_thread(lambda: _name(file.fileno()))
        server.bad[name] = "the scanner objects"
        failed = await server.change(configuration="{}", _1=b"bad")
        assert (Code.FAILED_PRECONDITION, "failed to load 'm': version 1: the scanner objects") == told(failed)
        assert ({"m": [2]}, {"m": {1: "the scanner objects"}}) == (server.serving, server.steering.table.failed)
        assert OK == told(await server.change(configuration="{}", _1=b"good"))
        assert ({"m": [1]}, {}) == (server.serving, server.steering.table.failed)

    served(root, deed)


def _name(descriptor: int) -> str:
    from registry.overlay import Overlay

    overlay = Overlay.received(os.getpid(), descriptor)
    overlay.close()
    return overlay.name


def test_loads_have_room_for_so_many_bytes(root: Path) -> None:
    """The next one is told, and changes nothing; a bundle that is gone is told too."""

    async def deed(server: Server) -> None:
        assert OK == told(await server.change(configuration="{}", _1=bytes(600)))
        assert Code.OVERLOADED == (await server.change("n", configuration="{}", _1=bytes(600))).code
        assert {"m": [1]} == server.serving
        server.loads.ask(server.member, Change(9, "m", True, 1_000_000))
        gone = await asyncio.wait_for(server.answers.get(), 20)
        assert (9, Code.UNAVAILABLE, True) == (gone.number, gone.code, "what came with the load is gone" in gone.message)
        assert {"m": [1]} == server.serving

    served(root, deed, load_bytes=1000)


def test_a_worker_that_was_taken_over_loads_no_more_than_the_settings_allow(root: Path) -> None:
    """Files where there are to be none, or something for another model than it says: refused, whatever the worker let through."""

    async def deed(server: Server) -> None:
        denied = await server.change(configuration="{}", _1=b"x")
        assert (Code.PERMISSION_DENIED, {}) == (denied.code, server.serving)
        with bundled("n", "{}", {}) as file:
            server.loads.ask(server.member, Change(7, "m", True, file.fileno()))
            other = await asyncio.wait_for(server.answers.get(), 20)
        assert (Code.UNAVAILABLE, True, {}) == (other.code, "of another model" in other.message, server.serving)
        assert OK == told(await server.change(configuration=EVERY))

    served(root, deed, files=False)


def test_a_registrys_versions_are_not_configured_by_callers(tmp_path: Path) -> None:
    """UNIMPLEMENTED with what to do instead; a plain load works."""
    published(tmp_path / "registry", "m", graphs.twice(), aliases={"champion": 1})

    async def deed(server: Server) -> None:
        answer = await server.change(configuration="{}")
        assert (Code.UNIMPLEMENTED, True) == (answer.code, "served as they were published" in answer.message)
        assert OK == told(await server.change())
        assert {"m": [1]} == server.serving

    served(tmp_path / "registry", deed)


def test_a_thousand_loads_and_unloads_at_once_end_one_after_the_other_case_102(root: Path) -> None:
    """Everybody is answered; a load that was undone meanwhile is told so; the last one holds."""

    async def deed(server: Server) -> None:
        for number in range(1024):
            server.loads.ask(server.member, Change(number, "m", number % 2 == 1))
        answers = [await asyncio.wait_for(server.answers.get(), 60) for _ in range(1024)]
        assert set(range(1024)) == {answer.number for answer in answers}
        unloads = [answer.code for answer in answers if answer.number % 2 == 0]
        assert {Code.OK} == set(unloads)
        assert {Code.OK, Code.FAILED_PRECONDITION} >= {answer.code for answer in answers}
        await server.settle()
        assert {"m": [2]} == server.serving

    served(root, deed)


def test_an_answer_waits_for_the_slowest_worker(root: Path) -> None:
    """And for none where nobody serves."""

    async def deed(server: Server) -> None:
        server.slowest = 0
        server.loads.ask(server.member, Change(1, "m", True))
        while server.serving != {"m": [2]}:  # noqa: ASYNC110 - the lookout's thread is what is waited for
            await asyncio.sleep(0.001)
        await server.settle()
        assert server.answers.empty()
        server.slowest = server.steering.table.generation
        server.loads.followed()
        assert OK == told(server.answers.get_nowait())

    served(root, deed)
