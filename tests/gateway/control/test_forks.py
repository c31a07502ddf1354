"""A rollout on the way of a request: who goes where, what answers say of it, what is recorded, and who answers when an arm cannot."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from gateway.control.forks import Crossing
from gateway.errors import Code
from gateway.observe.slabs import GRPC
from gateway.pb import inference_pb2 as pb
from gateway.protocol.tensors import TensorSpec
from gateway.rollout.recorder import Recorder
from gateway.rollout.records import Flag
from gateway.rollout.ring import ARMS, Rings
from gateway.serving.batch import Batch, Item
from gateway.serving.routing import Routes
from gateway.serving.splits import CANDIDATE, STABLE, Arm, Split
from gateway.serving.versions import Version
from tests.gateway.control.desk import INFER, STREAM, Desk, body, infer, tensors
from tests.gateway.serving.mixed_models import ROWS, TAG, RowsModel, built

SALT = "0f" * 16
UNIT = "x-user-id"
SLOT = 3


class Junction:
    """A desk whose model of rows has stable version 3 and others beside it."""

    def __init__(self, *weights: int, models: tuple[Any, ...] = (), **more: Any) -> None:
        self.desk = desk = Desk()
        self.models = models or tuple([built(ROWS, desk.loop) for _ in weights])
        self.stable = built(ROWS, desk.loop)
        numbers = range(10, 10 + len(weights))
        versions = [desk.version(self.stable), *[desk.version(model, number) for model, number in zip(self.models, numbers, strict=True)]]
        names = ["canary"] if len(weights) == 1 else [f"arm{number}" for number in numbers]
        arms = tuple([Arm(*arm) for arm in zip(names, numbers, weights, strict=True)])
        split = Split(
            rollout="r", model=ROWS, slot=SLOT, step=2, salt=SALT, stable=3, arms=arms,
            sources=(f"header:{UNIT}", "parameter:user"), **{"mode": "canary"} | more,
        )  # fmt: skip
        self.ring = Rings.create(1).ring(0)
        recorders = [Recorder(split, arm, version, self.ring, now=desk.loop.now, wall=lambda: 1e9) for arm, version in enumerate(versions)]
        for version, recorder in zip(versions, recorders, strict=True):
            version.rollout = recorder if split.mode == "canary" else None
        self.versions = versions
        self.crossing = Crossing(split, versions, recorders, self.ring, draw=lambda: 1 << 63, submit=desk.batcher.submit)
        routes = Routes({ROWS: {version.number: version for version in versions}}, aliases={ROWS: {"champion": 3}}, defaults={ROWS: 3})
        desk.service.set_routes(routes, {ROWS: self.crossing})

    def arm(self, user: str) -> int:
        return self.crossing.assigner.arm(self.crossing.assigner.hashed(UNIT, user.encode()))

    def users(self, arm: int, count: int) -> list[str]:
        """Names of units of an arm."""
        found = [f"user{index}" for index in range(200 * count) if self.arm(f"user{index}") == arm]
        return found[:count]

    def records(self) -> np.ndarray:
        return self.ring.read(0)[0]


class Copied:
    """What is told of batches of a version that is shadowed: notes the units of those of whom copies would be kept."""

    def __init__(self, units: list[int]) -> None:
        self._units = units

    def served(self, batch: Batch) -> None:
        self._units += [item.whose.unit(item.caller) for item in batch.items if item.whose is not None]


def tag(number: int, rows: int = 1) -> np.ndarray:
    return (number * TAG + np.arange(2 * rows, dtype=np.float32)).reshape(rows, 2)


def answer(message: bytes) -> pb.ModelInferResponse:
    return pb.ModelInferResponse.FromString(message)


def test_units_go_where_their_hash_says_and_answers_say_where() -> None:
    """Known messages and new ones, with the right numbers, in header and parameter."""
    junction = Junction(3_000)
    desk = junction.desk
    for number in range(40):
        user = f"user{number}"
        arm = junction.arm(user)
        reply = desk.call(INFER, infer(ROWS, tag(number)), (UNIT, user))
        said = answer(reply.messages[0])
        name, version = ("stable", "3") if arm == STABLE else ("canary", "10")
        assert (name, version) == (said.parameters["arm"].string_param, said.model_version)
        assert (name.encode(), version.encode()) == (reply.headers[b"tidegate-arm"], reply.headers[b"tidegate-version"])
        assert [float(tag(number).sum())] == tensors(reply.messages[0])["sum"]
    assert {STABLE, CANDIDATE} == set(junction.records()["arm"].tolist())


def test_batches_of_an_arm_say_it_too() -> None:
    """Answers that are laid out by columns, whose headers differ from others'."""
    junction = Junction(5_000)
    desk, users = junction.desk, [*junction.users(STABLE, 6), *junction.users(CANDIDATE, 6)]
    streams = [desk.open(INFER, infer(ROWS, tag(index)), fields=((UNIT, user),)) for index, user in enumerate(users)]
    desk.loop.settle()
    replies = desk.replies()
    names = [replies[stream].headers[b"tidegate-arm"] for stream in streams]
    assert [b"stable"] * 6 + [b"canary"] * 6 == names
    assert [float(tag(index).sum()) for index in range(12)] == [tensors(replies[stream].messages[0])["sum"][0] for stream in streams]
    records = junction.records()
    assert [6] * 12 == records["batch_rows"].tolist()
    assert {2} == set(records["step"].tolist())
    assert {SLOT} == set(records["slot"].tolist())
    assigner = junction.crossing.assigner
    assert [assigner.hashed(UNIT, user.encode()) for user in users] == records["unit"].tolist()


