"""The reload bench: its callers live through what servers do, its truth finds wrong answers, its figures are made of what was seen."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import reload
from benchmarks.lifecycle import crowd, kills, pair, probes, registries, reloads, spread, terms
from benchmarks.lifecycle.callers import Answers, Callers, Size
from benchmarks.lifecycle.gateway import serving
from benchmarks.lifecycle.truth import Truth, read_grpc, read_http
from benchmarks.lifecycle.verdicts import bar, judge, outcomes, p99_us
from gateway.pb import inference_pb2 as pb

REQUESTS = {"grpc": registries.requests(0, registries.over_grpc), "http": registries.requests(0, registries.over_http)}


def grpc_answer(index: int, *, version: int = 1, factor: float | None = None, model: str = registries.MODEL) -> bytes:
    asked = REQUESTS["grpc"][index]
    values = asked.row[None] * np.float32(version if factor is None else factor)
    message = pb.ModelInferResponse(model_name=model, model_version=str(version), id=asked.request_id)
    message.outputs.add(name="output", datatype="FP32", shape=values.shape)
    message.raw_output_contents.append(values.tobytes())
    body = message.SerializeToString()
    return b"\0" + len(body).to_bytes(4, "big") + body


def http_answer(index: int, version: int, factor: float) -> bytes:
    asked = REQUESTS["http"][index]
    output = {"name": "output", "datatype": "FP32", "shape": [1, 4], "data": (asked.row * factor).tolist()}
    document = {"model_name": registries.MODEL, "model_version": str(version), "id": asked.request_id, "outputs": [output]}
    return b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(document).encode()


def answers(payloads: list[tuple[int, bytes]], **changed: object) -> Answers:
    kept = np.zeros((len(payloads), 256), np.uint8)
    for place, (_, payload) in enumerate(payloads):
        kept[place, : len(payload)] = np.frombuffer(payload, np.uint8)
    fields = {
        "protocol": "grpc", "asked": np.array([index for index, _ in payloads]), "payloads": kept,
        "sizes": np.array([len(payload) for _, payload in payloads]), "started_ns": np.zeros(len(payloads), np.int64),
        "ended_ns": np.arange(len(payloads)) * 1000, "ok": len(payloads), "outcomes": Counter(), "failures": [], "seconds": 1.0, "ended": 0,
    }  # fmt: skip
    return Answers(**(fields | changed))  # type: ignore[arg-type]


@pytest.fixture
def truth() -> Truth:
    return Truth(REQUESTS["grpc"], read_grpc, registries.by_version)


@pytest.mark.parametrize("version", [1, 2])
def test_a_right_answer_is_right(truth: Truth, version: int) -> None:
    """Each version multiplies by its own number."""
    assert (version, None) == truth.judge(3, grpc_answer(3, version=version))
    judge_http = Truth(REQUESTS["http"], read_http, registries.by_version)
    assert (version, None) == judge_http.judge(3, http_answer(3, version, float(version)))


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (grpc_answer(3, version=1, factor=2.0), "it computes"),
        (grpc_answer(4), "answered scaled as"),
        (grpc_answer(3, model="other"), "answered other as"),
        (grpc_answer(3)[:-1], "undecodable"),
        (b"", "undecodable"),
    ],
)
def test_a_wrong_answer_is_found(truth: Truth, payload: bytes, text: str) -> None:
    """The values of another version, the answer to another request, another model's, and half an answer."""
    assert text in (truth.judge(3, payload)[1] or "")


def test_an_answer_that_was_not_kept_is_wrong(truth: Truth) -> None:
    """Every answer is looked at, or the run says that it was not."""
    judged = judge(answers([(3, grpc_answer(3)), (3, grpc_answer(3, factor=9.0))], ok=4), truth)
    assert (3, [1, 1]) == (judged.wrong_count, judged.versions.tolist())
    assert "2 answers were not kept" in judged.wrong[-1]


def test_a_reload_lasts_from_the_move_until_a_moment_past_its_first_answer() -> None:
    """A move whose version nobody saw before the next one has no time, and is counted."""
    second = 1_000_000_000
    ended = np.array([1, 2, 3, 4, 5, 6]) * second
    versions = np.array([1, 1, 2, 2, 1, 1])
    moves = [(2 * second, 2), (4 * second + 1, 1), (6 * second + 1, 2)]
    windows, unseen = reloads.reload_windows(ended, versions, moves)
    after = int(reloads.AFTER_S * second)
    assert [(2 * second, 3 * second + after), (4 * second + 1, 5 * second + after)] == windows
    assert 1 == unseen


