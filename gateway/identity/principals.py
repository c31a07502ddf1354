"""Principals: somebody who has shown who they are, for a while, and what they may do."""

from __future__ import annotations

import math

import msgspec

from gateway.identity.scopes import allow


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """One caller. `name` says who it is to an operator and is no secret. Times are seconds since the Unix epoch."""

    name: str
    scopes: frozenset[str]
    begins_s: float = -math.inf
    expires_s: float = math.inf
    anonymous: bool = False  # showed nothing: a credential might help

    def may(self, word: str, model: str | None = None) -> bool:
        """Whether its scopes hold for `word`, of `model` where it is a scope of models."""
        return allow(self.scopes, word, model)

    def is_good(self, now_s: float) -> bool:
        """Whether it holds at this time."""
        return self.begins_s <= now_s < self.expires_s
