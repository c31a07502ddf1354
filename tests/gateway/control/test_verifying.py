"""A version is looked into before workers load it: read, checked, loaded and asked in a confined child."""

from __future__ import annotations

import asyncio
import os
from contextlib import closing
from pathlib import Path

import pytest

from gateway.config import Config, Repository
from gateway.control import verifying
from gateway.control.steering import Outcome
from gateway.control.verifying import Verifying
from gateway.serving.lifecycle import Failure, Wanted
from gateway.serving.sources import open_repository, wish
from registry.discovery import Source
from registry.names import blob_key
from registry.overlay import Overlay, bundled
from registry.verified import VerifiedModel
from tests.gateway.serving import graphs
from tests.gateway.serving.registries import golden, published


def unseen(wanted: Wanted, verified: VerifiedModel) -> None:
    """Nobody counts anything."""


def outcomes(
    root: Path, *, trials: bool = True, source: Source | None = None, wanted: list[Wanted] | None = None, overlay: Overlay | None = None
) -> list[Outcome]:
    """Of every version that a server of `root` wants, in order."""
    config = Config(repository=Repository(path=root))
    source = source or open_repository(config.repository)
    wanted = wanted or sorted(wish(config, source.listing()).desired.versions)

    async def run() -> list[Outcome]:
        made = Verifying(lambda: source, trials=trials, brought=lambda identity: overlay.copy() if overlay else None, look_into=unseen)
        found = list(await asyncio.gather(*(made.begin(one) for one in wanted)))
        made.close()
        return found

    return asyncio.run(run())


def test_a_version_that_answers_its_golden_requests_passes(tmp_path: Path) -> None:
    """Its size is known afterwards."""
    published(tmp_path / "r", "m", graphs.twice(), aliases={"champion": 1}, parts=golden(2.0))
    (found,) = outcomes(tmp_path / "r")
    assert (None, True) == (found.reason, found.size_bytes > 0)


def test_one_that_answers_otherwise_fails_and_the_next_is_not_affected(tmp_path: Path) -> None:
    """The reason names request and output."""
    published(tmp_path / "r", "bad", graphs.twice(), aliases={"champion": 1}, parts=golden(2.5))
    published(tmp_path / "r", "good", graphs.twice(), aliases={"champion": 1}, parts=golden(2.0))
    bad, good = outcomes(tmp_path / "r")
    assert "golden request 1 is answered otherwise: output 'y'" in (bad.reason or "")
    assert (Failure.MODEL, None) == (bad.failure, good.reason)


def test_a_file_that_is_no_model_fails_there_and_not_in_a_worker(tmp_path: Path) -> None:
    """Without trials it passes, since nothing but its digest is looked at."""
    path = graphs.saved(tmp_path / "m" / "1" / "model.onnx", graphs.twice())
    path.write_bytes(b"nothing of the kind")
    (found,), (unlooked,) = outcomes(tmp_path), outcomes(tmp_path, trials=False)
    assert "cannot load the model" in (found.reason or "")
    assert unlooked.reason is None


def test_damage_is_named_and_is_no_reason_to_try_again_soon(tmp_path: Path) -> None:
    """The digest is checked on the bytes that would be loaded."""
    store = published(tmp_path / "r", "m", graphs.twice(), aliases={"champion": 1})
    blob = tmp_path / "r" / blob_key(store.manifest("m", 1).model.digest)
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"\0")
    (found,) = outcomes(tmp_path / "r")
    assert "model.onnx of version 1 of model 'm' is damaged" in (found.reason or "")
    assert Failure.MODEL is found.failure


def test_files_that_have_changed_since_are_not_what_is_wanted(tmp_path: Path) -> None:
    """The next look lists what is there now."""
    path = graphs.saved(tmp_path / "m" / "1" / "model.onnx", graphs.twice())
    config = Config(repository=Repository(path=tmp_path))
    source = open_repository(config.repository)
    wanted = sorted(wish(config, source.listing()).desired.versions)
    path.write_bytes(path.read_bytes() + b"")
    graphs.saved(path, graphs.twice(weight=5.0))
    (found,) = outcomes(tmp_path, source=source, wanted=wanted)
    assert "its files have changed since they were listed" == found.reason


