"""The order of images: by a property or a time, then by time, then by id."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from downloader.errors import JobError
from downloader.model.image import Image
from downloader.model.time import instant_us

T = TypeVar("T")

OrderKey = tuple[tuple[int, float, str] | None, int | None, str]
"""What an order names of one image, to be compared, or None where it has none; its time; its id."""

_FIELDS: Final = ("startTime", "endTime", "updateTime")
"""Members of a document that images may be ordered by beside their properties."""


@dataclass(frozen=True, slots=True)
class ImageOrder:
    """Property or time that images are ordered by before their start time."""

    name: str = ""
    """A property, or one of the catalogue's times; empty orders by time alone."""
    descending: bool = False

    @classmethod
    def parse(cls, text: str | None) -> ImageOrder:
        """Return the order that a user wrote: NAME, or -NAME for descending. Raises JobError where there is no name."""
        if text is None:
            return cls()
        name = text.strip().removeprefix("-").removeprefix("properties.")
        if not name:
            raise JobError("order_by: is empty; write a property such as CLOUDY_PIXEL_PERCENTAGE")
        return cls(name, text.strip().startswith("-"))

    def key(
        self, times: Mapping[str, object], properties: Mapping[str, object], time_us: int | None, id_: str
    ) -> OrderKey:
        """Return what an image is sorted by: numbers before texts, then its time, then its id.

        Args:
            times: its `startTime`, `endTime` and `updateTime`, as far as it has them.
            properties: the others.
            time_us: beginning in microseconds since 1970, UTC.
            id_: its id.
        """
        value = (times if self.name in _FIELDS else properties).get(self.name) if self.name else None
        if isinstance(value, int | float):
            return (
                (0, value if value == value else math.inf, ""),
                time_us,
                id_,
            )  # NaN has no place in an order
        return None if value is None else (1, 0.0, str(value)), time_us, id_

    def key_of(self, image: Image) -> OrderKey:
        """Return what an image of the catalogue is sorted by; see `key`."""
        times = {
            "startTime": image.start_time,
            "endTime": image.end_time,
            "updateTime": image.update_time,
        }
        there = {name: time for name, time in times.items() if time}
        return self.key(there, image.properties, instant_us(image.start_time), image.id)

    def sorted(self, found: Iterable[tuple[OrderKey, T]], limit: int | None = None) -> list[T]:
        """Return the first images in order; ties by time, then by id, those without a rank or a time last.

        Args:
            found: the key of each image, and the image in any form.
            limit: no more than so many.
        """

        def place(one: tuple[OrderKey, T]) -> tuple[bool, int, str]:
            (_, time_us, id_), _ = one
            return (time_us is None, time_us or 0, id_)

        by_time = sorted(found, key=place)
        ranked = [one for one in by_time if one[0][0] is not None]
        ranked.sort(key=lambda one: one[0][0] or (0, 0.0, ""), reverse=self.descending)
        return [one for _, one in ranked + [one for one in by_time if one[0][0] is None]][:limit]
