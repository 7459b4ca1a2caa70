"""Open a mosaic with xarray; tiles that are not stored are refused, masked or ignored."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from downloader.arguments import check_choices, shown
from downloader.errors import IncompleteError, JobError, MissingExtraError
from downloader.mosaic.format.coverage import COVERAGE_TILES, Coverage
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.overviews.levels import levels_of, policies_of
from downloader.mosaic.overviews.multiscales import visible_levels
from downloader.mosaic.record.coverage import read_coverage
from downloader.mosaic.sources import member, mosaics, part_of_group
from downloader.mosaic.status import read_mosaic
from downloader.mosaic.storage.location import MosaicPath, locate

if TYPE_CHECKING:
    import xarray
    from numpy.typing import NDArray


Chunks = Literal["shard", "auto"] | dict[str, int] | int | None
"""Dask's chunks: `shard` for those of the objects, None for no Dask, else as xarray takes them."""

Missing = Literal["raise", "mask", "ignore"]
"""Treatment of tiles that are not stored."""


def open_group(
    path: MosaicPath,
    group: str | None = None,
    *,
    level: int = 1,
    chunks: Chunks = "shard",
    mask_and_scale: bool = False,
    missing: Missing = "raise",
) -> xarray.Dataset:
    """Return one group of a mosaic as a Dataset: a variable for each band, and coordinates.

    Args:
        path: the mosaic.
        group: name of the group, such as `10m`, of several sources `SOURCE` or `SOURCE/GROUP`; may be left out where there is
            only one.
        level: 1 for the pixels; 2, 4, 8, … for the overview of that factor.
        chunks: `shard` cuts Dask's arrays as the mosaic's objects are cut, along time as its chunks (without Dask installed: no chunks);
            None reads lazily without Dask; else what xarray takes.
        mask_and_scale: whether numbers come in physical units, by the catalogue's scale and offset, as float32; a declared
            nodata value becomes NaN, and every pixel that the mosaic's own mask calls masked, which makes integers floats.
            Without it numbers are as stored.
        missing: where tiles are not stored, `raise` refuses, `mask` puts NaN (integers become float32, those of
            more than 16 bits float64; without Dask all is read at once), `ignore` shows the fill value.

    Raises:
        IncompleteError: tiles are not stored, and `missing` is `raise`.
        JobError: no such group, or no such overview.
        MissingExtraError: xarray is not installed.
        RefusedError: there is no mosaic.
    """
    if of_source := part_of_group(path, group):
        path, group = of_source
    layout = group_layout(path, group)
    if level != 1:
        layout = level_layout(path, layout, level)
    return _open(path, layout, chunks, missing, mask_and_scale=mask_and_scale)


def open_tree(
    path: MosaicPath,
    *,
    chunks: Chunks = "shard",
    mask_and_scale: bool = False,
    missing: Missing = "raise",
) -> xarray.DataTree:
    """Return all groups of a mosaic as a DataTree; arguments and errors are those of `open_group`."""
    datasets = {
        f"/{member(name, layout.group.name)}": _open(
            own, layout, chunks, missing, mask_and_scale=mask_and_scale
        )
        for name, own in mosaics(path).items()
        for layout in read_mosaic(own).layouts
    }
    tree: xarray.DataTree = require_xarray().DataTree.from_dict(datasets)
    return tree


def check_missing(missing: object) -> None:
    """Raise JobError unless it is a word of `Missing`."""
    check_choices([missing], "missing", get_args(Missing))


def group_layout(path: MosaicPath, group: str | None) -> GroupLayout:
    """Return the layout of a group of a mosaic; None for its only one. Raises JobError, RefusedError."""
    layouts = {layout.group.name: layout for layout in read_mosaic(path).layouts}
    if group is None and len(layouts) > 1:
        raise JobError(f"{path}: has the groups {', '.join(layouts)}; name one, or use open_tree")
    layout = layouts.get(next(iter(layouts)) if group is None else group)
    if layout is None:
        raise JobError(f"{path}: has no group {group!r}; it has {', '.join(map(repr, layouts))}")
    return layout


def level_layout(path: MosaicPath, layout: GroupLayout, factor: int) -> GroupLayout:
    """Return the layout of a group's overview of a factor. Raises JobError where there is none."""
    location = locate(path)
    visible = visible_levels(location.store())
    levels = {one.factor: one.layout for one in levels_of(layout, policies_of(layout))}
    there = [number for number, one in levels.items() if one.group.name in visible]
    if factor not in there:
        has = (
            f"its overviews are {', '.join(map(str, there))}"
            if there
            else "make some with `downloader overviews`"
        )
        raise JobError(f"{location.name}: has no overview of level {factor}; {has}")
    return levels[factor]


