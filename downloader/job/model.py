"""What a job file may say of the pixels: whose, where, on which grid, into what. Nothing else is accepted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, field_validator, model_validator

from downloader.crs import Crs
from downloader.errors import JobError
from downloader.job.section import Section
from downloader.job.units import Duration
from downloader.region import BoundingBox

__all__ = ["Grid", "Mosaic", "Region", "Source", "WindowSpec"]


def _names(value: Any) -> Any:
    if value is None or value == "all":
        return None
    if isinstance(value, (list, tuple)):
        return value
    raise ValueError("write a list of band names, such as [B2, B3], or all")


class Source(Section):
    """Whose pixels."""

    asset: Annotated[str, Field(min_length=1)]
    """Id or full name of one image asset."""
    bands: Annotated[tuple[Annotated[str, Field(min_length=1)], ...] | None, BeforeValidator(_names)] = None
    """Band ids in the order wanted; `all` takes the asset's."""
    on_update: Literal["refuse", "keep", "refetch"] = "refuse"
    """What to do with an image that changed in the catalogue since its pixels were stored."""

    @field_validator("bands")
    @classmethod
    def _bands_once(cls, bands: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if bands is not None and not bands:
            raise ValueError("name at least one band, or write all")
        if bands is not None and len(set(bands)) < len(bands):
            twice = sorted({band for band in bands if bands.count(band) > 1})
            raise ValueError(f"{', '.join(twice)} stands there more than once; name each band once")
        return bands


class WindowSpec(Section):
    """A rectangle in pixels of the finest grid asked for."""

    column: int
    """Column of the leftmost pixel, from 0."""
    row: int
    """Row of the topmost pixel, from 0."""
    width: PositiveInt
    """Columns."""
    height: PositiveInt
    """Rows."""


def _four(value: Any) -> Any:
    if value is not None and not (isinstance(value, (list, tuple)) and len(value) == 4):
        raise ValueError("four numbers are needed: [west, south, east, north]")
    return value


def _crs_text(value: Any) -> Any:
    return f"EPSG:{value}" if isinstance(value, int) else value


class Region(Section):
    """Where."""

    image: bool = False
    """`true`: all of the image, which is the default for one asset."""
    window: WindowSpec | None = None
    """Pixels of the finest group asked for; coarser groups take every pixel it touches."""
    bbox: Annotated[tuple[float, float, float, float] | None, BeforeValidator(_four)] = None
    """[west, south, east, north]: x before y, whatever the CRS."""
    crs: Annotated[str, BeforeValidator(_crs_text)] = "EPSG:4326"
    """CRS of `bbox`."""

    @field_validator("crs")
    @classmethod
    def _crs_known(cls, crs: str) -> str:
        try:
            Crs.parse(crs)
        except JobError as error:
            raise ValueError(str(error)) from None
        return crs

    @model_validator(mode="after")
    def _one_kind(self) -> Region:
        given = [name for name in ("image", "window", "bbox") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; keep one of them")
        if "crs" in self.model_fields_set and self.bbox is None:
            raise ValueError("crs: says what CRS bbox is in, and there is no bbox; add one, or leave crs out")
        if self.bbox is not None:
            try:
                self.box()
            except JobError as error:
                raise ValueError(str(error).removeprefix("region.")) from None
        return self

    def box(self) -> BoundingBox:
        """The bounding box. Only where `bbox` is given."""
        if self.bbox is None:
            raise JobError("region.bbox: is not given")
        return BoundingBox(*self.bbox, crs=Crs.parse(self.crs))


def _pair(value: Any) -> Any:
    if isinstance(value, (int, float, str)):
        return (value, value)
    if value is not None and not (isinstance(value, (list, tuple)) and len(value) == 2):
        raise ValueError("write one number, or two: [x, y]")
    return value


_PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_PixelSize = Annotated[tuple[_PositiveFloat, _PositiveFloat] | None, BeforeValidator(_pair)]


class Grid(Section):
    """On which pixels."""

    native: bool = True
    """The image's own: a group for each resolution."""
    resolution: _PixelSize = None
    """One pixel size for all bands, in CRS units: a number or [x, y]. Keeps the image's corner."""
    scale: _PixelSize = None
    """`resolution` in metres: the plan refuses it for an image whose CRS counts in something else."""
    align: Literal["region", "image"] = "region"
    """`image` widens the region to the image's lattice of 256 pixels."""

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "native":
            raise ValueError("write native, or keys under it, such as {resolution: 20}")
        return {} if value == "native" else value

    @model_validator(mode="after")
    def _one_kind(self) -> Grid:
        if self.resolution is not None and self.scale is not None:
            raise ValueError("scale: is another name of resolution; keep one")
        if self.pixel_size is not None and "native" in self.model_fields_set and self.native:
            raise ValueError("native and a resolution exclude each other; keep one")
        if self.pixel_size is None and not self.native:
            raise ValueError("native: false needs a resolution; give one, or leave this out")
        return self

    @property
    def pixel_size(self) -> tuple[float, float] | None:
        """(width, height) of the pixels asked for; None for the image's own."""
        return self.resolution or self.scale


def _nodata(value: Any) -> Any:
    if value is None:
        return None
    try:
        if isinstance(value, dict):
            return {str(band): _number(number) for band, number in value.items()}
        return _number(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("write a number, or a number for each band, such as {B2: 0, B3: 0}") from None


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError("a truth value")
    return float(value)


class Mosaic(Section):
    """Where the pixels go, and how they are stored."""

    path: Annotated[str, Field(min_length=1)]
    """Folder of the Zarr mosaic; relative to the job file."""
    profile: Literal["sharded", "plain"] = "sharded"
    """`plain`: no shards and no crc32c, readable by GDAL 3.12."""
    compressor: Literal["lz4", "zstd", "none"] = "lz4"
    nodata: Annotated[float | dict[str, float] | None, BeforeValidator(_nodata)] = None
    """Value that means no data: one for all bands, or by band; default what the asset states."""
    checkpoint: Annotated[Duration, Field(gt=0)] = 30.0
    """Open shards are committed as far as they are at least so often."""
    durability: Literal["full", "scratch"] = "full"
    """`scratch` leaves out flushing to disk: faster where a power cut may cost the mosaic."""

    @field_validator("path")
    @classmethod
    def _local(cls, path: str) -> str:
        if "://" in path:
            raise ValueError("object stores are not supported yet; give a folder on a local disk")
        return path
