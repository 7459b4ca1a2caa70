"""The columns of a table, and the rows of one part of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from downloader.mosaic.format.axis import NO_TIME, AxisArray
from downloader.tables.places import Places
from downloader.tables.request import Layout
from downloader.tables.zonal import FRACTIONS

_PURE: Final = frozenset(("count", "variety", FRACTIONS, "valid"))
"""Statistics without the band's units."""


@dataclass(frozen=True, slots=True)
class TableBand:
    """A band as the table names it."""

    name: str
    attributes: Mapping[str, Any]
    """Of its array."""

    def units(self, statistic: str) -> str:
        """Return the units of a statistic; empty where those of the band are not known."""
        units = str(self.attributes.get("units", ""))
        if statistic in _PURE:
            return "1"
        return f"({units})^2" if statistic == "var" and units not in {"", "1"} else units


@dataclass(frozen=True)
class TableSheet:
    """Columns of a table: of places, of slices, and of the statistics."""

    layout: Layout
    statistics: tuple[str, ...]
    bands: tuple[TableBand, ...]
    places: pa.Table
    """A row for each place; no columns where the mosaic is the only one."""
    slices: pa.Table
    """A row for each slice; no columns where there is none, and of samples."""
    shapes: Places | None = None
    """Shapes to be kept."""

    @cached_property
    def schema(self) -> pa.Schema:
        """Names and types of the columns, with units, and the shapes' CRS as GeoParquet has it."""
        fields = [*self.places.schema, *self.slices.schema]
        if self.layout == "wide":
            for band, statistic in self._columns():
                about = {
                    "units": band.units(statistic),
                    "long_name": str(band.attributes.get("long_name", "")),
                }
                fields.append(
                    pa.field(
                        f"{band.name}_{statistic}",
                        pa.float64(),
                        metadata={k: v for k, v in about.items() if v},
                    )
                )
        else:
            fields += [pa.field("band", pa.string()), pa.field("statistic", pa.string())]
            fields += [pa.field("class", pa.float64())] if FRACTIONS in self.statistics else []
            fields += [
                pa.field("value", pa.float64()),
                pa.field("valid", pa.float64(), metadata={"units": "1"}),
                pa.field("units", pa.string()),
            ]
        if self.shapes is None:
            return pa.schema(_renamed(fields))
        fields.append(pa.field("geometry", pa.binary()))
        column = {"encoding": "WKB", "geometry_types": [], "crs": self.shapes.crs.to_pyproj().to_json_dict()}
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        return pa.schema(_renamed(fields), metadata={"geo": json.dumps(geo)})

    def rows(
        self,
        places: NDArray[np.int64],
        slices: NDArray[np.int64],
        values: NDArray[np.float64],
        valid: NDArray[np.float64],
        classes: Sequence[Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]],
    ) -> pa.Table:
        """Return rows.

        Args:
            places: number of the place of each row, from 0.
            slices: number of the slice of each row.
            values: (row, band, statistic).
            valid: (row, band), shares.
            classes: [row][band]: (classes, shares); empty unless asked for.
        """
        if self.layout == "wide":
            told = [
                valid[:, b] if statistic == "valid" else values[:, b, self.statistics.index(statistic)]
                for b in range(len(self.bands))
                for statistic in (*self.statistics, "valid")
            ]
            return self._table(places, slices, [pa.array(column, from_pandas=True) for column in told])
        parts = [self._long(places, slices, values, valid)]
        if FRACTIONS in self.statistics:
            parts.append(self._fractions(places, slices, valid, classes))
        return pa.concat_tables(parts)

    def _columns(self) -> Iterator[tuple[TableBand, str]]:
        return ((band, statistic) for band in self.bands for statistic in (*self.statistics, "valid"))

    def _table(
        self, places: NDArray[np.int64], slices: NDArray[np.int64], told: Iterable[pa.Array]
    ) -> pa.Table:
        columns = [column.take(places) for column in self.places.columns]
        columns += [column.take(slices) for column in self.slices.columns]
        columns += told
        if self.shapes is not None:
            columns.append(pa.array(self.shapes.wkb(), pa.binary()).take(pa.array(places)))
        return pa.Table.from_arrays(columns, schema=self.schema)

    def _long(
        self,
        places: NDArray[np.int64],
        slices: NDArray[np.int64],
        values: NDArray[np.float64],
        valid: NDArray[np.float64],
    ) -> pa.Table:
        chosen = [k for k, name in enumerate(self.statistics) if name != FRACTIONS]
        pairs = [(b, self.statistics[k]) for b in range(len(self.bands)) for k in chosen]
        rows = len(places)
        told = [
            pa.array([self.bands[b].name for b, _ in pairs] * rows, pa.string()),
            pa.array([name for _, name in pairs] * rows, pa.string()),
            pa.array(values[:, :, chosen].ravel(), pa.float64(), from_pandas=True),
            pa.array(np.repeat(valid.ravel(), len(chosen)), pa.float64()),
            pa.array([self.bands[b].units(name) for b, name in pairs] * rows, pa.string()),
        ]
        if FRACTIONS in self.statistics:
            told.insert(2, pa.nulls(rows * len(pairs), pa.float64()))
        return self._table(np.repeat(places, len(pairs)), np.repeat(slices, len(pairs)), told)

    def _fractions(
        self,
        places: NDArray[np.int64],
        slices: NDArray[np.int64],
        valid: NDArray[np.float64],
        classes: Sequence[Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]],
    ) -> pa.Table:
        found = [
            (row, b, value, share)
            for row, of_bands in enumerate(classes)
            for b, (names, shares) in enumerate(of_bands)
            for value, share in sorted(zip(names.tolist(), shares.tolist(), strict=True))
        ]
        rows = np.array([row for row, *_ in found], np.int64)
        told = [
            pa.array([self.bands[b].name for _, b, _, _ in found], pa.string()),
            pa.array([FRACTIONS] * len(found), pa.string()),
            pa.array([value for *_, value, _ in found], pa.float64()),
            pa.array([share for *_, share in found], pa.float64()),
            pa.array([valid[row, b] for row, b, _, _ in found], pa.float64()),
            pa.array(["1"] * len(found), pa.string()),
        ]
        return self._table(places[rows], slices[rows], told)


def axis_table(along: Sequence[AxisArray], names: Iterable[str] | None = None) -> pa.Table:
    """Return arrays along the leading axes as columns, a row for each slice.

    Args:
        along: the arrays.
        names: of those wanted; None for all.
    """
    wanted = None if names is None else set(names)
    columns = {}
    steps = max((array.across for array in along if array.dimension == "step"), default=1)
    for array in along:
        stepped = array.dimension == "step"
        if (array.across and not stepped) or (wanted is not None and array.name not in wanted):
            continue
        if array.name == "time":
            known = [None if value == NO_TIME else value for value in array.values]
            column = pa.array(known, pa.timestamp("us", "UTC"))
        else:
            kind = {"int64": pa.int64(), "float64": pa.float64(), "string": pa.string()}[array.kind]
            column = pa.array(array.values, kind)
        # What a sample has, each of its steps has.
        columns[array.name] = column if stepped else column.take(np.arange(len(column)).repeat(steps))
    return pa.table(columns)


def _renamed(fields: Sequence[pa.Field]) -> list[pa.Field]:
    """Return fields with names that differ: a column of the places gives way to those of the table, by a `_`."""
    names = [field.name for field in fields]
    told: list[pa.Field] = []
    for number, field in enumerate(fields):
        name = field.name
        while name in names[number + 1 :] or name in {one.name for one in told}:
            name += "_"
        told.append(field.with_name(name))
    return told
