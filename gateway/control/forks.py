"""Where a request goes whose model is in a rollout: to the arm of its unit, and back to stable where it fails there.

A fork is made once for all requests that mean the same, and remembers what each arm's version makes of them; a request costs the hash of
its unit and a look at its headers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar, cast

from gateway.errors import Code, TidegateError
from gateway.protocol.tensors import BoundRequest, Signature
from gateway.rollout.recorder import Recorder
from gateway.rollout.records import Flag
from gateway.rollout.ring import ARMS, Ring
from gateway.serving.admission import Rejection
from gateway.serving.batch import Item, Sink
from gateway.serving.lane import Lane
from gateway.serving.splits import CANDIDATE, STABLE, UNASSIGNED, Assigner, Headed, Split
from gateway.serving.versions import Version

ARM_HEADER, VERSION_HEADER = b"tidegate-arm", b"tidegate-version"
FALLBACK = "fallback"  # what answers are called that stable gave in place of another arm
STABLE_ARM, CANDIDATE_ARM = "stable", "candidate"  # what testers ask for

_FINAL = (Code.DEADLINE_EXCEEDED, Code.CANCELLED)  # there is nobody or no time left to ask stable for
Submit = Callable[[Lane, Item], Rejection | None]


class Way(Protocol):
    """What requests that mean the same have in common in one version: a plan of gRPC, or of HTTP."""

    bound: BoundRequest
    lane: Lane


@dataclass(frozen=True, slots=True)
class Mark:
    """What answers of an arm say of it: a parameter, and headers."""

    arm: str
    fields: tuple[tuple[bytes, bytes], ...]
    retreats: bool  # what fails is asked of stable


W = TypeVar("W", bound=Way)


class Retreat:
    """Where a request is asked again."""

    __slots__ = ("crossing", "data", "sink", "way")

    def __init__(self, crossing: Crossing, way: Way, sink: Sink, data: Any) -> None:
        self.crossing, self.way, self.sink, self.data = crossing, way, sink, data


class Crossing:
    """One rollout in one worker, while one table holds."""

    def __init__(
        self, split: Split, versions: Sequence[Version], recorders: Sequence[Recorder], ring: Ring, *,
        draw: Callable[[], int], submit: Submit,
    ) -> None:  # fmt: skip
        """`versions` and `recorders` of stable and of every arm, in that order. What is served beside a shadow is stable's, and recorded
        with what the shadow made of it: nobody is assigned then, and a request's unit is asked for only where a copy of it is kept."""
        self.split = split
        self.paired = split.mode == "shadow"
        self.versions = versions
        self.assigner = Assigner(split, draw)
        self.names = (STABLE_ARM, *[arm.name for arm in split.arms])
        self._recorders = recorders
        self._ring, self._place = ring, split.slot * ARMS
        self._submit = submit
        self._forced = {name.encode(): arm for arm, name in reversed(list(enumerate(self.names)))} | {CANDIDATE_ARM.encode(): CANDIDATE}

    @cached_property
    def orders(self) -> list[list[int] | None]:
        """Of every arm, where its inputs stand among stable's; None where they have the same order."""
        return [_order(self.versions[STABLE].signature, version.signature) for version in self.versions]

    def mark(self, arm: int) -> Mark:
        """Of an arm's answers."""
        return self._marked(self.names[arm], arm, retreats=arm != STABLE and self.split.fallback)

    @property
    def fallback(self) -> Mark:
        """Of stable's answers in place of another arm's."""
        return self._marked(FALLBACK, STABLE, retreats=False)

    def _marked(self, name: str, arm: int, *, retreats: bool) -> Mark:
        number = b"%d" % self.versions[arm].number
        return Mark(name, ((ARM_HEADER, name.encode()), (VERSION_HEADER, number)), retreats)

    def forced(self, caller: Headed) -> int | None:
        """The arm that a tester asks for, which is no evidence."""
        return self._forced.get(caller.header(ARM_HEADER) or b"")

    def assign(self, item: Item, caller: Headed, parameters: Mapping[str, bytes]) -> int:
        """The arm of a request."""
        item.unit = unit = self.assigner.unit(caller, parameters)
        item.arm = arm = self.assigner.arm(unit)
        self._ring.assigned[self._place + arm] += 1
        return arm

    def refused(self, item: Item, code: Code) -> None:
        """It never came as far as the arm's queue."""
        if item.arm != UNASSIGNED:
            self._recorders[item.arm].ended(item, code)

    def misfit(self, item: Item, code: Code) -> None:
        """Its arm's version does not take such requests at all, and stable does: that is not the caller's fault."""
        if item.arm != UNASSIGNED:
            self._recorders[item.arm].ended(item, code, Flag.SERVER_ERROR)

    def again(self, item: Item) -> bool:
        """Ask stable for a request that failed elsewhere. False where that is not possible."""
        retreat: Retreat = item.retreat
        again = Item()
        again.caller, again.sink, again.id, again.data = item.caller, retreat.sink, item.id, retreat.data
        again.rows, again.size = retreat.way.bound.rows, retreat.way.bound.size
        again.arrival, again.tenant, again.level, again.segment = item.arrival, item.tenant, item.level, item.segment
        again.deadline = item.answer_by or item.deadline
        again.fallback = True
        if self._submit(retreat.way.lane, again) is not None:
            return False
        if item.arm != UNASSIGNED:
            self._ring.fell_back[self._place + item.arm] += 1
        return True


