"""Calls of the inference service from bytes to bytes: answers, errors, deadlines, streams, and what is remembered of messages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Code
from gateway.limits import Limits, WireLimits
from gateway.observe.slabs import GRPC
from gateway.pb import inference_pb2 as pb
from gateway.protocol.tensors import TensorSpec
from gateway.serving.routing import Routes
from tests import naive
from tests.gateway.control.desk import INFER, STREAM, Desk, framed, infer, tensors
from tests.gateway.serving.mixed_models import ROWS, TAG, TEXTS, WHOLE, MixedModel, built
from tests.gateway.wire import http2_wire

OK, INVALID, DEADLINE, NOT_FOUND, EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 0, 3, 4, 5, 8, 12, 13, 14


def rows(tag: int, count: int = 1, features: int = 2) -> np.ndarray:
    """Rows that no other request has."""
    return (tag * TAG + np.arange(count * features) % TAG).astype(np.float32).reshape(count, features)


def counted(desk: Desk, model: str = "_unknown") -> dict[str, int]:
    slab = next(slab for (name, _), slab in desk.totals.snapshot().items() if name == model)
    return {Code(code).name: int(count) for code, count in enumerate(slab.requests[GRPC]) if count}


# --- unary -----------------------------------------------------------------------------------------------------------------------


def test_one_request_is_answered_with_its_rows_its_id_and_the_version() -> None:
    """The long way, the learning one, and the short one give the same."""
    desk = Desk()
    for tag in range(1, 6):
        reply = desk.call(INFER, infer(ROWS, rows(tag, 3), request_id=f"r{tag}"))
        answer = pb.ModelInferResponse.FromString(reply.messages[0])
        assert (OK, f"r{tag}", "rows", "3") == (reply.status, answer.id, answer.model_name, answer.model_version)
        assert naive.rows_answer(rows(tag, 3).tolist()) == tuple(tensors(reply.messages[0]).values())
    assert {"OK": 5} == counted(desk, ROWS)


ALIASES = [("", "3"), ("champion", "3"), ("challenger", "10"), ("10", "10"), ("3", "3")]
LOST = [
    (ROWS, "nobody", NOT_FOUND, "Request for unknown model: 'rows' alias nobody is not found"),
    (ROWS, "broken", UNAVAILABLE, "Request for unknown model: 'rows' alias broken stands for version 7, which is not at ready state"),
    ("headless", "", UNAVAILABLE, "model 'headless' has no champion: name a version or alias"),
    ("idle", "", UNAVAILABLE, "model 'idle' serves no version: no alias stands for one"),
]


def test_an_alias_is_a_version_and_the_answer_has_its_number() -> None:
    """Unary and streamed; the long way, the learning one, and the short one."""
    desk = Desk()
    desk.service.set_routes(desk.aliased())
    for tag in range(1, 6):
        for version, number in ALIASES:
            reply = desk.call(INFER, infer(ROWS, rows(tag), version=version))
            streamed = desk.call(STREAM, infer(ROWS, rows(tag), version=version))
            answers = [pb.ModelInferResponse.FromString(reply.messages[0])]
            answers.append(pb.ModelStreamInferResponse.FromString(streamed.messages[0]).infer_response)
            assert [(number, "rows")] * 2 == [(answer.model_version, answer.model_name) for answer in answers]
            assert naive.rows_answer(rows(tag).tolist()) == tuple(tensors(reply.messages[0]).values())


@pytest.mark.parametrize(("model", "version", "status", "text"), LOST)
def test_an_alias_that_leads_nowhere_is_refused(model: str, version: str, status: int, text: str) -> None:
    """With its reason, unary and streamed."""
    desk = Desk()
    desk.service.set_routes(desk.aliased())
    message = infer(model, rows(1), version=version)
    reply, streamed = desk.call(INFER, message), desk.call(STREAM, message)
    assert (status, text) == (reply.status, reply.text)
    assert text == pb.ModelStreamInferResponse.FromString(streamed.messages[0]).error_message


def test_a_learned_alias_follows_the_routes() -> None:
    """What was learned of messages by an alias is forgotten when it stands for another version."""
    desk = Desk()
    routes = desk.aliased()
    desk.service.set_routes(routes)
    for tag in range(1, 4):
        desk.call(INFER, infer(ROWS, rows(tag), version="champion"))
    desk.service.set_routes(replace(routes, aliases={ROWS: {"champion": 10}}, defaults={ROWS: 10}))
    for version in ("champion", ""):
        (message,) = desk.call(INFER, infer(ROWS, rows(5), version=version)).messages
        assert "10" == pb.ModelInferResponse.FromString(message).model_version


asked = st.lists(
    st.tuples(
        st.sampled_from([ROWS, ROWS, ROWS, TEXTS, WHOLE]), st.integers(1, 12), st.sampled_from([1, 2, 700]),
        st.sampled_from(["", "", "a", "b", "longer-id", "x" * 200]), st.sampled_from([(), (), (1,), (0,), (1, 0)]), st.booleans(),
    ),
    min_size=1, max_size=14,
)  # fmt: skip


@settings(max_examples=500)
@given(asked, st.booleans())
def test_every_mix_of_one_tick_is_answered_to_each_its_own(asked: list, threaded: bool) -> None:
    """Rows, ids and selections of any kind in one batch, unary and streamed, short answers and long ones: message by message."""
    desk = Desk(threaded=threaded)
    expected = {}
    for tag, (kind, count, features, request_id, chosen, streamed) in enumerate(asked, 1):
        numbers = rows(tag, count, 1 if kind == TEXTS else features).astype(int).tolist()
        texts = [[f"{tag}.{row}.{column}ü" for column in range(min(features, 5))] for row in range(count)]
        arrays = [np.array(numbers, {ROWS: "f4", TEXTS: "i8", WHOLE: "f8"}[kind])]
        if kind == TEXTS:
            arrays.insert(0, np.array(texts, object))
        names = [desk.models[kind].signature.outputs[index].name for index in chosen]
        stream_id = desk.open(STREAM if streamed else INFER, infer(kind, *arrays, request_id=request_id, outputs=names))
        values = (
            naive.texts_answer(texts, numbers) if kind == TEXTS else (naive.rows_answer if kind == ROWS else naive.whole_answer)(numbers)
        )
        outputs = dict(zip([spec.name for spec in desk.models[kind].signature.outputs], values, strict=True))
        expected[stream_id] = request_id, {name: outputs[name] for name in names or outputs}, streamed
    desk.loop.settle()
    for _ in asked:
        desk.finish_runs()
    replies = desk.replies()
    for stream_id, (request_id, outputs, streamed) in expected.items():
        (message,) = replies[stream_id].messages
        if streamed:
            message = pb.ModelStreamInferResponse.FromString(message).infer_response.SerializeToString()
        found = tensors(message)
        assert (OK, request_id, list(outputs)) == (replies[stream_id].status, pb.ModelInferResponse.FromString(message).id, list(found))
        assert outputs == found
    assert 0 == desk.batcher.budget.requests


@settings(max_examples=500)
@given(st.lists(st.sampled_from(["", "a", "b", "cc", "x" * 30]), min_size=4, max_size=12), st.sampled_from([(), ("y",)]), st.integers(1, 3))
def test_like_requests_of_one_batch_are_answered_by_columns_whatever_their_ids(
    ids: list[str], outputs: tuple[str, ...], count: int
) -> None:
    """Ids of one length are laid out together, those of several lengths length by length; then as many on one stream."""
    desk = Desk()
    desk.models[ROWS].signature = replace(desk.models[ROWS].signature, max_batch_size=64)
    desk.service.set_routes(Routes({ROWS: {3: desk.version(desk.models[ROWS])}}))
    calls = [desk.open(INFER, infer(ROWS, rows(tag, count), request_id=own, outputs=outputs)) for tag, own in enumerate(ids, 1)]
    desk.loop.settle()
    stream_id = desk.open(STREAM, *[infer(ROWS, rows(tag, count), request_id=own, outputs=outputs) for tag, own in enumerate(ids, 100)])
    desk.loop.settle()
    replies = desk.replies()
    messages = [message for call in calls for message in replies[call].messages]
    messages += [pb.ModelStreamInferResponse.FromString(each).infer_response.SerializeToString() for each in replies[stream_id].messages]
    expected = []
    for first in (1, 100):
        for tag, own in enumerate(ids, first):
            known = dict(zip(("sum", "y"), naive.rows_answer(rows(tag, count).tolist()), strict=True))
            expected.append((own, {name: known[name] for name in outputs or known}))
    assert expected == [(pb.ModelInferResponse.FromString(message).id, tensors(message)) for message in messages]


ERRORS = [
    pytest.param(b"\xff\xff", INVALID, "INVALID_ARGUMENT", id="no message"),
    pytest.param(infer("nobody", rows(1)), NOT_FOUND, "NOT_FOUND", id="no model"),
    pytest.param(infer("broken", rows(1)), UNAVAILABLE, "UNAVAILABLE", id="a model that does not serve"),
    pytest.param(infer(ROWS, rows(1), version="4"), NOT_FOUND, "NOT_FOUND", id="no version"),
    pytest.param(infer(ROWS, rows(1).astype(np.float64)), INVALID, "INVALID_ARGUMENT", id="another datatype"),
    pytest.param(infer(ROWS, rows(1), outputs=["none"]), INVALID, "INVALID_ARGUMENT", id="no output"),
]


@pytest.mark.parametrize(("message", "status", "code"), ERRORS)
def test_a_bad_request_gets_its_error_and_is_counted_as_of_no_model(message: bytes, status: int, code: str) -> None:
    """A status without a message, and the next request is served."""
    desk = Desk()
    reply = desk.call(INFER, message)
    assert (status, [], True) == (reply.status, reply.messages, bool(reply.text))
    assert {code: 1} == counted(desk)
    assert OK == desk.call(INFER, infer(ROWS, rows(1))).status


def test_a_refusal_is_counted_as_of_its_version_and_says_when_to_come_back() -> None:
    """Unloading: UNAVAILABLE with a pushback."""
    desk = Desk()
    desk.service.routes.resolve(ROWS, "").close()
    reply = desk.call(INFER, infer(ROWS, rows(1)))
    assert (UNAVAILABLE, b"1000") == (reply.status, reply.trailers[b"grpc-retry-pushback-ms"])
    assert {"UNAVAILABLE": 1} == counted(desk, ROWS)


@pytest.mark.parametrize(
    ("fields", "timeout_us", "after"),
    [((("grpc-timeout", "2S"),), 0, 2.0), ((), 300_000, 0.3), ((("grpc-timeout", "100m"),), 300_000, 0.1), ((), 0, 10.0),
     ((("grpc-timeout", "1H"),), 0, 30.0)],
)  # fmt: skip
def test_the_nearest_deadline_counts(fields: tuple, timeout_us: int, after: float) -> None:
    """The call's, the request's own, the default, and the longest that the server allows; remembered messages keep theirs."""
    desk = Desk(threaded=True)
    for count in range(1, 4):
        desk.open(INFER, infer(ROWS, rows(9, 2)))
        desk.loop.settle()
        stream_id = desk.open(INFER, infer(ROWS, rows(count), timeout_us=timeout_us), fields=fields)
        desk.loop.settle()
        desk.loop.advance(after - 0.01)
        assert stream_id not in desk.replies()
        desk.loop.advance(0.02)
        assert (DEADLINE, []) == (desk.replies()[stream_id].status, desk.replies()[stream_id].messages)
        desk.finish_runs()


def test_new_routes_are_used_at_once_whatever_was_remembered() -> None:
    """A message that was learned goes to the new version."""
    desk = Desk()
    for tag in range(1, 4):
        desk.call(INFER, infer(ROWS, rows(tag)))
    newer = desk.version(built(ROWS, desk.loop), 4)
    desk.service.set_routes(Routes({ROWS: {3: desk.service.routes.resolve(ROWS, ""), 4: newer}}))
    reply = desk.call(INFER, infer(ROWS, rows(4)))
    assert "4" == pb.ModelInferResponse.FromString(reply.messages[0]).model_version


def test_a_reset_call_is_not_computed() -> None:
    """Its rows are dropped before the run, its bytes given back."""
    desk = Desk(threaded=True)
    desk.open(INFER, infer(ROWS, rows(1)))  # in the thread
    desk.loop.settle()
    stream_id = desk.open(INFER, infer(ROWS, rows(2)))
    desk.loop.settle()
    desk.wire.send(http2_wire.reset(stream_id))
    desk.finish_runs()
    assert (1, 0) == (desk.models[ROWS].runs, desk.batcher.budget.bytes)
    assert {"OK": 1, "CANCELLED": 1} == counted(desk, ROWS)


# --- streams ---------------------------------------------------------------------------------------------------------------------


def streamed(message: bytes) -> tuple[str, str]:
    """(error, id) of one answer of a stream."""
    answer = pb.ModelStreamInferResponse.FromString(message)
    return answer.error_message, answer.infer_response.id


def test_a_failed_request_does_not_end_its_stream() -> None:
    """Errors are answers among the others, in the order in which they are known; the status is OK."""
    desk = Desk()
    stream_id = desk.open(STREAM, infer(ROWS, rows(1), request_id="a"), b"\xff", infer("nobody", rows(1)), last=False)
    desk.loop.settle()
    desk.more(stream_id, infer(ROWS, rows(2), request_id="b"), last=True)
    desk.loop.settle()
    reply = desk.replies()[stream_id]
    found = [streamed(message) for message in reply.messages]
    assert (OK, [("", "a"), ("", "b")]) == (reply.status, [pair for pair in found if not pair[0]])
    assert 2 == len([error for error, _ in found if error])
    assert {"INVALID_ARGUMENT": 1, "NOT_FOUND": 1} == counted(desk)


def test_a_stream_ends_when_its_last_request_is_answered() -> None:
    """Not with the half-close that came before."""
    desk = Desk(threaded=True)
    stream_id = desk.open(STREAM, infer(ROWS, rows(1)), last=False)
    desk.loop.settle()
    desk.more(stream_id, last=True)
    assert stream_id not in desk.replies()
    desk.finish_runs()
    assert (OK, 1) == (desk.replies()[stream_id].status, len(desk.replies()[stream_id].messages))


def test_a_stream_without_a_request_ends_well() -> None:
    """Headers, no message, OK."""
    desk = Desk()
    stream_id = desk.open(STREAM, last=False)
    desk.more(stream_id, last=True)
    assert (OK, []) == (desk.replies()[stream_id].status, desk.replies()[stream_id].messages)


def test_every_request_of_a_stream_has_a_deadline_of_its_own() -> None:
    """The default from its arrival, while the stream lives on."""
    desk = Desk(threaded=True)
    stream_id = desk.open(STREAM, infer(ROWS, rows(1)), last=False)
    desk.loop.settle()
    desk.loop.advance(9.0)
    desk.more(stream_id, infer(ROWS, rows(2)))
    desk.loop.settle()
    desk.loop.advance(1.1)
    assert ["Request timeout expired"] == [streamed(message)[0] for message in desk.replies()[stream_id].messages]
    desk.finish_runs()
    desk.finish_runs()
    assert [("Request timeout expired", ""), ("", "")] == [streamed(message) for message in desk.replies()[stream_id].messages]


def test_a_stream_that_is_reset_takes_its_requests_along() -> None:
    """None of those that wait is computed."""
    desk = Desk(threaded=True)
    desk.open(INFER, infer(ROWS, rows(1)))
    desk.loop.settle()
    stream_id = desk.open(STREAM, infer(ROWS, rows(2)), infer(ROWS, rows(3)), last=False)
    desk.loop.settle()
    desk.wire.send(http2_wire.reset(stream_id))
    desk.finish_runs()
    desk.finish_runs()
    assert (1, 0) == (desk.models[ROWS].runs, desk.batcher.budget.requests)


def test_a_stream_gets_its_window_back_as_its_requests_are_answered() -> None:
    """What waits is what the peer may not send: the window is the bound of one stream."""
    desk = Desk(Limits(wire=WireLimits(stream_window_bytes=65_535)), threaded=True)
    message = infer(ROWS, rows(1))
    stream_id = desk.open(STREAM, message, last=False)
    for _ in range(40_000 // len(framed(message))):
        desk.more(stream_id, message)
    desk.loop.settle()
    assert [] == windows(desk, stream_id)
    for _ in range(200):
        desk.finish_runs()
    (update,) = windows(desk, stream_id)
    assert 32_767 <= update <= 40_000


def windows(desk: Desk, stream_id: int) -> list[int]:
    """What was given back to a stream."""
    desk.wire.flush()
    frames = http2_wire.read_frames(b"".join(desk.wire.writes))
    return [frame.window_increment for frame in frames if (frame.type, frame.stream_id) == (http2_wire.WINDOW_UPDATE, stream_id)]


class PairsModel(MixedModel):
    """x FP32 [-1, -1] → pair BYTES [-1, 2], the first value of a row written twice, and none BYTES [-1, 0]."""

    inputs = (TensorSpec("x", "FP32", (-1, -1)),)
    outputs = (TensorSpec("pair", "BYTES", (-1, 2)), TensorSpec("none", "BYTES", (-1, 0)))

    def compute(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        (x,) = arrays
        pairs = np.array([[f"{value:.0f}", f"<{value:.0f}>"] for value in x[:, 0]], object)
        return [pairs, np.empty((len(x), 0), object)]


def test_strings_of_several_columns_stay_in_their_rows() -> None:
    """Packed once for the batch, cut by rows."""
    desk = Desk()
    model = PairsModel(desk.loop, ROWS, max_batch_size=64, per_run_s=1e-5, per_row_s=0.0)
    desk.service.set_routes(Routes({ROWS: {3: desk.version(model)}}))
    calls = {desk.open(INFER, infer(ROWS, rows(tag, tag))): tag for tag in range(1, 6)}
    desk.loop.settle()
    for stream_id, tag in calls.items():
        expected = [[f"{value:.0f}", f"<{value:.0f}>"] for value in rows(tag, tag)[:, 0]]
        assert {"pair": expected, "none": [[]] * tag} == tensors(desk.replies()[stream_id].messages[0])
    assert 1 == model.runs
