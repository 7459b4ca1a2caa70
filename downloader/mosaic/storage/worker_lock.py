"""Seats: the right of one worker of a run to write shards of the run's mosaic.

Only the run itself holds the mosaic's lock or lease, and only it writes the ledger; workers elsewhere put objects of
shards. A worker that is cut off, paused or orphaned must not put any more once its shards are somebody else's. So each
has a seat, a small object that its run makes before the worker begins:

* **On a disk** the worker holds the kernel's lock on it, which ends with its process. Whoever wants its shards, the run or
  a later one, first takes that lock, and thereby knows that the worker is gone, whatever kept it; then removes the seat.
* **In a bucket** nobody can know that. The seat is deleted, and puts say what must be there (`bucket`): a worker that
  wakes and finds another object than it knew looks for its seat before it writes.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from downloader.errors import LockedError

if TYPE_CHECKING:
    from downloader.mosaic.storage.store import Store

__all__ = ["WORKERS", "BucketSeat", "FileSeat", "Seat", "admit", "dismiss", "retire", "take"]

WORKERS: Final = ".downloader/workers"
"""The folder of the seats."""

_PATIENCE_S: Final = 30.0
"""How long a new run waits for workers of a dead one, which leave by themselves once nobody talks to them."""

_log = logging.getLogger(__name__)


class Seat(Protocol):
    """A worker's right to write, while it has it."""

    def check(self) -> None:
        """Called before every commit. Raises LockedError when the seat was taken away."""
        ...

    def release(self) -> None:
        """Leave; a no-op for one who left."""
        ...


def admit(store: Store, name: str) -> None:
    """Make a seat, for a worker that is about to begin. Raises OSError."""
    store.put(f"{WORKERS}/{name}", [b"{}"])


def retire(store: Store, name: str) -> bool:
    """Take a seat away; False where its worker still holds it, so that its shards must not be given to others yet."""
    from downloader.mosaic.storage.store import DiskStore

    if isinstance(store, DiskStore):
        return _removed(store.path / WORKERS / name)
    store.delete([f"{WORKERS}/{name}"])
    return True


def take(store: Store, name: str) -> Seat:
    """Sit down, in the worker's own process.

    Raises:
        LockedError: there is no such seat: its run is over, or this process sees another folder than the run does.
    """
    from downloader.mosaic.storage.store import DiskStore

    if isinstance(store, DiskStore):
        return FileSeat(store.path / WORKERS / name, store.name)
    seat = BucketSeat(store, f"{WORKERS}/{name}")
    seat.confirm()
    store.contested = seat.confirm  # type: ignore[attr-defined]  # of a BucketStore
    return seat


def dismiss(folder: Path, mosaic: str, patience_s: float = _PATIENCE_S) -> None:
    """Take away all seats on a disk, under the mosaic's lock: those of workers that outlived their run.

    Args:
        folder: that of the seats; need not be there.
        mosaic: its name, for messages.
        patience_s: how long workers that still write are waited for.

    Raises:
        LockedError: one does not leave.
    """
    until = time.monotonic() + patience_s
    told = False
    while True:
        try:
            held = [path for path in folder.iterdir() if not _removed(path)]
        except (FileNotFoundError, NotADirectoryError):
            return
        if not held:
            with contextlib.suppress(OSError):
                folder.rmdir()
            return
        if time.monotonic() >= until:
            raise LockedError(
                f"{mosaic}: {len(held)} workers of an earlier run still write it; end them, or wait, and run again"
            )
        if not told:
            told = True
            _log.warning(
                "%s: waiting for %d workers of an earlier run to leave, up to %.0f s",
                mosaic,
                len(held),
                patience_s,
            )
        time.sleep(0.1)


def _removed(path: Path) -> bool:
    """Remove a seat that nobody holds; whether it is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


class FileSeat:
    """A seat on a disk: the kernel's lock on a file that the run made."""

    def __init__(self, path: Path, mosaic: str) -> None:
        self._path = path
        self._gone = f"{mosaic}: this worker's place in the run is not there ({path.name}): the run is over, or took its shards away"
        self._descriptor: int | None = None
        try:
            # Never made here: what is made after its run removed it would let an orphan sit down.
            self._descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (FileNotFoundError, NotADirectoryError, BlockingIOError):
            self.release()
            raise LockedError(self._gone) from None
        except OSError:
            self.release()
            raise
        self.check()

    def check(self) -> None:
        """See `Seat`."""
        if self._descriptor is None:
            raise LockedError(self._gone)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            there = None
        mine = os.fstat(self._descriptor)
        if there is None or (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
            self.release()
            raise LockedError(self._gone)

    def release(self) -> None:
        """See `Seat`. The file is the run's to remove."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)


class BucketSeat:
    """A seat in a bucket: an object that is there as long as the right is."""

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._key = key
        self._left = False

    def check(self) -> None:
        """See `Seat`. Costs nothing: a put that meets what it does not know asks (`confirm`)."""
        if self._left:
            raise LockedError(f"{self._store.name}: this worker left its run")

    def confirm(self) -> None:
        """Look whether the seat is there. Raises LockedError where it is not."""
        self.check()
        try:
            self._store.get(self._key)
        except FileNotFoundError:
            self._left = True
            raise LockedError(
                f"{self._store.name}: this worker's place in the run is not there: the run is over, or took its shards away"
            ) from None

    def release(self) -> None:
        """See `Seat`."""
        self._left = True