class Retreating:
    """The sink of another arm than stable: what fails there is asked of stable, if the rollout wants that."""

    def __init__(self, sink: Sink) -> None:
        self.protocol = sink.protocol
        self.answer = sink.answer
        self._sink = sink

    def fail(self, item: Item, code: Code, message: str) -> None:
        """Ask again, or answer with the error."""
        retreat = item.retreat
        if retreat is None or code in _FINAL or item.caller.cancelled or not retreat.crossing.again(item):
            self._sink.fail(item, code, message)


class Fork(Generic[W]):
    """Requests that mean the same."""

    __slots__ = ("_crossing", "_fallback", "_parameters", "_sink_of", "_stable", "_ways")

    def __init__(
        self, crossing: Crossing, ways: Sequence[W | TidegateError], fallback: W, *,
        sink_of: Callable[[W], Sink], parameters: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """`ways` of stable and every arm, an error for a version that refuses such requests; `fallback`: stable's in place of another.
        `sink_of(way)` answers a unary request; `parameters` of the requests."""
        self._crossing, self._ways, self._fallback, self._sink_of = crossing, ways, fallback, sink_of
        self._stable = cast(W, ways[STABLE])
        self._parameters = {name: _text(parameters[name]) for name in crossing.assigner.parameters if name in parameters}

    def saying(self, parameters: Mapping[str, Any], vary: Callable[[W], W]) -> Fork[W]:
        """Of requests with other parameters, whose ways `vary` makes of these. Raises TidegateError where a version refuses them."""
        ways = [vary(_good(way)) for way in self._ways]
        return Fork(self._crossing, ways, vary(self._fallback), sink_of=self._sink_of, parameters=parameters)

    def take(self, item: Item, caller: Headed, sink_of: Callable[[W], Sink] | None = None) -> W:
        """The way of one request, whose data is in stable's order. Raises TidegateError where its arm refuses it and nothing else may."""
        crossing, choose = self._crossing, sink_of or self._sink_of
        arm = crossing.forced(caller)
        if arm is None:
            if crossing.paired:
                item.whose = self
                return self._stable
            arm = crossing.assign(item, caller, self._parameters)
        way = self._ways[arm]
        if arm == STABLE:
            return self._stable
        if isinstance(way, TidegateError):
            crossing.misfit(item, way.code)
            item.arm, item.fallback = UNASSIGNED, True  # it is recorded
            if not crossing.split.fallback:
                raise way
            return self._fallback
        if crossing.split.fallback:
            item.retreat = Retreat(crossing, self._fallback, choose(self._fallback), item.data)
        order = crossing.orders[arm]
        if order is not None:
            item.data = tuple([item.data[index] for index in order])
        return way

    def unit(self, caller: Headed) -> int:
        """The hash of the unit that a request belongs to."""
        return self._crossing.assigner.unit(caller, self._parameters)


def fork_of(
    crossing: Crossing, bind: Callable[[Version], BoundRequest], make: Callable[[Version, BoundRequest, Mark], W], *,
    sink_of: Callable[[W], Sink], parameters: Mapping[str, Any],
) -> tuple[W, Fork[W]]:  # fmt: skip
    """Stable's way of such requests, and the fork. `make` makes the way in one version. Raises TidegateError where stable refuses them."""
    stable = crossing.versions[STABLE]
    bound = bind(stable)
    first = make(stable, bound, crossing.mark(STABLE))
    ways: list[W | TidegateError] = [first]
    for arm, version in enumerate(crossing.versions[CANDIDATE:], CANDIDATE):
        try:
            ways.append(make(version, bind(version), crossing.mark(arm)))
        except TidegateError as error:
            ways.append(error)
    fallback = make(stable, bound, crossing.fallback)
    return first, Fork(crossing, ways, fallback, sink_of=sink_of, parameters=parameters)


def _order(stable: Signature, other: Signature) -> list[int] | None:
    """Where each input of `other` stands among stable's; None where both have the same order. Those that are missing are refused."""
    names, wanted = [spec.name for spec in stable.inputs], [spec.name for spec in other.inputs]
    return None if names == wanted or not set(wanted) <= set(names) else [names.index(name) for name in wanted]


def _good(way: W | TidegateError) -> W:
    """Raises one that is an error: it may be about the parameters."""
    if isinstance(way, TidegateError):
        raise way
    return way


def _text(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
