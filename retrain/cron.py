"""Times of a schedule, as cron writes them: minute, hour, day of month, month, day of week, in UTC. Pure.

A field is `*`, numbers, ranges and lists of them, each with a step: `*/15`, `1-5`, `0,30`, `10-50/20`. Days of the week count from Sunday,
0 or 7. As in cron, where both days are restricted, either is enough. Names and `@daily` are not understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from retrain.errors import RetrainError

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_PART = re.compile(r"(\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?")
_DAYS = 366 * 8 + 1  # a 29th of February may be that far away


@dataclass(frozen=True, slots=True)
class Schedule:
    """One cron expression."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday
    any_day: bool  # the day of month is `*`
    any_weekday: bool

    def last(self, now_s: float) -> float | None:
        """The latest time not after `now_s`, seconds since the Unix epoch; None where there is none within eight years."""
        now = datetime.fromtimestamp(now_s, UTC)
        for back in range(_DAYS):
            day = (now - timedelta(days=back)).date()
            if self._is_day(day.year, day.month, day.day):
                times = [
                    (hour, minute) for hour in self.hours for minute in self.minutes if back or (hour, minute) <= (now.hour, now.minute)
                ]
                if times:
                    return datetime(day.year, day.month, day.day, *max(times), tzinfo=UTC).timestamp()
        return None

    def _is_day(self, year: int, month: int, day: int) -> bool:
        if month not in self.months:
            return False
        in_month, in_week = day in self.days, (datetime(year, month, day, tzinfo=UTC).weekday() + 1) % 7 in self.weekdays
        return in_month and in_week if self.any_day or self.any_weekday else in_month or in_week


def schedule(text: str) -> Schedule:
    """Raises `RetrainError` naming the field that is none, and for a schedule that never comes."""
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise RetrainError(f"{text!r} is no schedule: expected five fields, such as 0 3 * * 1")
    minutes, hours, days, months, weekdays = (_numbers(field, *bounds) for field, bounds in zip(fields, _FIELDS, strict=True))
    found = Schedule(
        text, minutes, hours, days, months, frozenset(day % 7 for day in weekdays), any_day=fields[2].startswith("*"),
        any_weekday=fields[4].startswith("*"),
    )  # fmt: skip
    if found.last(4_102_444_800.0) is None:
        raise RetrainError(f"the schedule {text!r} never comes")
    return found


def _numbers(field: str, what: str, least: int, most: int) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise RetrainError(f"{field!r} is no {what} of a schedule")
        whole, low, high, step = match.groups()
        first = least if whole == "*" else int(low)
        last = most if whole == "*" or (high is None and step is not None) else int(high or low)
        if not least <= first <= last <= most or int(step or 1) < 1:
            raise RetrainError(f"{field!r} is no {what} of a schedule: it lies between {least} and {most}")
        found |= set(range(first, last + 1, int(step or 1)))
    return frozenset(found)
