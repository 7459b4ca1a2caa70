"""Read points with their columns from CSV or GeoJSON."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from downloader.errors import JobError
from downloader.job.files import read_text
from downloader.model.crs import LONLAT, Crs, transformer
from downloader.model.time import instant_us
from downloader.planning.samples import Column, Point, Points

_KEY: Final = "region.points.file"
_MAX_BYTES: Final = 256 * 2**20
_X: Final = ("x", "easting")
_Y: Final = ("y", "northing")
_LON: Final = ("lon", "longitude", "lng", "long")
_LAT: Final = ("lat", "latitude")
_INT64: Final = 2**63
_WHOLE: Final = re.compile(r"[+-]?(0|[1-9][0-9]{0,18})")
_DECIMAL: Final = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|nan|NaN")


@dataclass(frozen=True, slots=True)
class PointsTable:
    """A file as rows of cells, which are texts or values of JSON."""

    path: str
    header: list[str]
    rows: list[tuple[str, list[Any]]]
    """Place in the file, such as `line 7`, and cells."""
    coordinates: tuple[int, int]
    """Numbers of the columns that hold x and y."""
    crs: Crs
    shapes: Sequence[bytes] = ()
    """The polygons of fields as well-known binary, a row each; none of points."""


def read_points(path: Path, crs: Crs | None) -> Points:
    """Return the points of a file.

    Args:
        path: CSV, or GeoJSON by its name.
        crs: of columns `x` and `y`, and of GeoJSON; None where the job says none, which is longitude and latitude.

    Raises:
        JobError: it cannot be read, is empty, lacks coordinates, or a cell is wrong; with file, line, column and fix.
    """
    text = read_text(path, _MAX_BYTES, "name a CSV or GeoJSON file of points, in UTF-8", _KEY)
    return parse_points(text, path.name, crs, is_json=path.suffix.lower() in {".geojson", ".json"})


def parse_points(text: str, name: str, crs: Crs | None, *, is_json: bool) -> Points:
    """Return the points of a file's text; arguments and errors as those of `read_points`."""
    table = _geojson(text, name, crs) if is_json else _csv(text, name, crs)
    if not table.rows:
        raise JobError(f"{name} holds no point; write one a line below the header", key=_KEY)
    return points_of(table, _KEY)


def points_of(table: PointsTable, key: str) -> Points:
    """Return the points of a table; `key` names its file. Raises JobError for a cell that is wrong."""
    name, header = table.path, table.header
    own = {word: _column(header, (word,)) for word in ("id", "image", "date")}
    special = {*table.coordinates, *own.values()}
    kept = [k for k in range(len(header)) if k not in special and header[k]]
    typed = [_typed([row[k] for _, row in table.rows]) for k in kept]
    columns = tuple(Column(header[k], kind) for k, (kind, _) in zip(kept, typed, strict=True))
    points, lines = [], dict[str, str]()
    at = np.array([_coordinates(table, line, row) for line, row in table.rows])
    lon, lat = at.T
    if table.crs == LONLAT:
        # 0…360 is another way to count; images count from -180.
        lon = at[:, 0] = np.where((lon > 180) & (lon <= 360), lon - 360, lon)
    else:
        lon, lat = transformer(table.crs, LONLAT).transform(lon, lat)
    shapes = table.shapes or [b""] * len(table.rows)
    on_earth = np.isfinite(lon) & (np.abs(lat) <= 90 + 1e-9) & (np.abs(lon) <= 180 + 1e-9)
    for number, (line, row) in enumerate(table.rows):
        where, (x, y) = f"{name}, {line}", at[number].tolist()
        if not on_earth[number]:
            raise JobError(
                f"{where}: ({x:g}, {y:g}) is no place on Earth in {table.crs}; are x and y (longitude and latitude) "
                "exchanged, or is region.crs another one?",
                key=key,
            )
        told = {word: "" if k is None else _text(row[k]) for word, k in own.items()}
        id_ = told["id"] or str(number + 1)
        if id_ in lines:
            raise JobError(
                f"{where}: has the id {id_!r}, which is that of {lines[id_]} too; give each its own, or leave out the column",
                key=key,
            )
        lines[id_] = line
        try:
            instant_us(told["date"])
        except JobError as error:
            raise JobError(f"{where}, column {header[own['date'] or 0]}: {error}", key=key) from None
        values = tuple(column[number] for _, column in typed)
        point = Point(id_, x, y, float(lon[number]), float(lat[number]), where, told["image"], told["date"])
        points.append(replace(point, values=values, shape=shapes[number]))
    return Points(table.crs, columns, tuple(points))