def test_rest_and_v1_and_streams_take_part() -> None:
    """By the same unit, whichever way it comes."""
    junction = Junction(5_000)
    (user,) = junction.users(CANDIDATE, 1)
    for _ in range(3):
        said = junction.desk.http.ask("POST", "/v2/models/rows/infer", body([[64, 65]]), f"{UNIT}: {user}")
        assert {"arm": "canary"} == json.loads(said.body)["parameters"]
        assert ("canary", "10") == (said.headers["tidegate-arm"], said.headers["tidegate-version"])
    said = junction.desk.http.ask("POST", "/v1/models/rows:predict", b'{"instances": [[64, 65]]}', f"{UNIT}: {user}")
    assert (200, "canary") == (said.status, said.headers["tidegate-arm"])
    stream = junction.desk.open(STREAM, infer(ROWS, tag(1)), fields=((UNIT, user),))
    junction.desk.loop.settle()
    (message,) = junction.desk.replies()[stream].messages
    assert "canary" == pb.ModelStreamInferResponse.FromString(message).infer_response.parameters["arm"].string_param
    assert {junction.crossing.assigner.hashed(UNIT, user.encode())} == set(junction.records()["unit"].tolist())
    assert [0, 5] == junction.ring.assigned[SLOT * ARMS :][:2].tolist()


def test_a_parameter_is_a_unit_and_a_request_without_any_is_its_own() -> None:
    """In the order of the sources."""
    junction = Junction(5_000)
    junction.desk.http.ask("POST", "/v2/models/rows/infer", body([[64, 65]], parameters={"user": "eve"}))
    junction.desk.call(INFER, infer(ROWS, tag(1)))
    assert [junction.crossing.assigner.hashed("user", b"eve"), 1 << 63] == junction.records()["unit"].tolist()


def test_users_in_parameters_of_known_messages_each_go_their_way() -> None:
    """And get their own answers; a deadline that one of them asks for is that one's."""
    junction = Junction(5_000)
    desk, arms = junction.desk, []
    for number in range(40):
        message = pb.ModelInferRequest.FromString(infer(ROWS, tag(number)))
        message.parameters["user"].string_param = f"user{number}"
        reply = desk.call(INFER, message.SerializeToString(deterministic=True))
        said = answer(reply.messages[0])
        arms.append(junction.crossing.assigner.arm(junction.crossing.assigner.hashed("user", b"user%d" % number)))
        assert ("stable", "canary")[arms[-1]] == said.parameters["arm"].string_param
        assert [float(tag(number).sum())] == tensors(reply.messages[0])["sum"]
    assert arms == junction.records()["arm"].tolist()
    assert {STABLE, CANDIDATE} == set(arms)


def test_a_timeout_in_a_known_message_is_its_own() -> None:
    """In either arm; others wait as they did, and one that cannot be is refused. A microsecond is less than a run is known to take."""
    junction = Junction(5_000)
    for arm in (STABLE, CANDIDATE):
        codes = []
        for timeout_us in (0, 0, 0, 1, -1, 0):
            message = pb.ModelInferRequest.FromString(infer(ROWS, tag(1)))
            message.parameters["timeout"].int64_param = timeout_us
            codes.append(junction.desk.call(INFER, message.SerializeToString(), (UNIT, junction.users(arm, 1)[0])).status)
        assert [0, 0, 0, 8, 3, 0] == codes


