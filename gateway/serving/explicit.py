"""Which models are loaded where callers say so, instead of the repository: Triton's explicit model control. Pure but for its memory.

Source: github.com/triton-inference-server/server/blob/main/docs/user_guide/model_management.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gateway.errors import Code, TidegateError
from gateway.protocol.tensors import shown
from gateway.serving.sources import Wish

EVERY = "*"
NOT_LOADED = "it is not loaded"


class Explicit:
    """The models that shall be loaded."""

    def __init__(self, first: Iterable[str]) -> None:
        """`first`: from the start on; `EVERY` among them is all that the repository has then."""
        self.loaded = set(first)

    def of(self, wish: Wish) -> Wish:
        """The part of a wish that is about loaded models; the others are idle. Nothing is loaded for being asked for."""
        versions = wish.desired.versions
        names = {one.model for one in versions}
        if EVERY in self.loaded:
            self.loaded = self.loaded - {EVERY} | names
        chosen = frozenset(one for one in versions if one.model in self.loaded)
        idle = dict(wish.idle) | dict.fromkeys(names - self.loaded, NOT_LOADED)
        return replace(wish, desired=replace(wish.desired, versions=chosen), lazy=frozenset(), idle=idle)

    def absent(self, wish: Wish) -> list[str]:
        """Models that shall be loaded and that a wish has nothing of."""
        return sorted(self.loaded - {EVERY} - {one.model for one in wish.desired.versions})

    def check(self, model: str, wish: Wish) -> None:
        """Raises NOT_FOUND and FAILED_PRECONDITION for a model of which a wish has nothing to load."""
        _check(f"failed to load '{shown(model)}'", model, wish)

    def load(self, model: str, wish: Wish) -> None:
        """Have a model loaded. Raises as `check`."""
        self.check(model, wish)
        self.loaded.add(model)

    def unload(self, model: str, wish: Wish) -> None:
        """Have it loaded no more. Raises NOT_FOUND for a model that is neither loaded nor in a wish."""
        if model not in self.loaded:
            _check(f"failed to unload '{shown(model)}'", model, wish, loading=False)
        self.loaded.discard(model)


def _check(what: str, model: str, wish: Wish, *, loading: bool = True) -> None:
    if any(one.model == model for one in wish.desired.versions):
        return
    if model not in wish.idle:
        raise TidegateError(Code.NOT_FOUND, f"{what}: the repository has no such model")
    if loading:
        raise TidegateError(Code.FAILED_PRECONDITION, f"{what}: no version is available: {wish.idle[model]}")