def feature_rows(
    document: object, name: str, shape: str, key: str
) -> tuple[list[str], list[tuple[str, list[Any]]], list[Any]]:
    """Return (header, rows, geometries) of a GeoJSON FeatureCollection; a feature's own `id` is one of its properties.

    Args:
        document: the parsed file.
        name: what messages call it.
        shape: what each feature is to hold.
        key: key of the job file.

    Raises:
        JobError: it is none, or properties are no object.
    """
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list):
        raise JobError(
            f"{name} is no FeatureCollection; write one feature with a {shape} for each sample", key=key
        )
    read = []
    for number, feature in enumerate(features, 1):
        properties = (feature.get("properties") or {}) if isinstance(feature, dict) else None
        if not isinstance(properties, dict):
            raise JobError(f"{name}, feature {number}: its properties are no object", key=key)
        if feature.get("id") is not None and _column(list(properties), ("id",)) is None:
            properties = {"id": feature["id"], **properties}
        read.append(properties)
    header = list(dict.fromkeys(one for properties in read for one in properties))
    rows = [(f"feature {n}", [own.get(one) for one in header]) for n, own in enumerate(read, 1)]
    return header, rows, [feature.get("geometry") for feature in features]


def _csv(text: str, name: str, crs: Crs | None) -> PointsTable:
    lines = csv.reader(io.StringIO(text), delimiter=_delimiter(text), strict=True)
    read: list[tuple[str, list[Any]]] = []
    try:
        read += [(f"line {lines.line_num}", [cell.strip() for cell in cells]) for cells in lines]
    except csv.Error as error:
        raise JobError(f"{name}, line {lines.line_num}: {error}", key=_KEY) from None
    read = [(line, cells) for line, cells in read if any(cells)]
    if not read:
        raise JobError(f"{name} is empty; its first line names the columns, such as  lon,lat,id", key=_KEY)
    (_, header), *rows = read
    for line, cells in rows:
        if len(cells) != len(header):
            raise JobError(
                f"{name}, {line}: has {len(cells)} cells, the header {len(header)}; put a cell that holds the delimiter in "
                "double quotes",
                key=_KEY,
            )
    times = Counter(map(str.casefold, header))
    if repeated := sorted(one for one in header if one and times[one.casefold()] > 1):
        raise JobError(f"{name}, line 1: column {repeated[0]!r} is given twice; rename one", key=_KEY)
    plane = _column(header, _X), _column(header, _Y)
    degrees = _column(header, _LON), _column(header, _LAT)
    choices = [(plane, crs or LONLAT), (degrees, LONLAT)]
    for (x, y), its in choices if crs is not None else reversed(choices):
        if x is not None and y is not None:
            return PointsTable(name, header, rows, (x, y), its)
    wanted = "lon and lat, or x and y" if crs is None else f"x and y (in {crs}), or lon and lat"
    raise JobError(f"{name}, line 1: has the columns {', '.join(header)}, and needs {wanted}", key=_KEY)


def _geojson(text: str, name: str, crs: Crs | None) -> PointsTable:
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JobError(f"{name} is no JSON: {error}", key=_KEY) from None
    header, rows, geometries = feature_rows(document, name, "Point", _KEY)
    for (line, cells), geometry in zip(rows, geometries, strict=True):
        known = geometry if isinstance(geometry, dict) else {}
        at = known.get("coordinates")
        if known.get("type") != "Point" or not isinstance(at, list):
            kind = known.get("type") or "no geometry"
            raise JobError(f"{name}, {line}: is {kind}, and needs to be a Point", key=_KEY)
        cells[:0] = [*at, None, None][:2]
    names = ("x", "y") if crs else ("longitude", "latitude")
    return PointsTable(name, [*names, *header], rows, (0, 1), crs or LONLAT)


def _delimiter(text: str) -> str:
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max((",", ";", "\t"), key=header.count)


def _column(header: Sequence[str], names: tuple[str, ...]) -> int | None:
    """Return the number of the column that has one of these names, whatever the case."""
    folded = [name.strip().casefold() for name in header]
    return next((folded.index(name) for name in names if name in folded), None)


def _coordinates(table: PointsTable, line: str, row: list[Any]) -> tuple[float, float]:
    found = []
    for k in table.coordinates:
        number = _number(row[k])
        if number is None or not math.isfinite(number):
            shown = repr(row[k]) if row[k] not in (None, "") else "nothing"
            raise JobError(
                f"{table.path}, {line}, column {table.header[k]}: {shown} is no number; write one such as 37.422",
                key=_KEY,
            )
        found.append(float(number))
    return found[0], found[1]


def _text(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _number(value: object) -> int | float | None:
    """Return a number, an int where it is whole and of 64 bits; None for truth values and codes with leading zeros."""
    if isinstance(value, str):
        if not _DECIMAL.fullmatch(value):
            return None
        value = int(value) if _WHOLE.fullmatch(value) else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int) and -_INT64 <= value < _INT64:
        return value
    try:
        return float(value)
    except OverflowError:
        return None


def _typed(cells: Sequence[object]) -> tuple[Literal["int64", "float64", "string"], list[int | float | str]]:
    """Return the type of a column and its values; a number that is lacking is NaN."""
    numbers = [_number(cell) for cell in cells]
    lacks = [cell in (None, "") for cell in cells]
    if all(lacks) or any(one is None and not lack for one, lack in zip(numbers, lacks, strict=True)):
        return "string", [_text(cell) for cell in cells]
    if all(isinstance(number, int) for number in numbers):
        return "int64", [number for number in numbers if number is not None]
    return "float64", [math.nan if number is None else float(number) for number in numbers]
