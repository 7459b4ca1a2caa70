"""Export a mosaic, or a window of it, as Cloud-Optimised GeoTIFF."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from downloader.errors import IncompleteError, JobError
from downloader.exports.cog import COMPRESSORS, Compress, Raster, rasterio_or_raise, write_cog
from downloader.exports.selection import Excerpt, part_of
from downloader.model.grid import Window
from downloader.mosaic.format.coverage import Coverage
from downloader.text import size

if TYPE_CHECKING:
    from numpy.typing import NDArray


_FIELD: Final = re.compile(r"\{(\w*)\}")
_OUTSIDE: Final = (Coverage.OUTSIDE_REGION, Coverage.OUTSIDE_IMAGE)

Watch = Callable[[int, int], None]
"""Called with (steps done, steps in all) of each file; may raise to stop."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written."""

    file: Path
    group: str
    """Name of the group; empty for the mosaic's root."""
    bands: tuple[str, ...]
    width: int
    height: int
    dtype: str
    nodata: float | None
    holes: int
    """Tiles within it that are not stored; they are masked or hold the fill value."""
    nbytes: int

    def to_json(self) -> dict[str, Any]:
        """Return the file as plain values."""
        nodata = self.nodata if self.nodata is None or np.isfinite(self.nodata) else str(self.nodata)
        return {**asdict(self), "file": str(self.file), "bands": list(self.bands), "nodata": nodata}

    def __str__(self) -> str:
        told = f"{self.file}: {self.width}×{self.height} pixels, {', '.join(self.bands)}, {self.dtype}, {size(self.nbytes)}"
        return f"{told}; {self.holes:,} of its tiles are not stored" if self.holes else told


def export(
    mosaic: str | Path,
    out: str | Path,
    *,
    bands: Sequence[str] | None = None,
    group: str | None = None,
    time: str = "latest",
    slice: int | None = None,  # noqa: A002  # the mosaic's own word
    window: Window | Sequence[int] | None = None,
    bbox: Sequence[float] | None = None,
    crs: str = "EPSG:4326",
    level: int = 1,
    compress: Compress = "deflate",
    missing: Literal["raise", "mask", "ignore"] = "raise",
    watch: Watch | None = None,
) -> tuple[Exported, ...]:
    """Write bands of a mosaic as Cloud-Optimised GeoTIFF; pixels, CRS, transform and nodata are the mosaic's own.

    Args:
        mosaic: path or URL of the mosaic.
        out: the file; with `{band}` in its name a file for each band, and with `{group}` the group's name is in it.
        bands: in the file's order; by default all but masks, of the group, or with `{band}` in `out` of all groups.
        group: name of the group; may be left out where only one has the bands.
        time: of a time series: `latest`, a number in the order of time, or the beginning of a time.
        slice: in place of `time`, an index in the mosaic's own order; of samples, which chip.
        window: (column, row, width, height) in pixels of the group, clipped at its edge.
        bbox: in place of it (west, south, east, north); every pixel that it overlaps.
        crs: of `bbox`.
        level: 1 for the pixels; 2, 4, 8, … for an overview that is there.
        compress: `deflate`, `zstd`, `lzw` or `none`.
        missing: where tiles are not stored, `raise` refuses, `mask` masks them, `ignore` shows the fill value.
        watch: told how far each file is.

    Returns:
        What was written. Each file appears under its name when it is whole.

    Raises:
        IncompleteError: tiles are not stored, and `missing` is `raise`.
        JobError: no such band, group, time or window; bands that one file cannot hold; a file that cannot be written.
        MissingExtraError: rasterio is not installed.
        RefusedError: there is no mosaic.
        StoppedError: the disk is full.
    """
    rasterio_or_raise()
    if compress not in COMPRESSORS:
        raise JobError(f"compress: {compress!r} is none of {', '.join(COMPRESSORS)}")
    if window is not None and bbox is not None:
        raise JobError("window and bbox: take one of them")
    template = _template(mosaic, out)
    sources: dict[str, Excerpt] = {}
    # All of them are looked at before the first is written.
    files: dict[Path, tuple[str, Raster, int]] = {}
    for name, chosen in _files(mosaic, template, group, bands):
        source = sources.get(name) or Excerpt.open(mosaic, name, level, time, slice)
        sources[name] = source
        file = Path(template.format(band=source.layout.arrays[source.index(chosen[0])], group=name or "root"))
        if file in files:
            raise JobError(f"-o {out}: several files would be named {file}; put {{group}} in the name")
        picture, holes = _picture(source, chosen, part_of(source.grid, window, bbox, crs), missing)
        files[file] = (name, picture, holes)
    written = []
    for file, (name, picture, holes) in files.items():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JobError(
                f"{file}: cannot be written ({error.strerror or error}); name another file"
            ) from error
        write_cog(file, picture, compress, watch)
        written.append(
            Exported(
                file,
                name,
                picture.bands,
                picture.grid.width,
                picture.grid.height,
                picture.dtype.name,
                picture.nodata,
                holes,
                file.stat().st_size,
            )
        )
    return tuple(written)


