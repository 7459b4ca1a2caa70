"""Periods of time that make one slice each: days, 16 days, months, seasons, years; all in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from downloader.model.time import SEASONS, instant_us

PERIODS: Final = ("day", "16d", "month", "season", "year")
"""Words of `source.every` that name a period of UTC."""

WORDS: Final = ("image", "solar_day", "all", *PERIODS)
"""Values of `source.every` that name no property."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS: Final = {"day": 1, "16d": 16}


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _month(months: int) -> int:
    """Return the first microsecond of a month, counted from January of the year 0."""
    return _us(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC))


def month_of(time_us: int | None) -> int:
    """Return the month of the year, 1 to 12, of a moment; 0 where there is no time."""
    return 0 if time_us is None else (_EPOCH + timedelta(microseconds=time_us)).month


def period_of(time_us: int, every: str, origin_us: int = 0) -> str:
    """Return the label of the period that a moment lies in: `2019-06-01`, `2019-06`, `2019-JJA` or `2019`.

    Args:
        time_us: microseconds since 1970, UTC.
        every: one of `PERIODS`. December counts to the season of the year that follows it.
        origin_us: moment that the first period of `16d` begins at.
    """
    if every == "16d":
        step = 16 * 86_400_000_000
        time_us = origin_us + (time_us - origin_us) // step * step
    moment = _EPOCH + timedelta(microseconds=time_us)
    if every in _DAYS:
        return moment.date().isoformat()
    if every == "month":
        return f"{moment:%Y-%m}"
    if every == "season":
        return f"{moment.year + moment.month // 12}-{SEASONS[moment.month % 12 // 3]}"
    return str(moment.year)


def bounds_of(label: str, every: str) -> tuple[int, int] | None:
    """Return the first microsecond of a period and the first behind it; None for a slice that is no period of UTC."""
    if every in _DAYS:
        start = instant_us(label) or 0
        return start, start + _DAYS[every] * 86_400_000_000
    if every not in PERIODS:
        return None
    year = int(label[:4])
    if every == "month":
        first, months = year * 12 + int(label[5:]) - 1, 1
    elif every == "season":
        first, months = year * 12 - 1 + 3 * SEASONS.index(label[5:]), 3
    else:
        first, months = year * 12, 12
    return _month(first), _month(first + months)
