"""Labels and answers meet as the definition says: against plain loops, on cases that hypothesis finds and on the ones worth naming."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from registry.errors import Kind, RegistryError
from registry.label import Label, content_digest
from registry.label_files import parquet_of
from retrain.join_spec import JoinReport, JoinSpec, delay_quantiles
from retrain.label_join import join
from tests import naive_labels as naive
from tests.retrain.served import request_id, write_answers

T0, S = 1_700_000_000_000_000, 1_000_000
AS_OF = T0 + 100 * S
IDS = [request_id(number, T0) for number in range(5)]
UNITS = [bytes([number] * 8) for number in range(2)]
CLIENTS = ["a", "b", "c'"]

rules = st.fixed_dictionaries({
    "since": st.sampled_from([0, T0 + 20 * S]), "until": st.sampled_from([None, T0 + 90 * S]), "arms": st.sampled_from([(), ("shadow",)]),
    "window": st.sampled_from([10 * S, 50 * S]), "mature_after": st.sampled_from([0, 30 * S]),
    "negative_after": st.sampled_from([None, 0, 60 * S]),
})  # fmt: skip


def drawn_answers(draw: random.Random, count: int) -> list[dict[str, Any]]:
    """Requests of one or two rows and arms; a request has one time, client id and unit."""
    rows = []
    for number in range(count):
        at = T0 + 10 * S * draw.randint(0, 12)
        same = {
            "request_id": request_id(number, T0), "ts": at, "client_request_id": draw.choice([None, *CLIENTS, f"c{number // 2}"]),
            "unit_hash": draw.choice([None, *UNITS]), "model": draw.choice(["m", "m", "m", "other"]),
        }  # fmt: skip
        for row in range(draw.randint(1, 2)):
            arms = ("stable", "shadow")[: draw.randint(1, 2)]
            rows += [same | {"row": row, "arm": arm, "status": draw.choice([0, 0, 0, 13])} for arm in arms]
    return rows


def drawn_labels(draw: random.Random, count: int) -> list[dict[str, Any]]:
    """Of one to three keys, some of them of nothing."""
    labels = []
    for number in range(count):
        client = draw.choice([None, *CLIENTS, f"c{draw.randrange(count)}"])
        request = draw.choice([None, request_id(draw.randrange(count), T0), bytes(16)])
        unit = draw.choice([None, *UNITS]) if client or request else draw.choice(UNITS)
        at = {"event_us": T0 + 10 * S * draw.randint(0, 12), "arrival_us": T0 + 10 * S * draw.randint(0, 12)}
        what = {"name": draw.choice(["label"] * 5 + ["other"]), "model": draw.choice(["m"] * 5 + ["other"]), "row": draw.randint(0, 1)}
        supersedes = draw.choice([None] * 6 + [f"l{draw.randrange(count)}"])
        labels.append(plain(number, at | what | {
            "target": (client, request, unit), "value": float(draw.randrange(4)), "final": draw.random() < 0.3, "supersedes": supersedes,
        }))  # fmt: skip
    return labels


def plain(index: int, drawn: dict[str, Any]) -> dict[str, Any]:
    """A label as the loops know it."""
    client, request, unit = drawn["target"]
    return drawn | {"label_id": f"l{index}", "client_request_id": client, "request_id": request, "unit_hash": unit}


def written(path: Path, labels: list[dict[str, Any]]) -> list[Path]:
    """Labels in a file; none at all in none."""
    made = [Label(**{name: value for name, value in one.items() if name != "target"}) for one in labels]
    if not made:
        return []
    path.write_bytes(parquet_of(made, [content_digest(one) for one in made], AS_OF))
    return [path]


def both(folder: Path, rows: list[dict[str, Any]], labels: list[dict[str, Any]], **changes: Any) -> tuple[list[dict[str, Any]], JoinReport]:
    """The result of a join, held against the loops."""
    rule = {"model": "m", "name": "label", "as_of": AS_OF, "since": 0, "until": None, "arms": (), "window": 50 * S, "mature_after": 0} | {
        "negative_after": None, "time": "request", **changes
    }  # fmt: skip
    negative = rule["negative_after"]
    spec = JoinSpec(
        model="m", as_of_us=AS_OF, since_us=rule["since"], until_us=rule["until"], arms=rule["arms"], window_s=rule["window"] / S,
        mature_after_s=rule["mature_after"] / S, negative_after_s=None if negative is None else negative / S,
        time=rule["time"],
    )  # fmt: skip
    write_answers(folder / "answers.parquet", rows)
    out = folder / "joined.parquet"
    report = join(spec, answers=[folder / "answers.parquet"], labels=written(folder / "labels.parquet", labels), to=out, threads=1)
    expected, counts = naive.joined(rows, labels, rule)
    got = parquet.read_table(out).to_pylist()
    assert sorted(map(_expected, expected), key=repr) == sorted(map(_got, got), key=repr)
    document = report.document()
    assert counts == {name: document[name] for name in counts}
    assert 0 == report.duplicates
    return got, report


def _expected(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["request_id"], row["row"], row["arm"], row["mature"], row["id"], row["value"], row["key"], row["arrival"]


def _got(row: dict[str, Any]) -> tuple[Any, ...]:
    arrival = row["label_arrival_ts"]
    at = None if arrival is None else int(arrival.timestamp()) * S
    return (row["request_id"], row["row"], row["arm"], row["label_mature"], row["label_id"], row["label_value"], row["label_key"], at)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=True), st.integers(0, 60), st.integers(0, 60), rules)
def test_a_join_is_what_loops_make_of_it(tmp_path: Path, draw: random.Random, answers: int, labels: int, rule: dict[str, Any]) -> None:
    """Every row, every label and every count of the report."""
    both(tmp_path, drawn_answers(draw, answers), drawn_labels(draw, labels), **rule)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=True), st.integers(0, 60), st.integers(0, 60), rules)
def test_by_the_time_of_events_it_is_too(tmp_path: Path, draw: random.Random, answers: int, labels: int, rule: dict[str, Any]) -> None:
    """No request is too late, and rows are as old as what came true of them."""
    both(tmp_path, drawn_answers(draw, answers), drawn_labels(draw, labels), **rule | {"negative_after": None, "time": "event"})


def one(number: int = 0, **more: Any) -> dict[str, Any]:
    """An answer."""
    return {
        "request_id": IDS[number],
        "client_request_id": None,
        "ts": T0,
        "unit_hash": None,
        "row": 0,
        "status": 0,
        "model": "m",
        "arm": "stable",
    } | more


def said(index: int, *, client: str | None = None, request: bytes | None = None, unit: bytes | None = None, **more: Any) -> dict[str, Any]:
    """A label."""
    usual = {"row": 0, "event_us": T0 + S, "arrival_us": T0 + 10 * S, "value": 1.0, "final": False, "supersedes": None}
    return plain(index, usual | {"target": (client, request, unit), "name": "label", "model": "m"} | more)


def test_a_shadow_shares_the_label_of_its_request(tmp_path: Path) -> None:
    """So both answers to one request are held against the same truth, and the label counts as matched once."""
    rows, report = both(tmp_path, [one(), one(arm="shadow", version=2)], [said(0, request=IDS[0])])
    assert [1.0, 1.0] == [row["label_value"] for row in rows]
    assert (2, {"client": 0, "request": 1, "unit": 0}) == (report.labelled, report.matched)


def test_a_final_label_stands_against_later_ones(tmp_path: Path) -> None:
    """Of those that are not final the last one counts, and the others are counted."""
    labels = [said(0, request=IDS[0], value=1.0, final=True), said(1, request=IDS[0], value=0.0, arrival_us=T0 + 20 * S)]
    rows, report = both(tmp_path, [one()], labels)
    assert ([1.0], 1) == ([row["label_value"] for row in rows], report.replaced)


def test_of_labels_that_came_together_the_greatest_id_counts(tmp_path: Path) -> None:
    """So that the same join is the same whatever the order of files."""
    rows, _ = both(tmp_path, [one()], [said(2, request=IDS[0], value=2.0), said(10, request=IDS[0], value=0.0)])
    assert [2.0] == [row["label_value"] for row in rows]


def test_what_comes_early_waits_until_all_could_have_come(tmp_path: Path) -> None:
    """A row that is not mature has no label, whatever arrived."""
    rows, report = both(tmp_path, [one(ts=AS_OF - S)], [said(0, request=IDS[0], event_us=AS_OF, arrival_us=AS_OF)], mature_after=60 * S)
    assert ([None], 1, 0) == ([row["label_value"] for row in rows], report.early, report.labelled)


def test_a_label_without_a_request_is_an_orphan(tmp_path: Path) -> None:
    """It is counted, and nothing else happens."""
    _, report = both(tmp_path, [one()], [said(0, request=bytes(16)), said(1, unit=UNITS[0])])
    assert (2, 0.0) == (report.orphans, report.match_rate)


def test_equal_joins_in_order_are_equal_files(tmp_path: Path) -> None:
    """Whatever the number of threads."""
    rows = [one(number, ts=T0 + (7 * number % 5) * S) for number in range(5)]
    write_answers(tmp_path / "a.parquet", rows)
    labels = written(tmp_path / "l.parquet", [said(number, request=IDS[number]) for number in range(5)])
    spec = JoinSpec(model="m", as_of_us=AS_OF)
    for threads in (1, 2):
        join(spec, answers=[tmp_path / "a.parquet"], labels=labels, to=tmp_path / f"{threads}", in_order=True, threads=threads)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_no_answers_are_no_join(tmp_path: Path) -> None:
    """The model is named."""
    with pytest.raises(RegistryError, match="has no answers for 'label' of model 'm'") as caught:
        join(JoinSpec(model="m", as_of_us=AS_OF), answers=[], labels=[], to=tmp_path / "out")
    assert Kind.NOT_FOUND is caught.value.kind


@pytest.mark.parametrize(("content", "kind"), [(b"no parquet at all", Kind.DAMAGED), (None, Kind.STORAGE)])
def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, content: bytes | None, kind: Kind) -> None:
    """Damage is damage; a file that is not there is the storage's fault."""
    if content is not None:
        (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(RegistryError) as caught:
        join(JoinSpec(model="m", as_of_us=AS_OF), answers=[tmp_path / "a.parquet"], labels=[], to=tmp_path / "out")
    assert kind is caught.value.kind


def test_the_digest_of_a_join_is_of_all_of_it() -> None:
    """Equal definitions have equal digests, others have others."""
    first = JoinSpec(model="m", as_of_us=AS_OF)
    assert first.digest == JoinSpec(model="m", as_of_us=AS_OF).digest
    assert first.digest != JoinSpec(model="m", as_of_us=AS_OF, mature_after_s=1.0).digest


def test_quantiles_are_upper_ends_of_buckets() -> None:
    """Nothing of nothing; of one bucket, its end."""
    assert {} == delay_quantiles({})
    assert {"p50": 1.01, "p90": 1.01, "p99": round(1.01**3, 6), "p100": round(1.01**3, 6)} == delay_quantiles({1: 9, 3: 1})
