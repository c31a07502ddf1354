"""A process that breaks in every way that is known costs its own request only: neighbours are answered right, nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gateway.clock import SystemClock
from gateway.errors import Code
from gateway.serving.model import ModelFault, RunFault, RunLost
from gateway.serving.routing import Routes
from tests.gateway.control.desk import INFER, Desk, Line, body, infer, tensors
from tests.gateway.serving import graphs
from tests.gateway.serving.faulty_child import FAULTS, FIRST
from tests.gateway.serving.isolation import FAULTY, Starter, batch_of, ended, isolated
from tests.gateway.wire import http1_wire

REASONS = {
    "crash": "signal 11", "abort": "signal 6", "hang": "took too long", "deaf": "signal 9", "exit": "status 0", "garbage": "begin as",
    "oversize": "announces 1 tensors and 4294967327 bytes", "half": "status 3", "more": "4 bytes follow", "rows": "number of rows",
    "datatype": "other outputs", "fewer": "other outputs", "number": "another run", "text": "no known way", "code": "no known way",
    "unsealed": "not sealed", "outside": "outside of it", "descriptors": "more than one descriptor", "leak": "no memory left",
}  # fmt: skip
BOUNDS = {"grace_s": 0.3, "memory_bytes": 1 << 29}


def rows(*values: float) -> np.ndarray:
    return np.array([[value, value] for value in values], np.float32)


def poison(name: str) -> float:
    return FIRST + FAULTS.index(name)


class Moved:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return SystemClock.now() + self.ahead


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_process_costs_its_own_request_only(name: str, tmp_path: Path) -> None:
    """Neighbours of one and more rows are answered right; the request fails with INTERNAL and is not tried a third time."""
    silent = name in ("hang", "deaf")
    with isolated(tmp_path, graphs.twice(), start=Starter(FAULTY), run_timeout_s=2.0 if silent else 30.0, **BOUNDS) as model:
        before, bad, after = ended(batch_of(rows(1), rows(2, poison(name)), rows(3, 4)), model)
        assert ([[2, 2]], [[6, 6], [8, 8]]) == (before.tolist(), after.tolist())
        assert (Code.INTERNAL, "model 'm' failed on this input: its process ended") == (bad.code, bad.message)
        assert REASONS[name] in model.status.last_end
        assert (3, 1) == (model.status.starts, model.status.quarantined)
        refused, after = ended(batch_of(rows(2, poison(name)), rows(3, 4)), model)
        assert Code.INTERNAL == refused.code
        assert "does not take this request" in refused.message
        assert [[6, 6], [8, 8]] == after.tolist()
        assert (3, 1) == (model.status.starts, model.status.refused)


def test_a_request_alone_is_tried_twice_and_then_quarantined(tmp_path: Path) -> None:
    """The first end may have been another's fault."""
    with isolated(tmp_path, graphs.twice(), start=Starter(FAULTY)) as model:
        for starts in (3, 3):
            (fault,) = ended(batch_of(rows(poison("exit"))), model)
            assert Code.INTERNAL == fault.code
            assert starts == model.status.starts


def test_a_request_that_was_lost_by_no_fault_of_its_own_is_answered(tmp_path: Path) -> None:
    """The process is killed once, by somebody else, in the middle of the run."""
    with isolated(tmp_path, graphs.twice()) as model:
        send = model._host.channel.send

        def sent(frame, until) -> None:
            model._host.process.stop(0.0)
            send(frame, until)

        model._host.channel.send = sent
        (answer,) = ended(batch_of(rows(1)), model)
        assert [[2, 2]] == answer.tolist()
        assert (2, 0) == (model.status.starts, model.status.quarantined)


def test_twins_of_a_poison_request_cost_no_further_process(tmp_path: Path) -> None:
    """A storm of retries in one batch ends two processes, not one for each."""
    with isolated(tmp_path, graphs.twice(), start=Starter(FAULTY)) as model:
        *bad, good = ended(batch_of(*[rows(poison("exit"))] * 5, rows(1)), model)
        assert [Code.INTERNAL] * 5 == [fault.code for fault in bad]
        assert [[2, 2]] == good.tolist()
        assert (3, 4) == (model.status.starts, model.status.refused)