def _open(
    path: MosaicPath, layout: GroupLayout, chunks: Chunks, missing: Missing, *, mask_and_scale: bool
) -> xarray.Dataset:
    xr = require_xarray()
    location = locate(path)
    if layout.level == 1:
        coverage = read_coverage(location.read, layout)
    else:  # overviews of a series that grew since are shorter than the layout says
        import zarr

        tiles = zarr.open_array(location.readable(), path=f"{layout.prefix}{COVERAGE_TILES}", mode="r")
        coverage = np.asarray(tiles[...])
    holes = {
        word: int((coverage == value).sum())
        for word, value in (("missing", Coverage.MISSING), ("failed", Coverage.FAILED))
    }
    check_missing(missing)
    if missing == "raise" and any(holes.values()):
        told = ", ".join(f"{count:,} {word}" for word, count in holes.items() if count)
        raise IncompleteError(
            f"{path}{f', group {layout.group.name}' if layout.group.name else ''}: {sum(holes.values()):,} of"
            f" {coverage.size:,} tiles are not stored ({told}). Run the job again to fetch them, or open with"
            " missing='mask' (NaN in their place) or missing='ignore' (the fill value in their place)"
        )
    dataset: xarray.Dataset = xr.open_dataset(
        location.readable(),
        engine="zarr",
        group=layout.group.name or None,
        consolidated=True,
        chunks=chunks_of(layout, chunks),
        mask_and_scale=mask_and_scale,
    )
    if missing == "mask" and (coverage != Coverage.STORED).any():
        dataset = _masked(dataset, coverage == Coverage.STORED, layout)
    if mask_and_scale:
        dataset = _without_masked(_single(dataset), layout)
    return in_order(dataset)


def in_order(dataset: xarray.Dataset) -> xarray.Dataset:
    """Return the dataset sorted by time: images that were added later come later in the mosaic."""
    if "time" not in dataset.indexes or dataset.indexes["time"].is_monotonic_increasing:
        return dataset
    sorted_: xarray.Dataset = dataset.sortby("time")
    return sorted_


def _single(dataset: xarray.Dataset) -> xarray.Dataset:
    """Return the dataset with bands in physical units as float32: scale and offset were applied in float64 at most."""
    scaled = {
        name: variable
        for name, variable in dataset.data_vars.items()
        if {"scale_factor", "add_offset"} & variable.encoding.keys() and variable.dtype == np.float64
    }
    return dataset.assign(
        {name: variable.astype(np.float32, keep_attrs=True) for name, variable in scaled.items()}
    )


def _without_masked(dataset: xarray.Dataset, layout: GroupLayout) -> xarray.Dataset:
    """Put NaN wherever the mosaic's own mask says a band is masked."""
    arrays = dict(zip((band.id for band in layout.group.bands), layout.arrays, strict=True))
    masks = {arrays[name]: arrays[mask.id] for mask in layout.group.bands for name in mask.mask_of}
    return dataset.assign(
        {name: dataset[name].where(dataset[mask] == 1) for name, mask in masks.items() if name in dataset}
    )


def _masked(dataset: xarray.Dataset, stored: NDArray[np.bool_], layout: GroupLayout) -> xarray.Dataset:
    """Put NaN in tiles that are not stored; masks are 0 there already."""
    tile = layout.group.tiling.tile
    masked: dict[Hashable, Any] = {}
    masks: dict[Any, Any] = {}
    own = {array for array, band in zip(layout.arrays, layout.group.bands, strict=True) if band.mask_of}
    for name, variable in dataset.data_vars.items():
        if name in own:
            continue
        # Bands with equal chunks share one mask.
        key = variable.chunks
        if key not in masks:
            masks[key] = require_xarray().DataArray(_pixel_mask(stored, tile, variable), dims=variable.dims)
        masked[name] = variable.where(masks[key])
    return dataset.assign(masked)


def _pixel_mask(stored: NDArray[np.bool_], tile: int, like: xarray.DataArray) -> Any:  # noqa: ANN401 - numpy or Dask
    def part(spans: list[tuple[int, int]]) -> NDArray[np.bool_]:
        *leading, rows, columns = (np.arange(*span) for span in spans)
        return stored[np.ix_(*leading, rows // tile, columns // tile)]

    if like.chunks is None:
        return part([(0, length) for length in like.shape])

    import dask.array

    def block(block_info: Any = None) -> NDArray[np.bool_]:  # noqa: ANN401 - Dask's own
        return part(block_info[None]["array-location"])

    meta = np.empty((0,) * like.ndim, bool)
    return dask.array.map_blocks(block, chunks=like.chunks, dtype=bool, meta=meta)  # type: ignore[no-untyped-call]


def _is_size(size: object) -> bool:
    """Return whether Dask takes this as the size of chunks along an axis; -1 is all of it."""
    if isinstance(size, tuple):
        return all(map(_is_size, size))
    return size is None or size == "auto" or (isinstance(size, int) and (size > 0 or size == -1))


def chunks_of(layout: GroupLayout, chunks: Chunks) -> Any:  # noqa: ANN401 - what xarray takes
    """Return what xarray takes as chunks. Raises JobError for what it does not take."""
    if chunks is None or (isinstance(chunks, str) and chunks == "auto"):
        return chunks
    if chunks != "shard":
        axes = (*layout.leading, "y", "x")
        sizes = chunks.values() if isinstance(chunks, Mapping) else [chunks]
        if (isinstance(chunks, Mapping) and not chunks.keys() <= set(axes)) or not all(map(_is_size, sizes)):
            raise JobError(
                f"chunks: {shown(chunks)}: write 'shard', 'auto', None, a number of pixels, or sizes of the axes"
                f" {', '.join(axes)}, such as {{'x': 1024}}"
            )
        return chunks
    try:
        import dask.array  # noqa: F401
    except ImportError:
        return None
    tiling = layout.group.tiling
    # Along the leading axis as the arrays are: a size given here would cut times and ids too, and xarray would warn.
    return {"y": tiling.shard_side, "x": tiling.shard_side}


def require_xarray() -> Any:  # noqa: ANN401 - the module
    """Return the module. Raises MissingExtraError where it is not installed."""
    try:
        import xarray
    except ImportError as error:
        raise MissingExtraError("Opening a mosaic with xarray", "xarray") from error
    return xarray
