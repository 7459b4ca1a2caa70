"""Periods of time that make one slice each: days, 16 days, months, seasons, years; all in UTC."""

from __future__ import annotations

from typing import Final

from downloader.model.time import SEASONS, from_us, instant_us

PERIODS: Final = ("day", "16d", "month", "season", "year")
"""Words of `source.every` that name a period of UTC."""

WORDS: Final = ("image", "solar_day", "all", *PERIODS)
"""Values of `source.every` that name no property."""

_DAY_US: Final = 86_400_000_000
_DAYS: Final = {"day": 1, "16d": 16}


def month_of(time_us: int | None) -> int:
    """Return the month of the year, 1 to 12, of a moment; 0 where there is no time."""
    return 0 if time_us is None else from_us(time_us).month


def period_of(time_us: int, every: str, origin_us: int = 0) -> str:
    """Return the label of the period that a moment lies in: `2019-06-01`, `2019-06`, `2019-JJA` or `2019`.

    Args:
        time_us: microseconds since 1970, UTC.
        every: one of `PERIODS`. December counts to the season of the year that follows it.
        origin_us: moment that the first period of `16d` begins at.
    """
    if every == "16d":
        time_us -= (time_us - origin_us) % (16 * _DAY_US)
    moment = from_us(time_us)
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
        return start, start + _DAYS[every] * _DAY_US
    if every not in PERIODS:
        return None
    year = int(label[:4])
    first, months = year * 12, 12
    if every == "month":
        first, months = first + int(label[5:]) - 1, 1
    elif every == "season":
        first, months = first - 1 + 3 * SEASONS.index(label[5:]), 3
    begin, end = (f"{n // 12:04}-{n % 12 + 1:02}-01" for n in (first, first + months))
    return instant_us(begin) or 0, instant_us(end) or 0
