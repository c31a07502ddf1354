"""The audit of the conservation bench finds each way in which a log and what callers wrote down can differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import conserve_audit
from benchmarks.conserve import Happened, judge
from benchmarks.conserve_callers import Ledger, request
from gateway.protocol.tensors import Signature, TensorSpec
from tests.gateway.capture.served import Logging, batch_of, item_of

KILLED_S = 20.0


def written(folder: Path, *, answers: int, rows: int, opened: int = 0) -> tuple[Ledger, Happened]:
    """A log of `rows` requests, and a ledger of so many answers, the first of them, one a second before the kill; then open ones."""
    signature = Signature("m", (TensorSpec("input", "FP32", (-1, 2)),), (TensorSpec("p", "FP32", (-1, 2)),), 64)
    logging = Logging(folder, signature)
    ledger = Ledger(answers + opened, ("m",))
    for number in range(rows):
        text = str(number).encode()
        batch = batch_of(logging.version, [item_of(id=b"\x1a" + bytes([len(text)]) + text)], first=number)
        batch.inputs, batch.groups = [batch.inputs[0][:1]], [(batch.items, [batch.groups[0][1][1]])]
        logging.capture.promise(batch)
        logging.capture.served(batch)
        if number < answers:
            assert batch.ids is not None
            ledger.names[number] = batch.ids[0]
    ledger.answered_s[:answers], ledger.arms[:answers] = KILLED_S - 0.5, 0
    logging.end()
    return ledger, Happened(kills=[KILLED_S])


def test_a_log_that_holds_every_answer_has_no_differences(tmp_path: Path) -> None:
    """And of requests that nobody heard of again it may hold any."""
    found = conserve_audit.audit(tmp_path, *written(tmp_path, answers=3, rows=4, opened=2))
    assert ([], 0, 0, 0.0, 4, 2) == tuple(
        found[name] for name in ("differences", "missing", "missing_uncounted", "oldest_lost_s", "rows", "open")
    )


def test_an_answer_that_is_nowhere_is_found(tmp_path: Path) -> None:
    """It was never accepted, and no drop is counted for it."""
    found = conserve_audit.audit(tmp_path, *written(tmp_path, answers=4, rows=3))
    assert (["m: 1 answers of stable were never accepted"], 1, 0.5) == (
        found["differences"], found["missing_uncounted"], found["oldest_lost_s"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda ledger: ledger.names.__setitem__(1, 0), "ids that answers did not tell"),
        (lambda ledger: ledger.arms.__setitem__(1, 1), "arms that did not answer"),
        (lambda ledger: ledger.answered_s.__setitem__(slice(0, 2), np.nan), "2 were accepted beyond the answers, and 2 requests are open"),
    ],
)
def test_a_row_that_is_not_the_callers_is_found(tmp_path: Path, change: Any, said: str) -> None:
    """Its id, its arm; that nobody can have asked is one more than are open."""
    ledger, happened = written(tmp_path, answers=3, rows=3)
    change(ledger)
    found = conserve_audit.audit(tmp_path, ledger, happened)
    assert any(said in one for one in found["differences"]) is not ("beyond" in said)


def test_what_is_lost_with_no_kill_after_it_is_without_bound(tmp_path: Path) -> None:
    """Nothing explains it."""
    ledger, _ = written(tmp_path, answers=4, rows=3)
    assert float("inf") == conserve_audit.audit(tmp_path, ledger, Happened(kills=[1.0]))["oldest_lost_s"]


def measured(**changes: Any) -> dict[str, Any]:
    one = {
        "workers_killed": 2, "sealers_killed": 1, "dropped": {"disk_full": 1, "io_error": 1}, "differences": [], "missing_uncounted": 0,
        "oldest_lost_s": 0.2, "lost": 0, "answered": {"forked/canary": 5},
    }  # fmt: skip
    return {"async": one, "sync": one | changes}


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({}, []),
        ({"lost": 1}, ["answers_lost_with_sync"]),
        ({"differences": ["x"]}, ["differences_of_ledger_and_log"]),
        ({"missing_uncounted": 2}, ["answers_missing_uncounted"]),
        ({"oldest_lost_s": 1.5}, ["oldest_lost_answer_s"]),
        ({"answered": {}}, ["answers_by_the_canary"]),
    ],
)
def test_each_bar_can_fail(changes: dict[str, Any], broken: list[str]) -> None:
    """By itself."""
    assert broken == [bar["name"] for bar in judge(measured(**changes), 1_000_000) if not bar["holds"]]
    assert "requests" in [bar["name"] for bar in judge(measured(), 999_999) if not bar["holds"]]


def test_a_request_holds_its_own_number() -> None:
    """As id and as value, of the model and the user that follow from it."""
    content = request(Ledger(10, ("a", "b")), 7)
    assert content.startswith(b"POST /v2/models/b/infer HTTP/1.1\r\n")
    assert content.endswith(b'{"id":"7","inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[7,1,2,3]}]}')
