"""Export a mosaic, or a window of it, as Cloud-Optimised GeoTIFF or NetCDF."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from downloader.arguments import check_choices, check_names, path_text
from downloader.errors import IncompleteError, JobError
from downloader.exports.cog import COMPRESSORS, Compress, Picture, blocks_of, rasterio_or_raise, write_cog
from downloader.exports.netcdf import write_netcdf
from downloader.exports.selection import Cutout, Excerpt
from downloader.exports.target import BucketFile, target
from downloader.model.grid import Window
from downloader.mosaic.reader import open_group
from downloader.mosaic.status import read_mosaic
from downloader.mosaic.storage.location import locate
from downloader.progress.late import late
from downloader.text import size

if TYPE_CHECKING:
    import xarray


_FIELD: Final = re.compile(r"\{(\w*)\}")
_FIELDS: Final = ("time", "sample", "slice", "band", "group")
_SLICES: Final = frozenset(_FIELDS[:3])

Watch = Callable[[int, int], None]
"""Called with (steps done, steps in all); may raise to stop."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written."""

    file: str
    """Its path or URL."""
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
    slices: int = 1
    """Slices of the leading axis in it."""

    def to_json(self) -> dict[str, Any]:
        """Return the file as plain values."""
        nodata = self.nodata if self.nodata is None or np.isfinite(self.nodata) else str(self.nodata)
        return {**asdict(self), "bands": list(self.bands), "nodata": nodata}

    def __str__(self) -> str:
        slices = f"{self.slices:,} × " if self.slices > 1 else ""
        told = f"{self.file}: {slices}{self.width}×{self.height} pixels, {', '.join(self.bands)}, {self.dtype}, {size(self.nbytes)}"
        return f"{told}; {self.holes:,} of its tiles are not stored" if self.holes else told


def export(
    mosaic: str | Path,
    out: str | Path,
    *,
    bands: Sequence[str] | None = None,
    group: str | None = None,
    time: str | None = None,
    slice: int | None = None,  # noqa: A002  # the mosaic's own word
    window: Window | Sequence[int] | None = None,
    bbox: Sequence[float] | None = None,
    crs: str = "EPSG:4326",
    level: int = 1,
    compress: Compress = "deflate",
    missing: Literal["raise", "mask", "ignore"] = "raise",
    watch: Watch | None = None,
) -> tuple[Exported, ...]:
    """Write bands of a mosaic as Cloud-Optimised GeoTIFF or NetCDF; pixels, CRS, transform and nodata are the mosaic's own.

    Args:
        mosaic: path or URL of the mosaic.
        out: a `.tif` or `.nc` file, on a disk or in a bucket (`s3://…`, `gs://…`, `az://…`). Braces in its name make several:
            `{time}`, `{sample}` and `{slice}` a file for each slice, `{band}` one for each band, `{group}` one for each
            group. Called again, such an export leaves out the files that are there already.
        bands: in the file's order; by default all but masks, of the group, or with `{band}` in `out` of all groups.
        group: name of the group; may be left out where only one has the bands.
        time: of a time series: `latest`, a number in the order of time, or the beginning of a time. By default a GeoTIFF
            has the latest, and NetCDF all of them.
        slice: in place of `time`, an index in the mosaic's own order; of samples, which chip.
        window: (column, row, width, height) in pixels of the group, clipped at its edge.
        bbox: in place of it (west, south, east, north); every pixel that it overlaps.
        crs: of `bbox`.
        level: 1 for the pixels; 2, 4, 8, … for an overview that is there.
        compress: `deflate`, `zstd`, `lzw` or `none`; of NetCDF the first or the last.
        missing: where tiles are not stored, `raise` refuses, `mask` masks them, `ignore` shows the fill value.
        watch: told how far all files together are; without it a terminal or a notebook shows it.

    Returns:
        What was written, or was there. Each file appears under its name when it is whole.

    Raises:
        IncompleteError: tiles are not stored, and `missing` is `raise`.
        JobError: no such band, group, time or window; bands that one file cannot hold; a file that cannot be written.
        MissingExtraError: rasterio is not installed, or for NetCDF xarray and h5netcdf.
        RefusedError: there is no mosaic.
        StoppedError: the disk is full, or the bucket cannot be reached.
    """
    template = _template(mosaic, out)
    fields = set(_FIELD.findall(template))
    is_netcdf = template.lower().endswith(".nc")
    if not is_netcdf:
        rasterio_or_raise()
    known = ("deflate", "none") if is_netcdf else COMPRESSORS
    check_choices([compress], "compress", known)
    check_choices([missing], "missing", ("raise", "mask", "ignore"))
    check_names(bands, "bands")
    if window is not None and bbox is not None:
        raise JobError("window and bbox: take one of them")
    each = bool(_SLICES & fields)
    if each and (time is not None or slice is not None):
        raise JobError(f"{out}: makes a file for each slice; leave time and slice out")
    whole = is_netcdf and not each and time is None and slice is None
    with late(f"exporting {mosaic}", wanted=watch is None) as tell:
        cutout = Cutout(window, bbox, crs)
        found: dict[str, list[Excerpt]] = {}
        # All of them are looked at before the first is written.
        files: dict[str, _File] = {}
        for name, chosen in _files(mosaic, template, group, bands):
            if name not in found:
                found[name] = Excerpt.choose(mosaic, name, level, time, slice, cutout, each=each or whole)
            for source in found[name][:1] if whole else found[name]:
                file = template.format(
                    band=source.layout.arrays[source.indices[chosen[0]]],
                    group=name or "root",
                    slice=source.number,
                    time=source.time() if "time" in fields else "",
                    sample=source.sample(with_step=fields & _SLICES == {"sample"})
                    if "sample" in fields
                    else "",
                )
                if file in files:
                    raise JobError(
                        f"{out}: several files would be named {file}; put {_apart(fields)} in the name"
                    )
                sources = found[name] if whole else [source]
                files[file] = _File(sources, chosen, missing, compress, level if is_netcdf else None)
        return _written(files, watch or tell, are_several="{" in template)


