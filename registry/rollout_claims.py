"""Which controller may decide about a rollout at the moment: claims, each with a number that is its fencing token.

Owns `rollouts/<model>/<number>/claims/`. The next number takes an expired claim over by create-if-absent; a renewal replaces a file
beside the claim that only its holder writes, so a rollout of days leaves a few files. A holder that stood still may renew what was taken
over meanwhile: it is told so, and its token is refused by the journal once the next one has written. Knows no clock.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from registry.formats import FORMAT, decode_checked, encode_checked
from registry.medium import Medium
from registry.names import check_label, number_of, numbered
from registry.rollout_entries import directory_of, moment


class RolloutClaim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One controller's hold on one rollout."""

    format: int = FORMAT
    rollout: str
    token: int  # of later claims greater ones
    holder: str
    expires: datetime
    check: str = ""


class RolloutClaims:
    """The claims of one rollout."""

    def __init__(self, medium: Medium, model: str, number: int, *, rollout: str) -> None:
        self._medium = medium
        self._rollout = rollout
        self._directory = f"{directory_of(model, number)}/claims"

    def newest(self) -> RolloutClaim | None:
        """Who has it, as of the last renewal; it may have expired. None where nobody ever had. Raises `Kind.DAMAGED`, `Kind.STORAGE`."""
        number = max((number_of(name) or 0 for name in self._medium.names(self._directory)), default=0)
        if not number:
            return None
        claim = self._read(f"{self._directory}/{numbered(number)}")
        renewed = self._read(self._renewal(number))
        return renewed if claim is not None and renewed is not None and renewed.expires > claim.expires else claim

    def take(self, *, holder: str, now_s: float, ttl_s: float) -> RolloutClaim | None:
        """A claim of `ttl_s` seconds; None where another holder has one, or was first. Who has one and takes again gets a new token.

        Raises `Kind.INVALID_NAME`, `Kind.DAMAGED`, `Kind.STORAGE`.
        """
        before = self.newest()
        if before is not None and before.holder != holder and before.expires > moment(now_s):
            return None
        claim = RolloutClaim(
            rollout=self._rollout,
            token=(before.token if before else 0) + 1,
            holder=check_label(holder, what="holder"),
            expires=moment(now_s) + timedelta(seconds=ttl_s),
        )
        self._medium.make_directory(self._directory)
        return claim if self._medium.create(f"{self._directory}/{numbered(claim.token)}", encode_checked(claim)) else None

    def renew(self, claim: RolloutClaim, *, now_s: float, ttl_s: float) -> RolloutClaim | None:
        """The same claim, for `ttl_s` seconds from now; None where it was taken over. Raises `Kind.STORAGE`."""
        renewed = msgspec.structs.replace(claim, expires=moment(now_s) + timedelta(seconds=ttl_s))
        # Not made durable: who loses it loses the claim early.
        self._medium.replace(self._renewal(claim.token), encode_checked(renewed))
        later = (number_of(name) or 0 for name in self._medium.names(self._directory))
        return renewed if max(later, default=0) == claim.token else None

    def _read(self, key: str) -> RolloutClaim | None:
        content = self._medium.read(key)
        return None if content is None else decode_checked(content, RolloutClaim, key=key, what="a claim of a rollout")

    def _renewal(self, token: int) -> str:
        return f"{self._directory}/renewed-{token}.json"
