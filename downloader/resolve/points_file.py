"""Points from a file: CSV or GeoJSON, with coordinates, and what else stands in their columns."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
    """A file as rows of cells; text, or what JSON has."""

    path: str
    header: list[str]
    rows: list[tuple[str, list[Any]]]
    """(line 7, cells)."""
    coordinates: tuple[int, int]
    """Numbers of the columns that hold x and y."""
    crs: Crs
    shapes: Sequence[bytes] = ()
    """The polygons of fields as well-known binary, a row each; none of points."""


def read_points(path: Path, crs: Crs | None) -> Points:
    """The points of a file.

    Args:
        path: CSV, or GeoJSON by its name.
        crs: of columns `x` and `y`, and of GeoJSON; None where the job says none, which is longitude and latitude.

    Raises:
        JobError: it cannot be read, is empty, lacks coordinates, or a cell is wrong; with file, line, column and fix.
    """
    text = read_text(path, _MAX_BYTES, "name a CSV or GeoJSON file of points, in UTF-8", _KEY)
    return parse_points(text, path.name, crs, is_json=path.suffix.lower() in {".geojson", ".json"})


def parse_points(text: str, name: str, crs: Crs | None, *, is_json: bool) -> Points:
    """The points of a file's text; arguments and errors as those of `read_points`."""
    table = _geojson(text, name, crs) if is_json else _csv(text, name, crs)
    if not table.rows:
        raise JobError(f"{name} holds no point; write one a line below the header", key=_KEY)
    return points_of(table, _KEY)


def points_of(table: PointsTable, key: str) -> Points:
    """Return the points of a table; `key` names its file. Raises JobError for a cell that is wrong."""
    name = table.path
    own = {word: _column(table.header, (word,)) for word in ("id", "image", "date")}
    special = {*table.coordinates, *(k for k in own.values() if k is not None)}
    kept = [k for k in range(len(table.header)) if k not in special and table.header[k]]
    columns = tuple(Column(table.header[k], _kind(row[k] for _, row in table.rows)) for k in kept)
    points, lines = [], dict[str, str]()
    at = np.array([_coordinates(table, line, row) for line, row in table.rows])
    if table.crs == LONLAT:
        # 0…360 is another way to count; images count from -180.
        at[:, 0] = np.where((at[:, 0] > 180) & (at[:, 0] <= 360), at[:, 0] - 360, at[:, 0])
    lon, lat = _lonlat(table.crs, at)
    shapes = table.shapes or [b""] * len(table.rows)
    for number, (line, row) in enumerate(table.rows):
        where = f"{name}, {line}"
        if not (
            math.isfinite(lon[number]) and abs(lat[number]) <= 90 + 1e-9 and abs(lon[number]) <= 180 + 1e-9
        ):
            raise JobError(
                f"{where}: ({at[number][0]:g}, {at[number][1]:g}) is no place on Earth in {table.crs}; are x "
                "and y (longitude and latitude) exchanged, or is region.crs another one?",
                key=key,
            )
        id_ = _text(row, own["id"]) or str(number + 1)
        if id_ in lines:
            raise JobError(
                f"{where}: has the id {id_!r}, which is that of {lines[id_]} too; give each its own, or leave out the column",
                key=key,
            )
        lines[id_] = line
        points.append(
            Point(
                id_,
                float(at[number][0]),
                float(at[number][1]),
                float(lon[number]),
                float(lat[number]),
                where,
                _text(row, own["image"]),
                _date(row, own["date"], f"{where}, column {table.header[own['date'] or 0]}", key),
                tuple(_value(column.kind, row[k]) for column, k in zip(columns, kept, strict=True)),
                shapes[number],
            )
        )
    return Points(table.crs, columns, tuple(points))


def properties_of(feature: object, where: str, key: str) -> Mapping[str, Any]:
    """Return the properties of a GeoJSON feature; its own `id` is one of them, unless they have another."""
    properties = (feature.get("properties") or {}) if isinstance(feature, dict) else None
    if not isinstance(properties, dict):
        raise JobError(f"{where}: its properties are no object", key=key)
    own = feature.get("id") if isinstance(feature, dict) else None
    if own is not None and _column(list(properties), ("id",)) is None:
        properties = {"id": own, **properties}
    return properties


