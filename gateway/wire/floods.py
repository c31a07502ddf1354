"""How much nuisance a connection may make: resets and control frames, against the work that it brings.

A fixed count would close busy honest peers (deadline storms, bandwidth-probing PINGs), so the allowance grows with the requests and
the bytes of the same window. Rapid reset is CVE-2023-44487; the other floods are CVE-2019-9511 … 9518.
"""

from __future__ import annotations

from gateway.limits import WireLimits
from gateway.wire.frames import ConnectionFault, ErrorCode


class FloodGuard:
    """Counts of the current window of `flood_window_s` seconds."""

    __slots__ = ("_controls", "_limits", "_opened", "_received", "_resets", "_since")

    def __init__(self, limits: WireLimits) -> None:
        self._limits = limits
        self._since = float("-inf")
        self._resets = self._controls = self._opened = self._received = 0

    def reset(self, now: float, *, opened: int) -> None:
        """One more stream that the peer opened in vain; `opened` counts its streams since the connection began."""
        self._turn(now, opened, self._received)
        self._resets += 1
        if self._resets > self._limits.max_resets and 2 * self._resets > opened - self._opened:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many resets")

    def control(self, now: float, *, opened: int, received: int) -> None:
        """One more frame that carries no work; `received` counts DATA bytes since the connection began."""
        self._turn(now, opened, received)
        self._controls += 1
        allowance = self._limits.max_control_frames + 4 * (opened - self._opened) + (received - self._received >> 12)
        if self._controls > allowance:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many control frames")

    def _turn(self, now: float, opened: int, received: int) -> None:
        if now - self._since > self._limits.flood_window_s:
            self._since, self._opened, self._received = now, opened, received
            self._resets = self._controls = 0
