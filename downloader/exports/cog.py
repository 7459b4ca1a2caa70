"""Write a Cloud-Optimised GeoTIFF block by block; the file appears under its name when it is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from downloader.errors import JobError, MissingExtraError
from downloader.exports.target import full_disk
from downloader.model.grid import PixelGrid, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray


BLOCK: Final = 2048
"""Pixels along the side of a block, which is in memory at once; a multiple of the file's tiles."""

_TILE: Final = 512
_CACHE_MB: Final = 128
"""Size of GDAL's block cache, in MB."""

Compress = Literal["deflate", "zstd", "lzw", "none"]

COMPRESSORS: Final = ("deflate", "zstd", "lzw", "none")
"""Every reader knows deflate and lzw; zstd is faster and smaller, but needs a GDAL that has it."""

_RESAMPLING: Final = {"MEAN": "average", "MODE": "mode", "MEDIAN": "med", "SAMPLE": "nearest"}
"""Pyramiding policy → GDAL's resampling of overviews; GDAL has neither MIN nor MAX, so these take one pixel of four."""


@dataclass(frozen=True)
class Raster:
    """The contents of a file."""

    grid: PixelGrid
    dtype: np.dtype[np.generic]
    bands: tuple[str, ...]
    """Descriptions of the file's bands."""
    nodata: float | None
    policies: frozenset[str]
    """Pyramiding policies of the bands; with several, overviews take one pixel of four."""
    tags: Mapping[str, str]
    has_mask: bool
    """Whether some pixels are missing that no nodata value marks."""
    read: Callable[[Window], NDArray[Any]]
    """Pixels (band, height, width) of a window."""
    valid: Callable[[Window], NDArray[np.bool_]]
    """Valid pixels (height, width) of a window; called if the file has a mask."""


def write_cog(
    file: Path,
    name: str,
    picture: Raster,
    compress: Compress,
    watch: Callable[[int, int], None] | None = None,
) -> None:
    """Write a file by way of a plain one beside it.

    Args:
        file: path of the file.
        name: what messages call it.
        picture: contents of the file.
        compress: compressor.
        watch: called with (steps done, steps in all): one step for each block, and one to compress the file and make
            its overviews. May raise to stop, which leaves nothing behind.

    Raises:
        MissingExtraError: rasterio is not installed.
        JobError: the file cannot be written there.
        StoppedError: the disk is full.
    """
    rasterio = rasterio_or_raise()
    with (
        _plain(file) as plain,
        rasterio.Env(GDAL_CACHEMAX=_CACHE_MB, GDAL_TIFF_INTERNAL_MASK=True, GDAL_PAM_ENABLED=False),
        _told(name),
    ):
        with rasterio.open(plain, "w", **_profile(picture)) as target:
            for number, band in enumerate(picture.bands, 1):
                target.set_band_description(number, band)
            target.update_tags(**picture.tags)
            blocks = list(blocks_of(picture.grid.width, picture.grid.height))
            for number, block in enumerate(blocks, 1):
                here = rasterio.windows.Window(block.column, block.row, block.width, block.height)
                target.write(picture.read(block), window=here)
                if picture.has_mask:
                    target.write_mask(picture.valid(block).astype("u1") * 255, window=here)
                if watch is not None:
                    watch(number, len(blocks) + 1)
        rasterio.shutil.copy(plain, file, driver="COG", **_options(picture, compress))
        if watch is not None:
            watch(len(blocks) + 1, len(blocks) + 1)


def count_steps(part: Window) -> int:
    """Return the steps of writing a file of so many pixels."""
    return len(list(blocks_of(part.width, part.height))) + 1


def blocks_of(width: int, height: int) -> Iterator[Window]:
    """Yield the blocks that a raster is written in."""
    for row in range(0, height, BLOCK):
        for column in range(0, width, BLOCK):
            yield Window(column, row, min(BLOCK, width - column), min(BLOCK, height - row))


def rasterio_or_raise() -> Any:  # noqa: ANN401  # the module
    """Return the module rasterio. Raises MissingExtraError if it is not installed."""
    try:
        import rasterio
        import rasterio.shutil
        import rasterio.windows
    except ImportError as error:
        raise MissingExtraError("Writing GeoTIFF", "rasters") from error
    return rasterio


def _profile(picture: Raster) -> dict[str, Any]:
    import rasterio

    grid = picture.grid
    return {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": len(picture.bands),
        "dtype": picture.dtype.name,
        "crs": rasterio.crs.CRS.from_wkt(grid.crs.to_pyproj().to_wkt()),
        "transform": rasterio.Affine.from_gdal(*grid.transform.to_gdal()),
        "nodata": picture.nodata,
        "tiled": True,
        "blockxsize": _TILE,
        "blockysize": _TILE,
        "interleave": "band",
        "bigtiff": "IF_SAFER",
    }


def _options(picture: Raster, compress: Compress) -> dict[str, Any]:
    policy = next(iter(picture.policies)) if len(picture.policies) == 1 else "SAMPLE"
    options: dict[str, Any] = {
        "COMPRESS": compress.upper(),
        "BLOCKSIZE": _TILE,
        "BIGTIFF": "IF_SAFER",
        "OVERVIEW_RESAMPLING": _RESAMPLING.get(policy, "nearest").upper(),
        "NUM_THREADS": "ALL_CPUS",
    }
    # Every reader knows TIFF's predictors of integers up to 32 bits and of floats up to 64.
    if compress != "none" and (picture.dtype.kind == "f" or picture.dtype.itemsize < 8):
        options["PREDICTOR"] = "YES"
    return options


@contextmanager
def _plain(file: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `file`, and delete what is there after the block."""
    path = file.with_name(f"{file.name}.plain.tif")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        path.with_name(f"{path.name}.msk").unlink(missing_ok=True)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Turn errors of GDAL into those of this package."""
    from rasterio.errors import RasterioError, RasterioIOError

    try:
        yield
    except (RasterioIOError, RasterioError) as error:
        text = " ".join(str(error.__cause__ or error).split())
        if "No space left" in text or "free disk space" in text:
            raise full_disk(name) from error
        raise JobError(f"{name}: cannot be written ({text}); name another file") from error