def test_a_large_request_that_runs_in_pieces_is_one_request(tmp_path: Path) -> None:
    """It is poison by any of its pieces."""
    with isolated(tmp_path, graphs.twice(), start=Starter(FAULTY)) as model:
        large = rows(*range(10), poison("exit"))
        (bad,) = ended(batch_of(large, limit=4), model)
        (refused,) = ended(batch_of(large, limit=4), model)
        assert "does not take this request" in refused.message
        assert Code.INTERNAL == bad.code
        (good,) = ended(batch_of(large[:10], limit=4), model)
        assert (large[:10] * 2 == good).all()


def test_a_quarantined_request_is_tried_again_when_its_time_is_over(tmp_path: Path) -> None:
    """Whoever was refused in error is not refused for ever."""
    clock = Moved()
    with isolated(tmp_path, graphs.twice(), start=Starter(FAULTY), now=clock.now) as model:
        ended(batch_of(rows(poison("exit")), rows(1)), model)
        assert (3, 1) == (model.status.starts, model.status.quarantined)
        clock.ahead += 601.0
        assert 0 == model.status.quarantined
        ended(batch_of(rows(poison("exit"))), model)
        assert 5 == model.status.starts


def test_nobody_is_tried_again_in_a_batch_that_nobody_waits_for(tmp_path: Path) -> None:
    """Its members have been told that their time is over."""
    with isolated(tmp_path, graphs.twice(), start=Starter(FAULTY)) as model:
        handle = model.options()
        end = handle.end

        def expired() -> None:
            end()
            handle.terminate = True

        handle.end = expired
        first, second = ended(batch_of(rows(1), rows(poison("exit")), options=handle), model)
        assert Code.INTERNAL == first.code == second.code
        assert (2, 0) == (model.status.starts, model.status.quarantined)


def test_a_crash_loop_is_slowed_down_and_ends(tmp_path: Path) -> None:
    """UNAVAILABLE without a start while the wait lasts; one start when it is over; the first answer ends it."""
    clock = Moved()
    with isolated(tmp_path, graphs.twice(), start=Starter(FAULTY), now=clock.now) as model:
        for value in np.linspace(0.1, 0.2, 9):
            with pytest.raises(RunLost):
                model.run([np.array([[poison("exit"), value]], np.float32)])
        assert (None, 9) == (model.status.pid, model.status.starts)
        assert 0 < model.status.wait_s <= 1.0
        with pytest.raises(RunFault, match="has no process now") as caught:
            model.run([rows(1)])
        assert Code.UNAVAILABLE == caught.value.code
        clock.ahead += 1.0
        assert [[2, 2]] == model.run([rows(1)])[0].tolist()
        assert (10, 0.0) == (model.status.starts, model.status.wait_s)


def test_a_process_that_cannot_be_replaced_is_unavailable_and_tried_ever_later(tmp_path: Path) -> None:
    """No storm of starts: once at the end of the first, then once for each wait."""
    clock = Moved()
    start = Starter()
    with isolated(tmp_path, graphs.twice(), start=start, now=clock.now) as model:
        start.program = ("-c", "raise SystemExit(4)")
        model._host.process.stop(0.0)
        waits = []
        for _ in range(5):
            with pytest.raises(RunFault, match="it ended with status 4") as caught:
                model.run([rows(1)])
            assert Code.UNAVAILABLE == caught.value.code
            starts = model.status.starts
            with pytest.raises(RunFault, match="has no process now"):
                model.run([rows(1)])
            assert starts == model.status.starts
            waits.append(round(model.status.wait_s))
            clock.ahead += model.status.wait_s
        assert [1, 2, 4, 8, 16] == waits
        start.program = None
        assert [[2, 2]] == model.run([rows(1)])[0].tolist()