def _template(mosaic: str | Path, out: str | Path) -> str:
    template = str(out)
    strange = [name for name in _FIELD.findall(template) if name not in {"band", "group"}]
    if strange or set("{}") & set(_FIELD.sub("", template)):
        raise JobError(f"-o {out}: {{band}} and {{group}} are what a file's name may have in braces")
    file = Path(template)
    if file.suffix.lower() not in {".tif", ".tiff"}:
        raise JobError(f"-o {out}: name a .tif file")
    if file.is_dir():
        raise JobError(f"-o {out}: is a folder; name a .tif file")
    if "://" not in str(mosaic) and file.resolve().is_relative_to(Path(mosaic).resolve()):
        raise JobError(f"-o {out}: lies inside the mosaic {mosaic}; name a file outside of it")
    return template


def _files(
    mosaic: str | Path, template: str, group: str | None, bands: Sequence[str] | None
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(group, bands) of each file."""
    from downloader.mosaic.status import read_mosaic

    layouts = {layout.group.name: layout for layout in read_mosaic(mosaic).layouts}
    if group is not None and group not in layouts:
        raise JobError(
            f"--group: the mosaic has no group {group!r}; its groups are {', '.join(layouts) or '(root)'}"
        )
    there = {
        name: tuple(band.id for band in layout.group.bands if bands or not band.mask_of)
        for name, layout in layouts.items()
        if group in {None, name}
    }
    apart = "{band}" in template
    if bands is not None:
        known = {band for names in there.values() for band in names}
        unknown = [band for band in bands if band not in known]
        if unknown:
            raise JobError(
                f"--bands: the mosaic has no band {unknown[0]!r}; its bands are {', '.join(sorted(known))}"
            )
        wanted = tuple(dict.fromkeys(bands))
        there = {name: tuple(b for b in wanted if b in names) for name, names in there.items()}
        if not apart:
            there = {name: names for name, names in there.items() if names == wanted}
            if not there:
                raise JobError(
                    f"--bands: no group has all of {', '.join(wanted)}, and a file has one grid; export them with -o '{{band}}.tif'"
                )
    there = {name: names for name, names in there.items() if names}
    if not apart and "{group}" not in template and len(there) > 1:
        raise JobError(
            f"the mosaic has the groups {', '.join(there)}, and a file has one grid; name one with --group, or export with -o '{{group}}.tif' or '{{band}}.tif'"
        )
    for name, names in there.items():
        yield from ((name, (band,)) for band in names) if apart else [(name, names)]


def _picture(source: Excerpt, bands: tuple[str, ...], part: Window, missing: str) -> tuple[Raster, int]:
    """What a file is to hold, and how many tiles of it are holes."""
    members = [source.layout.group.bands[source.index(band)] for band in bands]
    nodata = {band: source.layout.nodata[source.index(band)] for band in bands}
    _check_alike({band.id: band.dtype.name for band in members}, "types")
    _check_alike({band: repr(value) for band, value in nodata.items()}, "nodata values")
    cells = source.cells(part)
    outside = int(np.isin(cells, _OUTSIDE).sum())
    holes = int((cells != Coverage.STORED).sum()) - outside
    if holes and missing == "raise":
        raise IncompleteError(
            f"{source.path}: {holes:,} of {cells.size:,} tiles of the window are not stored. Run the job again to fetch"
            " them, or export with --missing mask (they are masked) or ignore (the fill value in their place)"
        )
    masks = source.masks(bands)
    value = next(iter(nodata.values()))
    unseen = (outside or holes) and missing != "ignore"

    def read(window: Window) -> NDArray[Any]:
        return np.stack([source.pixels(band, window.offset(part.column, part.row)) for band in bands])

    def valid(window: Window) -> NDArray[np.bool_]:
        here = window.offset(part.column, part.row)
        seen = source.stored(here) if unseen else np.ones(window.shape, np.bool_)
        for mask in masks:
            seen &= source.pixels(mask, here) == 1
        return seen

    policies = frozenset(band.pyramiding if not band.mask_of else "MAX" for band in members)
    picture = Raster(
        source.grid.window(part),
        members[0].dtype,
        bands,
        value,
        policies,
        source.tags(),
        bool(masks) or bool(unseen and value is None),
        read,
        valid,
    )
    return picture, holes


def _check_alike(values: Mapping[str, str], what: str) -> None:
    if len(set(values.values())) > 1:
        told = ", ".join(f"{band} {value}" for band, value in values.items())
        raise JobError(
            f"bands of different {what} do not fit in one file ({told}); export them with -o '{{band}}.tif'"
        )
