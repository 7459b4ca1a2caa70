"""The order of a listing: by time and id, or by a property of the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from downloader.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Found", "Order"]

T = TypeVar("T")

_FIELDS: Final = ("startTime", "endTime", "updateTime")
"""Members of a document that images may be ordered by beside their properties."""


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """One image of a listing, as far as its order matters."""

    time_us: int | None
    id: str
    rank: object
    """What `order_by` names; None where the image has none, or nothing is named."""
    value: T


@dataclass(frozen=True, slots=True)
class Order:
    """By what images are ordered before their time."""

    name: str = ""
    descending: bool = False

    @classmethod
    def parse(cls, text: str | None) -> Order:
        """The order that a user wrote: NAME, or -NAME for descending. Raises JobError where there is no name."""
        if text is None:
            return cls()
        name = text.strip().removeprefix("-").removeprefix("properties.")
        if not name:
            raise JobError("order_by: is empty; write a property such as CLOUDY_PIXEL_PERCENTAGE")
        return cls(name, text.strip().startswith("-"))

    def rank(self, document: Mapping[str, Any]) -> tuple[int, float, str] | None:
        """What sorts: numbers before texts."""
        if not self.name:
            return None
        properties = document.get("properties")
        own = properties if isinstance(properties, dict) else {}
        value = document.get(self.name) if self.name in _FIELDS else own.get(self.name)
        if isinstance(value, int | float):
            return (0, float(value), "")
        return None if value is None else (1, 0.0, str(value))

    def sorted(self, found: list[Found[T]], collection: str) -> list[Found[T]]:
        """In order; ties by time, then by id, those without a time last."""
        found = sorted(found, key=lambda one: (one.time_us is None, one.time_us or 0, one.id))
        if not self.name:
            return found
        ranked = [one for one in found if one.rank is not None]
        if found and not ranked:
            raise JobError(f"order_by: no image of {collection} has a property {self.name!r}")
        ranked.sort(key=lambda one: one.rank, reverse=self.descending)  # type: ignore[arg-type,return-value]
        return ranked + [one for one in found if one.rank is None]
