"""The image list of a time series: which images lie in which slice, frozen for the period that it covers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from downloader.grid import PixelGrid
from downloader.image import Image
from downloader.planning.samples import SampleList

__all__ = ["Existing", "ImageList"]


@dataclass(frozen=True, slots=True)
class ImageList:
    """Images in their slices, in the order of the mosaic's axis: what was added later stands later."""

    named: tuple[tuple[str, tuple[Image, ...]], ...]
    """Each slice's name and images, the first of which wins where several have a valid pixel."""
    period: tuple[int, int] | None = None
    """First microsecond since 1970, UTC, and the first that is not covered any more; None for images named by id."""
    facts: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What says which images belong into it, by key of the job file's `source`: collection, filter, group_by."""
    properties: tuple[str, ...] = ()
    """Properties kept along the axis."""

    @property
    def images(self) -> Iterator[Image]:
        """Every image, slice by slice."""
        for _, members in self.named:
            yield from members

    def covers(self, time_us: int | None) -> bool:
        """Whether the list is frozen for this time, so that an image of it that is not listed arrived late."""
        return self.period is not None and time_us is not None and self.period[0] <= time_us < self.period[1]


@dataclass(frozen=True, slots=True)
class Existing:
    """What a mosaic that exists has settled, and a plan for it has to keep to."""

    sides: Mapping[str, int]
    """Group → tiles along a shard's side; of samples how many there are in one."""
    lattices: tuple[PixelGrid, ...] = ()
    """The groups' lattices; their origins stay."""
    images: ImageList | None = None
    """The frozen image list; None for one image."""
    samples: SampleList | None = None
    """The frozen samples; None where there are none."""
