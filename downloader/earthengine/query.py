"""Checked conditions on the images of a collection: period, region, filter, order and number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from downloader.arguments import check_number, check_text
from downloader.earthengine.geojson import plain_geometry
from downloader.errors import JobError
from downloader.model.filter import Filter, quoted
from downloader.model.image_order import ImageOrder
from downloader.model.image_query import ImageQuery
from downloader.model.time import instant_us, timestamp


@dataclass(frozen=True, slots=True)
class Query:
    """An `ImageQuery` whose conditions are checked and parsed."""

    collection: str = ""
    """Id or full name."""
    start_us: int | None = None
    """First microsecond since 1970, UTC, at which an image may begin."""
    end_us: int | None = None
    """First microsecond at which it may not any more."""
    region: Mapping[str, Any] | None = None
    """A GeoJSON geometry in longitude and latitude that its footprint must meet."""
    filter: Filter | None = None
    """A condition on its properties."""
    limit: int | None = None
    """No more images than that: the first by `order`; without a property the first that the service lists."""
    order: ImageOrder = field(default_factory=ImageOrder)
    expression: str = ""
    """Canonical JSON of a user's collection, in place of one of the catalogue."""

    @classmethod
    def of(cls, query: ImageQuery) -> Query:
        """Return what a user asked for.

        Raises:
            JobError: a condition is not valid, or the period is empty.
        """
        first, behind = _moment(query.start, "start"), _moment(query.end, "end")
        if first is not None and behind is not None and first >= behind:
            raise JobError(
                f"start: {query.start} must lie before end {query.end}, which is the first moment not taken"
            )
        check_text(query.filter, "filter", "write a condition, such as 'CLOUDY_PIXEL_PERCENTAGE < 10'")
        check_text(query.order_by, "order_by", "write the name of a property")
        if query.limit is not None:
            check_number(query.limit, "limit", 1)
        return cls(
            query.collection,
            first,
            behind,
            None if query.region is None else plain_geometry(query.region),
            None if query.filter is None else Filter.parse(query.filter),
            query.limit,
            ImageOrder.parse(query.order_by),
            query.expression,
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
    text = given.isoformat() if isinstance(given, date) else str(given).strip()
    try:
        moment = instant_us(text)
    except JobError as error:
        raise JobError(f"{what}: {error}") from None
    if moment is None:
        raise JobError(f"{what}: is empty; write a date such as 2017-04-01")
    return moment
