"""`region` as other libraries have it: four numbers, files, GeoJSON, shapes, tables of shapes, arrays with coordinates."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Final

from downloader.errors import JobError

_GEOJSON: Final = frozenset(
    (
        *("Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon"),
        *("GeometryCollection", "Feature", "FeatureCollection"),
    )
)


def region_of(value: Any) -> Any:
    """Return the `region` section of a value.

    Args:
        value: four numbers (west, south, east, north), a vector file's path, GeoJSON, anything with `__geo_interface__` such as a shapely
            shape, a GeoDataFrame or GeoSeries (in its own CRS), an `ee.Geometry`, or an xarray object with coordinates
            `x` and `y` and its CRS in `spatial_ref`, of which the extent is taken; or a section whose `geometry` is such a
            shape, or whose `fields` are a GeoDataFrame. All else is returned as it is.

    Raises:
        JobError: a shape or an array that says too little.
    """
    if hasattr(value, "tolist") and not hasattr(value, "dims"):
        value = value.tolist()  # bounds of a table are an array
    if isinstance(value, (list, tuple)):
        return {"bbox": list(value)}
    if isinstance(value, (str, os.PathLike)):
        return {"file": value}
    if isinstance(value, Mapping) and isinstance(kind := value.get("type"), str) and kind in _GEOJSON:
        return {"geometry": value}
    if isinstance(value, Mapping) and "fields" in value:
        return _of_fields(value, value["fields"])
    if isinstance(value, Mapping) and not isinstance(shape := value.get("geometry"), str | Mapping | None):
        inner = region_of(shape)
        return (
            {**inner, **{key: one for key, one in value.items() if key != "geometry"}}
            if isinstance(inner, Mapping)
            else value
        )
    if callable(getattr(value, "toGeoJSON", None)):
        return {"geometry": _of_earth_engine(value)}
    if hasattr(value, "__geo_interface__"):
        return _of_shapes(value)
    if hasattr(value, "coords") and hasattr(value, "dims"):
        return _of_array(value)
    return value


def _of_earth_engine(geometry: Any) -> Any:
    try:
        return {k: v for k, v in geometry.toGeoJSON().items() if k in ("type", "coordinates", "geometries")}
    except Exception as error:
        raise JobError(
            f"this ee.Geometry is computed by the service ({error}); give region=geometry.getInfo()",
            key="region",
        ) from error


def _of_shapes(value: Any) -> dict[str, Any]:
    column: Any = getattr(value, "geometry", None)
    shapes = column if hasattr(column, "__geo_interface__") else value
    section: dict[str, Any] = {"geometry": shapes.__geo_interface__}
    crs = getattr(value, "crs", None)
    if crs is not None:
        section["crs"] = _text(crs)
    return section


def _of_fields(section: Mapping[str, Any], fields: Any) -> Mapping[str, Any]:
    """Return a section with the rows of a GeoDataFrame as GeoJSON."""
    spec = fields if isinstance(fields, Mapping) else {"features": fields}
    table: Any = spec.get("features")
    if not hasattr(table, "to_json") or not hasattr(table, "crs"):
        return section
    if table.crs is None:
        raise JobError(
            "the GeoDataFrame says no CRS; give it one, such as frame.set_crs('EPSG:4326')",
            key="region.fields",
        )
    features = json.loads(table.to_json(drop_id=True, default=str))
    features.pop("crs", None)
    return {**section, "fields": {**spec, "features": features}, "crs": _text(table.crs)}


def _text(crs: Any) -> str:
    authority = crs.to_authority()
    return ":".join(authority) if authority else str(crs.to_wkt())


def _of_array(array: Any) -> dict[str, Any]:
    edges: dict[str, tuple[float, float]] = {}
    for axis in ("x", "y"):
        if axis not in array.coords or array.coords[axis].size < 2:
            raise JobError(
                f"the array has no coordinate {axis} of two pixels or more; give its bounds, such as "
                "region=[west, south, east, north]",
                key="region",
            )
        values = array.coords[axis].values
        half = abs(float(values[-1]) - float(values[0])) / (len(values) - 1) / 2
        edges[axis] = float(values.min()) - half, float(values.max()) + half
    reference = array.coords["spatial_ref"].attrs if "spatial_ref" in array.coords else {}
    wkt = reference.get("crs_wkt") or reference.get("spatial_ref")
    if not wkt:
        raise JobError(
            "the array has no CRS in a coordinate spatial_ref; write it with rioxarray's array.rio.write_crs(…)",
            key="region",
        )
    from pyproj import CRS

    box = [edges["x"][0], edges["y"][0], edges["x"][1], edges["y"][1]]
    return {"bbox": box, "crs": _text(CRS.from_wkt(wkt))}
