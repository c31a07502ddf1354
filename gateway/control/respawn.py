"""When the next process is started in the place of one that died: at once, unless they die young, then later and later. Pure."""

from __future__ import annotations

YOUNG_S = 1.0  # one that served for longer was not killed by how it starts
FIRST_S, LONGEST_S = 0.5, 30.0
AT_ONCE = 2  # young deaths in a row that are believed to be chance


class Respawn:
    """One line of processes that replace each other."""

    def __init__(self) -> None:
        self.young = 0  # deaths in a row of processes that hardly served, or never did

    def after(self, served_s: float) -> float:
        """Seconds to wait, now that a process has died which served for so long."""
        self.young = 0 if served_s >= YOUNG_S else self.young + 1
        late = self.young - AT_ONCE
        return 0.0 if late <= 0 else min(FIRST_S * 2.0 ** min(late - 1, 16), LONGEST_S)
