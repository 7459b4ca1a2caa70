"""Read places: polygons or points with the columns beside them, from a file or a GeoDataFrame."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import shapely
from numpy.typing import NDArray

from downloader.errors import JobError
from downloader.model.crs import LONLAT, Crs
from downloader.text import cut

_LON: Final = ("lon", "longitude", "lng", "long")
_LAT: Final = ("lat", "latitude")
_TAKEN: Final = frozenset(("point", "polygon", "multipolygon"))


@dataclass(frozen=True, slots=True)
class Places:
    """Places in the order of their file."""

    crs: Crs
    shapes: NDArray[np.object_]
    """Shapely's points and polygons, x before y; None for a row without a geometry."""
    columns: pa.Table
    """The other columns, a row for each place."""

    def __len__(self) -> int:
        return len(self.shapes)

    def wkb(self) -> list[bytes | None]:
        """Return the shapes as well-known binary."""
        return [None if shape is None else shapely.to_wkb(shape) for shape in self.shapes]


def read_places(by: Any) -> Places:  # noqa: ANN401  # of several libraries
    """Return the places of a file or of a table with shapes.

    Args:
        by: a GeoDataFrame or GeoSeries; or the path of a vector file that GDAL reads (GeoJSON, GeoPackage, …), of
            GeoParquet, or of a CSV file with the columns `lon` and `lat`.

    Raises:
        JobError: it cannot be read, says no CRS, is empty, or holds something else than points and polygons.
    """
    if isinstance(by, str | Path):
        path = Path(by)
        if not path.exists():
            raise JobError(
                f"by: there is no file {path}; name one of polygons or points, such as fields.geojson"
            )
        name = str(path)
        try:
            if path.suffix.lower() in {".parquet", ".geoparquet"}:
                places = _geoparquet(path)
            elif path.suffix.lower() in {".csv", ".tsv"}:
                places = _csv(path)
            else:
                places = _vector(path)
        except JobError:
            raise
        except (pa.ArrowException, OSError, RuntimeError, ValueError, shapely.errors.ShapelyError) as error:
            raise JobError(f"by: {path} cannot be read: {' '.join(str(error).split())[:200]}") from None
    elif hasattr(by, "geometry") and hasattr(by, "crs"):
        name, places = "the GeoDataFrame", _frame(by)
    else:
        raise JobError(f"by: {cut(repr(by))} is no file and no GeoDataFrame; give one of them")
    if not len(places):
        raise JobError(f"by: {name} holds no place")
    for number, shape in enumerate(places.shapes, 1):
        if shape is not None and shape.geom_type.lower() not in _TAKEN:
            raise JobError(
                f"by: feature {number} of {name} is a {shape.geom_type}; a table takes points and polygons, and a "
                "line becomes one by a buffer"
            )
    return places


def _geoparquet(path: Path) -> Places:
    table = pa.parquet.read_table(path)
    told = (table.schema.metadata or {}).get(b"geo")
    if told is None:
        raise JobError(f"by: {path} is Parquet without geometry; write it as GeoParquet, or as GeoPackage")
    about = json.loads(told)
    column = about["primary_column"]
    its = about["columns"][column]
    if its.get("encoding") != "WKB":
        raise JobError(f"by: {path} holds geometry as {its.get('encoding')}; write it as WKB")
    crs = its.get("crs", "OGC:CRS84")
    return _places(path, table, column, json.dumps(crs) if isinstance(crs, dict) else crs)


def _vector(path: Path) -> Places:
    import pyogrio

    meta, table = pyogrio.read_arrow(path)
    column = meta["geometry_name"] or "wkb_geometry"
    if column not in table.column_names:
        raise JobError(f"by: {path} holds no geometry; name a file of polygons or points")
    return _places(path, table, column, meta["crs"])


def _csv(path: Path) -> Places:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    table = pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(delimiter=delimiter))
    names = {name.strip().casefold(): name for name in table.column_names}
    found = [next((names[word] for word in words if word in names), None) for words in (_LON, _LAT)]
    numbers = [] if None in found else [table[name] for name in found]
    if not numbers or not all(pa.types.is_floating(c.type) or pa.types.is_integer(c.type) for c in numbers):
        raise JobError(
            f"by: {path} has the columns {', '.join(table.column_names)}, and needs numbers in lon and lat"
        )
    lon, lat = (np.asarray(c.to_numpy(zero_copy_only=False), np.float64) for c in numbers)
    beyond = np.flatnonzero(np.abs(lat) > 90)
    if len(beyond):
        raise JobError(
            f"by: {path}, row {beyond[0] + 1}: latitude {lat[beyond[0]]:g} is beyond 90 degrees; are lon and lat exchanged?"
        )
    known = np.isfinite(lon) & np.isfinite(lat)
    shapes = np.full(len(lon), None, object)
    shapes[known] = shapely.points(lon[known], lat[known])
    return Places(LONLAT, shapes, table)


def _frame(frame: Any) -> Places:  # noqa: ANN401  # a GeoDataFrame or a GeoSeries
    if frame.crs is None:
        raise JobError("by: the GeoDataFrame says no CRS; give it one, such as frame.set_crs('EPSG:4326')")
    if hasattr(frame, "columns"):
        others = frame.drop(columns=frame.geometry.name)
        columns = pa.Table.from_pandas(others, preserve_index=False)
    else:
        columns = pa.table({})
    return _made(np.asarray(frame.geometry.values, object), frame.crs.to_wkt(), columns)


def _places(path: Path, table: pa.Table, column: str, crs: str | None) -> Places:
    if not crs:
        raise JobError(f"by: {path} says no CRS; a shapefile needs its .prj beside it")
    shapes = shapely.from_wkb(np.array(table[column].to_pylist(), object))
    return _made(shapes, crs, table.drop_columns([column]))


def _made(shapes: NDArray[np.object_], crs: str, columns: pa.Table) -> Places:
    """Return places: shapes without heights, None for those that are empty; x before y, as every vector file has them."""
    from pyproj import CRS

    flat = np.asarray(shapely.force_2d(shapes), object)
    flat[shapely.is_missing(flat) | shapely.is_empty(flat)] = None
    found = CRS.from_user_input(crs)
    authority = found.to_authority()
    name = ":".join(authority) if authority else found.to_wkt()
    known = LONLAT if authority == ("OGC", "CRS84") else Crs.parse(name)
    return Places(known, flat, columns.replace_schema_metadata(None))
