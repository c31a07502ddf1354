"""What becomes of batches: rows of the log with everything that is known of them, and figures that add up."""

from __future__ import annotations

import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.capture.fields import UnfitError
from gateway.capture_settings import CapturedField
from gateway.errors import Code
from gateway.protocol.tensors import Signature, TensorSpec
from gateway.serving.batch import Batch
from gateway.serving.splits import Arm, Split
from registry.log import Log
from tests.gateway.capture.served import GRPC, HTTP, WALL_S, Logging, batch_of, item_of
from tests.registry.logged import flat


def ids(rows: list[dict[str, Any]]) -> list[uuid.UUID]:
    return [uuid.UUID(bytes=row["request_id"]) for row in rows]


def test_a_row_says_all_that_is_known(tmp_path: Path) -> None:
    """Of a request of one row over gRPC: texts are dropped, numbers are kept."""
    logging = Logging(tmp_path)
    logging.capture.served(batch_of(logging.version, [item_of(id=b"\x1a\x03abc")], first=25))
    logging.end()
    (row,) = logging.table()
    (identity,) = ids([row])
    assert (7, int((WALL_S - 1) * 1000)) == (identity.version, identity.int >> 80)
    assert WALL_S - 1 == row["ts"].timestamp()
    assert row["propensity"] == row["sampling_prob"] == 1.0
    known = {
        "client_request_id": "abc", "node": "node", "worker": 2, "protocol": "grpc", "tenant": None, "model": "m", "version": 3,
        "manifest": "sha256:aa", "rollout_id": None, "step": None, "arm": "stable", "unit_hash": None, "status": 0, "error": None,
        "queue_us": 500_000, "infer_us": 200_000, "total_us": 875_000, "batch_rows": 1, "row": 0, "rows": 1, "violations": 0,
        "f": {"x": [25.0, 25.5]}, "y": {"label": 25, "p": [0.75, 0.25]}, "pred_class": 25, "score": 0.25,
    }  # fmt: skip
    assert known == {name: row[name] for name in known}


def test_requests_of_several_rows_share_an_id(tmp_path: Path) -> None:
    """A request of n rows is n rows, in their order, whatever stands beside it in the batch."""
    logging = Logging(tmp_path)
    items = [item_of(3, id=b"\x1a\x01a"), item_of(1, sink=HTTP, id=b',"id":"b\\u00e4"'), item_of(2)]
    logging.capture.served(batch_of(logging.version, items))
    logging.end()
    rows = logging.table()
    assert [(0, 3), (1, 3), (2, 3), (0, 1), (0, 2), (1, 2)] == [(row["row"], row["rows"]) for row in rows]
    assert ["a", "a", "a", "bä", None, None] == [row["client_request_id"] for row in rows]
    assert ["grpc"] * 3 + ["http"] + ["grpc"] * 2 == [row["protocol"] for row in rows]
    assert list(range(6)) == [row["y"]["label"] for row in rows]
    assert [3, 1, 2] == [ids(rows).count(identity) for identity in dict.fromkeys(ids(rows))]


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_row_has_the_id_that_its_answer_told(tmp_path: Path, share: float) -> None:
    """Of batches all alike and of mixed ones, sampled or not, beside one that nobody was told of; text and bytes are the same."""
    logging = Logging(tmp_path, share=share)
    told: dict[str, uuid.UUID] = {}
    for number in range(8):
        items = [item_of(1 + number % 2, id=b"\x1a\x02%d%d" % (number, at)) for at in range(5)]
        batch = batch_of(logging.version, items, failed=[(items[1], Code.INTERNAL)] if number > 5 else ())
        logging.capture.promise(batch)
        assert batch.ids is not None
        assert batch.names is not None
        told |= {item.id[2:].decode(): uuid.UUID(bytes=octets.tobytes()) for item, octets in zip(items, batch.ids, strict=True)}
        assert [str(told[item.id[2:].decode()]) for item in items] == [name.tobytes().decode() for name in batch.names]
        logging.capture.served(batch)
    logging.capture.served(batch_of(logging.version, [item_of(id=b"\x1a\x01z")]))
    logging.end()
    rows = [row for row in logging.table() if row["client_request_id"] != "z"]
    assert (40 if share == 1 else 8) <= len({row["client_request_id"] for row in rows}) <= 40
    assert {(row["client_request_id"], *ids([row])) for row in rows} <= set(told.items())