def test_whoever_names_a_version_gets_it_and_is_no_evidence() -> None:
    """By number or by alias."""
    junction = Junction(10_000)
    for version, number in (("3", "3"), ("10", "10"), ("champion", "3")):
        reply = junction.desk.call(INFER, infer(ROWS, tag(1), version=version), (UNIT, "user1"))
        said = answer(reply.messages[0])
        assert (number, False, None) == (said.model_version, "arm" in said.parameters, reply.headers.get(b"tidegate-arm"))
    assert not len(junction.records())
    assert not any(junction.ring.assigned)


def test_testers_choose_their_arm_and_are_no_evidence() -> None:
    """By header; a word that names no arm chooses none."""
    junction = Junction(10_000)
    for asked, version in (("stable", "3"), ("candidate", "10"), ("canary", "10")):
        reply = junction.desk.call(INFER, infer(ROWS, tag(1)), ("tidegate-arm", asked), (UNIT, "user1"))
        assert version == answer(reply.messages[0]).model_version
    assert not len(junction.records())
    junction.desk.call(INFER, infer(ROWS, tag(1)), ("tidegate-arm", "elsewhere"), (UNIT, "user1"))
    assert 1 == len(junction.records())


def test_beside_a_shadow_nobody_is_assigned_and_a_unit_is_asked_for_later() -> None:
    """What callers get is stable's, and says so; testers reach the shadow."""
    junction = Junction(0, mode="shadow")
    told: list[int] = []
    junction.versions[STABLE].shadow = Copied(told)
    reply = junction.desk.call(INFER, infer(ROWS, tag(1)), (UNIT, "user1"))
    said = answer(reply.messages[0])
    assert ("3", "stable") == (said.model_version, said.parameters["arm"].string_param)
    request = pb.ModelInferRequest.FromString(infer(ROWS, tag(1)))
    request.parameters["user"].string_param = "user2"
    junction.desk.call(INFER, request.SerializeToString())
    answered = junction.desk.call(INFER, infer(ROWS, tag(1)), ("tidegate-arm", "candidate"), (UNIT, "user3"))
    assert "10" == answer(answered.messages[0]).model_version
    assert [junction.crossing.assigner.hashed(UNIT, b"user1"), junction.crossing.assigner.hashed("user", b"user2")] == told
    assert not len(junction.records())
    assert not any(junction.ring.assigned)


@pytest.mark.parametrize("mood", ["broken", "crash", "short", "flat"])
def test_what_fails_in_the_canary_is_answered_by_stable_and_counts_against_the_canary(mood: str) -> None:
    """Neighbours in the same tick are not touched, on either protocol."""
    junction = Junction(5_000)
    desk = junction.desk
    junction.models[0].mood = mood
    users = [*junction.users(STABLE, 3), *junction.users(CANDIDATE, 3)]
    streams = [
        desk.open(INFER, infer(ROWS, tag(index), request_id=f"r{index}"), fields=((UNIT, user),)) for index, user in enumerate(users)
    ]
    desk.loop.settle()
    replies = desk.replies()
    assert [b"stable"] * 3 + [b"fallback"] * 3 == [replies[stream].headers[b"tidegate-arm"] for stream in streams]
    for index, stream in enumerate(streams):
        said = answer(replies[stream].messages[0])
        assert ("3", f"r{index}") == (said.model_version, said.id)
        assert [float(tag(index).sum())] == tensors(replies[stream].messages[0])["sum"]
    said = desk.http.ask("POST", "/v2/models/rows/infer", body([[64, 65]]), f"{UNIT}: {users[-1]}")
    assert (200, {"arm": "fallback"}) == (said.status, json.loads(said.body)["parameters"])
    records = junction.records()
    assert [0] * 3 + [Flag.SERVER_ERROR] * 4 == sorted((records["flags"] & ~np.uint16(Flag.SAMPLED)).tolist())
    assert {CANDIDATE} == set(records["arm"][records["flags"] & np.uint16(Flag.SERVER_ERROR) > 0].tolist())
    assert [0, 4] == junction.ring.fell_back[SLOT * ARMS :][:2].tolist()
    assert [0, 4] == junction.ring.failed[SLOT * ARMS :][:2].tolist()
    counts = {key: slab.requests[GRPC].tolist() for key, slab in desk.totals.snapshot().items()}
    assert (6, 3) == (counts[ROWS, "3"][Code.OK], counts[ROWS, "10"][Code.INTERNAL])


