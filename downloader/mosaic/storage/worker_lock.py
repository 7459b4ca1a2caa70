"""Locks of the workers of a distributed run: each may write shards of the run's mosaic while it holds its own.

Only the run itself holds the mosaic's lock or lease, and only it writes the ledger; workers elsewhere put objects of
shards. A worker that is cut off, paused or orphaned must not put any more once its shards were given to another. So the
run creates a small object for each worker before the worker begins:

* **On a disk** the worker holds the kernel's lock on that file, which ends with its process. Before its shards are given
  to another worker, a run takes that lock, which proves that the worker is gone, and then removes the file.
* **In a bucket** nothing can prove that. The object is deleted, and puts state what must be there (`bucket`): a worker
  that wakes and finds another object than it knew looks for its lock before it writes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from downloader.errors import LockedError
from downloader.mosaic.storage.system import FOLDERS, NOFOLLOW, is_file_at, try_lock

if TYPE_CHECKING:
    from downloader.mosaic.storage.store import Store


PATIENCE_S: Final = 30.0
"""Seconds that a new run waits for workers of a dead one, which leave by themselves once nobody talks to them."""

_log = logging.getLogger(__name__)


def await_workers(folder: Path, mosaic: str) -> None:
    """Remove all worker locks on a disk, under the mosaic's lock; wait for workers that outlived their run.

    Args:
        folder: that of the locks; need not exist.
        mosaic: its name, for messages.

    Raises:
        LockedError: a worker still writes after half a minute.
    """
    until = time.monotonic() + PATIENCE_S
    told = False
    while True:
        try:
            held = [path for path in folder.iterdir() if not remove_unlocked(path)]
        except (FileNotFoundError, NotADirectoryError):
            return
        if not held:
            with contextlib.suppress(OSError):
                folder.rmdir()
            return
        if time.monotonic() >= until:
            raise LockedError(
                f"{mosaic}: {len(held)} workers of an earlier run still write it; stop them, or wait, and run again"
            )
        if not told:
            told = True
            _log.warning(
                "%s: waiting up to %.0f s for %d workers of an earlier run to end",
                mosaic,
                PATIENCE_S,
                len(held),
            )
        time.sleep(0.1)


def remove_unlocked(path: Path) -> bool:
    """Remove a lock file that no process holds; return whether it is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | NOFOLLOW)
    except FileNotFoundError:
        return True
    try:
        if not try_lock(descriptor):
            return False
        if FOLDERS:  # elsewhere an open file cannot be deleted
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
    if not FOLDERS:
        path.unlink(missing_ok=True)
    return True


class FileWorkerLock:
    """A worker's lock on a disk: the kernel's lock on a file that the run created."""

    def __init__(self, path: Path, mosaic: str) -> None:
        self._path = path
        self._lost = f"{mosaic}: the lock of this worker is gone ({path.name}): the run is over, or reassigned its shards"
        self._descriptor: int | None = None
        try:
            # Never created here: a file created after its run removed it would let an orphan write.
            self._descriptor = os.open(path, os.O_RDWR | NOFOLLOW)
            if not try_lock(self._descriptor):
                raise FileNotFoundError
        except OSError as error:
            self.release()
            if isinstance(error, FileNotFoundError | NotADirectoryError):
                raise LockedError(self._lost) from None
            raise
        self.check()

    def check(self) -> None:
        """See `WorkerLock`."""
        if self._descriptor is None or not is_file_at(self._descriptor, self._path):
            self.release()
            raise LockedError(self._lost)

    def release(self) -> None:
        """See `WorkerLock`. The file is the run's to remove."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)


class BucketWorkerLock:
    """A worker's lock in a bucket: an object that exists as long as the right does."""

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._key = key
        self._released = False

    def check(self) -> None:
        """See `WorkerLock`. Costs nothing: a put that meets an unknown object calls `confirm`."""
        if self._released:
            raise LockedError(f"{self._store.name}: this worker left its run")

    def confirm(self) -> None:
        """Look for the object. Raises LockedError where it is gone."""
        self.check()
        try:
            self._store.get(self._key)
        except FileNotFoundError:
            self._released = True
            raise LockedError(
                f"{self._store.name}: the lock of this worker is gone: the run is over, or reassigned its shards"
            ) from None

    def release(self) -> None:
        """See `WorkerLock`."""
        self._released = True
