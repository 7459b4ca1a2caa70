"""Images that were found in a collection, as a list that shows itself as a table."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from downloader.cards import card, figures, picture, rows
from downloader.model.image import Image
from downloader.text import counted, cut, table

CLOUDS: Final = (
    "CLOUDY_PIXEL_PERCENTAGE",
    "CLOUD_COVER",
    "CLOUDY_PIXEL_OVER_LAND_PERCENTAGE",
    "CLOUD_COVERAGE",
)
"""Names of the cloud property in several collections."""

_SHOWN: Final = 7
"""Images that the text names."""


class Images(list[Image]):
    """Images of a collection, by time; a list in every other respect."""

    def __init__(self, found: Iterable[Image], collection: str, look: Callable[..., bytes]) -> None:
        """Keep what was found.

        Args:
            found: the images.
            collection: where they were found.
            look: makes a PNG of an image's id, as `downloader.thumbnail` does.
        """
        super().__init__(found)
        self._collection = collection
        self._look = look

    def thumbnails(self, most: int = 12, **how: Any) -> Thumbnails:  # whatever `thumbnail` takes
        """Return a picture of each image, which a notebook shows side by side; the service makes them, a request each.

        Args:
            most: pictures of the first images only.
            **how: arguments of `downloader.thumbnail`, such as `max=3000` and `bands`.

        Raises:
            JobError, AuthenticationError, StoppedError: as `downloader.thumbnail`.
        """
        return Thumbnails({image.id: self._look(image.id, **how) for image in self[:most]})

    def __repr__(self) -> str:
        shown = self[:_SHOWN]
        more = [f"… and {len(self) - _SHOWN:,} more"] if len(self) > _SHOWN else []
        text = [images_table(shown)] if shown else []
        return "\n".join([f"{counted(len(self), 'image')} of {self._collection}", *text, *more])

    def _repr_html_(self) -> str:
        columns = cloud_column(self)
        listing = rows(_cells(self, columns), ("image", "time", *columns)) if self else ""
        return card("Images", f"{counted(len(self), 'image')} of {self._collection}", listing)


@dataclass(frozen=True, slots=True, repr=False)
class Thumbnails:
    """Pictures of images, side by side in a notebook."""

    pictures: Mapping[str, bytes]
    """Image id → PNG."""

    def __repr__(self) -> str:
        return f"<Thumbnails of {counted(len(self.pictures), 'image')}>"

    def _repr_html_(self) -> str:
        shown = (
            picture(f"data:image/png;base64,{base64.b64encode(png).decode()}", name.rpartition("/")[2])
            for name, png in self.pictures.items()
        )
        return card("Thumbnails", counted(len(self.pictures), "image"), figures(*shown))


def images_table(images: Sequence[Image], columns: Sequence[str] = ()) -> str:
    """Return images as a table with these properties; without any with the one that tells of clouds."""
    shown = columns or cloud_column(images)
    return table(_cells(images, shown), ("image", "time", *shown))


def cloud_column(images: Iterable[Image]) -> list[str]:
    """Return the name of the property that tells of clouds; none where no image has it."""
    return [name for name in CLOUDS if any(name in image.properties for image in images)][:1]


def _cells(images: Iterable[Image], columns: Iterable[str]) -> list[list[str]]:
    return [
        [image.id, image.start_time or "-", *(cut(image.properties.get(name, "-")) for name in columns)]
        for image in images
    ]
