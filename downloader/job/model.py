"""What a job file may say, key by key: validated, frozen, and nothing else accepted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    field_validator,
    model_validator,
)

from downloader.crs import Crs
from downloader.errors import JobError
from downloader.job.units import Duration, Size
from downloader.region import BoundingBox

__all__ = [
    "Auth",
    "Emulator",
    "Grid",
    "Limits",
    "Mosaic",
    "Region",
    "RequestSettings",
    "Service",
    "Source",
    "WindowSpec",
]


class Section(BaseModel):
    """A mapping of the job file: immutable, unknown keys refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


def _names(value: Any) -> Any:
    if value is None or value == "all":
        return None
    if isinstance(value, str):
        raise ValueError("write a list of band names, such as [B2, B3], or all")
    return value


class Source(Section):
    """Whose pixels."""

    asset: Annotated[str, Field(min_length=1)]
    """Id or full name of one image asset."""
    bands: Annotated[tuple[Annotated[str, Field(min_length=1)], ...] | None, BeforeValidator(_names)] = None
    """Band ids in the order wanted; `all` takes the asset's."""

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


class Region(Section):
    """Where."""

    image: bool = False
    """`true`: all of the image, which is the default for one asset."""
    window: WindowSpec | None = None
    """Pixels of the finest group asked for; coarser groups take every pixel it touches."""
    bbox: tuple[float, float, float, float] | None = None
    """[west, south, east, north]: x before y, whatever the CRS."""
    crs: str = "EPSG:4326"
    """CRS of `bbox`."""

    @model_validator(mode="after")
    def _one_kind(self) -> Region:
        given = [name for name in ("image", "window", "bbox") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; keep one")
        if "crs" in self.model_fields_set and self.bbox is None:
            raise ValueError("crs says what CRS bbox is in; there is no bbox")
        if self.bbox is not None:
            try:
                self.box()
            except JobError as error:
                raise ValueError(str(error).removeprefix("region.bbox: ")) from None
        return self

    def box(self) -> BoundingBox:
        """The bounding box. Only where `bbox` is given."""
        if self.bbox is None:
            raise JobError("region.bbox: is not given")
        return BoundingBox(*self.bbox, crs=Crs.parse(self.crs))


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


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
        return {} if value == "native" else value

    @model_validator(mode="after")
    def _one_kind(self) -> Grid:
        if self.resolution is not None and self.scale is not None:
            raise ValueError("scale is another name of resolution; keep one")
        if self.pixel_size is not None and "native" in self.model_fields_set and self.native:
            raise ValueError("native and a resolution exclude each other; keep one")
        if self.pixel_size is None and not self.native:
            raise ValueError("native: false needs a resolution; give one, or leave native out")
        return self

    @property
    def pixel_size(self) -> tuple[float, float] | None:
        """(width, height) of the pixels asked for; None for the image's own."""
        return self.resolution or self.scale


class Mosaic(Section):
    """Where the pixels go, and how they are stored."""

    path: Annotated[str, Field(min_length=1)]
    """Folder of the Zarr mosaic; relative to the job file."""
    profile: Literal["sharded", "plain"] = "sharded"
    """`plain`: no shards and no crc32c, readable by GDAL 3.12."""
    compressor: Literal["lz4", "zstd", "none"] = "lz4"
    nodata: float | dict[str, float] | None = None
    """Value that means no data: one for all bands, or by band; default what the asset states."""
    checkpoint: Duration = 30.0
    """Open shards are committed as far as they are at least so often."""
    durability: Literal["full", "scratch"] = "full"
    """`scratch` leaves out flushing to disk: faster where a power cut may cost the mosaic."""

    @field_validator("path")
    @classmethod
    def _local(cls, path: str) -> str:
        if "://" in path:
            raise ValueError("object stores are not supported yet; give a folder on a local disk")
        return path


class Emulator(Section):
    """What the embedded emulator serves, where `service.endpoint` is `emulator`."""

    rasters: dict[str, str] = Field(default_factory=dict)
    """Asset id → raster file, relative to the job file."""
    latency: Duration = 0.0
    """Seconds before each answer."""
    latency_per_mb: Duration = 0.0
    """Seconds for each 10⁶ bytes of answer."""


class Service(Section):
    """Which service, and who pays."""

    endpoint: Annotated[
        str, Field(pattern=r"^(auto|standard|high-volume|emulator|https?://[^\s/?#]+(/[^\s?#]*)?)$")
    ] = "auto"
    """auto (high-volume for getPixels), standard, high-volume, emulator, or a URL."""
    project: str | None = None
    """Cloud project that is billed; else environment, key file, saved credentials."""
    workload_tag: Annotated[str | None, Field(pattern=r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$")] = None
    """Label for the bill: 1 to 63 of a-z, 0-9, - and _."""
    emulator: Emulator = Emulator()


_METHODS = (
    "key_file",
    "application_default",
    "earthengine",
    "access_token_env",
    "access_token_command",
    "none",
)


class Auth(Section):
    """How to show who asks. Nothing given: environment, application-default, the official client's token."""

    key_file: str | None = None
    """Service-account key file, relative to the job file."""
    application_default: bool = False
    earthengine: bool = False
    """The token that the official client saved."""
    access_token_env: str | None = None
    """Name of an environment variable that holds an access token."""
    access_token_command: tuple[str, ...] | None = None
    """Command that prints an access token."""
    none: bool = False

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        if isinstance(value, str) and value in {"application_default", "earthengine", "none"}:
            return {value: True}
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Auth:
        given = [name for name in _METHODS if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; keep one")
        return self

    @property
    def kind(self) -> str:
        """The method that is given; `chain` where none is."""
        return next((name for name in _METHODS if getattr(self, name)), "chain")


class RequestSettings(Section):
    """How the service is asked."""

    tiles: PositiveInt | Literal["auto"] = "auto"
    """Tiles of 256² pixels in one request, at most; auto packs what limits, latency and memory make worthwhile."""
    timeout: Duration = 90.0
    """To the first byte of an answer."""

    @property
    def tile_count(self) -> int | None:
        """The number asked for; None for auto."""
        return None if self.tiles == "auto" else self.tiles


class Limits(Section):
    """What a run may use."""

    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 40
    """Requests in flight, at most."""
    requests_per_second: Annotated[float, Field(gt=0, le=10_000)] = 90.0
    """Requests started each second, at most."""
    memory: Annotated[Size, Field(ge=2**27)] = 2**30
    """Resident memory of the process, at most; not under 128 MiB."""
    retries: Annotated[int, Field(ge=0, le=100)] = 8
    """Further attempts at one request."""
    give_up_after: Duration = 900.0
    """The run stops, resumable, when nothing succeeded for so long."""
    max_bytes: Size | None = None
    """The run stops, resumable, before it has fetched more."""
    max_requests: PositiveInt | None = None
    """The run stops, resumable, after so many requests."""
    max_time: Duration | None = None
    """The run stops, resumable, after so long."""
