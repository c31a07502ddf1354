"""The whole path on real data: train, export, publish, serve, ask, judge, watch. Told step by step, or returned as one summary.

The server is a child process of its own, as a user would start it; everything said about it was asked over its ports. A step that
does not hold (parity, answers, counts) ends the demo with `DemoError`.
"""

from __future__ import annotations

import json
import re
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gateway import demo_year, demo_year_terms
from gateway.client import Answer, Client
from gateway.client_rest import RestClient, infer_path
from gateway.clock import Clock, SystemClock
from gateway.demo_months import NAMES, MonthError, Seen, first_moved, seen, sentences, table, told_estimates, told_first, told_worth
from gateway.demo_rollouts import candidates, roll_out
from gateway.demo_server import EVALUATE_S, HOST, PORTS, drift_of, started
from gateway.demo_story import ALIAS, MODEL, PERSON, DemoError, Server, Story, published
from gateway.load import Measurement, closed_loop
from gateway.rollout.operations import Operations
from registry.store import Store
from registry.training import TrainingRecord

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from retrain.dataset import Dataset
    from retrain.export import Exported
    from retrain.train import Score

BATCH_ROWS = 256
COUNT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is asked of the server."""

    rows: int | None  # flights of February in batches; None: all
    singles: int  # of them, one row each
    alone: int  # of those, one at a time
    year: demo_year_terms.Scale


FULL = Scale(rows=None, singles=5_000, alone=1_000, year=demo_year_terms.FULL)
QUICK = Scale(rows=5_000, singles=1_000, alone=300, year=demo_year_terms.QUICK)


@dataclass(slots=True)
class Trained:
    """What training leaves behind."""

    exported: Exported
    february: Dataset
    expected: np.ndarray  # probabilities of being late, by the pipeline that was exported, shape (rows,)
    pipeline: Pipeline
    later: dict[int, Dataset]  # the months after February, by number
    january: Dataset


@contextmanager
def running(
    story: Story, *, registry: Path, scale: Scale, seed: int = 0, clock: Clock | None = None
) -> Iterator[tuple[Server, dict[str, Any]]]:
    """Tell the story and keep the server up inside the block. Yields it with a summary. Raises `DemoError`, `MissingDataError`.

    `seed` is that of the year: when labels come, and of what is trained in it.
    """
    clock = clock or SystemClock()
    with ExitStack() as stack:
        summary: dict[str, Any] = {}
        store = Store.create(registry)
        trained = _train(story, summary, clock)
        _publish(story, summary, trained, store, clock)
        server = _serve(story, summary, registry, stack, clock)
        came_true = _replay(story, summary, server, trained, scale)
        _watch(story, summary, server, trained, came_true, clock=clock)
        _one_by_rest(story, summary, server, trained)
        _compare_counts(story, summary, server, clock)
        _roll_out(story, summary, server, trained, store=store, clock=clock)
        _live(story, summary, trained, scale=scale.year, seed=seed, clock=clock)
        yield server, summary


def _train(story: Story, summary: dict[str, Any], clock: Clock) -> Trained:
    with story.step("Data") as done:
        from retrain import export, flights, train

        months = flights.read_months()
        january, february, *later = (month.rows for month in months.values())
        left_out, rest = months[1].left_out + months[2].left_out, sum(month.rows for month in later)
        summary["data"] = {"january": january.rows, "february": february.rows, "later": rest, "left_out": left_out}
        done(
            f"{january.rows:,} flights from New York in January 2013, {february.rows:,} in February; {left_out:,} never arrived; "
            f"{rest:,} in the months after"
        )
    with story.step("Train") as done:
        start = clock.now()
        pipeline = train.fit(january)
        took = clock.now() - start
        summary["train"] = {"seconds": round(took, 2), "numbers": january.numbers, "texts": january.texts}
        done(
            f"{train.TREES} boosted trees on January: {len(january.numbers)} numbers and {len(january.texts)} texts known an hour before "
            f"departure; predicts an arrival more than {flights.LATE_MIN} minutes late ({took:.1f} s)"
        )
    late = pipeline.predict_proba(train.frame(february))[:, 1]
    with story.step("Export") as done:
        try:
            record = _record(january, train.score(february.labels, late))
            exported = export.export(pipeline, february, training=record, fitted=january)
        except export.ExportError as error:
            raise DemoError(str(error)) from error
        exported = replace(exported, parts=replace(exported.parts, contract=flights.CONTRACT))
        parity = exported.parity
        summary["parity"] = {"rows": parity.rows, "labels_differ": parity.labels_differ, "max_difference": parity.max_difference}
        done(
            f"ONNX, {len(exported.model) / 1024:.0f} KiB; on {parity.rows:,} flights of February every label equals scikit-learn's, "
            f"probabilities differ by {parity.max_difference:.0e} at most"
        )
    return Trained(exported, february, late, pipeline, dict(zip(range(3, 13), later, strict=True)), january)


def _record(january: Dataset, score: Score) -> TrainingRecord:
    """Where the model comes from and how it did in February."""
    from retrain import train

    return TrainingRecord(
        format=1,
        dataset_digest=january.digest,
        dataset_rows=january.rows,
        parameters={"recipe": "gradient_boosting", "trees": train.TREES, "depth": train.DEPTH, "share": train.SHARE},
        seed=train.SEED,
        metrics={"all": {"accuracy": score.accuracy, "auc": score.auc, "log_loss": score.log_loss}},
    )


def _publish(story: Story, summary: dict[str, Any], trained: Trained, store: Store, clock: Clock) -> None:
    """The same model with the same parts is published once; the alias follows it."""
    with story.step("Publish") as done:
        _end_rollouts(store, clock)
        put = published(store, trained.exported, clock)
        aliases = store.aliases(MODEL)
        stands = aliases.all().get(ALIAS)
        if stands != put.version:
            reason = "the model of the demo"
            aliases.move(ALIAS, to=put.version, expected_from=stands, actor=PERSON, reason=reason, now_s=clock.wall())
        summary["version"], summary["new"] = put.version, put.new
        had = "" if put.new else ", published by an earlier run"
        done(f"{MODEL} version {put.version} in {store.medium.root}, {ALIAS} ({put.model_digest[:19]}…{had})")


def _end_rollouts(store: Store, clock: Clock) -> None:
    """Those that an earlier run was stopped in would have a part of this one's traffic."""
    operations = Operations(store, now=clock.wall)
    for status in operations.statuses():
        if status.model == MODEL:
            operations.abort(status.id, actor=PERSON, reason="the demo begins anew")