def test_without_a_fallback_the_error_is_the_answer() -> None:
    """And says whose it is."""
    junction = Junction(10_000, fallback=False)
    junction.models[0].mood = "broken"
    reply = junction.desk.call(INFER, infer(ROWS, tag(1)), (UNIT, "a"))
    assert (13, b"canary") == (reply.status, reply.headers[b"tidegate-arm"])
    said = junction.desk.http.ask("POST", "/v2/models/rows/infer", body([[64, 65]]), f"{UNIT}: a")
    assert (500, "canary") == (said.status, said.headers["tidegate-arm"])


def test_when_stable_fails_too_the_caller_hears_of_it_once() -> None:
    """There is no third attempt."""
    junction = Junction(10_000)
    junction.models[0].mood = junction.stable.mood = "broken"
    reply = junction.desk.call(INFER, infer(ROWS, tag(1)), (UNIT, "a"))
    assert (13, b"fallback") == (reply.status, reply.headers[b"tidegate-arm"])
    assert 1 == len(junction.records())


class Narrow(RowsModel):
    """Takes less than stable."""

    inputs = (TensorSpec("x", "FP32", (-1, 3)),)


@pytest.mark.parametrize("fallback", [True, False])
def test_an_input_that_only_the_candidate_refuses_counts_against_it(fallback: bool) -> None:
    """A model that takes less than the one before is a regression; callers do not pay for it unless the rollout says so."""
    junction = Junction(10_000, fallback=fallback, models=(Narrow(Desk().loop, ROWS, max_batch_size=8, per_run_s=1e-5, per_row_s=0.0),))
    for _ in range(3):
        reply = junction.desk.call(INFER, infer(ROWS, tag(1)), (UNIT, "a"))
        assert (0 if fallback else 3) == reply.status
    flags = junction.records()["flags"]
    assert [Flag.REJECTED_INPUT | Flag.SERVER_ERROR | Flag.SAMPLED] * 3 == flags.tolist()