def test_all_outcomes_are_logged(tmp_path: Path) -> None:
    """What failed, was late, went away or never ran is one row without inputs and outputs."""
    logging = Logging(tmp_path)
    items = [item_of(), item_of(2), item_of(), item_of(), item_of()]
    items[2].done, items[3].caller.cancelled = True, True
    logging.capture.served(batch_of(logging.version, items, failed=[(items[1], Code.INTERNAL)]))
    logging.capture.ended(item_of(4, sink=HTTP), Code.OVERLOADED)
    logging.end()
    rows = logging.table()
    found = sorted([(row["error"] or "", row["status"], row["rows"], row["f"] is None, row["pred_class"]) for row in rows], key=str)
    assert [
        ("", 0, 1, False, 0), ("", 0, 1, False, 3), ("CANCELLED", 7, 1, True, None), ("DEADLINE_EXCEEDED", 6, 1, True, None),
        ("INTERNAL", 8, 2, True, None), ("OVERLOADED", 4, 4, True, None),
    ] == found  # fmt: skip
    assert {("m", "stable"): (6, {})} == flat(Log(tmp_path).account())


def test_policies_decide_what_is_kept(tmp_path: Path) -> None:
    """Kept, hashed by a key, in buckets, cut, or not there at all; of inputs and outputs alike."""
    signature = Signature(
        "m", (*[TensorSpec(name, "FP32", (-1, 1)) for name in "abcd"], *[TensorSpec(name, "BYTES", (-1,)) for name in "st"]),
        (TensorSpec("y", "FP64", (-1,)),), 64,
    )  # fmt: skip
    fields = {
        "a": CapturedField(policy="bucket", edges=(0.0, 10.0)), "b": CapturedField(policy="hash"), "c": CapturedField(policy="drop"),
        "d": CapturedField(policy="truncate", decimals=1), "s": CapturedField(policy="truncate", characters=2),
        "t": CapturedField(policy="hash"), "y": CapturedField(policy="truncate", decimals=0),
    }  # fmt: skip
    logging = Logging(tmp_path, signature, fields=fields)
    items = [item_of(4)]
    batch = Batch(logging.version, ((1,),) * 4 + ((),) * 2, items, 4, 64)
    numbers = np.array([[-1.0], [0.0], [10.0], [np.nan]], np.float32)
    texts = np.array(["grün", "g", "grün", ""], object)
    batch.inputs.append([numbers, numbers, numbers, np.array([[0.26], [-0.26], [3.0], [np.inf]], np.float32), texts, texts])
    batch.groups.append((items, [np.array([1.5, 2.5, -0.4, 9.0])]))
    batch.alike = GRPC  # type: ignore[assignment]
    logging.capture.served(batch)
    logging.end()
    rows = logging.table()
    kept = [row["f"] for row in rows]
    assert [{"a", "b", "d", "s", "t"}] * 4 == [set(row) for row in kept]
    assert [0, 1, 2, -1] == [row["a"] for row in kept]
    assert [0.3, -0.3, 3.0, np.inf] == [pytest.approx(row["d"], abs=1e-6) for row in kept]
    assert ["gr", "g", "gr", ""] == [row["s"] for row in kept]
    assert kept[0]["t"] == kept[2]["t"]
    assert 3 == len({row["t"] for row in kept})
    assert 4 == len({row["b"] for row in kept})
    assert [2.0, 2.0, 0.0, 9.0] == [abs(row["y"]["y"]) for row in rows]
    assert [None] * 4 == [row["score"] for row in rows]


