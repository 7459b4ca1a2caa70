"""Open a job or a mosaic with xarray at once; reading pixels fetches the tiles that hold them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Unpack

from downloader.errors import IncompleteError
from downloader.job.keywords import JobKeywords
from downloader.job.load import JobLike
from downloader.lazy.target import Place, Store, Target
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.reader import Chunks, Missing, group_layout, open_group, require_xarray
from downloader.mosaic.reader import open_tree as stored_tree
from downloader.mosaic.sources import member, mosaics, part_of_group
from downloader.mosaic.status import read_mosaic

if TYPE_CHECKING:
    import xarray
    from google.auth.credentials import Credentials


def open(  # noqa: A001  # downloader.open
    job: JobLike,
    store: Store = ...,
    group: str | None = None,
    *,
    level: int = 1,
    chunks: Chunks = "shard",
    mask_and_scale: bool = False,
    missing: Missing = "raise",
    fetch: bool = True,
    wait: float = 60.0,
    credentials: Credentials | None = None,
    progress: bool = True,
    **keywords: Unpack[JobKeywords],
) -> xarray.Dataset:
    """Return a group of a job's mosaic as a Dataset at once; reading pixels fetches the tiles that hold them.

    A tile is fetched once, with all bands of its group, and kept in the mosaic: reading it again reads the disk, a run
    fetches the rest, and `status` shows what is there. Threads, Dask and other processes may read side by side.

    Args:
        job: a job in any form that `download` takes, or a mosaic's path.
        store: where pixels are kept: a folder or a bucket; None for this process's memory, up to half of
            `limits.memory`, the tiles read last. Left out, it is the mosaic that the job names.
        group: name of the group, such as `10m`; may be left out where there is only one.
        level: 1 for the pixels; 2, 4, 8, … for the overview of that factor.
        chunks: `shard` cuts Dask's arrays as the mosaic's objects are cut (without Dask installed: no chunks);
            None reads lazily without Dask; else what xarray takes.
        mask_and_scale: whether numbers come in physical units, with NaN for nodata and where the mosaic's own mask says so.
        missing: for tiles that cannot be had, or, with `fetch=False`, that are not stored: `raise` raises; `mask` puts NaN
            where the type has it, else the band's nodata value; `ignore` shows the fill value. With `fetch=False`, `mask`
            makes integers floats.
        fetch: whether tiles that are not stored are fetched when they are read; without it nothing is asked of the service.
        wait: seconds to wait for another process that writes the mosaic and does not bring the tiles.
        credentials: any google-auth credentials object, in place of the job's `auth`; stays in this process.
        progress: whether a terminal or a notebook shows what takes longer than a moment.
        **keywords: with `store`: keys of the job file, as `download` takes them.

    Raises:
        JobError: the job is wrong, or there is no such group or overview.
        LockedError: another process writes the mosaic for longer than `wait`.
        IncompleteError: with `fetch=False` and `missing="raise"`: tiles are not stored. From a read: a tile failed.
        DownloadError: from here and from reads, as `download`.
    """
    target = Target.of(job, store, keywords)
    if target.job is None and (of_source := part_of_group(target.path, group)):
        target, group = Target(of_source[0], None), of_source[1]
    if not fetch or level != 1:
        return open_group(
            target.path, group, level=level, chunks=chunks, mask_and_scale=mask_and_scale, missing=missing
        )
    filler = target.filler(credentials, wait, progress=progress)
    layout = group_layout(target.path, group)
    place = Place(filler.path, target.job, missing, wait, progress)
    return _opened(place, layout, chunks, mask_and_scale=mask_and_scale)


def open_tree(
    job: JobLike,
    store: Store = ...,
    *,
    chunks: Chunks = "shard",
    mask_and_scale: bool = False,
    missing: Missing = "raise",
    fetch: bool = True,
    wait: float = 60.0,
    credentials: Credentials | None = None,
    progress: bool = True,
    **keywords: Unpack[JobKeywords],
) -> xarray.DataTree:
    """Return all groups of a job's mosaic as a DataTree at once; arguments, reading and errors are those of `open`."""
    target = Target.of(job, store, keywords)
    if not fetch:
        return stored_tree(target.path, chunks=chunks, mask_and_scale=mask_and_scale, missing=missing)
    datasets = {}
    for name, path in ({"": target.path} if target.job is not None else mosaics(target.path)).items():
        filler = Target(path, target.job).filler(credentials, wait, progress=progress)
        place = Place(filler.path, target.job, missing, wait, progress)
        for layout in read_mosaic(path).layouts:
            dataset = _opened(place, layout, chunks, mask_and_scale=mask_and_scale)
            datasets[f"/{member(name, layout.group.name)}"] = dataset
    tree: xarray.DataTree = require_xarray().DataTree.from_dict(datasets)
    return tree


def _opened(place: Place, layout: GroupLayout, chunks: Chunks, *, mask_and_scale: bool) -> xarray.Dataset:
    """Return a group: as any Zarr reader has it where all is stored, else with arrays that fetch."""
    if not place.is_in_memory:
        with contextlib.suppress(IncompleteError):
            return open_group(place.path, layout.group.name, chunks=chunks, mask_and_scale=mask_and_scale)
    require_xarray()
    from downloader.lazy.dataset import lazy_dataset

    return lazy_dataset(place, layout, chunks, mask_and_scale=mask_and_scale)
