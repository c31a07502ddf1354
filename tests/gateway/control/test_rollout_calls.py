"""tidegate.Rollouts over gRPC: the same as over HTTP, and a watch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.control.errands import ENDING
from gateway.control.rollout_watches import CROWDED, LOOK_S, MAX_WATCHES
from gateway.control.rollout_work import VERBS
from gateway.errors import Code
from gateway.identity.gate import Known
from gateway.pb import tidegate_pb2 as pb
from gateway.pb.rpcs import ROLLOUTS
from gateway.rollout.observation import Overall
from gateway.wire.status import grpc_status
from registry.errors import Kind, RegistryError
from tests.gateway.control.counter import YAML, Counter
from tests.gateway.identity.issuing import api_key, auth
from tests.gateway.rollout.world import Said, World
from tests.gateway.wire import http2_wire

WATCH = "/tidegate.Rollouts/Watch"


@pytest.fixture
def desk(tmp_path: Path) -> Counter:
    return Counter(tmp_path / "r")


def led(desk: Counter) -> World:
    """With a server that decides, and no evidence yet."""
    assert desk.store is not None
    return World(desk.store, clock=desk.clock, said=Said(overall=Overall.NO_DATA))


def pass_time(desk: Counter, looks: int = 1) -> None:
    for _ in range(looks):
        desk.loop.advance(LOOK_S)
        desk.loop.settle()


def number(code: Code) -> int:
    return grpc_status(code)


def statuses(desk: Counter, stream_id: int) -> list[tuple[str, int]]:
    """(phase, entries) of everything that a watch was told so far."""
    desk.loop.settle()
    reply = desk.replies().get(stream_id)
    found = [] if reply is None else [pb.RolloutStatus.FromString(message) for message in reply.messages]
    return [(one.phase, one.entries) for one in found]


def watching(desk: Counter, rollout: str = "m-1", *fields: tuple[str, str]) -> int:
    stream_id = desk.open(WATCH, pb.RolloutRequest(rollout=rollout).SerializeToString(), fields=fields)
    desk.loop.settle()
    return stream_id


# --- the calls ---------------------------------------------------------------------------------------------------------------------


def test_every_call_of_the_contract_is_answered(desk: Counter) -> None:
    """By a method of its kind."""
    methods = desk.calls.methods
    assert {rpc.path.encode() for rpc in ROLLOUTS.values()} == set(methods)
    assert {name for name, rpc in ROLLOUTS.items() if methods[rpc.path.encode()].unary is None} == {"Watch"}
    assert {verb.capitalize() for verb in VERBS} <= set(ROLLOUTS)


def test_a_rollout_from_plan_to_end(desk: Counter) -> None:
    """Apply, status, the verbs, history, list: each with what it says over HTTP."""
    begun = desk.rpc("Apply", pb.ApplyRolloutRequest(plan=YAML, actor="ann", reason="new", commit="abc"))
    assert ("m-1", True, "abc") == (begun.status.id, begun.new, begun.status.commit)
    led(desk).tick()
    for verb, phase in (("Pause", "paused"), ("Resume", "step"), ("Abort", "rolling_back")):
        request = getattr(pb, f"{verb}RolloutRequest")(rollout="m", actor="cas", reason="so", operation_id=verb)
        assert [(phase, True), (phase, False)] == [
            (one.status.phase, one.new) for one in (desk.rpc(verb, request), desk.rpc(verb, request))
        ]
    status = desk.rpc("Status", pb.RolloutRequest(rollout="m-1"))
    over_http = json.loads(desk.http.ask("GET", "/v1/rollouts/m-1").body)
    assert over_http["arms"] == [
        {"name": arm.name, "version": arm.version, "manifest": arm.manifest, "percent": arm.percent} for arm in status.arms
    ]
    for name in ("phase", "salt", "plan", "starter", "started", "reason", "entries", "percent", "alias"):
        assert over_http[name] == getattr(status, name), name
    assert not status.HasField("report") or over_http["report"] == status.report
    history = desk.rpc("History", pb.RolloutRequest(rollout="m-1"))
    theirs = json.loads(desk.http.ask("GET", "/v1/rollouts/m-1/history").body)["entries"]
    assert [(one["seq"], one["event"], one["details"]) for one in theirs] == [
        (entry.seq, entry.event, json.loads(entry.details)) for entry in history.entries
    ]
    assert ["m-1"] == [one.id for one in desk.rpc("List", pb.ListRolloutsRequest(model="m")).rollouts]
    assert [] == list(desk.rpc("List", pb.ListRolloutsRequest(model="n", all=True)).rollouts)


def test_a_message_has_every_field_of_a_status(desk: Counter) -> None:
    """By the same names, so that nobody adds one to one of them alone."""
    desk.begin()
    status = desk.work.status("m")
    assert {field.name for field in msgspec.structs.fields(type(status))} == {field.name for field in pb.RolloutStatus.DESCRIPTOR.fields}
    entry = desk.work.history("m").entries[0]
    assert {field.name for field in msgspec.structs.fields(type(entry))} == {field.name for field in pb.RolloutEntry.DESCRIPTOR.fields}


def test_promote_says_a_step_only_where_one_was_said(desk: Counter) -> None:
    """Step 0 is one."""
    desk.begin()
    led(desk).tick()
    refused = desk.rpc("Promote", pb.PromoteRolloutRequest(rollout="m", reason="sure", step=1))
    assert (number(Code.FAILED_PRECONDITION), True) == (refused[0], "is at step 0, not at step 1" in refused[1])
    assert 1 == desk.rpc("Promote", pb.PromoteRolloutRequest(rollout="m", reason="sure", step=0)).status.step


@pytest.mark.parametrize(
    ("call", "request_", "code"),
    [
        ("Status", pb.RolloutRequest(rollout="m-9"), Code.NOT_FOUND),
        ("Status", pb.RolloutRequest(), Code.NOT_FOUND),
        ("History", pb.RolloutRequest(rollout="m-9"), Code.NOT_FOUND),
        ("Apply", pb.ApplyRolloutRequest(plan=b"kind: x"), Code.INVALID_ARGUMENT),
        ("Apply", pb.ApplyRolloutRequest(plan=YAML.replace(b"version: 2", b"version: 9")), Code.NOT_FOUND),
        ("Abort", pb.AbortRolloutRequest(rollout="m-1"), Code.INVALID_ARGUMENT),
        ("Pause", pb.PauseRolloutRequest(rollout="m-1"), Code.FAILED_PRECONDITION),
        ("Pause", pb.PauseRolloutRequest(rollout="m-1", actor="\n"), Code.INVALID_ARGUMENT),
    ],
)
def test_what_is_wrong_has_its_code(desk: Counter, call: str, request_: Any, code: Code) -> None:
    """As over HTTP, and the connection lives on."""
    desk.begin()
    assert number(code) == desk.rpc(call, request_)[0]
    assert "m-1" == desk.rpc("Status", pb.RolloutRequest(rollout="m")).id


def test_bytes_that_are_no_message_are_refused(desk: Counter) -> None:
    """Of every call."""
    for rpc in ROLLOUTS.values():
        assert number(Code.INVALID_ARGUMENT) == desk.call(rpc.path, b"\xff\xff").status, rpc.name


def test_who_shows_something_is_that(tmp_path: Path) -> None:
    """Each call by its scope, and in the name of the credential."""
    desk = Counter(tmp_path / "r", auth=auth())
    secret, known = api_key("ops", "operate")
    desk.gate.renew(Known(keys=(known,)))
    field = ("authorization", f"Bearer {secret}")
    assert number(Code.UNAUTHENTICATED) == desk.rpc("Apply", pb.ApplyRolloutRequest(plan=YAML))[0]
    assert number(Code.INVALID_ARGUMENT) == desk.rpc("Apply", pb.ApplyRolloutRequest(plan=YAML, actor="ann"), field)[0]
    assert "key ops" == desk.rpc("Apply", pb.ApplyRolloutRequest(plan=YAML), field).status.starter
    for name in ("Approve", "Status", "History"):
        assert number(Code.PERMISSION_DENIED) == desk.rpc(name, pb.RolloutRequest(rollout="m"), field)[0], name


# --- the watch ---------------------------------------------------------------------------------------------------------------------


def test_a_watch_is_told_at_once_and_of_every_change_until_the_end(desk: Counter) -> None:
    """Not of time that passes; two who watch cost one look."""
    desk.begin()
    first, second = watching(desk), watching(desk)
    assert [("admitted", 2)] == statuses(desk, first)
    pass_time(desk, 3)
    assert [("admitted", 2)] == statuses(desk, first) == statuses(desk, second)
    world = led(desk)
    world.tick()
    pass_time(desk)
    world.operations.abort("m", actor="ann", reason="no")
    world.tick()
    pass_time(desk)
    told = statuses(desk, second)
    assert ["admitted", "step", "aborted"] == [phase for phase, _ in told]
    assert told == statuses(desk, first)
    assert [0, 0] == [desk.replies()[stream].status for stream in (first, second)]
    assert {} == desk.watches._watches


def test_a_watch_of_what_is_not_there_ends_with_that(desk: Counter) -> None:
    """NOT_FOUND; of one that is over, with that."""
    unknown = watching(desk, "m-9")
    assert number(Code.NOT_FOUND) == desk.replies()[unknown].status
    desk.begin()
    led(desk).operations.abort("m", actor="ann", reason="no")
    over = watching(desk)
    assert ([("aborted", 3)], 0) == (statuses(desk, over), desk.replies()[over].status)


def test_a_watcher_that_goes_away_is_looked_for_no_more(desk: Counter) -> None:
    """Its stream is cancelled; the next look is the last."""
    desk.begin()
    stream_id = watching(desk)
    desk.wire.send(http2_wire.reset(stream_id))
    pass_time(desk)
    assert {} == desk.watches._watches


def test_a_registry_that_is_away_for_a_moment_ends_no_watch(desk: Counter) -> None:
    """It is looked at again."""
    desk.begin()
    stream_id = watching(desk)
    status = desk.work.status

    def away(_: str) -> Any:
        raise RegistryError(Kind.STORAGE, "away")

    desk.work.status = away  # type: ignore[method-assign]
    pass_time(desk)
    desk.work.status = status  # type: ignore[method-assign]
    led(desk).tick()
    pass_time(desk)
    assert ["admitted", "step"] == [phase for phase, _ in statuses(desk, stream_id)]


def test_watches_are_bounded_and_end_with_the_server(desk: Counter) -> None:
    """OVERLOADED for one too many, UNAVAILABLE for all in the end."""
    desk.begin()
    told: list[Any] = []
    watches = [desk.watches.watch("m-1", told.append, told.append) for _ in range(MAX_WATCHES - 1)]
    stream_id, crowded = watching(desk), watching(desk)
    assert (number(CROWDED.code), CROWDED.message) == (desk.replies()[crowded].status, desk.replies()[crowded].text)
    desk.watches.close()
    assert number(ENDING.code) == desk.replies()[stream_id].status
    assert MAX_WATCHES - 1 == told.count(ENDING)
    watches[0].end()


def test_a_watcher_who_loses_its_right_is_told_nothing_more(tmp_path: Path) -> None:
    """However long it was silent."""
    desk = Counter(tmp_path / "r", auth=auth())
    secret, known = api_key("eye", "meta", "operate")
    desk.gate.renew(Known(keys=(known,)))
    field = ("authorization", f"Bearer {secret}")
    desk.rpc("Apply", pb.ApplyRolloutRequest(plan=YAML), field)
    stream_id = watching(desk, "m-1", field)
    assert 1 == len(statuses(desk, stream_id))
    desk.gate.renew(Known())
    led(desk).tick()
    pass_time(desk)
    assert 1 == len(statuses(desk, stream_id))
    assert number(Code.UNAUTHENTICATED) == desk.replies()[stream_id].status
