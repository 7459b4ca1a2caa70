"""The order of images: by a property or a time, then by time, then by id."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from downloader.errors import JobError

T = TypeVar("T")

Rank = tuple[int, float, str] | None
"""What an order names of one image, to be compared; None where it has none."""

_FIELDS: Final = ("startTime", "endTime", "updateTime")
"""Members of a document that images may be ordered by beside their properties."""


@dataclass(frozen=True, slots=True)
class ImageOrder:
    """What images are ordered by before their time."""

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

    def rank(self, times: Mapping[str, object], properties: Mapping[str, object]) -> Rank:
        """Return the sort key of an image: numbers before texts."""
        if not self.name:
            return None
        value = times.get(self.name) if self.name in _FIELDS else properties.get(self.name)
        if isinstance(value, int | float):
            return (0, value if value == value else math.inf, "")  # NaN has no place in an order
        return None if value is None else (1, 0.0, str(value))

    def sorted(self, found: Iterable[T], key: Callable[[T], tuple[Rank, int | None, str]]) -> list[T]:
        """Return images in order; ties by time, then by id, those without a rank or a time last.

        Args:
            found: images of any form.
            key: gives the rank, the time in microseconds since 1970, and the id of one.
        """

        def place(one: T) -> tuple[bool, int, str]:
            _, time_us, id_ = key(one)
            return (time_us is None, time_us or 0, id_)

        by_time = sorted(found, key=place)
        ranked = [one for one in by_time if key(one)[0] is not None]
        ranked.sort(key=lambda one: key(one)[0] or (0, 0.0, ""), reverse=self.descending)
        return ranked + [one for one in by_time if key(one)[0] is None]