def test_a_replacement_that_is_another_model_is_not_used(tmp_path: Path) -> None:
    """Requests were held against the first one's signature."""
    start = Starter()
    with isolated(tmp_path, graphs.twice(), start=start) as model:
        other = (
            "import sys; from dataclasses import replace; "
            "from gateway.serving import isolated_child; from gateway.serving.model import Model; "
            "Model._settle_batching = lambda self: setattr(self, 'signature', replace(self.signature, max_batch_size=7)); "
            "isolated_child.main(sys.argv[1])"
        )
        start.program = ("-c", other)
        model._host.process.stop(0.0)
        with pytest.raises(RunFault, match="loaded another model"):
            model.run([rows(1)])


@pytest.mark.parametrize("said", ["b'no frame at all, but long enough to be one' * 9", "b''"], ids=["garbage", "nothing"])
def test_a_program_that_never_becomes_ready_is_a_model_that_cannot_be_loaded(said: str, tmp_path: Path) -> None:
    """It is ended, at once or when its time is over."""
    program = (
        "import json, os, signal, socket, sys; task = json.loads(sys.argv[1]); sock = socket.socket(fileno=task['frames_fd']); "
        f"sock.send({said}) if {said} else None; signal.pause()"
    )
    start = Starter(("-c", program))
    reason, load_timeout_s = ("took too long", 0.3) if said == "b''" else ("sent no valid frame", 30.0)
    with pytest.raises(ModelFault, match=reason), isolated(tmp_path, graphs.twice(), start=start, load_timeout_s=load_timeout_s):
        raise AssertionError("not reached")
    assert start.started[0].status is not None


def test_a_process_whose_memory_is_nearly_full_answers_and_is_replaced(tmp_path: Path) -> None:
    """Nobody's request is lost by it."""
    with isolated(tmp_path, graphs.twice(), start=Starter(FAULTY), memory_bytes=1 << 29) as model:
        grow = (
            "import sys; from gateway.serving import isolated_child as c\n"
            "kept = []; right = c.Host.answer\n"
            "def answer(self, model, request):\n"
            "    kept.append(bytearray(48 << 20))\n"
            "    return right(self, model, request)\n"
            "c.Host.answer = answer\n"
            "c.main(sys.argv[1])\n"
        )
        model._start.program = ("-c", grow)
        model._host.process.stop(0.0)
        for value in range(24):
            assert [[2 * value] * 2] == model.run([rows(value)])[0].tolist()
        assert "gave its memory back, it ended with status 0" == model.status.last_end
        assert model.status.starts > 3


def test_callers_are_told_not_to_come_back_with_it(tmp_path: Path) -> None:
    """gRPC: INTERNAL with a pushback that forbids a retry; REST: 500 without Retry-After. Neighbours on both are answered."""
    desk = Desk()
    with isolated(tmp_path, graphs.twice(), start=Starter(FAULTY)) as model:
        desk.service.set_routes(Routes({"m": {1: desk.version(model)}}))
        bad, good = rows(poison("exit")), rows(1)
        for _ in range(2):
            calls = [desk.open(INFER, infer("m", value)) for value in (bad, good)]
            desk.loop.settle()
            desk.finish_runs()
            refused, answered = (desk.replies()[call] for call in calls)
            assert (13, b"-1") == (refused.status, refused.trailers[b"grpc-retry-pushback-ms"])
            assert {"y": [[2.0, 2.0]]} == tensors(answered.messages[0])
        lines = [Line(desk) for _ in range(2)]
        for line, value in zip(lines, (bad, good), strict=True):
            line.now = desk.loop.time
            line.send(http1_wire.post("/v2/models/m/infer", body(value.tolist())))
        desk.loop.settle()
        desk.finish_runs()
        refused, answered = (http1_wire.read_answers(b"".join(line.writes), "POST")[0] for line in lines)
        assert (500, 200) == (refused.status, answered.status)
        assert "retry-after" not in {name.lower() for name in refused.headers}
        assert 3 == model.status.starts
