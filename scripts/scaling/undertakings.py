"""What is asked for: plans of the real planner for regions and times of round numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from downloader.job import Job
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid
from downloader.model.image import Band, Image
from downloader.planning import Plan, make_plan
from downloader.planning.series import series_of_one

__all__ = ["UNDERTAKINGS", "Undertaking", "plan_of"]

COUNTRY_KM = 600
"""Side of a square of 360,000 km²: about Germany, Japan, Norway or Zimbabwe."""

CONTINENT_KM = 5_500
"""Side of a square of 30 million km²: about Africa."""

SCENE_KM = 109.8

SENTINEL = ((10, ("B2", "B3", "B4", "B8")),)
SENTINEL_TEN = (*SENTINEL, (20, ("B5", "B6", "B7", "B8A", "B11", "B12")))

SENTINEL_DECADE = 730
"""Looks in ten years, one every five days."""


@dataclass(frozen=True, slots=True)
class Undertaking:
    """A region, bands and a number of looks. Every look covers all of the region: the most it can be."""

    name: str
    side_km: float
    bands: tuple[tuple[int, tuple[str, ...]], ...]
    """Pixel size in metres → bands of it, all of them uint16."""
    looks: int = 1


UNDERTAKINGS = (
    Undertaking("a Sentinel-2 scene, 4 bands", SCENE_KM, SENTINEL),
    Undertaking("a country once, 4 bands of 10 m", COUNTRY_KM, SENTINEL),
    Undertaking("a country once, 10 bands of 10 and 20 m", COUNTRY_KM, SENTINEL_TEN),
    Undertaking("a continent once, 4 bands of 10 m", CONTINENT_KM, SENTINEL),
    Undertaking("a country, a decade of Sentinel-2, 4 bands", COUNTRY_KM, SENTINEL, SENTINEL_DECADE),
    Undertaking("a continent, a decade of Sentinel-2", CONTINENT_KM, SENTINEL, SENTINEL_DECADE),
)


def plan_of(undertaking: Undertaking) -> Plan:
    """The real plan, as for an image of so many pixels; along time the same groups, with so many slices."""
    bands = tuple(band for size, names in undertaking.bands for band in _bands(undertaking, size, names))
    job = Job.from_dict({"source": {"asset": "A"}, "mosaic": {"path": "m.zarr"}})
    image = Image("projects/p/assets/a", "a", bands)
    plan = make_plan(job, series_of_one(job, image), image)
    if undertaking.looks == 1:
        return plan
    groups = tuple(
        replace(group, tiling=replace(group.tiling, slices=undertaking.looks), axis="time")
        for group in plan.groups
    )
    return replace(plan, groups=groups, axis="time", slices=plan.slices * undertaking.looks)


def _bands(undertaking: Undertaking, size: int, names: Sequence[str]) -> tuple[Band, ...]:
    side = math.ceil(undertaking.side_km * 1000 / size)
    transform = AffineTransform(size, 0.0, 499980.0, 0.0, -size, 4200000.0)
    grid = PixelGrid(Crs(code="EPSG:32610"), transform, side, side)
    return tuple(Band(name, np.dtype("<u2"), grid) for name in names)
