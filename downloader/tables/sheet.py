"""The columns of a table, and the rows of one part of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
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
            for band, statistic in product(self.bands, (*self.statistics, "valid")):
                told = {
                    "units": band.units(statistic),
                    "long_name": str(band.attributes.get("long_name", "")),
                }
                about = {key: text for key, text in told.items() if text}
                fields.append(pa.field(f"{band.name}_{statistic}", pa.float64(), metadata=about))
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
        classes: NDArray[np.object_],
    ) -> pa.Table:
        """Return rows.

        Args:
            places: number of the place of each row, from 0.
            slices: number of the slice of each row.
            values: (row, band, statistic).
            valid: (row, band), shares.
            classes: (row, band): pairs (classes, shares); None unless asked for.
        """
        if self.layout == "wide":
            told = [
                pa.array(column, from_pandas=True)
                for b in range(len(self.bands))
                for column in (*values[:, b].T, valid[:, b])
            ]
        else:
            row, told = self._long(values, valid, classes)
            places, slices = places[row], slices[row]
        columns = [column.take(places) for column in self.places.columns]
        columns += [column.take(slices) for column in self.slices.columns]
        columns += told
        if self.shapes is not None:
            columns.append(pa.array(self.shapes.wkb(), pa.binary()).take(pa.array(places)))
        return pa.Table.from_arrays(columns, schema=self.schema)

    def _long(
        self, values: NDArray[np.float64], valid: NDArray[np.float64], classes: NDArray[np.object_]
    ) -> tuple[NDArray[np.intp], list[pa.Array]]:
        """Return the row that each long row is of, and the columns of these behind places and slices."""
        kinds = [k for k, name in enumerate(self.statistics) if name != FRACTIONS]
        row, band, kind = (one.ravel() for one in np.indices((*valid.shape, len(kinds))))
        statistic, number = np.array(kinds, np.intp)[kind], values[:, :, kinds].ravel()
        class_ = np.full(len(row), np.nan)
        if FRACTIONS in self.statistics:
            found = [
                (r, b, *pair)
                for (r, b), pairs in np.ndenumerate(classes)
                if pairs is not None
                for pair in sorted(zip(*(one.tolist() for one in pairs), strict=True))
            ]
            r, b, names, shares = np.array(found, np.float64).reshape(-1, 4).T
            row, band = np.append(row, r.astype(np.intp)), np.append(band, b.astype(np.intp))
            statistic = np.append(statistic, np.full(len(r), self.statistics.index(FRACTIONS)))
            class_, number = np.append(class_, names), np.append(number, shares)
        units = np.array([[one.units(name) for name in self.statistics] for one in self.bands], object)
        told = [
            pa.array(np.array([one.name for one in self.bands], object)[band], pa.string()),
            pa.array(np.array(self.statistics, object)[statistic], pa.string()),
            pa.array(class_, from_pandas=True),
            pa.array(number, from_pandas=True),
            pa.array(valid[row, band]),
            pa.array(units[band, statistic], pa.string()),
        ]
        return row, told if FRACTIONS in self.statistics else told[:2] + told[3:]


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
