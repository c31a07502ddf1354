"""Which versions serve, and which answers a request that names none: every kind of settings against every kind of repository."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Versions
from gateway.serving.selection import CHAMPION, remedy, select

NUMBERS = (3, 1, 7)


@pytest.mark.parametrize(
    ("settings", "aliases", "versions", "champion", "newest"),
    [
        (Versions(), None, (7,), None, True),
        (Versions(latest=2), None, (3, 7), None, True),
        (Versions(latest=9), None, (1, 3, 7), None, True),
        (Versions(specific=(3, 1, 5, 3)), None, (1, 3), None, True),
        (Versions(all=True), None, (1, 3, 7), None, True),
        (Versions(), {"champion": 1, "challenger": 3, "old": 1}, (1, 3), 1, False),
        (Versions(), {"challenger": 3}, (3,), None, False),
        (Versions(latest=1), {"champion": 1}, (7,), None, True),
        (Versions(all=True), {"champion": 1}, (1, 3, 7), 1, True),
        (Versions(specific=(1, 3)), {"champion": 1}, (1, 3), 1, True),
        (Versions(specific=(1, 3)), {}, (1, 3), None, True),
        (Versions(aliases=("challenger",)), {"champion": 1, "challenger": 3}, (3,), None, False),
        (Versions(aliases=("challenger", "champion")), {"champion": 1, "challenger": 1}, (1,), 1, False),
        (Versions(aliases=("old", "champion")), {"champion": 7}, (7,), 7, False),
    ],
)
def test_the_settings_choose(
    settings: Versions, aliases: dict[str, int] | None, versions: tuple[int, ...], champion: int | None, newest: bool
) -> None:
    """Only numbers that were chosen, and a Triton-style repository, let the newest answer where there is no champion."""
    found = select(settings, NUMBERS, aliases)
    assert (versions, champion, newest, "") == (found.versions, found.champion, found.newest, found.reason)


@pytest.mark.parametrize(
    ("settings", "aliases", "reason", "absent"),
    [
        (Versions(), {}, "no alias stands for one", ()),
        (Versions(aliases=("champion", "old")), {"x": 1}, "none of the chosen aliases is there", ("alias 'champion'", "alias 'old'")),
        (Versions(aliases=("champion",)), None, "a Triton-style repository has no aliases", ("alias 'champion'",)),
        (Versions(specific=(9, 8)), {"champion": 1}, "none of the chosen versions is there", ("version 8", "version 9")),
    ],
)
def test_where_nothing_is_chosen_the_reason_is_told(
    settings: Versions, aliases: dict[str, int] | None, reason: str, absent: tuple[str, ...]
) -> None:
    """And no other version takes the place."""
    found = select(settings, NUMBERS, aliases)
    assert ((), None, reason, absent) == (found.versions, found.champion, found.reason, found.absent)


def test_what_is_missing_is_named_beside_what_is_there() -> None:
    """The rest is served."""
    assert ("version 8",) == select(Versions(specific=(3, 8)), NUMBERS, {}).absent


@given(st.sets(st.integers(1, 9), min_size=1), st.dictionaries(st.sampled_from([CHAMPION, "a", "b"]), st.integers(1, 9)))
def test_without_settings_a_registry_serves_exactly_what_aliases_stand_for(numbers: set[int], aliases: dict[str, int]) -> None:
    """Whatever numbers there are."""
    found = select(Versions(), numbers, aliases)
    assert tuple(sorted(set(aliases.values()) & numbers)) == found.versions
    assert (False, bool(found.versions)) == (found.newest, not found.reason)
    assert found.champion == (aliases[CHAMPION] if aliases.get(CHAMPION) in numbers else None)


def test_the_remedy_is_a_command_where_there_are_aliases() -> None:
    """And a setting in any case."""
    assert "tidegate alias m champion N --registry s3://b/p, or set models.m.versions" == remedy("m", "s3://b/p", {})
    assert "set models.m.versions" == remedy("m", "dir", None)