def _serve(story: Story, summary: dict[str, Any], registry: Path, stack: ExitStack, clock: Clock) -> Server:
    with story.step("Serve") as done:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidegate-demo-")))
        server, took = started(stack, registry, ["--set", f"drift.evaluate_s={EVALUATE_S}"], log=folder / "server.log", clock=clock)
        ports = {name: getattr(server, name) for name in ("http", "grpc", "metrics", "admin")}
        summary["server"] = {**ports, "ready_s": round(took, 2)}
        moved = "" if list(ports.values()) == [f"{HOST}:{port}" for port in PORTS] else " (the usual ports are taken)"
        done(f"HTTP {server.http}, gRPC {server.grpc}, metrics {server.metrics}{moved}; ready after {took:.1f} s")
    return server


def _replay(story: Story, summary: dict[str, Any], server: Server, trained: Trained, scale: Scale) -> np.ndarray:
    """Returns of every row that was sent, whether the prediction came true."""
    february = trained.february.take(slice(0, scale.rows))
    plans = {
        f"{BATCH_ROWS} a request, 4 at once": (BATCH_ROWS, february.rows, 4),
        "1 a request, 16 at once": (1, min(scale.singles, february.rows), 16),
        "1 a request, one at a time": (1, min(scale.alone, february.rows), 1),
    }
    found: dict[str, Measurement] = {}
    served = np.full(february.rows, np.nan)
    with story.step("Replay") as done:
        for name, (size, rows, concurrency) in plans.items():
            flights, expected = february.take(slice(0, rows)), trained.expected[:rows]
            found[name] = _measured(server.client, flights, expected, size=size, concurrency=concurrency, served=served)
        answers = sum(measured.rows for measured in found.values())
        done(f"{answers:,} answers for flights of February, each equal to scikit-learn's")
    story.table(
        ["", "flights/s", "requests/s", "p50 ms", "p99 ms"],
        [
            (name, f"{one.rows_per_s:,.0f}", f"{one.requests_per_s:,.0f}", f"{one.percentile_ms(50):.2f}", f"{one.percentile_ms(99):.2f}")
            for name, one in found.items()
        ],
    )
    story.text("(the Python client takes much of that time; `make bench-serving` measures the server alone)")
    summary["replay"] = {name: measured.summary() for name, measured in found.items()}
    _judge(story, summary, february.labels, served)
    came_true = _came_true(february, served)
    return np.concatenate([came_true[:rows] for _, rows, _ in plans.values()])