def _csv(text: str, name: str, crs: Crs | None) -> PointsTable:
    lines = csv.reader(io.StringIO(text), delimiter=_delimiter(text), strict=True)
    header: list[str] | None = None
    rows: list[tuple[str, list[Any]]] = []
    try:
        for cells in lines:
            stripped = [cell.strip() for cell in cells]
            if not any(stripped):
                continue
            if header is None:
                header = stripped
                continue
            if len(stripped) != len(header):
                raise JobError(
                    f"{name}, line {lines.line_num}: has {len(stripped)} cells, the header {len(header)}; put a "
                    "cell that holds the delimiter in double quotes",
                    key=_KEY,
                )
            rows.append((f"line {lines.line_num}", list(stripped)))
    except csv.Error as error:
        raise JobError(f"{name}, line {lines.line_num}: {error}", key=_KEY) from None
    if header is None:
        raise JobError(f"{name} is empty; its first line names the columns, such as  lon,lat,id", key=_KEY)
    repeated = sorted(
        {one for one in header if one and [c.casefold() for c in header].count(one.casefold()) > 1}
    )
    if repeated:
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
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list):
        raise JobError(
            f"{name} is no FeatureCollection; write one feature with a Point for each sample", key=_KEY
        )
    names: dict[str, None] = {}
    read: list[tuple[str, list[Any], Mapping[str, Any]]] = []
    for number, feature in enumerate(features, 1):
        line = f"feature {number}"
        geometry = feature.get("geometry") if isinstance(feature, dict) else None
        point = geometry.get("coordinates") if isinstance(geometry, dict) else None
        if not isinstance(geometry, dict) or geometry.get("type") != "Point" or not isinstance(point, list):
            kind = geometry.get("type") if isinstance(geometry, dict) else None
            raise JobError(f"{name}, {line}: is {kind or 'no geometry'}, and needs to be a Point", key=_KEY)
        properties = properties_of(feature, f"{name}, {line}", _KEY)
        names |= dict.fromkeys(properties)
        read.append((line, point[:2], properties))
    header = ["x" if crs else "longitude", "y" if crs else "latitude", *names]
    rows = [
        (line, [*[*point, None, None][:2], *(properties.get(one) for one in names)])
        for line, point, properties in read
    ]
    return PointsTable(name, header, rows, (0, 1), crs or LONLAT)


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
        found.append(number)
    return found[0], found[1]


def _lonlat(crs: Crs, at: Any) -> tuple[Any, Any]:  # noqa: ANN401  # numpy
    if crs == LONLAT:
        return at[:, 0], at[:, 1]
    return transformer(crs, LONLAT).transform(at[:, 0], at[:, 1])


def _date(row: list[Any], column: int | None, where: str, key: str) -> str:
    text = _text(row, column)
    try:
        instant_us(text)
    except JobError as error:
        raise JobError(f"{where}: {error}", key=key) from None
    return text


def _text(row: list[Any], column: int | None) -> str:
    value = None if column is None else row[column]
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _number(value: object) -> float | None:
    """A number; None for what is none, such as a truth value or a code with leading zeros."""
    if isinstance(value, str):
        return float(value) if _DECIMAL.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _integer(value: object) -> int | None:
    if isinstance(value, bool | float) or not isinstance(value, int | str):
        return None
    if isinstance(value, str) and not _WHOLE.fullmatch(value):
        return None
    return number if -_INT64 <= (number := int(value)) < _INT64 else None


def _kind(values: Iterable[object]) -> Literal["int64", "float64", "string"]:
    stated = list(values)
    there = [value for value in stated if value not in (None, "")]
    if not there or any(_number(value) is None for value in there):
        return "string"
    if len(there) == len(stated) and all(_integer(value) is not None for value in there):
        return "int64"
    return "float64"


def _value(kind: str, value: object) -> float | str:
    if kind == "int64":
        return _integer(value) or 0
    if kind == "float64":
        number = _number(value)
        return math.nan if number is None else number
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
