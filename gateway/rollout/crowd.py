"""Whether a worker has no time to spare: looked at now and then, by whoever asks nothing of callers and yields to them.

How busy an event loop is says little: one with time to spare takes requests one by one, and one that is behind takes many at once, each at
a fraction of the price. What it cannot do without is the marginal price of its requests, b of T = a + b·n for batches of n requests that
take T: at λ requests a second the share λ·b of its time, whatever the batches are. Where that nears 1, batches and waiting grow without
end. b is the slope of least squares over recent batches, which differ by themselves; so is what a loop without a core waits in T.

Runs in threads count by the processor time that they take of all cores. Between two bounds nothing changes, so that who yields is not
called back by having yielded.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.serving.deadlines import Handle, Loop

LOOK_S = 0.05
CROWDED, ROOMY = 0.8, 0.65  # shares of the time: crowded from the one on, until it is below the other
KEPT = 0.95  # of what is known of earlier batches, from look to look: a second's worth counts
TOLD_APART = 0.3  # deviation of n from its mean, as a share of it, that says anything about a slope
FIXED = 6.0  # requests at the margin that a batch costs by itself, where nothing does: of a small model over gRPC


class Price:
    """What requests cost, by least squares over batches; older ones fade."""

    def __init__(self) -> None:
        self._count = self._n = self._n2 = self._t = self._nt = 0.0

    def saw(self, seconds: float, requests: int) -> None:
        """A batch."""
        self._count += 1
        self._n += requests
        self._n2 += requests * requests
        self._t += seconds
        self._nt += seconds * requests

    def fade(self) -> None:
        """Time has passed."""
        self._count *= KEPT
        self._n *= KEPT
        self._n2 *= KEPT
        self._t *= KEPT
        self._nt *= KEPT

    @property
    def marginal_s(self) -> float:
        """Seconds that one more request takes in a batch: no less than nothing, no more than a request's share of it."""
        if not self._n:
            return 0.0
        spread = self._n2 - self._n * self._n / self._count
        if spread * self._count < (TOLD_APART * self._n) ** 2:
            return self._t / (self._n + FIXED * self._count)
        slope = (self._nt - self._n * self._t / self._count) / spread
        return min(max(slope, 0.0), self._t / self._n)


class Crowd:
    """Of one worker. Looks while somebody is interested."""

    def __init__(self, loop: Loop, now: Callable[[], float], others_s: Callable[[], float], *, cores: int = 1) -> None:
        """`others_s()`: processor seconds until now of all threads but the event loop's. Called on the event loop."""
        self.crowded = False
        self._loop, self._now, self._others_s, self._cores = loop, now, others_s, cores
        self._price = Price()
        self._requests = self._seconds = 0.0  # of late
        self._last = (0.0, 0.0)
        self._interested = 0
        self._timer: Handle | None = None

    def begin(self) -> None:
        """One more is interested."""
        self._interested += 1
        if self._timer is None:
            self._price, self._requests, self._seconds = Price(), 0.0, 0.0
            self._last = self._now(), self._others_s()
            self._timer = self._loop.call_later(LOOK_S, self._look)

    def saw(self, seconds: float, requests: int) -> None:
        """A batch of so many requests took so long from the arrival of its first to its answers."""
        if self._timer is not None:
            self._requests += requests
            self._price.saw(seconds, requests)

    def end(self) -> None:
        """One less is."""
        self._interested -= 1
        if not self._interested and self._timer is not None:
            self._timer.cancel()
            self._timer, self.crowded = None, False

    def _look(self) -> None:
        now, others_s = found = self._now(), self._others_s()
        seconds = now - self._last[0]
        if seconds > 0:
            self._seconds += seconds
            loop = self._requests * self._price.marginal_s / self._seconds
            share = max(loop, (loop + (others_s - self._last[1]) / seconds) / self._cores)
            self.crowded = share >= CROWDED or (self.crowded and share >= ROOMY)
            self._last = found
            self._requests *= KEPT
            self._seconds *= KEPT
            self._price.fade()
        self._timer = self._loop.call_later(LOOK_S, self._look)
