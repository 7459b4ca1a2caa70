"""Times as the service writes them, and as the mosaic keeps them: microseconds since 1970, UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from downloader.errors import JobError

__all__ = ["instant_us"]


def instant_us(text: str) -> int | None:
    """Microseconds since 1970 of an RFC 3339 time; None for an empty text.

    Raises:
        JobError: the text is no time.
    """
    if not text:
        return None
    cut = text.replace("Z", "+00:00")
    head, dot, rest = cut.partition(".")
    if dot:
        digits = rest[: next((k for k, c in enumerate(rest) if not c.isdigit()), len(rest))]
        cut = f"{head}.{digits[:6].ljust(6, '0')}{rest[len(digits) :]}"
    try:
        moment = datetime.fromisoformat(cut)
    except ValueError:
        raise JobError(f"{text!r} is no time; write one such as 2017-04-01 or 2017-04-01T12:00:00Z") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
