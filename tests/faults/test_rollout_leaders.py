"""Two servers over one registry: whoever decides stands still at each entry of the journal, longer than its claim lasts, and wakes up."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.rollout.controller import CLAIM_S
from tests.e2e.journals import Record, Watch, awaited
from tests.e2e.killing import PROMOTED, REFEREE, ROLLED_BACK, Story, Trials
from tests.e2e.rolling import Callers, Patience, apply, processes_of
from tests.e2e.server import Server, serving


class Leaders(Trials):
    """Two servers and their callers. `stops` of whoever decided."""

    def __init__(self, folder: Path, story: Story) -> None:
        super().__init__(folder, story)
        self.stops = 0

    def take_turns(self) -> None:
        """To the end; the one that decides is stopped after each entry, until the other one has said that it decides."""
        with ExitStack() as all_:
            servers = [all_.enter_context(serving(self._folder(name), self.root)) for name in ("one", "two")]
            factors = {"m": {"1": 2.0, "2": 2.0}}
            apply(self.root, self._plan())
            self.record = Record(self.root)
            watch = all_.enter_context(Watch(self.record.directory))
            several = [all_.enter_context(Callers(server.grpc_port, factors, threads=1)) for server in servers]
            while not self.record.standing.final:
                seq = self.record.seq
                self._lead_on()
                if self.record.seq == seq:
                    awaited(self.record, watch, seq)
                if self.record.standing.token and self.record.entries[-1].event != "lead":
                    self._stand_still(servers)
        self._held(several)

    def _folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        return folder

    def _stand_still(self, servers: list[Server]) -> None:
        """Whoever has the claim does nothing for longer than that lasts."""
        if self.record.standing.final:
            return
        leader, token = self._leader(servers), self.record.standing.token
        os.kill(leader, signal.SIGSTOP)
        self.stops += 1
        try:
            patience = Patience()
            while self.record.standing.token == token and not self.record.standing.final:
                patience.turn(f"nobody takes over {self.record.events}")
        finally:
            os.kill(leader, signal.SIGCONT)

    def _leader(self, servers: list[Server]) -> int:
        """The process that decides, by the claim and by what each was started with."""
        patience = Patience()
        while True:
            claim = self.record.store.rollouts.claims("m", 1).newest()
            for referee in [pid for server in servers for pid in processes_of(server.child.pid, REFEREE)]:
                words = Path(f"/proc/{referee}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
                if claim is not None and claim.holder.endswith("/" + json.loads(words[-1])["run"][:8]):
                    return referee
            patience.turn(f"{claim} is nobody's")

    def _held(self, several: list[Callers]) -> None:
        record = self.record
        assert list(self.story.events) == record.events
        assert list(self.story.moves) == record.moves()
        record.check_words()
        for callers in several:
            assert [] == callers.troubles
            record.check_assigned(callers)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("story", [PROMOTED, ROLLED_BACK], ids=["promoted", "rolled-back"])
def test_who_stands_still_decides_nothing_any_more(tmp_path: Path, story: Story) -> None:
    """Whatever it was about to do: each step once, the alias moved as often, and no caller of either server notices."""
    leaders = Leaders(tmp_path, story)
    leaders.take_turns()
    assert leaders.stops >= len(story.events) // 2
    times = [entry.time.timestamp() for entry in leaders.record.entries]
    assert times[-1] - times[0] > CLAIM_S * (leaders.stops - 1)