def _measured(client: Client, rows: Dataset, expected: np.ndarray, *, size: int, concurrency: int, served: np.ndarray) -> Measurement:
    """Send rows in requests of `size`, and hold every answer against `expected`; what was answered is left in `served`."""
    from retrain.export import TOLERANCE
    from retrain.target import PROBABILITIES

    served[: rows.rows] = np.nan
    messages = [client.request(MODEL, rows.take(slice(start, start + size)).tensors()) for start in range(0, rows.rows, size)]

    def answered(index: int, answer: Answer) -> None:
        late = answer.outputs[PROBABILITIES][:, 1]
        served[index * size : index * size + len(late)] = late

    found = closed_loop(client, messages, concurrency=concurrency, requests=len(messages), answered=answered)
    if found.errors or found.rows != rows.rows:
        raise DemoError(f"{found.rows} of {rows.rows} rows were answered; failures: {found.errors}")
    worst = float(np.abs(served[: rows.rows] - expected).max())
    if not worst <= TOLERANCE:
        raise DemoError(f"a served probability differs from scikit-learn's by {worst}")
    return found


def _came_true(rows: Dataset, served: np.ndarray) -> np.ndarray:
    came_true: np.ndarray = (served > 0.5) == (rows.labels == 1)
    return came_true


def _judge(story: Story, summary: dict[str, Any], labels: np.ndarray, served: np.ndarray) -> None:
    from retrain.train import score

    with story.step("Judge") as done:
        found = score(labels, served)
        summary["score"] = {"rows": found.rows, "accuracy": found.accuracy, "base_rate": found.base_rate, "auc": found.auc}
        done(
            f"against what happened in February: accuracy {found.accuracy:.1%}, where always saying the more frequent "
            f"outcome gives {found.base_rate:.1%}; AUC {found.auc:.3f}"
        )


def _watch(story: Story, summary: dict[str, Any], server: Server, trained: Trained, came_true: np.ndarray, *, clock: Clock) -> None:
    """Month by month: what the server says of its traffic, while nobody tells it a label."""
    from retrain.train import frame

    with story.step("Watch") as done:
        version = str(summary["version"])
        answer = drift_of(server, version, len(came_true), clock)
        months = [_seen(NAMES[1], None, answer, came_true)]
        requests = 0
        for number, rows in trained.later.items():
            served = np.full(rows.rows, np.nan)
            expected = trained.pipeline.predict_proba(frame(rows))[:, 1]
            requests += _measured(server.client, rows, expected, size=BATCH_ROWS, concurrency=4, served=served).requests
            before, answer = answer, drift_of(server, version, answer["rows"] + rows.rows, clock)
            months.append(_seen(NAMES[number - 1], before, answer, _came_true(rows, served)))
        asked = sum(month.rows for month in months[1:])
        done(
            f"{asked:,} answers for flights up to {months[-1].name}, each equal to scikit-learn's; what the server said after each month, "
            "and how far (PSI) the month was from January"
        )
    story.table(*table(months))
    for line in (f"moved, as first seen after {told_first(months)}", told_worth(answer), told_estimates(months)):
        story.text(line)
    story.text("in the server's words (`tidegate drift`):")
    for sentence in sentences(answer):
        story.text(f"  {sentence}")
    summary["watch"] = {
        "requests": requests, "rows": asked, "months": [month.summary() for month in months],
        "first_moved": first_moved(months), "sentences": sentences(answer),
    }  # fmt: skip


