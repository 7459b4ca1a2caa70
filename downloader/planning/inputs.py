"""Contents of the files that a job names, read before planning: the planner opens none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from downloader.model.crs import Crs
from downloader.model.grid import PixelGrid
from downloader.planning.samples import Points

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True, slots=True)
class JobFiles:
    """Contents of the files that a job names."""

    geometry: BaseGeometry | None = None
    """Of `region.file`, x before y."""
    crs: Crs | None = None
    """The geometry's CRS."""
    like: PixelGrid | None = None
    """The pixel grid of the raster that `grid.like` names."""
    points: Points | None = None
    """Of `region.points` or `region.fields`."""
    expression: str = ""
    """Canonical JSON of `source.expression`, whether it stands in a file or in the job."""


NO_FILES: Final = JobFiles()
"""Of a job that names none."""
