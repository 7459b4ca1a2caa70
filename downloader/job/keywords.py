"""The keywords of the library's calls: the job file's sections, and their keys where one name means one thing."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypedDict

from downloader.errors import JobError
from downloader.job.job import Job

Section = Mapping[str, Any]


class JobKeywords(TypedDict, total=False):
    """Keys of the job file as keywords; docs/job.md says what each means.

    `mask` is that of `source`, `crs` that of `grid`, and `scale` the grid's where it is a number.
    """

    # choose
    start: str
    end: str
    months: Sequence[int]
    season: Literal["DJF", "MAM", "JJA", "SON"]
    filter: str
    min_cover: float
    min_clear: float
    limit: int
    order_by: str
    pick: Literal["all"] | Section
    properties: Sequence[str]
    on_missing_band: Literal["fail", "nodata"]
    on_update: Literal["refuse", "keep", "refetch"]
    # each image
    mask: Literal["none", "clouds"] | Section | Sequence[Section]
    bands: Literal["all"] | Sequence[str | Mapping[str, str | Mapping[str, str]]]
    dtype: str
    # over time
    every: Literal["image", "day", "solar_day", "month", "season", "year", "all"] | str  # noqa: PYI051  # editors offer them
    reduce: str | Mapping[str, str]
    # where
    region: Any
    """Four numbers, GeoJSON, a vector file's path, a shapely shape, a GeoDataFrame, an `ee.Geometry`, an xarray object, or the section."""
    bbox: Sequence[float]
    geometry: Section
    window: Mapping[str, int]
    file: str
    points: Section
    fields: Any
    """A GeoDataFrame, a file's name, GeoJSON, or the section."""
    all_touched: bool
    buffer: float
    # grid
    scale: float | Sequence[float] | Literal["none", "catalog"]
    resolution: float | Sequence[float]
    crs: str
    transform: Sequence[float]
    like: str
    zones: Literal["each"]
    resampling: str | Mapping[str, str]
    # mosaic
    profile: Literal["sharded", "plain"]
    compressor: Literal["lz4", "zstd", "none"]
    nodata: float | Mapping[str, float]
    overviews: bool
    checkpoint: float | str
    durability: Literal["full", "scratch"]
    # service and limits
    endpoint: str
    project: str
    workload_tag: str
    key_file: str
    access_token_env: str
    concurrency: int
    requests_per_second: float
    memory: int | str
    retries: int
    give_up_after: float | str
    max_bytes: int | str
    max_requests: int
    max_time: float | str
    max_eecu: float
    tiles: int | Literal["auto"]
    timeout: float | str
    # sections of the job file
    source: Section
    grid: Section | str
    mosaic: Section
    service: Section | str
    auth: Section | str
    request: Section
    limits: Section
    executor: Section | str


_SECTIONS: Final = tuple(Job.model_fields)

_FIRST: Final = ("asset", "images", "collection", "expression", "path")
"""Keys that the first two arguments of a call stand for."""

_TERSE: Final = ("none", "earthengine", "application_default", "emulator", "dask")
"""Keys that say too little without their section."""

_MEANT: Final = {"mask": "source", "crs": "grid"}
"""Keys of several sections → the one that a keyword means."""


def sections_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return keywords as sections of the job file.

    Raises:
        JobError: a keyword is no key, or is given in its section too.
    """
    values: dict[str, Any] = {key: given[key] for key in given if key in _SECTIONS}
    for key, value in given.items():
        if key in _SECTIONS:
            continue
        home = _home(key, value)
        if home is None:
            near = difflib.get_close_matches(key, JobKeywords.__annotations__, n=1)
            raise JobError(
                f"is no keyword of this call{f'; did you mean {near[0]}?' if near else ''}", key=key
            )
        section = values.get(home, {})
        if not isinstance(section, Mapping) or key in section:
            raise JobError(
                f"{key}={value!r} and {home}={section!r} are given; write one of them", key=f"{home}.{key}"
            )
        values[home] = {**section, key: value}
    return values


def _home(key: str, value: Any) -> str | None:  # of any key
    """Return the section that a key belongs to; None where there is none."""
    if key in _FIRST or key in _TERSE:
        return None
    if key == "scale":
        return "source" if isinstance(value, str) and value in {"none", "catalog"} else "grid"
    homes = [
        name
        for name, field in Job.model_fields.items()
        if key in getattr(field.annotation, "model_fields", {})
    ]
    return _MEANT.get(key, homes[0] if homes else None)