def test_a_fault_of_ours_costs_the_version_and_not_the_server(tmp_path: Path) -> None:
    """The caller gets a reason; a storage that does not answer is worth another attempt."""
    graphs.saved(tmp_path / "m" / "1" / "model.onnx", graphs.twice())

    class Broken:
        def __init__(self, error: Exception) -> None:
            self.error = error

        def ref(self, model: str, version: int) -> object:
            raise self.error

    wanted = [Wanted("m", 1, "a/b")]
    (ours,) = outcomes(tmp_path, source=Broken(KeyError("x")), wanted=wanted)  # type: ignore[arg-type]
    (theirs,) = outcomes(tmp_path, source=Broken(OSError(5, "Input/output error")), wanted=wanted)  # type: ignore[arg-type]
    assert ("internal error: KeyError", Failure.MODEL) == (ours.reason, ours.failure)
    assert ("it cannot be tried: Input/output error", Failure.UNREACHABLE) == (theirs.reason, theirs.failure)


def test_a_child_that_has_nothing_to_do_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory is given back; the next verification starts another."""
    monkeypatch.setattr(verifying, "IDLE_S", 0.0)
    published(tmp_path / "r", "m", graphs.twice(), aliases={"champion": 1})
    config = Config(repository=Repository(path=tmp_path / "r"))
    source = open_repository(config.repository)
    (wanted,) = wish(config, source.listing()).desired.versions

    async def run() -> list[int | None]:
        made = Verifying(lambda: source, trials=True, brought=lambda identity: None, look_into=unseen)
        pids = []
        for _ in range(2):
            await made.begin(wanted)
            pids.append(made._child.pid)
            while made._child.pid is not None:
                await asyncio.get_running_loop().run_in_executor(made._thread, lambda: None)
            pids.append(made._child.pid)
        made.close()
        return pids

    first, gone, second, gone_too = asyncio.run(run())
    assert (None, None) == (gone, gone_too)
    assert None not in {first, second}
    assert first != second


@pytest.mark.parametrize("finished", [True, False], ids=["idle", "busy"])
def test_nothing_is_left_to_happen_once_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: bool) -> None:
    """A server that stops soon after a verification, or during one, ends without a fault in its log."""
    monkeypatch.setattr(verifying, "IDLE_S", 0.0)
    graphs.saved(tmp_path / "m" / "1" / "model.onnx", graphs.twice())
    source = open_repository(Repository(path=tmp_path))
    (wanted,) = wish(Config(repository=Repository(path=tmp_path)), source.listing()).desired.versions

    async def run() -> list[object]:
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        made = Verifying(lambda: source, trials=False, brought=lambda identity: None, look_into=unseen)
        future = made.begin(wanted)
        if finished:
            await future
        made.close()
        await future
        for _ in range(3):
            await asyncio.sleep(0)
        return faults

    assert [] == asyncio.run(run())


@pytest.mark.parametrize("trials", [False, True])
def test_files_that_came_with_a_load_are_examined_and_tried_whatever_the_settings(tmp_path: Path, trials: bool) -> None:
    """What is good passes; what the scanner refuses is refused by name, and the repository is itself again afterwards."""
    graphs.saved(tmp_path / "m" / "1" / "model.onnx", graphs.twice())
    foreign = graphs.twice()
    foreign.graph.node[0].domain = "evil"
    config = Config(repository=Repository(path=tmp_path))
    good = graphs.twice().SerializeToString()
    for content, reason in ((good, None), (foreign.SerializeToString(), "evil"), (b"nothing of the kind", "not an ONNX model")):
        source = open_repository(config.repository)
        with bundled("m", "{}", {(3, "model.onnx"): content}) as file, closing(Overlay.received(os.getpid(), file.fileno())) as overlay:
            source.overlay("m", overlay)
            wanted = sorted(wish(config, source.listing()).desired.versions)
            source.overlay("m", None)
            (found,) = outcomes(tmp_path, trials=trials, source=source, wanted=wanted, overlay=overlay)
            assert [3] == [one.version for one in wanted]
            assert reason is found.reason is None or (reason or "?") in (found.reason or "")
            (gone,) = outcomes(tmp_path, trials=trials, source=source, wanted=wanted)
            assert gone.reason is not None
        assert source.overlaid("m") is None
