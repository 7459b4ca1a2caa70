"""`mosaic` of the job file: place and storage of the pixels."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from downloader.job.location import parse_place
from downloader.job.sections.base import Section
from downloader.job.units import Duration

MAX_DEPTH: Final = 4096
"""Slices of one chunk, at most."""


def _nodata(value: Any) -> Any:
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            raise ValueError("a truth value")
        if isinstance(value, dict):
            return {str(band): _nodata(number) for band, number in value.items()}
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("write a number, or a number for each band, such as {B2: 0, B3: 0}") from None


def _chunks(value: Any) -> Any:
    if value == "auto":
        return value
    if isinstance(value, dict) and list(value) == ["time"]:
        slices = str(value["time"])
        if slices.isascii() and slices.isdigit() and 0 < int(slices) <= MAX_DEPTH:
            return {"time": int(slices)}
    raise ValueError(f"write auto, or {{time: N}} for chunks of N slices, 1 to {MAX_DEPTH:,}")


class MosaicSection(Section):
    """The mosaic: its place, and how pixels are stored."""

    path: Annotated[str, Field(min_length=1)]
    """Folder of the Zarr mosaic, relative to the job file; or `s3://`, `gs://`, `az://` with bucket and path."""
    profile: Literal["sharded", "plain"] = "sharded"
    """`plain`: no shards and no crc32c, readable by GDAL 3.12."""
    compressor: Literal["lz4", "zstd", "none"] = "lz4"
    """zstd packs tighter, lz4 costs less CPU."""
    chunks: Annotated[
        Literal["auto"] | dict[Literal["time"], Annotated[int, Field(ge=1, le=MAX_DEPTH)]],
        BeforeValidator(_chunks),
    ] = "auto"
    """Chunks of a time series: auto puts several slices into a chunk where images are smaller than a tile of 256², or no larger
    than four and 64 or more; else one;
    `{time: N}` puts N, in squares small enough that a chunk stays near 1 MiB."""
    nodata: Annotated[float | dict[str, float] | None, BeforeValidator(_nodata)] = None
    """Value that means no data: one for all bands, or by band; default what the asset states."""
    mask: Literal["none", "per-band", "any"] = "none"
    """The service's own mask as uint8 arrays, 1 valid and 0 masked, fetched with the pixels: `per-band` adds `B2_mask`
    for `B2`, `any` one `mask` for each grid that is 0 wherever any of its bands is masked."""
    checkpoint: Annotated[Duration, Field(gt=0)] = 30.0
    """Open shards are committed as far as they are at least so often."""
    durability: Literal["full", "scratch"] = "full"
    """`scratch` leaves out flushing to disk: faster where a power cut may cost the mosaic."""
    overviews: bool = False
    """Coarser levels of the pixels, made at the end of a run by each band's own pyramiding policy, so that a viewer opens
    all of it at once; `downloader overviews` makes them afterwards."""

    @property
    def depth(self) -> int | None:
        """Slices in a chunk as asked for; None for auto."""
        return None if isinstance(self.chunks, str) else self.chunks["time"]

    @model_validator(mode="after")
    def _flat(self) -> MosaicSection:
        if self.profile == "plain" and self.depth not in {None, 1}:
            raise ValueError(
                "profile: plain has chunks of one slice; leave chunks out, or write profile: sharded"
            )
        return self

    @field_validator("path")
    @classmethod
    def _place(cls, path: str) -> str:
        parse_place(path)
        return path