def _seen(name: str, before: dict[str, Any] | None, after: dict[str, Any], came_true: np.ndarray) -> Seen:
    try:
        return seen(name, before, after, right=came_true)
    except MonthError as error:
        raise DemoError(str(error)) from error


def _one_by_rest(story: Story, summary: dict[str, Any], server: Server, trained: Trained) -> None:
    with story.step("REST") as done:
        rest = RestClient(server.http)
        body = rest.body(MODEL, trained.february.take(slice(0, 1)).tensors())
        path = infer_path(MODEL, "")
        answer = rest.call("POST", path, body)
        summary["rest"] = {"path": path, "request": body, "response": answer}
        done("the first flight of February as JSON")
    story.text(f"curl -s http://{server.http}{path} -d '{json.dumps(body, separators=(',', ':'))}'")
    story.text(json.dumps(answer, separators=(",", ":")))


def _compare_counts(story: Story, summary: dict[str, Any], server: Server, clock: Clock) -> None:
    with story.step("Count") as done:
        sent = sum(one["requests"] for one in summary["replay"].values()) + summary["watch"]["requests"] + 1
        page, answered = _counted(server, sent, clock)
        batches = _total(page, "tidegate_batch_rows_count")
        rows = _total(page, "tidegate_batch_rows_sum")
        summary["counts"] = {"requests": answered, "batches": batches, "rows": rows}
        if answered != sent:
            raise DemoError(f"the server counted {answered:g} answers, the clients {sent}")
        done(f"the server's metrics agree: {answered:,.0f} requests answered in {batches:,.0f} runs, {rows / batches:.1f} flights per run")


def _roll_out(story: Story, summary: dict[str, Any], server: Server, trained: Trained, *, store: Store, clock: Clock) -> None:
    """A worse candidate, which has to be turned away, and a better one, which has to become champion."""
    champion = str(summary["version"]), trained.pipeline
    summary["rollouts"] = {}
    for candidate in candidates(trained.january, trained.february):
        summary["rollouts"][candidate.title.lower()] = roll_out(
            story, server, store, candidate, flights=trained.later[3], reference=trained.february, champion=champion, clock=clock
        )


def _live(story: Story, summary: dict[str, Any], trained: Trained, *, scale: demo_year_terms.Scale, seed: int, clock: Clock) -> None:
    """The year once more, with a registry and a server of its own, in which the loop is closed."""
    first, months = demo_year.First(trained.exported, trained.january), {2: trained.february, **trained.later}
    with tempfile.TemporaryDirectory(prefix="tidegate-year-") as folder:
        summary["year"] = demo_year.live(story, first, months, folder=Path(folder), scale=scale, seed=seed, clock=clock)


def _counted(server: Server, sent: int, clock: Clock) -> tuple[str, float]:
    """The page, once it has all that was sent: a worker counts after it has answered, and another process shows it. And what it has."""
    until = clock.now() + COUNT_TIMEOUT_S
    while True:
        with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10) as response:
            page = response.read().decode()
        answered = _total(page, "tidegate_requests_total", lambda labels: 'code="OK"' in labels)
        if answered >= sent or clock.now() > until:
            return page, answered


def _total(page: str, name: str, wanted: Callable[[str], bool] = lambda _labels: True) -> float:
    """The sum of a metric over its series on a Prometheus page."""
    found = re.findall(rf"^{name}(\{{.*\}})? (\S+)$", page, re.MULTILINE)
    return sum(float(value) for labels, value in found if wanted(labels))
