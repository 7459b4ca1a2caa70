"""Opening a mosaic for writing: is it ours, does it mean the same, is anybody else in it?

Until all these questions are answered nothing is written; what exists and is something else stays untouched.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread

from downloader.errors import RefusedError
from downloader.mosaic.coordinates import CoordinateWriter
from downloader.mosaic.coverage import write_coverage
from downloader.mosaic.faults import NOT_WRITABLE, refused, trying
from downloader.mosaic.hierarchy import OWN, ensure_hierarchy
from downloader.mosaic.identity import MARKER, Comparison, Identity
from downloader.mosaic.layout import GroupLayout
from downloader.mosaic.ledger import LedgerWriter
from downloader.mosaic.lock import FileLock
from downloader.mosaic.scan import scan
from downloader.mosaic.settings import MosaicSettings
from downloader.mosaic.store import DiskStore, Store
from downloader.mosaic.writer import ZarrMosaic
from downloader.planning import Plan

__all__ = ["existing_sides", "open_for_writing", "read_identity"]

JOB = ".downloader/job.yaml"
"""The job as it was written by whoever created or extended the mosaic."""

_AT_ONCE = 16
"""Chunks of coordinates written before a reader sees the mosaic; axes of 500,000 pixels are whole by then."""


@asynccontextmanager
async def open_for_writing(
    path: str | Path,
    plan: Plan,
    settings: MosaicSettings | None = None,
    *,
    service: str,
    job_text: str = "",
    overwrite: bool = False,
) -> AsyncIterator[ZarrMosaic]:
    """A mosaic for `plan` at `path`: created, continued or extended.

    Args:
        path: a folder; created with the folders above it.
        plan: what belongs into it.
        settings: how pixels are stored; the defaults for None.
        service: whose pixels they are: `earth-engine`, or an emulator's data set.
        job_text: the job as its author wrote it, `${VAR}` and all.
        overwrite: delete a mosaic of ours that means something else, or the same; never anything else.

    Leaving the block commits nothing: what is to be kept is committed before.

    Raises:
        RefusedError: the path is something else, cannot be written, or was made by a newer version.
        LockedError: another run writes it.
        DriftError: it was made by a job that means something else.
        JobError: a nodata value that the band's type does not have.
        StoppedError: the disk is full.
    """
    mosaic = await anyio.to_thread.run_sync(
        _open, Path(path), plan, settings or MosaicSettings(), service, job_text, overwrite
    )
    try:
        yield mosaic
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(mosaic.close)


def existing_sides(path: str | Path) -> dict[str, int] | None:
    """Tiles along a shard's side by group of the mosaic at `path`, for the planner; None where there is none.

    Raises:
        RefusedError: the mosaic was made by a newer version, or its marker is damaged.
    """
    identity = read_identity(path)
    if identity is None:
        return None
    return {layout.group.name: layout.group.tiling.shard for layout in identity.layouts}


def read_identity(path: str | Path) -> Identity | None:
    """What the mosaic at `path` is; None where there is none."""
    try:
        data = (Path(path) / MARKER).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Identity.from_bytes(data, str(path))


def _open(
    path: Path, plan: Plan, settings: MosaicSettings, service: str, job_text: str, overwrite: bool
) -> ZarrMosaic:
    path = path.absolute()
    new = Identity.of(plan, settings, service)
    for layout in new.layouts:
        _ = layout.fills  # refuses a nodata value that the type does not have, before anything is made
    try:
        _refuse_strangers(path)
        (path / OWN).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(str(path), error) from error
    lock = FileLock(path / OWN / "lock", str(path))
    try:
        lock.acquire()
    except OSError as error:
        raise refused(str(path), error) from error
    try:
        return _open_locked(path, plan, settings, service, job_text, overwrite, lock)
    except OSError as error:
        lock.release()
        if error.errno in NOT_WRITABLE:
            raise refused(str(path), error) from error
        raise
    except BaseException:
        lock.release()
        raise


def _open_locked(
    path: Path,
    plan: Plan,
    settings: MosaicSettings,
    service: str,
    job_text: str,
    overwrite: bool,
    lock: FileLock,
) -> ZarrMosaic:
    store = DiskStore(path, durable=settings.durability == "full")
    known = read_identity(path)
    if known is not None and overwrite:
        _delete(path, store, known)
        known = None
    identity = Identity.of(plan, settings, service, known)
    comparison = known.compare(identity, str(path)) if known is not None else None
    store.sweep()

    def create() -> None:
        if comparison is not Comparison.SAME:
            store.put(JOB, [job_text.encode()])
            store.put(MARKER, [identity.to_bytes()])
            store.flush([JOB, MARKER])
        coordinates.write(_AT_ONCE)
        ensure_hierarchy(store, identity.layouts, image_attributes(plan))

    coordinates = CoordinateWriter(store, identity.layouts)
    trying(store, "the mosaic's metadata", 1 << 20, create)
    ledger = LedgerWriter(store)
    found = scan(store, identity.layouts, ledger)
    if found.lost:
        # Until the run's end `coverage` would call stored what was found missing.
        for layout in identity.layouts:
            write_coverage(store, layout, found.states[layout.group.name])
    return ZarrMosaic(store, identity.layouts, found, ledger, lock, coordinates)


def image_attributes(plan: Plan) -> dict[str, Any]:
    """Attributes of a group: where the pixels come from, when they were taken, what else the asset says of itself."""
    image = plan.image
    told = {
        "Conventions": "CF-1.11",
        "source": image.name,
        "update_time": image.update_time,
        "start_time": image.start_time,
        "end_time": image.end_time,
    }
    attributes: dict[str, Any] = {name: value for name, value in told.items() if value}
    if image.properties:
        attributes["properties"] = _plain_json(image.properties)
    return attributes


def _plain_json(value: Any) -> Any:  # noqa: ANN401 - JSON of the service
    """What JSON can hold: the service's properties may be numbers that JSON has no word for."""
    if isinstance(value, Mapping):
        return {str(name): _plain_json(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_json(member) for member in value]
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return str(value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _refuse_strangers(path: Path) -> None:
    """Raise RefusedError where `path` is something that no run of ours has made."""
    if not path.exists():
        if path.is_symlink():
            raise RefusedError(f"{path}: is a link to nowhere; choose another mosaic.path")
        return
    if not path.is_dir():
        raise RefusedError(f"{path}: exists and is no folder; choose another mosaic.path")
    if (path / MARKER).is_file():
        return
    names = {entry.name for entry in path.iterdir()}
    if not names:
        return
    if names == {OWN}:
        # A run that was killed at its very start leaves its lock, and perhaps a staged file.
        ours = re.compile(r"lock|(job\.yaml|mosaic\.json)(#\d+)?")
        if all(ours.fullmatch(entry.name) for entry in (path / OWN).iterdir()):
            return
    if names & {"zarr.json", ".zgroup", ".zarray", ".zmetadata"}:
        raise RefusedError(
            f"{path}: is a Zarr store that this downloader did not make; choose another mosaic.path"
        )
    raise RefusedError(
        f"{path}: holds files that this downloader did not make ({min(names)!r} for one);"
        " choose another mosaic.path, or an empty folder"
    )


def _delete(path: Path, store: Store, identity: Identity) -> None:
    """Delete what the marker says is ours, and no more: first what readers look for, last the marker itself."""
    groups: tuple[GroupLayout, ...] = identity.layouts
    store.delete(["zarr.json", *(f"{layout.prefix}zarr.json" for layout in groups)])
    for layout in groups:
        for name in (*layout.arrays, "x", "y", "spatial_ref", "coverage"):
            store.delete_folder(f"{layout.prefix}{name}")
        if layout.group.name:
            with contextlib.suppress(OSError):
                (path / layout.group.name).rmdir()
    store.delete_folder(f"{OWN}/ledger")
    store.delete([f"{OWN}/zarr.json", f"{OWN}/coordinates", JOB, MARKER])
