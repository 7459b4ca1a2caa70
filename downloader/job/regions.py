"""Regions as library calls take them: objects of other libraries become the keys of the job file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from downloader.errors import JobError

if TYPE_CHECKING:
    from numpy.typing import NDArray


_MAX_POINTS: Final = 30_000
"""Points of a geometry that a job holds; it is kept in the mosaic, and read at each start."""

_AXES: Final = (("x", "y"), ("lon", "lat"), ("longitude", "latitude"))
_EVEN: Final = 1e-3
"""Share of a pixel by which coordinates may miss an even spacing."""

_FORMS: Final = (
    "four numbers (west, south, east, north), GeoJSON, a shapely geometry, a GeoDataFrame or GeoSeries, an "
    "ee.Geometry, an xarray object, or the keys of the job file's section"
)


def with_plain_region(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a job's values with `region`, and `grid` where an xarray object gives it, as the job file has them.

    Args:
        values: of the job file's shape. `region` may be four numbers, GeoJSON, an object with `__geo_interface__` (its
            `crs` counts), one with `toGeoJSON` or `getInfo`, or an xarray object; the same under `region.geometry`.

    Raises:
        JobError: an object that gives no region, or says no CRS.
    """
    given = values.get("region")
    if given is None or isinstance(given, str | bool | int | float):
        return values
    if _is_section(given):
        shape = given.get("geometry")
        if shape is None or isinstance(shape, Mapping | str | bool | int | float):
            return values
        own = _geometry(shape)
        if own is None:
            raise JobError(f"a {type(shape).__name__} gives no geometry", key="region.geometry")
        # A CRS beside the geometry is the user's word for it.
        return {**values, "region": {**own, **given, "geometry": own["geometry"]}}
    if isinstance(given, list | tuple):
        return {**values, "region": {"bbox": list(given)}}
    if hasattr(given, "dims") and hasattr(given, "coords"):
        region, grid = _of_xarray(given)
        return {"grid": grid, **values, "region": region}
    found = _geometry(given)
    if found is None:
        raise JobError(f"a {type(given).__name__} gives no region; give {_FORMS}", key="region")
    return {**values, "region": found}


def _is_section(given: object) -> bool:
    return isinstance(given, Mapping) and not hasattr(given, "dims") and "type" not in given


def _geometry(given: Any) -> dict[str, Any] | None:
    """Return `geometry` and `crs` of a region; None for what gives none."""
    crs: str | None = None
    if isinstance(given, Mapping):
        document: Any = given
    elif hasattr(given, "__geo_interface__"):
        document = given.__geo_interface__
        if hasattr(given, "crs"):
            if given.crs is None:
                raise JobError(
                    f"this {type(given).__name__} says no CRS; set it with set_crs, such as set_crs(4326)",
                    key="region",
                )
            crs = _crs_text(given.crs)
    elif hasattr(given, "getInfo"):
        document = _client_side(given)
    else:
        return None
    told = document.get("crs")
    if crs is None and isinstance(told, Mapping):
        name = str(told.get("properties", {}).get("name", ""))
        crs = None if not name or name.endswith("CRS84") else _crs_text(name)
    geometry = _shape_of(document)
    count = _count_points(geometry)
    if count > _MAX_POINTS:
        raise JobError(
            f"has {count:,} points, and a job holds {_MAX_POINTS:,}; simplify it, or write it to a file and give region.file",
            key="region",
        )
    return {"geometry": geometry} | ({} if crs is None else {"crs": crs})


def _client_side(given: Any) -> Any:
    """Return GeoJSON of an `ee.Geometry`; the service is asked only where it must compute it."""
    if hasattr(given, "toGeoJSON"):
        with suppress(Exception):  # the client's own errors: what is computed has no GeoJSON here
            return given.toGeoJSON()
    return given.getInfo()


def _shape_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return GeoJSON without what is no shape: properties, boxes, ids."""
    if "features" in document:
        return {
            "type": document["type"],
            "features": [_shape_of(feature) for feature in document["features"]],
        }
    if "geometry" in document:
        inner = document["geometry"]
        return {"type": "Feature", "geometry": inner and _shape_of(inner)}
    return {key: value for key, value in document.items() if key in {"type", "coordinates", "geometries"}}


def _count_points(value: Any) -> int:
    if isinstance(value, Mapping):
        return sum(map(_count_points, value.values()))
    if not isinstance(value, list | tuple):
        return 0
    if value and isinstance(value[0], int | float):
        return 1
    return sum(map(_count_points, value))


def _of_xarray(given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return `region` and `grid` of an xarray object: all of its pixels."""
    axes = next((pair for pair in _AXES if set(pair) <= set(map(str, given.coords))), None)
    if axes is None:
        raise JobError(
            f"this {type(given).__name__} has no coordinates x and y (or lon and lat), so no place; give {_FORMS}",
            key="region",
        )
    mapping: Mapping[str, Any] = next(
        (
            variable.attrs
            for variable in given.coords.values()
            if {"crs_wkt", "spatial_ref"} & set(variable.attrs)
        ),
        {},
    )
    wkt = mapping.get("crs_wkt") or mapping.get("spatial_ref")
    if wkt is None and axes == ("x", "y"):
        raise JobError(
            f"this {type(given).__name__} says no CRS; write it with rioxarray, such as rio.write_crs(32610)",
            key="region",
        )
    crs = "EPSG:4326" if wkt is None else _crs_text(wkt)
    stated = str(mapping.get("GeoTransform", "")).split()
    sizes = (float(stated[1]), float(stated[5])) if len(stated) == 6 else (None, None)
    (x, x_end, width), (y, y_end, height) = (
        _edges(np.asarray(given.coords[name].values, np.float64), name, size)
        for name, size in zip(axes, sizes, strict=True)
    )
    region = {"bbox": [min(x, x_end), min(y, y_end), max(x, x_end), max(y, y_end)], "crs": crs}
    return region, {"crs": crs, "transform": [width, 0.0, x, 0.0, height, y]}


def _edges(centres: NDArray[np.float64], name: str, stated: float | None) -> tuple[float, float, float]:
    """Return the first outer edge, the last, and the size of pixels, negative where coordinates fall.

    Args:
        centres: coordinates of the pixels' centres.
        name: of the axis.
        stated: size that the grid mapping states, which is exact.
    """
    if centres.size == 0 or (centres.size == 1 and stated is None):
        raise JobError(f"its axis {name} has {centres.size} pixels, which say no pixel size", key="region")
    size = stated
    if centres.size > 1:
        size = float(centres[-1] - centres[0]) / (centres.size - 1)
        if (
            size == 0
            or np.abs(centres - centres[0] - size * np.arange(centres.size)).max() > abs(size) * _EVEN
        ):
            raise JobError(f"its axis {name} is not evenly spaced, so no pixel grid", key="region")
        if stated is not None and np.isclose(size, stated, rtol=1e-6, atol=0):
            size = stated
    assert size is not None  # noqa: S101  # one of the two
    first = float(centres[0]) - size / 2
    return first, first + size * centres.size, size


def _crs_text(crs: object) -> str:
    """Return a CRS as the job file takes it: its code, else WKT."""
    import pyproj

    known = pyproj.CRS.from_user_input(crs)
    code = known.to_authority()
    return ":".join(code) if code else known.to_wkt()
