"""Times: RFC 3339 text as the service and documents write it, and microseconds since 1970, UTC, as mosaics keep it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from downloader.errors import JobError

SEASONS: Final = ("DJF", "MAM", "JJA", "SON")
"""Names of three months of a year, from December on."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def instant_us(text: str) -> int | None:
    """Return the microseconds since 1970 of an RFC 3339 time; None for an empty text.

    Raises:
        JobError: the text is no time.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise JobError(
            f"{text[:200]!r} is no time; write one such as 2017-04-01 or 2017-04-01T12:00:00Z"
        ) from None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)


def http_date(text: str) -> datetime | None:
    """Return the time of an HTTP header; None where it says none."""
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def from_us(time_us: int) -> datetime:
    """Return the time in UTC of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=time_us)


def rfc3339(moment: datetime, timespec: str = "auto") -> str:
    """Return a time in UTC as text that ends in Z; `timespec` as of `datetime.isoformat`."""
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def now(timespec: str = "seconds") -> str:
    """Return the present time in UTC as text that ends in Z."""
    return rfc3339(datetime.now(UTC), timespec)


def timestamp(time_us: int) -> str:
    """Return microseconds since 1970 as the service writes times: with as many digits as needed, but at least three."""
    moment = from_us(time_us)
    return rfc3339(moment, "microseconds" if moment.microsecond % 1000 else "milliseconds")
