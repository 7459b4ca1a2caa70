"""Conditions that select images of a collection, as a job or a caller writes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any


@dataclass(frozen=True, slots=True)
class ImageQuery:
    """A collection, the conditions that its images must meet, and what is read of them."""

    collection: str
    """Id or full name."""
    start: str | date | None = None
    """First moment, UTC: a date (its midnight) or a time."""
    end: str | date | None = None
    """First moment that is not taken."""
    region: Mapping[str, Any] | None = None
    """GeoJSON in longitude and latitude that the footprint must meet."""
    filter: str | None = None
    """Condition on properties, such as `CLOUDY_PIXEL_PERCENTAGE < 10`."""
    limit: int | None = None
    """No more images than that: the first by `order_by`; without it the first that the service lists."""
    order_by: str | None = None
    """A property to order by in place of time; `-NAME` for the greatest first."""
    expression: str = ""
    """Canonical JSON of a user's image collection, in place of one of the catalogue; its images are its elements."""
    bands: Collection[str] | None = None
    """Bands that must be usable; others that are not are left out. None wants all."""
    keep: Collection[str] | None = None
    """Properties to keep in the images; None keeps all."""
    footprints: bool = False
    """Whether to keep the images' outlines."""
