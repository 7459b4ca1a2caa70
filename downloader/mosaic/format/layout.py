"""The layout of a mosaic: its arrays, their metadata, and the key of each object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from downloader.datasets.attributes import dataset_attributes, made_attributes
from downloader.datasets.facts import DatasetFacts, dataset_facts
from downloader.job import Job
from downloader.model.nodata import nodata_values
from downloader.mosaic.format.axis import AxisArray
from downloader.mosaic.format.chunk import ChunkForm
from downloader.mosaic.format.codec import ChunkCodec
from downloader.mosaic.format.coverage import COVERAGE_TILES, Coverage, coverage_chunk
from downloader.mosaic.format.documents import array_document, sharding
from downloader.mosaic.format.georeferencing import (
    GRID_MAPPING,
    axis_attributes,
    band_attributes,
    fill_scalar,
    grid_mapping_attributes,
    mask_attributes,
)
from downloader.mosaic.format.header import ShardHeader
from downloader.mosaic.format.inside import InsideArray
from downloader.planning import Group, Plan
from downloader.planning.tiling import bits

T = TypeVar("T")

_AXIS_CHUNK: Final = 262_144


def axis_chunk(length: int) -> int:
    """Return the number of values in one chunk of an axis of `length` pixels."""
    return min(length, _AXIS_CHUNK)


@dataclass(frozen=True)
class GroupLayout:
    """One group in the mosaic: its arrays, their codecs, the keys of their objects."""

    group: Group
    arrays: tuple[str, ...]
    """Array names, by index of the band."""
    nodata: tuple[float | None, ...]
    """Declared nodata values, by index of the band."""
    profile: Literal["sharded", "plain"]
    compressor: Literal["lz4", "zstd", "none"]
    along: tuple[AxisArray, ...] = ()
    """Arrays along the leading axis; none where there is none."""
    mosaic: str = "0" * 32
    """Id of the mosaic, in the header of each shard's object."""
    level: int = 1
    """1 for the pixels; else the factor of an overview."""
    origin: str = ""
    """Name of the group that holds the pixels; of an overview, the group it was made from."""
    described: tuple[Mapping[str, Any], ...] = field(default=(), compare=False)
    """Attributes of each band's array from the catalogue, by index; empty where there are none."""

    @classmethod
    def make(
        cls,
        group: Group,
        names: Mapping[str, str],
        settings: MosaicSettings,
        along: tuple[AxisArray, ...] = (),
        mosaic: str = "0" * 32,
    ) -> GroupLayout:
        """Return the layout of a planned group; `names` maps band ids to array names."""
        return cls(
            group,
            tuple(names[band.id] for band in group.bands),
            tuple(settings.nodata.get(band.id) for band in group.bands),
            settings.profile,
            settings.compressor,
            along,
            mosaic,
            origin=group.name,
            described=tuple(dict(settings.described.get(band.id, {})) for band in group.bands),
        )

    @cached_property
    def codec(self) -> ChunkCodec:
        """Codec of a chunk."""
        return ChunkCodec(self.compressor, checksum=self.profile == "sharded")

    @cached_property
    def fills(self) -> tuple[np.generic, ...]:
        """Fill values in the bands' own types: nodata where it is declared, else 0."""
        return tuple(
            fill_scalar(band.id, band.dtype, nodata)
            for band, nodata in zip(self.group.bands, self.nodata, strict=True)
        )

    @cached_property
    def forms(self) -> tuple[ChunkForm, ...]:
        """Forms of the chunks, by index of the band."""
        tiling = self.group.tiling
        return tuple(
            ChunkForm(self.codec, band.dtype, fill, tiling.tile, tiling.depth)
            for band, fill in zip(self.group.bands, self.fills, strict=True)
        )

    @cached_property
    def leading(self) -> tuple[str, ...]:
        """Dimensions before y and x."""
        steps = ("step",) if self.group.tiling.steps else ()
        return (self.group.axis, *steps) if self.group.axis else ()

    @property
    def prefix(self) -> str:
        """Prefix of every key of the group."""
        return f"{self.group.name}/" if self.group.name else ""

    def folder(self, band: int) -> str:
        """Return the folder that holds the objects of a band's array."""
        return f"{self.prefix}{self.arrays[band]}/c"

    def shard_object(self, band: int, layer: int, row: int, column: int) -> str:
        """Return the key of a band's object of one shard."""
        if self.group.tiling.steps:
            return f"{self.folder(band)}/{layer}/{row}/0/{column}"
        return f"{self.folder(band)}/{'/'.join(map(str, (*((layer,) if self.leading else ()), row, column)))}"

    def header(self, band: int, shard: tuple[int, int, int]) -> ShardHeader:
        """Return the header of a band's object of one shard, without the bits of what is stored."""
        id_, tiling = self.group.bands[band].id, self.group.tiling
        return ShardHeader(self.mosaic, self.origin, id_, self.level, shard, tiling.slots, depth=tiling.depth)

    def tile_object(self, band: int, shard: tuple[int, int, int], slot: int) -> str:
        """Return the key of a band's object of one tile, where the profile is `plain`."""
        slice_, row, column = self.group.tiling.tile_at(shard, slot)
        if steps := self.group.tiling.steps:
            slice_, row = divmod(slice_, steps)
        return self.shard_object(band, slice_, row, column)

    def objects(self, band: int, shard: tuple[int, int, int], slots: int) -> list[str]:
        """Return the keys of a band's objects that hold these slots of one shard."""
        if self.profile == "plain":
            return [self.tile_object(band, shard, slot) for slot in bits(slots)]
        return [self.shard_object(band, *shard)] if slots else []

    def parse_key(self, key: str, band: int) -> tuple[tuple[int, int, int], int] | None:
        """Return the shard (layer, row, column) and the slot of an object below a band's folder.

        The slot is that of the tile where the profile is `plain`, else 0. None for a key that the writer does not make:
        only the exact spelling counts.
        """
        t = self.group.tiling
        rest = key[len(self.folder(band)) + 1 :]
        parts = rest.split("/")
        if len(parts) != 2 + len(self.leading) or not all(p.isascii() and p.isdecimal() for p in parts):
            return None
        numbers = [int(part) for part in parts]
        if "/".join(map(str, numbers)) != rest:
            return None
        *leading, row, column = numbers
        layer = leading[0] if leading else 0
        if len(leading) == 2:
            if row:
                return None
            row = leading[1]
        if self.profile != "plain":
            is_inside = layer < t.shard_layers and row < t.shard_rows and column < t.shard_columns
            return ((layer, row, column), 0) if is_inside else None
        if t.steps:
            if layer >= t.leading[0] or row >= t.steps or column:
                return None
            layer, row = layer * t.steps + row, 0
        if layer >= t.slices or row >= t.tile_rows or column >= t.tile_columns:
            return None
        return t.shard_of(layer, row, column), t.slot(layer, row, column)

    @property
    def coverage_shape(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shape of the array of coverage, and of its chunks."""
        tiling = self.group.tiling
        cells, chunk = (tiling.tile_rows, tiling.tile_columns), coverage_chunk(tiling)
        return ((*tiling.leading, *cells), chunk) if self.leading else (cells, chunk[1:])

    def coverage_object(
        self, place: tuple[int, ...], cells: NDArray[np.uint8]
    ) -> tuple[str, NDArray[np.uint8]]:
        """Return the key and content of the chunk of coverage whose first cell is `place`, along the leading axes, row, column."""
        chunk = coverage_chunk(self.group.tiling)
        numbers = [begin // length for begin, length in zip(place, chunk, strict=True)]
        if not self.leading:
            numbers, cells = numbers[1:], cells[0]
        return self.coverage_key(numbers), cells

    def coverage_key(self, numbers: Iterable[int]) -> str:
        """Return the key of a chunk of coverage by its numbers along the array's axes."""
        return f"{self.prefix}{COVERAGE_TILES}/c/{'/'.join(map(str, numbers))}"

    def axis_chunks(self) -> Iterator[tuple[str, bytes]]:
        """Yield (key, bytes) of every chunk of the arrays along the leading axis."""
        for array in self.beside:
            yield from array.chunks(self.prefix, self.codec)

    @property
    def beside(self) -> tuple[AxisArray | InsideArray, ...]:
        """The arrays along the leading axis beside the bands."""
        fields = self.group.shapes
        return (*self.along, *([InsideArray(fields, self.group.tiling.tile)] if fields else []))

    @property
    def coordinates(self) -> str:
        """Attribute `coordinates` of the group: names of the arrays that are no data variables."""
        return " ".join(array.name for array in self.beside if array.name != self.group.axis)

    def documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (path below the group, `zarr.json`) of every array."""
        grid = self.group.grid
        double, byte = np.dtype("<f8"), np.dtype("u1")
        if not self.group.lattices and not grid.transform.is_sheared:
            for axis, length in (("y", grid.height), ("x", grid.width)):
                codecs, about = self.codec.to_json(double), axis_attributes(grid, axis)
                yield (
                    axis,
                    array_document(
                        (length,), (axis_chunk(length),), "float64", np.nan, (axis,), codecs, about
                    ),
                )
        if not self.group.lattices:
            # Each sample has a grid of its own, which is stored along their axis.
            codecs = ChunkCodec("none", checksum=False).to_json(np.dtype("<i4"))
            yield GRID_MAPPING, array_document((), (), "int32", 0, (), codecs, grid_mapping_attributes(grid))
        shape, chunk = self.coverage_shape
        codecs, dimensions = self.codec.to_json(byte), (*self.leading, "tile_y", "tile_x")
        about = {
            "long_name": "state of each tile, the worst over the group's bands",
            "flag_values": [int(state) for state in Coverage],
            "flag_meanings": " ".join(state.name.lower() for state in Coverage),
            "tile_pixels": self.group.tiling.tile,
        }
        yield COVERAGE_TILES, array_document(shape, chunk, "uint8", 0, dimensions, codecs, about)
        for array in self.beside:
            yield array.name, array.document(self.group.axis, self.codec)
        for index, name in enumerate(self.arrays):
            yield name, self._band_document(index)

    def _band_document(self, index: int) -> dict[str, Any]:
        tiling, band = self.group.tiling, self.group.bands[index]
        lead, run, deep = (
            (tiling.leading, tiling.shard_leading, tiling.chunk_leading) if self.leading else ((), (), ())
        )
        inner = chunk = (*deep, tiling.tile, tiling.tile)
        codecs = self.codec.to_json(band.dtype)
        if self.profile == "sharded":
            chunk, codecs = (*run, tiling.shard_side, tiling.shard_side), [sharding(inner, codecs)]
        grid = None if self.group.lattices else self.group.grid
        about = band_attributes(grid, band.id, band.dtype, self.nodata[index]) | mask_attributes(band.mask_of)
        about |= self.described[index] if self.described else {}
        shape, dimensions = (*lead, tiling.height, tiling.width), (*self.leading, "y", "x")
        return array_document(shape, chunk, band.dtype.name, self.fills[index], dimensions, codecs, about)


@dataclass(frozen=True, slots=True)
class MosaicSettings:
    """How a mosaic is stored: the job file's section `mosaic`."""

    profile: Literal["sharded", "plain"] = "sharded"
    """`sharded`: many tiles an object, checksums inside. `plain`: one object a tile, readable by GDAL 3.12."""
    compressor: Literal["lz4", "zstd", "none"] = "lz4"
    """Blosc lz4 level 5 with bitshuffle, Blosc Zstandard level 1 with it, or bare bytes."""
    durability: Literal["full", "scratch"] = "full"
    """`full` flushes pixels to the disk before the ledger's line; `scratch` trusts the machine to stay up."""
    nodata: Mapping[str, float] = field(default_factory=dict)
    """Band id → nodata value; bands without a declared one are left out."""
    described: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Band id → CF attributes from the catalogue: name, units, scale, flags."""

    @classmethod
    def of(cls, job: Job, plan: Plan) -> MosaicSettings:
        """Return how `job` wants the pixels of `plan` stored.

        Raises:
            JobError: a nodata value for a band that is not there, or that the band's type does not have.
        """
        bands = [band for group in plan.groups for band in group.bands]
        return cls(
            profile=job.mosaic.profile,
            compressor=job.mosaic.compressor,
            durability=job.mosaic.durability,
            nodata=nodata_values(job.mosaic.nodata, bands),
            described=described_bands(plan),
        )


def described_bands(plan: Plan) -> dict[str, dict[str, Any]]:
    """Return attributes of each band of a plan from the catalogue, by id; of several datasets those that agree."""
    facts = made_of(plan)
    ids = dict.fromkeys(band.id for group in plan.groups for band in group.bands if not band.mask_of)
    found = {id_: _alike([made_attributes(one, id_, facts) for one in datasets_of(plan)]) for id_ in ids}
    return {id_: told for id_, told in found.items() if told}


def described_datasets(plan: Plan) -> dict[str, str]:
    """Return title, licence and provider of the pixels; of several datasets those that agree."""
    return _alike([dataset_attributes(one) if one else {} for one in datasets_of(plan)])


def _alike(several: Sequence[dict[str, T]]) -> dict[str, T]:
    first, *others = several
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in others)}


def datasets_of(plan: Plan) -> list[DatasetFacts | None]:
    """Return facts of each dataset of a plan's images; None for one that is not in the catalogue."""
    named = made_of(plan).get("collection")
    return [dataset_facts(one) for one in (named.split(", ") if named else [plan.image.id])]


def made_of(plan: Plan) -> Mapping[str, str]:
    """Return the keys of the job's `source` that select images and process them."""
    return plan.listed.facts if plan.listed is not None else plan.facts