@pytest.mark.parametrize(
    ("name", "field", "reason"),
    [
        ("x", CapturedField(policy="truncate", characters=3), "'x' is FP32, which policy truncate"),
        ("name", CapturedField(policy="bucket", edges=(1.0,)), "'name' is BYTES, which policy bucket"),
        ("label", CapturedField(policy="truncate", decimals=1), "'label' is INT64, which policy truncate"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(tmp_path: Path, name: str, field: CapturedField, reason: str) -> None:
    """By name, before anything is logged."""
    with pytest.raises(UnfitError, match=reason):
        Logging(tmp_path, fields={name: field})


def test_models_without_a_batch_dimension_and_of_free_shapes(tmp_path: Path) -> None:
    """Their rows are lists, of whatever length; frames of different shapes are one file."""
    signature = Signature("m", (TensorSpec("x", "FP32", (-1,)),), (TensorSpec("y", "FP32", (-1, 2)),), 0)
    logging = Logging(tmp_path, signature)
    for size in (2, 3):
        item = item_of()
        batch = Batch(logging.version, ((size,),), [item], 1, 1)
        batch.inputs.append([np.arange(size, dtype=np.float32)[None]])
        batch.groups.append(([item], [np.ones((size, 2), np.float32)]))
        batch.alike = GRPC  # type: ignore[assignment]
        logging.capture.served(batch)
    logging.end()
    assert [([0, 1], [1] * 4), ([0, 1, 2], [1] * 6)] == [(row["f"]["x"], row["y"]["y"]) for row in logging.table()]
    assert 1 == len(Log(tmp_path).files())


def test_arms_of_a_rollout(tmp_path: Path) -> None:
    """By assignment with its probability, by wish, in place of another; outside of a rollout again afterwards."""
    logging = Logging(tmp_path, share=0.5)
    split = Split(
        rollout="r/1", model="m", slot=0, step=2, mode="canary", salt="00" * 16, stable=2, arms=(Arm("canary", 3, 2_500),)
    )  # fmt: skip
    logging.version.rollout = SimpleNamespace(arm=1, split=split)
    assigned = [item_of(unit=unit, arm=1) for unit in range(1, 200)]
    logging.capture.served(batch_of(logging.version, assigned))
    rows = len(logging.capture._gathered.arrivals)
    forced, fallback = [item_of() for _ in range(100)], [item_of() for _ in range(100)]
    for item in fallback:
        item.fallback = True
    logging.capture.served(batch_of(logging.version, forced + fallback))
    logging.version.rollout = None
    logging.capture.served(batch_of(logging.version, [item_of() for _ in range(100)]))
    logging.end()
    table = logging.table()
    by_arm = {arm: [row for row in table if row["arm"] == arm] for arm in ("stable", "canary", "forced", "fallback")}
    assert rows == len(by_arm["canary"])
    assert all(20 < len(found) < 80 for arm, found in by_arm.items() if arm != "canary")
    canary = by_arm["canary"][0]
    assert ("r/1", 2, 0.25, 0.5) == (canary["rollout_id"], canary["step"], canary["propensity"], canary["sampling_prob"])
    assert all(np.isnan(row["propensity"]) for arm in ("forced", "fallback") for row in by_arm[arm])
    assert {(None, None, 1.0)} == {(row["rollout_id"], row["step"], row["propensity"]) for row in by_arm["stable"]}
    units = {int.from_bytes(row["unit_hash"]) for row in by_arm["canary"]}
    again = Logging(tmp_path / "again", share=0.5)
    again.version.rollout = SimpleNamespace(arm=1, split=split)
    again.capture.served(batch_of(again.version, assigned[::-1]))
    again.end()
    assert units == {int.from_bytes(row["unit_hash"]) for row in again.table()}
    assert 60 < len(units) < 140


def test_violations_are_bits_of_rows(tmp_path: Path) -> None:
    """Where rows of the sample break rules; none of the others."""

    def broken(inputs: Any) -> np.ndarray | None:
        bits = (inputs[0][:, 0] > 1).astype(np.uint32) * np.uint32(0b101)
        return bits if bits.any() else None

    logging = Logging(tmp_path, violations=broken)
    logging.capture.served(batch_of(logging.version, [item_of()]))
    logging.capture.served(batch_of(logging.version, [item_of(3)]))
    logging.end()
    assert [0, 0, 0, 5] == [row["violations"] for row in logging.table()]


def test_tenants_are_named_where_callers_have_names(tmp_path: Path) -> None:
    """By name."""
    logging = Logging(tmp_path, tenants=True)
    items = [item_of(), item_of(), item_of()]
    items[1].tenant = "key ann"
    logging.capture.served(batch_of(logging.version, items))
    logging.end()
    assert ["anonymous", "key ann", "anonymous"] == [row["tenant"] for row in logging.table()]


REQUESTS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from((GRPC, HTTP)), st.booleans()), min_size=1, max_size=6)


@given(batches=st.lists(REQUESTS, max_size=6), share=st.sampled_from((1.0, 0.5)))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_log_is_what_was_served(batches: list[Any], share: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any batches: each request of the sample is there with its own rows, and the ledger says as many."""
    logging = Logging(tmp_path_factory.mktemp("log"), share=share)
    answered = {}
    number = first = 0
    for requests in batches:
        items, failed = [], []
        for rows, sink, bad in requests:
            number += 1
            identity = b"\x1a\x04%04d" % number if sink is GRPC else b',"id":"%04d"' % number
            items.append(item_of(rows, sink=sink, id=identity))
            if bad:
                failed.append((items[-1], Code.INTERNAL))
                answered[number] = [None]
            else:
                answered[number] = list(range(first, first + rows))
                first += rows
        served = sum(item.rows for item in items) - sum(item.rows for item, _ in failed)
        logging.capture.served(batch_of(logging.version, items, failed=failed, first=first - served))
    logging.end()
    found: dict[int, list[Any]] = {}
    for row in logging.table():
        found.setdefault(int(row["client_request_id"]), []).append(None if row["y"] is None else row["y"]["label"])
    assert found == {name: rows for name, rows in answered.items() if name in found}
    assert share < 1 or found.keys() == answered.keys()
    total = sum(map(len, found.values()))
    assert flat(Log(logging.root).account()) == ({("m", "stable"): (total, {})} if total else {})
