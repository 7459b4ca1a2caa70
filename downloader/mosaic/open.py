"""Open a mosaic for writing: check that it is ours, means the same as the job, and is not being written.

Nothing is written before all of this is known; what exists and is something else stays untouched.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Literal

import anyio.to_thread

from downloader.mosaic.format.coordinates import write_coordinates
from downloader.mosaic.format.documents import ROOT
from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.record.coverage import write_coverage
from downloader.mosaic.record.identity import Identity
from downloader.mosaic.record.identity_json import identity_to_bytes
from downloader.mosaic.record.ledger import LedgerWriter
from downloader.mosaic.record.ownership import (
    delete_mosaic,
    has_marker,
    read_identity,
    refuse_foreign,
    write_hierarchy,
)
from downloader.mosaic.record.paths import JOB, MARKER, OWN
from downloader.mosaic.record.scan import scan
from downloader.mosaic.record.state import GroupState
from downloader.mosaic.storage.disk_errors import is_permanent, trying
from downloader.mosaic.storage.location import Location, MosaicPath, locate
from downloader.mosaic.storage.lock import Lock
from downloader.mosaic.storage.store import Store, put_all
from downloader.mosaic.stored_job import meaning
from downloader.mosaic.updates import OnUpdate, UpdatePlan, forget_pixels, plan_update
from downloader.mosaic.writer import ZarrMosaic
from downloader.planning import Existing, Plan

Purpose = Literal["run", "overwrite", "read"]
"""Purpose of opening a mosaic: `overwrite` first deletes the mosaic of ours that is there, whatever it means, and never
anything else; `read` is for a lazy reader, which gives the lock back soon, so that runs wait for it."""


@asynccontextmanager
async def open_for_writing(
    path: MosaicPath,
    plan: Plan,
    settings: MosaicSettings | None = None,
    *,
    service: str,
    job_text: str = "",
    purpose: Purpose = "run",
    on_update: OnUpdate = "refuse",
) -> AsyncIterator[ZarrMosaic]:
    """Open a mosaic for `plan` at `path`: created, continued or extended.

    Args:
        path: a folder, created with the folders above it; or the URL of a folder in a bucket.
        plan: what it is to hold.
        settings: how pixels are stored; the defaults for None.
        service: whose pixels they are: `earth-engine`, or an emulator's data set.
        job_text: the job as its author wrote it, `${VAR}` and all.
        purpose: what it is opened for.
        on_update: what to do where nothing but the image's `updateTime` differs from the mosaic's.

    Leaving the block commits nothing.

    Raises:
        RefusedError: the path is something else, cannot be written, or was made by another version of the format.
        LockedError: another run writes it.
        DriftError: it was made by a job that means something else.
        JobError: a nodata value that the band's type does not have.
        StoppedError: the disk is full.
    """
    abandoned = threading.Event()
    settings = settings or MosaicSettings()
    opening = _Opening(locate(path), plan, settings, service, job_text, purpose, on_update, abandoned)
    handed: list[ZarrMosaic] = []
    guard = threading.Lock()

    def opened() -> None:
        mosaic = opening.open()
        # Either this thread or the block below closes it, never both.
        with guard:
            if not abandoned.is_set():
                handed.append(mosaic)
                return
        mosaic.close()

    try:
        # The thread may wait for a lease; on cancellation it is told to stop, and left to itself.
        await anyio.to_thread.run_sync(opened, abandon_on_cancel=True)
        yield handed[0]
    finally:
        # A task cancelled while the thread is still opening leaves it to the thread to release the lock.
        with guard:
            abandoned.set()
        if handed:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(handed[0].close)


def existing(path: MosaicPath) -> Existing | None:
    """Return the facts of the mosaic at `path` that a plan must keep; None where there is none.

    Raises:
        RefusedError: the mosaic was made by another version of the format, or its marker is damaged.
    """
    identity = read_identity(path)
    return None if identity is None else identity.existing


@dataclass(frozen=True, slots=True)
class _Opening:
    """Arguments of `open_for_writing`; the methods run in a worker thread."""

    location: Location
    plan: Plan
    settings: MosaicSettings
    service: str
    job_text: str
    purpose: Purpose
    on_update: OnUpdate
    abandoned: threading.Event

    def open(self) -> ZarrMosaic:
        location = self.location
        for layout in Identity.of(self.plan, self.settings, self.service).layouts:
            _ = layout.fills  # refuses a nodata value that the type does not have, before anything is made
        try:
            refuse_foreign(location)
            location.prepare()
            store = location.store(durable=self.settings.durability == "full")
            lock = location.lock(store, self.abandoned, reads=self.purpose == "read")
            lock.acquire()
        except OSError as error:
            raise location.problem(error) from error
        try:
            return self._open_locked(store, lock)
        except OSError as error:
            lock.release()
            if is_permanent(error) or location.has_lease:
                raise location.problem(error) from error
            raise
        except BaseException:
            lock.release()
            raise

    def _settled(self, store: Store, lock: Lock) -> tuple[Identity | None, UpdatePlan, bool]:
        """Return the present identity, the plan of its update, and whether the mosaic was deleted for it."""
        path = self.location.name
        known = read_identity(path)
        overwritten = known is not None and self.purpose == "overwrite"
        if known is not None and overwritten:
            delete_mosaic(store, known, lock.check)
            known = None
        new = Identity.of(self.plan, self.settings, self.service, known, meaning(self.job_text))
        settled = plan_update(known, new, path, self.on_update)
        if overwritten and self.location.has_lease:
            # A run that lost its lease and wakes may still put an object of the mosaic that was here: objects
            # that the new ledger does not name are not used.
            settled = replace(settled, identity=replace(settled.identity, refetching=True))
        return known, settled, overwritten

    def _open_locked(self, store: Store, lock: Lock) -> ZarrMosaic:
        path = self.location.name
        known, settled, overwritten = self._settled(store, lock)
        identity = settled.identity
        store.sweep()
        marker = self.location.read(MARKER) if has_marker(path) else None
        notices = list(settled.notices)
        if known is not None and marker is None:
            notices.append(
                "the folder .downloader was lost or damaged: what the mosaic is was read from its copy, and"
                " what is stored from the objects themselves"
            )

        def create() -> None:
            if known is not None and settled.starts_refetching:
                forget_pixels(store, known, settled.slices)
            if overwritten and self.location.has_lease:
                # They exist, so that a run which wakes with what it knew of the old mosaic cannot put its own.
                for layout in identity.layouts:
                    write_coverage(store, layout, GroupState(layout.group))
            changed = []
            if settled.is_extended or not self.location.read(JOB):
                changed.append((JOB, self.job_text.encode()))
            if (data := identity_to_bytes(identity)) != marker:
                changed.append((MARKER, data))
            put_all(store, changed)
            write_coordinates(store, identity.layouts)
            own = f"{OWN}/{ROOT}"
            # The run that put the folder back may have been killed before this, its last object.
            lacks = known is not None and (marker is None or not self.location.read(own))
            write_hierarchy(store, identity, (own,) if lacks else ())

        trying(store, "the mosaic's metadata", 1 << 20, create)
        ledger = LedgerWriter(store, lock.epoch)
        if lock.took_over or (lock.epoch is not None and (overwritten or settled.starts_refetching)):
            ledger.begin()
        found = scan(store, identity.layouts, ledger, adopt=not identity.refetching)
        if found.lost:
            # Until the run's end `coverage` would call stored what was found missing.
            for layout in identity.layouts:
                write_coverage(store, layout, found.states[layout.group.name])
        return ZarrMosaic(store, identity, found, ledger, lock, (*notices, *found.notices()))
