"""When a split of a rollout comes into the table that workers serve by."""

from __future__ import annotations

from gateway.control.messages import Table
from gateway.control.tables import table_of
from gateway.serving.lifecycle import Desired, RouteTable, Wanted
from gateway.serving.sources import Wish
from gateway.serving.splits import Arm, Split

SPLIT = Split(rollout="r", model="m", slot=0, step=0, mode="canary", salt="00" * 16, stable=1, arms=(Arm("canary", 2, 500),))


def table(routed: dict[int, str], wanted: dict[int, str], champion: int = 1) -> Table:
    desired = Desired(frozenset(Wanted("m", *one) for one in wanted.items()), defaults={"m": champion})
    routes = RouteTable(models={"m": routed}, defaults={"m": champion})
    return table_of(Wish(desired, {}, splits=(SPLIT,)), routes, desired, generation=1, partial=False, ready=True)


def test_a_split_waits_until_its_versions_serve() -> None:
    """As they are wanted: one that still serves by settings of before is another."""
    assert () == table({1: "a"}, {1: "a", 2: "b"}).splits
    assert () == table({1: "a", 2: "b"}, {1: "a", 2: "b+process"}).splits
    assert (SPLIT,) == table({1: "a", 2: "b"}, {1: "a", 2: "b"}).splits


def test_a_split_ends_where_another_version_is_stable() -> None:
    """Whoever moved the champion meant it."""
    assert () == table({1: "a", 2: "b"}, {1: "a", 2: "b"}, champion=2).splits
