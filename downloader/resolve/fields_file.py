"""Read fields: polygons of a vector file, or of GeoJSON in the job, with their columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
import shapely.geometry
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from downloader.errors import JobError, MissingExtraError
from downloader.job.sections.region import FieldsSpec
from downloader.model.crs import LONLAT, Crs
from downloader.planning.samples import Points
from downloader.resolve.points_file import PointsTable, feature_rows, points_of
from downloader.resolve.region_file import read_features

_PLAIN: Final = (str, int, float, bool, list, dict, type(None))


def read_fields(spec: FieldsSpec, path: Path | None, crs: Crs) -> Points:
    """Return the polygons of a vector file, or of GeoJSON in the job, each with a point inside.

    Args:
        spec: `region.fields`.
        path: its file, in any folder; None where the features stand in the job.
        crs: of the features that stand in the job.

    Raises:
        JobError: it cannot be read, says no CRS, holds no row, or a row without a polygon.
        MissingExtraError: the file is no GeoJSON, and the packages of the extra `tables` are not installed.
    """
    key = "region.fields" if path is None else "region.fields.file"
    name = "features" if path is None else path.name
    if path is None or path.suffix.lower() in {".geojson", ".json"}:
        document: Any = spec.features
        if path is not None:
            document, crs = read_features(path, key)
        header, rows, shapes = _features(document, name, key)
    else:
        header, rows, shapes, crs = _vector(path, key)
    if not rows:
        raise JobError(f"{name} holds no field; write a feature with a polygon for each sample", key=key)
    fields = [_polygon(shape, f"{name}, {line}", key) for shape, (line, _) in zip(shapes, rows, strict=True)]
    if crs == LONLAT:
        # As of points: images count from -180.
        fields = [
            shapely.transform(one, lambda at: at - (360, 0)) if one.bounds[0] > 180 else one for one in fields
        ]
    inside = shapely.point_on_surface(fields)
    at = np.column_stack([shapely.get_x(inside), shapely.get_y(inside)]).tolist()
    rows = [(line, [*xy, *cells]) for xy, (line, cells) in zip(at, rows, strict=True)]
    return points_of(
        PointsTable(name, ["", "", *header], rows, (0, 1), crs, shapely.to_wkb(fields).tolist()), key
    )


def _polygon(shape: BaseGeometry | None, where: str, key: str) -> BaseGeometry:
    """Return the polygons of a shape, whose edges do not cross."""
    kind = "no geometry" if shape is None or shape.is_empty else shape.geom_type
    if shape is None or kind not in ("Polygon", "MultiPolygon"):
        raise JobError(f"{where}: is {kind}, and needs to be a Polygon or MultiPolygon", key=key)
    if not np.isfinite(shape.bounds).all():
        raise JobError(f"{where}: has coordinates that are no numbers", key=key)
    flat = shapely.force_2d(shape)
    if not flat.is_valid:
        # Edges that cross are read by the even-odd rule, as every map shows them.
        parts = shapely.get_parts(shapely.get_parts(shapely.make_valid(flat)))
        flat = shapely.union_all([part for part in parts if part.geom_type == "Polygon"])
    if flat.is_empty or flat.area == 0:
        raise JobError(f"{where}: its polygon has no area", key=key)
    return flat


def _features(
    document: object, name: str, key: str
) -> tuple[list[str], list[tuple[str, list[Any]]], list[BaseGeometry | None]]:
    """Return (header, rows, shapes) of a FeatureCollection."""
    header, rows, geometries = feature_rows(document, name, "polygon", key)
    shapes: list[BaseGeometry | None] = []
    for (line, _), geometry in zip(rows, geometries, strict=True):
        try:
            shapes.append(None if geometry is None else shapely.geometry.shape(geometry))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, ShapelyError):
            raise JobError(
                f"{name}, {line}: its geometry is no GeoJSON, or its coordinates are none", key=key
            ) from None
    return header, rows, shapes


def _vector(
    path: Path, key: str
) -> tuple[list[str], list[tuple[str, list[Any]]], list[BaseGeometry | None], Crs]:
    """Return (header, rows, shapes, CRS) of a vector file or GeoParquet."""
    try:
        from downloader.tables.places import read_places
    except ImportError:
        raise MissingExtraError(f"{key}: reading {path.suffix or 'this'} files", "tables") from None
    try:
        places = read_places(path)
    except JobError as error:
        raise JobError(error.message.removeprefix("by: "), key=key) from None
    columns = [column.to_pylist() for column in places.columns.columns]
    cells = ([column[number] for column in columns] for number in range(len(places)))
    # As JSON has them: times become text.
    plain = ([one if isinstance(one, _PLAIN) else str(one) for one in row] for row in cells)
    rows = [(f"feature {number}", row) for number, row in enumerate(plain, 1)]
    return list(places.columns.column_names), rows, places.shapes.tolist(), places.crs
