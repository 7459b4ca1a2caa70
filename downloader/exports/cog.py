"""Write a Cloud-Optimised GeoTIFF block by block; the file appears under its name when it is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from downloader.errors import JobError, MissingExtraError, StoppedError
from downloader.exports.selection import Excerpt
from downloader.model.grid import Window
from downloader.model.image import Band
from downloader.mosaic.format.coverage import Coverage

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
class Picture:
    """The contents of a file: bands of one type, with one nodata value."""

    source: Excerpt
    bands: tuple[str, ...]
    are_holes_masked: bool
    """Whether pixels of tiles that are not stored are masked; else they hold the fill value."""

    def __post_init__(self) -> None:
        values = [repr(self.source.layout.nodata[self.source.indices[band]]) for band in self.bands]
        for what, found in (("types", [band.dtype.name for band in self.members]), ("nodata values", values)):
            if len(set(found)) > 1:
                told = ", ".join(f"{band} {one}" for band, one in zip(self.bands, found, strict=True))
                raise JobError(
                    f"bands of different {what} do not fit in one file ({told}); export them as '{{band}}.tif'"
                )

    @property
    def members(self) -> list[Band]:
        """What is known of the bands."""
        return [self.source.layout.group.bands[self.source.indices[band]] for band in self.bands]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of all bands."""
        return self.members[0].dtype

    @property
    def nodata(self) -> float | None:
        """Nodata value of all bands; None where none is declared."""
        return self.source.layout.nodata[self.source.indices[self.bands[0]]]

    @property
    def policy(self) -> str:
        """Pyramiding policy of the bands; where they have several, SAMPLE, which takes one pixel of four."""
        policies = {"MAX" if band.mask_of else band.pyramiding for band in self.members}
        return policies.pop() if len(policies) == 1 else "SAMPLE"

    @cached_property
    def has_holes(self) -> bool:
        """Whether pixels of tiles that are not stored are to be masked."""
        return self.are_holes_masked and bool((self.source.cells != Coverage.STORED).any())

    @property
    def has_mask(self) -> bool:
        """Whether some pixels are missing that no nodata value marks."""
        return bool(self.source.masks(self.bands)) or (self.has_holes and self.nodata is None)

    def read(self, window: Window) -> NDArray[Any]:
        """Return the pixels (band, height, width) of a window."""
        return np.stack([self.source.pixels(band, window) for band in self.bands])

    def valid(self, window: Window) -> NDArray[np.bool_]:
        """Return the valid pixels (height, width) of a window; of use where there is a mask."""
        seen = self.source.stored(window) if self.has_holes else np.ones(window.shape, np.bool_)
        for mask in self.source.masks(self.bands):
            seen &= self.source.pixels(mask, window) == 1
        return seen


def write_cog(
    file: Path,
    name: str,
    picture: Picture,
    stamp: str,
    compress: Compress,
    watch: Callable[[int, int], None],
) -> None:
    """Write a file by way of a plain one beside it.

    Args:
        file: path of the file.
        name: what messages call it.
        picture: contents of the file.
        stamp: what the file says of itself, as its tag `EXPORT`.
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
            target.update_tags(**picture.source.tags(), EXPORT=stamp)
            blocks = list(blocks_of(picture.source.part.width, picture.source.part.height))
            for number, block in enumerate(blocks, 1):
                here = rasterio.windows.Window(block.column, block.row, block.width, block.height)
                target.write(picture.read(block), window=here)
                if picture.has_mask:
                    target.write_mask(picture.valid(block).astype("u1") * 255, window=here)
                watch(number, len(blocks) + 1)
        rasterio.shutil.copy(plain, file, driver="COG", **_options(picture, compress))
        watch(len(blocks) + 1, len(blocks) + 1)


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


def _profile(picture: Picture) -> dict[str, Any]:
    import rasterio

    grid = picture.source.grid
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


def _options(picture: Picture, compress: Compress) -> dict[str, Any]:
    options: dict[str, Any] = {
        "COMPRESS": compress.upper(),
        "BLOCKSIZE": _TILE,
        "BIGTIFF": "IF_SAFER",
        "OVERVIEW_RESAMPLING": _RESAMPLING.get(picture.policy, "nearest").upper(),
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
    from rasterio.errors import RasterioError

    try:
        yield
    except RasterioError as error:
        text = " ".join(str(error.__cause__ or error).split())
        if "No space left" in text or "free disk space" in text:
            raise StoppedError(f"{name}: the disk is full; make room and export again") from error
        raise JobError(f"{name}: cannot be written ({text}); name another file") from error