class Swapped(RowsModel):
    """Two inputs, in another order than stable's."""

    inputs = (TensorSpec("b", "FP32", (-1, 1)), TensorSpec("a", "FP32", (-1, 1)))

    def compute(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        return [arrays[0][:, 0] - arrays[1][:, 0], arrays[0]]


class Ordered(Swapped):
    """The same the other way."""

    inputs = Swapped.inputs[::-1]

    def compute(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        return super().compute(arrays[::-1])


def test_inputs_in_another_order_reach_the_candidate_by_name() -> None:
    """Also for messages that are known by their bytes."""
    loop = Desk().loop
    junction = Junction(10_000, models=(Swapped(loop, ROWS, max_batch_size=8, per_run_s=1e-5, per_row_s=0.0),))
    ordered = Ordered(loop, ROWS, max_batch_size=8, per_run_s=1e-5, per_row_s=0.0)
    junction.versions[STABLE].model, junction.versions[STABLE].signature = ordered, ordered.signature
    for number in range(1, 5):
        request = pb.ModelInferRequest(model_name=ROWS)
        for name, value in (("a", 1.0), ("b", 10.0 * number)):
            request.inputs.add(name=name, datatype="FP32", shape=[1, 1])
            request.raw_input_contents.append(np.float32(value).tobytes())
        reply = junction.desk.call(INFER, request.SerializeToString(), (UNIT, "a"))
        assert ("10", [10.0 * number - 1.0]) == (answer(reply.messages[0]).model_version, tensors(reply.messages[0])["sum"])


def test_what_the_canarys_queue_does_not_take_is_an_event_and_stable_answers() -> None:
    """Not a missing row."""
    junction = Junction(10_000)
    junction.versions[CANDIDATE].close()
    reply = junction.desk.call(INFER, infer(ROWS, tag(1)), (UNIT, "a"))
    assert (0, b"fallback") == (reply.status, reply.headers[b"tidegate-arm"])
    assert [Flag.SERVER_ERROR | Flag.SAMPLED] == junction.records()["flags"].tolist()


def test_of_those_outside_the_sample_only_what_happened_is_told() -> None:
    """Errors, bad outputs, and answers slower than the plan's bound."""
    junction = Junction(5_000, sample=1e-4, slo_s=(0.5,))
    desk = junction.desk
    (user,) = junction.users(CANDIDATE, 1)
    desk.call(INFER, infer(ROWS, tag(1)), (UNIT, user))
    assert (0, 1) == (len(junction.records()), junction.ring.answered[SLOT * ARMS + CANDIDATE])
    junction.models[0].mood = "broken"
    desk.call(INFER, infer(ROWS, tag(1)), (UNIT, user))
    junction.models[0].per_run_s, junction.models[0].mood = 1.0, "good"
    desk.call(INFER, infer(ROWS, tag(1)), (UNIT, user))
    failed, slow = junction.records()
    assert (True, 0, Flag.SERVER_ERROR) == (bool(slow["latency_s"] > 0.5), slow["flags"], failed["flags"])


def test_a_call_s_time_is_its_run_s_and_not_the_wait_for_the_other_arm() -> None:
    """Whichever arm runs first in a tick, and whoever came first."""
    for order in ((STABLE, CANDIDATE), (CANDIDATE, STABLE)):
        junction = Junction(5_000)
        junction.stable.per_run_s, junction.models[0].per_run_s = 0.1, 0.3
        for arm in order:
            junction.desk.open(INFER, infer(ROWS, tag(1)), fields=((UNIT, junction.users(arm, 1)[0]),))
        junction.desk.loop.settle()
        records = junction.records()
        assert list(order) == records["arm"].tolist()
        assert [pytest.approx((0.1, 0.3)[arm], rel=1e-3) for arm in order] == records["latency_s"].tolist()


def test_who_went_away_in_the_queue_has_no_time() -> None:
    """And who was not let in has that of the refusal."""
    junction = Junction(10_000)
    item = Item()
    item.arrival, item.unit, item.arm = junction.desk.loop.now() - 2.0, 7, CANDIDATE
    for code in (Code.CANCELLED, Code.DEADLINE_EXCEEDED):
        junction.versions[CANDIDATE].rollout.ended(item, code)
    gone, late = junction.records()["latency_s"].tolist()
    assert (True, 2.0) == (math.isnan(gone), late)


class Noisy(RowsModel):
    """Its second row is no number."""

    def compute(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        total, negated = super().compute(arrays)
        total[1:] = np.inf
        return [total, negated]


def test_outputs_that_are_no_numbers_are_told_of_the_request_that_got_them() -> None:
    """Its neighbours in the batch got good ones."""
    junction = Junction(10_000, models=(Noisy(Desk().loop, ROWS, max_batch_size=8, per_run_s=1e-5, per_row_s=0.0),))
    for index in range(2):
        junction.desk.open(INFER, infer(ROWS, tag(index)), fields=((UNIT, f"user{index}"),))
    junction.desk.loop.settle()
    assert [Flag.SAMPLED, Flag.SAMPLED | Flag.BAD_OUTPUT] == junction.records()["flags"].tolist()


def test_an_ab_of_three_versions_divides_by_its_weights() -> None:
    """Each answer names its arm."""
    junction = Junction(2_000, 3_000)
    for number in range(30):
        reply = junction.desk.call(INFER, infer(ROWS, tag(number)), (UNIT, f"user{number}"))
        arm = junction.arm(f"user{number}")
        assert (b"stable", b"arm10", b"arm11")[arm] == reply.headers[b"tidegate-arm"]
    assert {0, 1, 2} == set(junction.records()["arm"].tolist())


def test_a_new_table_ends_it() -> None:
    """Everybody goes to stable at once, and what is still under way is answered."""
    junction = Junction(10_000)
    desk = junction.desk
    under_way = desk.open(INFER, infer(ROWS, tag(1)), fields=((UNIT, "a"),))
    desk.service.set_routes(desk.service.routes)
    desk.loop.settle()
    assert "10" == answer(desk.replies()[under_way].messages[0]).model_version
    reply = desk.call(INFER, infer(ROWS, tag(1)), (UNIT, "a"))
    assert ("3", None) == (answer(reply.messages[0]).model_version, reply.headers.get(b"tidegate-arm"))


def test_versions_are_what_a_crossing_stands_for() -> None:
    """A request that stable's number does not answer any more takes part in nothing."""
    junction = Junction(10_000)
    other: Version = junction.desk.version(built(ROWS, junction.desk.loop), 4)
    junction.desk.service.set_routes(Routes({ROWS: {4: other}}), {ROWS: junction.crossing})
    assert "4" == answer(junction.desk.call(INFER, infer(ROWS, tag(1)), (UNIT, "a")).messages[0]).model_version
