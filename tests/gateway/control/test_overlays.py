"""What loads brought with them, as long as anybody needs it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from gateway.control import overlays
from gateway.control.overlays import Overlays
from gateway.errors import Code, TidegateError
from registry.overlay import Overlay, bundled

made: list[Overlay] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Nobody holds a descriptor afterwards."""
    yield
    while made:
        made.pop().close()


def brought(configuration: str = "{}", model: str = "m", size: int = 0) -> Overlay:
    with bundled(model, configuration, {(1, "model.onnx"): bytes(size)} if size else {}) as file:
        made.append(Overlay.received(os.getpid(), file.fileno()))
    return made[-1]


def identity(overlay: Overlay) -> str:
    return f"{overlay.marked('0123')}/settings"


def test_a_version_finds_what_came_with_its_load() -> None:
    """By its identity, also after another one has taken its place for the model; one that nothing came with finds nothing."""
    held = Overlays(1 << 20)
    first, second = held.put("m", brought()), held.put("m", brought('{"max_batch_size": 2}'))
    assert second.name == held.of("m")
    for overlay in (first, second):
        copy = held.copy(identity(overlay))
        assert copy is not None
        assert (overlay.name, held.bundle(identity(overlay))) == (copy.name, overlay.bundle.fd)
        copy.close()
    assert (-1, None, "") == (held.bundle("0123/settings"), held.copy("0123/settings"), held.of("n"))
    held.restore("m", first.name)
    assert first.name == held.of("m")
    held.restore("m", "")
    held.keep([])
    assert (-1, True) == (held.bundle(identity(second)), first.bundle.file.closed and second.bundle.file.closed)


def test_it_is_kept_while_it_holds_or_a_version_is_served_with_it() -> None:
    """And closed after that; a copy that somebody took goes on."""
    held = Overlays(1 << 20)
    first, second = held.put("m", brought()), held.put("m", brought('{"max_batch_size": 2}'))
    held.keep(["plain/settings", identity(first)])
    assert (False, False) == (first.bundle.file.closed, second.bundle.file.closed)
    copy = held.copy(identity(first))
    held.keep(["plain/settings"])
    assert (True, False, -1) == (first.bundle.file.closed, second.bundle.file.closed, held.bundle(identity(first)))
    assert copy is not None
    assert copy.bundle.size_bytes == len(os.pread(copy.bundle.fd, 1000, 0))
    copy.close()
    held.restore("m", "gone")  # one that is not there any more is none
    assert "" == held.of("m")


def test_the_same_again_is_the_one_that_is_here() -> None:
    """It takes no room twice."""
    held = Overlays(brought().bundle.size_bytes)
    first, again = held.put("m", brought()), brought()
    assert held.put("m", again) is first
    assert again.bundle.file.closed


def test_there_is_room_for_so_many_bytes_and_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is closed, and the one of before holds."""
    monkeypatch.setattr(overlays, "MAX_OVERLAYS", 3)
    held = Overlays(1000)
    first = held.put("m", brought(size=500))
    large = brought("{ }", size=500)
    with pytest.raises(TidegateError, match="no room for more") as caught:
        held.put("m", large)
    assert (Code.OVERLOADED, first.name, True) == (caught.value.code, held.of("m"), large.bundle.file.closed)
    for model in "no":
        held.put(model, brought(model=model))
    with pytest.raises(TidegateError):
        held.put("p", brought(model="p"))