def _apart(fields: set[str]) -> str:
    """Return the fields that may tell files of one name apart."""
    return " or ".join(f"{{{name}}}" for name in ("group", "slice") if name not in fields) or "{band}"


def _written(files: Mapping[str, _File], watch: Watch, *, are_several: bool) -> tuple[Exported, ...]:
    """Write the files that are not there yet."""
    costs = {name: file.steps() for name, file in files.items()}
    total, done = sum(costs.values()), 0
    written = []
    for name, file in files.items():
        place = target(name)
        stamp = file.stamp()
        before = done

        def told(steps: int, of: int, before: int = before, cost: int = costs[name]) -> None:
            watch(before + cost * steps // of, total)

        if not (are_several and stamp.encode() in place.head()):
            with place.written() as path:
                file.write(path, str(place), stamp, told)
                nbytes = path.stat().st_size
        else:
            nbytes = place.size()
            told(1, 1)
        done += costs[name]
        written.append(file.exported(name, nbytes))
    return tuple(written)


@dataclass(frozen=True)
class _File:
    """A file that is to be written."""

    sources: Sequence[Excerpt]
    """The slices in it, of one group; several in a NetCDF file of all times."""
    bands: tuple[str, ...]
    missing: Literal["raise", "mask", "ignore"]
    compress: Compress
    netcdf_level: int | None
    """Level of the overviews that a NetCDF file is made of; None for a GeoTIFF."""

    def __post_init__(self) -> None:
        # What does not fit in a file, and holes, are found before anything is written.
        if self._holes and self.missing == "raise":
            tiles = sum(source.cells.size for source in self.sources)
            raise IncompleteError(
                f"{self.sources[0].path}: {self._holes:,} of {tiles:,} tiles of the window are not stored. Run the job again to"
                " fetch them, or export with missing=mask (they are masked) or ignore (the fill value in their place)"
            )
        if self.netcdf_level is None:
            self._picture()

    @cached_property
    def _holes(self) -> int:
        return sum(source.holes for source in self.sources)

    def steps(self) -> int:
        """Return the steps of writing it."""
        part = self.sources[0].part
        return (len(list(blocks_of(part.width, part.height))) + 1) * len(self.sources)

    def stamp(self) -> str:
        """Return a text that differs wherever the contents of the file would differ."""
        first = self.sources[0]
        about = [
            *(self.bands, str(first.part), self.missing, self.compress, first.layout.group.name),
            *(source.tags() for source in self.sources),
            *(source.cells.tobytes().hex() for source in self.sources),
        ]
        return f"export-{hashlib.sha256(repr(about).encode()).hexdigest()[:32]}"

    def write(self, path: Path, name: str, stamp: str, watch: Watch) -> None:
        """Write it at a path; `name` is what messages call it."""
        if self.netcdf_level is None:
            return write_cog(path, name, self._picture(), stamp, self.compress, watch)
        return write_netcdf(path, name, self._dataset(self.netcdf_level, stamp), self.compress, watch)

    def _picture(self) -> Picture:
        return Picture(self.sources[0], self.bands, self.missing != "ignore")

    def _dataset(self, level: int, stamp: str) -> xarray.Dataset:
        first = self.sources[0]
        names = [first.layout.arrays[first.indices[b]] for b in (*self.bands, *first.masks(self.bands))]
        missing = "ignore" if self.missing == "raise" else self.missing  # holes may lie elsewhere
        opened = open_group(first.path, first.group or None, level=level, missing=missing)
        rows, columns = first.part.slices
        chosen: dict[Any, Any] = {"y": rows, "x": columns}
        if first.layout.leading and len(self.sources) == 1:
            steps = first.layout.group.tiling.steps
            numbers = divmod(first.position(), steps) if steps else (first.position(),)
            chosen |= {axis: [k] for axis, k in zip(first.layout.leading, numbers, strict=True)}
        dataset = opened[names].isel(chosen)
        dataset.attrs["export"] = stamp
        return dataset

    def exported(self, name: str, nbytes: int) -> Exported:
        """Return what was written, of so many bytes."""
        first = self.sources[0]
        band = first.indices[self.bands[0]]
        return Exported(
            name,
            first.layout.group.name,
            self.bands,
            first.part.width,
            first.part.height,
            first.layout.group.bands[band].dtype.name,
            first.layout.nodata[band],
            self._holes,
            nbytes,
            len(self.sources),
        )


def _template(mosaic: str | Path, out: str | Path) -> str:
    template = path_text(out, "out", "name a .tif or .nc file")
    strange = [name for name in _FIELD.findall(template) if name not in _FIELDS]
    if strange or set("{}") & set(_FIELD.sub("", template)):
        known = ", ".join(f"{{{name}}}" for name in _FIELDS)
        raise JobError(f"{out}: braces in a file's name are one of {known}")
    if not template.lower().endswith((".tif", ".tiff", ".nc")):
        raise JobError(f"{out}: name a .tif or .nc file")
    place = target(_FIELD.sub("_", template))
    if isinstance(place, BucketFile):
        if f"{place}".startswith(f"{locate(mosaic).name}/"):
            raise JobError(f"{out}: lies inside the mosaic {mosaic}; name a file outside of it")
        return template
    file, path = Path(template), path_text(mosaic, "mosaic")
    if file.is_dir():
        raise JobError(f"{out}: is a folder; name a .tif or .nc file")
    if "://" not in path and file.resolve().is_relative_to(Path(path).resolve()):
        raise JobError(f"{out}: lies inside the mosaic {mosaic}; name a file outside of it")
    return template


def _files(
    mosaic: str | Path, template: str, group: str | None, bands: Sequence[str] | None
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (group, bands) of each file."""
    layouts = {layout.group.name: layout for layout in read_mosaic(mosaic).layouts}
    if group is not None and group not in layouts:
        raise JobError(
            f"group: the mosaic has no group {group!r}; its groups are {', '.join(layouts) or '(root)'}"
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
                f"bands: the mosaic has no band {unknown[0]!r}; its bands are {', '.join(sorted(known))}"
            )
        wanted = tuple(dict.fromkeys(bands))
        if not wanted:
            raise JobError("bands: names no band; leave it out for all of them")
        there = {name: tuple(b for b in wanted if b in names) for name, names in there.items()}
        if not apart:
            there = {name: names for name, names in there.items() if names == wanted}
            if not there:
                raise JobError(
                    f"bands: no group has all of {', '.join(wanted)}, and a file has one grid; export them as '{{band}}.tif'"
                )
    there = {name: names for name, names in there.items() if names}
    if not apart and "{group}" not in template and len(there) > 1:
        raise JobError(
            f"the mosaic has the groups {', '.join(there)}, and a file has one grid; name one as group, or export as '{{group}}.tif' or '{{band}}.tif'"
        )
    for name, names in there.items():
        yield from ((name, (band,)) for band in names) if apart else [(name, names)]
