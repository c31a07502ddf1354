"""A credential while its holder comes back with it: resolved once, held against the clock at every request, looked at again when due.

One comparison of times and one look into a set is all that a request costs whose caller was seen before. A credential that expires, and one
that is withdrawn (its owner sets `until` to 0), is looked at again before anything else is done with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from gateway.errors import Code, TidegateError
from gateway.identity.access import INFER, UNIDENTIFIED, decide, judge, need_of
from gateway.identity.principals import Principal
from gateway.identity.scopes import MAX_MODEL_CHARACTERS
from gateway.identity.tenants import ANONYMOUS

_KEPT_MAX = 4_096

Look = Callable[[], tuple[Principal | None, float]]  # who it is now, and until when (by the clock of arrivals) that needs no other look


class Caller:
    """One credential, or none. Shared by all requests that come with it. `denials` counts what is refused to it, by code."""

    __slots__ = ("__weakref__", "_denials", "_look", "account", "models", "passes", "principal", "tenant", "until")

    def __init__(self, look: Look, denials: Counter[Code]) -> None:
        self._look = look
        self._denials = denials
        self.models: set[str] = set()  # that it may infer with, of those that were asked about; holds before `until`
        self.passes: set[tuple[str, str | None]] = set()  # routes with models that it may call, as long
        self.principal: Principal | None = None
        self.account: Any = None  # what its requests are charged to, kept here by whoever charges them
        self.tenant = ANONYMOUS  # whom its requests share the server as
        self.until = 0.0
        self._again()

    def refusal(self, route: str, model: str | None, now: float) -> TidegateError | None:
        """Why it may not call a route, or None. `now` is the arrival of the request; the model matters where the route's need says so."""
        if now >= self.until:
            self._again()
        if (route, model) in self.passes:
            return None
        refusal = self._counted(decide(route, model, self.principal))
        if refusal is None and len(model or "") <= MAX_MODEL_CHARACTERS:  # no model has a longer name, but a request may
            if len(self.passes) >= _KEPT_MAX:
                self.passes = set()
            self.passes.add((route, model))
        return refusal

    def refusal_at_head(self, route: str, now: float) -> TidegateError | None:
        """As `refusal`, for a call whose model is still to be named: whoever is somebody may go on to name it."""
        need = need_of(route)
        if need is None or not need.of_model:
            return self.refusal(route, None, now)
        if now >= self.until:
            self._again()
        return None if self.principal is not None else self._counted(TidegateError(Code.UNAUTHENTICATED, UNIDENTIFIED))

    def demand(self, route: str, model: str | None, now: float) -> None:
        """Raises TidegateError where it may not call a route."""
        refusal = self.refusal(route, model, now)
        if refusal is not None:
            raise refusal

    def demand_inference(self, model: str, now: float) -> None:
        """Raises TidegateError where it may not infer with a model. Not needed before `until` for those in `models`."""
        if now >= self.until:
            self._again()
        if model in self.models:
            return
        refusal = self._counted(judge(INFER, model, self.principal))
        if refusal is not None:
            raise refusal
        if len(model) <= MAX_MODEL_CHARACTERS:
            if len(self.models) >= _KEPT_MAX:
                self.models = set()
            self.models.add(model)

    def _again(self) -> None:
        principal, self.until = self._look()
        if principal != self.principal:
            self.principal, self.models, self.passes, self.account = principal, set(), set(), None
            self.tenant = ANONYMOUS if principal is None or principal.anonymous else principal.name

    def _counted(self, refusal: TidegateError | None) -> TidegateError | None:
        if refusal is not None:
            self._denials[refusal.code] += 1
        return refusal