def test_a_stretch_without_a_fault_holds_all_bars_and_one_with_does_not(truth: Truth) -> None:
    """Failures, wrong values and slow reloads each break a bar of their own."""
    second = 1_000_000_000
    good = [(3, grpc_answer(3, version=1 + place // 50)) for place in range(100)]
    ended = (np.arange(100) + 1) * second // 25
    judges = {"grpc": truth, "http": truth}

    def held(**changed: object) -> dict[str, bool]:
        groups = [answers(good, ended_ns=ended, started_ns=ended - 1000, protocol=name) for name in ("grpc", "http")]
        groups[0] = answers(good, **({"ended_ns": ended, "started_ns": ended - 1000} | changed))
        run = reloads.report(groups, judges, [(int(ended[48]), 2)])
        return {one["name"]: one["holds"] for one in reloads.bars({"reloads": {"runs": [run]}}, requests=100)}

    assert all(held().values())
    assert not held(outcomes=Counter({"UNAVAILABLE": 1}))["reloads_failed"]
    slow = ended - np.where(np.arange(100) == 50, 900_000, 1000)
    assert not held(started_ns=slow)["reloads_p99_vs_steady"]


def test_a_bar_without_a_value_does_not_hold() -> None:
    """Nothing measured is nothing shown."""
    assert [True, False, True, False] == [
        bar("a", 1, "<=", 1)["holds"], bar("a", None, "<=", 1)["holds"], bar("a", 0, "==", 0)["holds"], bar("a", 0.9, ">=", 1)["holds"],
    ]  # fmt: skip
    assert p99_us([]) is None
    assert {"grpc closed": 2} == outcomes([answers([], outcomes=Counter({"closed": 2, "none": 0}))])


class Rough:
    """A listener that reads one request on each connection and closes it without a word, so many times; then it listens no more."""

    def __init__(self, connections: int) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = self._listening.getsockname()
        self._count = connections
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for _ in range(self._count):
            sock, _ = self._listening.accept()
            sock.recv(65_536)
            sock.close()
        self._listening.close()

    def join(self) -> None:
        self._thread.join()


def test_a_part_that_is_measured_again_takes_the_place_of_what_there_was_of_it() -> None:
    """Its figures and bars, in the order of the whole; what was measured elsewhere is not mixed."""
    where = {"machine": {"cpu": "c", "cores": 2, "system": "s", "load_average_before": 0.1}, "versions": {}, "seed": 0, "quick": False}

    def result(**parts: int) -> dict[str, Any]:
        return where | {"measurements": dict(parts), "bars": [{"name": f"{part}_good", "value": value} for part, value in parts.items()]}

    old = result(terms=1, kills=2)
    old["bars"].append({"name": "terms_carried_out", "value": 0})
    found = reload.joined(old, result(terms=3) | {"machine": where["machine"] | {"load_average_before": 9.0}})
    assert ({"terms": 3, "kills": 2}, [("terms_good", 3), ("kills_good", 2)]) == (
        found["measurements"], [(bar["name"], bar["value"]) for bar in found["bars"]]
    )  # fmt: skip
    for other in ({"seed": 1}, {"quick": True}, {"versions": {"numpy": "1"}}, {"machine": where["machine"] | {"cpu": "d"}}):
        with pytest.raises(ValueError, match="measure the whole"):
            reload.joined(old, result(terms=3) | other)


def test_callers_go_on_after_their_connections_and_say_what_became_of_each_request() -> None:
    """A request on a connection that ends is closed, a new connection begins with the next; where nobody listens, the caller is done."""
    rough = Rough(3)
    callers = Callers("http", rough.address, REQUESTS["http"], Size(connections=1)).start(20.0)
    rough.join()
    callers._thread.join(0.5)
    callers.stop()
    found = callers.finish()
    assert {"closed": 3, "refused connection": 1} == dict(found.outcomes)
    assert (0, 4) == (found.ok, found.failed)


def test_callers_keep_every_answer_and_a_pace(tmp_path: Path) -> None:
    """At a rate far below what the server can do, about so many requests are made; all of their answers are right."""
    registries.two_versions(tmp_path / "registry")
    settings = "processes: {workers: 1, trials: false}\n"
    with serving(tmp_path, tmp_path / "registry", settings, cores="0-63", python=sys.executable) as gateway:
        groups = [Callers(name, gateway.address(name), REQUESTS[name], Size(connections=2, streams=1, rate=400.0)) for name in REQUESTS]
        for group in groups:
            group.start(1.0)
        seen = [group.finish() for group in groups]
        counted = gateway.settled_ok(sum(each.ok for each in seen))
    readers = {"grpc": read_grpc, "http": read_http}
    for each in seen:
        judged = judge(each, Truth(REQUESTS[each.protocol], readers[each.protocol], registries.by_version))
        assert (0, 0) == (judged.wrong_count, each.failed)
        assert 100 < each.ok <= 401
        assert {1} == set(judged.versions.tolist())
    assert sum(each.ok for each in seen) == counted


def test_short_forms_of_every_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object with a bar for every claim; what is no matter of speed holds."""
    short = reload.Pace(
        reloads=reloads.Pace(reloads=2, per_stretch=2, capacity_s=0.3), requests=10, kills=1, terms=1, spread=1,
        crowd=crowd.Pace(models=8, rounds=1, seconds=0.3, cycles=2), pair=1, pair_s=0.3, probes=3,
    )  # fmt: skip
    monkeypatch.setattr(reload, "QUICK", short)
    reload.main(["--quick", "--json", "-"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    bars = {one["name"]: one for one in result["bars"]}
    speed = ("_p99", "_cost", "_vs_", "slowest", "capacity", "page_ms", "index_ms")
    numbers = {"many_models", "health_probes", "many_models_rss_growth"}
    unmet = [name for name, one in bars.items() if not one["holds"] and name not in numbers and not any(word in name for word in speed)]
    assert [] == unmet
    modules = (reloads, kills, terms, spread, crowd, pair, probes)
    assert len(modules) == len([name for name, one in result["measurements"].items() if "seconds" in one])
    assert 30 <= len(bars)
