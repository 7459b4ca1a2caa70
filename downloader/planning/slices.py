"""Slices along the leading axis: the images of each time or sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from downloader.model.grid import PixelGrid
from downloader.model.image import Image
from downloader.planning.image_shares import ImageShare
from downloader.planning.periods import bounds_of
from downloader.planning.samples import SampleList
from downloader.planning.tiling import Tiling

Axis = Literal["", "time", "sample"]
"""The leading axis of every array; empty where arrays are (y, x)."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One index of the leading axis."""

    id: str
    """Label along the axis: an image's id, a day, the value of a property, or a sample's id."""
    asset: str = ""
    """Full name of the image that `getPixels` reads; empty where an expression is computed."""
    expression: str = ""
    """Serialised expression, canonical JSON, that `computePixels` computes; empty where an asset is read."""
    time_us: int | None = None
    """Microseconds since 1970, UTC; None where there is no time."""
    images: tuple[tuple[str, str], ...] = ()
    """(full name, updateTime) of each image behind it: a change of one is drift."""
    problem: str = ""
    """Error message if this slice cannot be requested, else empty. It is recorded for each of its tiles."""
    why: str = ""
    """What of the job makes the service compute it; empty where an asset is read."""
    properties: Mapping[str, object] = field(default_factory=dict, hash=False)
    """Properties kept along the axis beside id and time."""
    members: tuple[Image, ...] = field(default=(), compare=False, repr=False)
    """Images that are reduced, so that a request names those alone that meet it; empty where one is read or computed."""


@dataclass(frozen=True, slots=True)
class ImageList:
    """Images in their slices, in the order of the mosaic's axis: later additions stand last."""

    named: tuple[tuple[str, tuple[Image, ...]], ...]
    """Each slice's name and images, the first of which wins where several have a valid pixel."""
    period: tuple[int, int] | None = None
    """First microsecond since 1970, UTC, and the first that is not covered any more; None for images named by id."""
    facts: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Keys of `source` that determine the image list (`collection`, `filter`, `min_clear`, `every`), and their values."""
    properties: tuple[str, ...] = ()
    """Properties kept along the axis."""
    shares: tuple[ImageShare, ...] = ()
    """What was counted of each image, kept or left out, where the job chooses by it."""
    coarse_m: float = 0.0
    """Metres of the pixels that were counted; 0 where nothing was."""
    partners: Mapping[str, tuple[Image, ...]] = field(default_factory=dict, hash=False)
    """Image's name → images of other collections that its mask looks at, known by id and `updateTime`."""

    @property
    def every(self) -> str:
        """Images that become one slice: `source.every`."""
        return self.facts.get("every", "image")

    @property
    def images(self) -> Iterator[Image]:
        """Every image, slice by slice."""
        for _, members in self.named:
            yield from members

    def inputs(self, members: Iterable[Image] | None = None) -> Iterator[Image]:
        """Yield the images of a slice, or of all, and the partners of each."""
        for image in self.images if members is None else members:
            yield image
            yield from self.partners.get(image.name, ())

    def is_provisional(self, label: str) -> bool:
        """Return whether the list of this slice was cut: its period is not all covered."""
        whole = bounds_of(label, self.every)
        if whole is None or self.period is None:
            return False
        return whole[0] < self.period[0] or self.period[1] < whole[1]

    def covers(self, time_us: int | None) -> bool:
        """Return whether the list is complete for this time, so that an image not listed arrived late."""
        return self.period is not None and time_us is not None and self.period[0] <= time_us < self.period[1]


@dataclass(frozen=True, slots=True)
class Existing:
    """Facts of an existing mosaic that a plan for it must keep."""

    tilings: Mapping[str, Tiling]
    """Group → its tiles, chunks and shards."""
    lattices: tuple[PixelGrid, ...] = ()
    """The groups' lattices; their origins stay."""
    images: ImageList | None = None
    """The frozen image list; None for one image."""
    samples: SampleList | None = None
    """The frozen samples; None where there are none."""
    types: Mapping[str, np.dtype[np.generic]] = field(default_factory=dict)
    """Band id → type, as the service answered it."""
    stacked: frozenset[str] = frozenset()
    """Groups of a series whose images come in stacks."""
