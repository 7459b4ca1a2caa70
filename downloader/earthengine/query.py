"""Conditions on the images of a collection: a period, a region, a filter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from downloader.earthengine.geojson import plain_geometry
from downloader.errors import JobError
from downloader.model.filter import Filter, quoted
from downloader.model.time import instant_us, timestamp


@dataclass(frozen=True, slots=True)
class Query:
    """Conditions that an image must meet, all of them."""

    start_us: int | None = None
    """First microsecond since 1970, UTC, at which an image may begin."""
    end_us: int | None = None
    """First microsecond at which it may not any more."""
    region: Mapping[str, Any] | None = None
    """A GeoJSON geometry in longitude and latitude that its footprint must meet."""
    filter: Filter | None = None
    """A condition on its properties."""

    @classmethod
    def of(
        cls,
        *,
        start: str | date | None = None,
        end: str | date | None = None,
        region: Mapping[str, Any] | None = None,
        filter: str | None = None,  # noqa: A002  # the job file's word
    ) -> Query:
        """Return the query that a user wrote.

        Args:
            start: first moment: a date (its midnight) or time, UTC where it says no offset.
            end: behind the last moment.
            region: GeoJSON: a geometry, a feature or a collection of features.
            filter: in the language of `downloader.model.filter`.

        Raises:
            JobError: one of them is not what it should be.
        """
        first, behind = _moment(start, "start"), _moment(end, "end")
        if first is not None and behind is not None and first >= behind:
            raise JobError(f"start: {start} must lie before end {end}, which is the first moment not taken")
        return cls(
            first,
            behind,
            None if region is None else plain_geometry(region),
            None if filter is None else Filter.parse(filter),
        )

    @property
    def is_timed(self) -> bool:
        """Whether the time of an image matters."""
        return self.start_us is not None or self.end_us is not None

    def holds(self, time_us: int | None) -> bool:
        """Return whether an image that begins at `time_us` lies in the period; one without a time lies in none."""
        if not self.is_timed:
            return True
        return (
            time_us is not None
            and (self.start_us is None or self.start_us <= time_us)
            and (self.end_us is None or time_us < self.end_us)
        )

    def parameters(self) -> dict[str, str]:
        """Return the parameters of listAssets: all in one filter, as the official client sends it (docs/contract.md §3.5)."""
        terms = []
        if self.start_us is not None:
            terms.append(f"startTime >= {quoted(timestamp(self.start_us))}")
        if self.end_us is not None:
            terms.append(f"startTime < {quoted(timestamp(self.end_us))}")
        if self.region is not None:
            # The official client's own form: JSON, but for its quotes.
            terms.append(f"intersects({quoted(json.dumps(self.region).replace(chr(34), chr(39)))})")
        if self.filter is not None and (text := self.filter.sent(alone=not terms)):
            terms.append(text)
        return {"filter": " AND ".join(terms)} if terms else {}


def _moment(given: str | date | None, what: str) -> int | None:
    if given is None:
        return None
    if isinstance(given, datetime):
        text = given.isoformat()
    elif isinstance(given, date):
        text = datetime.combine(given, time(), UTC).isoformat()
    else:
        text = str(given).strip()
    try:
        moment = instant_us(text)
    except JobError as error:
        raise JobError(f"{what}: {error}") from None
    if moment is None:
        raise JobError(f"{what}: is empty; write a date such as 2017-04-01")
    return moment
