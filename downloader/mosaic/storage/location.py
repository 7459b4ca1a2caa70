"""From the text of a place to what a mosaic needs there: its objects, its lock, what Zarr readers open.

Nothing is looked at before it is asked for, so that naming a place costs nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

from downloader.errors import DownloadError, JobError, RefusedError, StoppedError
from downloader.job.location import BucketUrl, parse_place
from downloader.mosaic.format.hierarchy import OWN
from downloader.mosaic.record.ledger import last_epoch
from downloader.mosaic.storage.bucket import BucketStore
from downloader.mosaic.storage.cloud import connect
from downloader.mosaic.storage.disk_errors import NOT_WRITABLE, refused
from downloader.mosaic.storage.lease import Lease, is_leased
from downloader.mosaic.storage.lock import FileLock, Lock, seems_held
from downloader.mosaic.storage.store import DiskStore, Store

__all__ = ["Location", "Place", "locate", "locked", "no_mosaic"]

Place = str | os.PathLike[str]
"""A folder's path, or a bucket's URL; one that went through `pathlib` is known again."""

_SMALL_S: Final = 30
_LARGE_S: Final = 300
"""Seconds for one request, small and large; a slow line needs them for an object of 64 MiB."""

_HASTY_S: Final = 10
"""The same for the lease, and for the first look."""

_RETRY_S: Final = 60
_HASTY_RETRY_S: Final = 20
"""Seconds in which a request that fails for a bad moment is sent again, with growing pauses."""


class Location(Protocol):
    """Where a mosaic lies."""

    @property
    def name(self) -> str:
        """Path or URL, for messages."""
        ...

    @property
    def has_lease(self) -> bool:
        """Whether runs are kept apart by a lease, which a paused one may lose, and not by a lock."""
        ...

    def read(self, key: str) -> bytes | None:
        """A small object; None where there is none. Raises OSError or DownloadError where nobody knows."""
        ...

    def entries(self, folder: str = "") -> frozenset[str]:
        """Names directly in a folder; none where it is not there. Raises RefusedError where it cannot be a folder."""
        ...

    def prepare(self) -> None:
        """Make the folder that holds what is not pixels. Raises OSError."""
        ...

    def store(self, *, durable: bool = True) -> Store:
        """Its objects."""
        ...

    def lock(self, store: Store, abandoned: threading.Event | None = None) -> Lock:
        """What keeps other runs away; `abandoned` is set by who no longer wants to wait for it."""
        ...

    def seems_held(self) -> bool:
        """Whether a run seems to write it; for messages, not for safety."""
        ...

    def problem(self, error: OSError) -> DownloadError:
        """What an error at the start of a run means."""
        ...

    def readable(self) -> Any:  # noqa: ANN401  # what zarr and xarray open
        """What zarr and xarray open."""
        ...


def no_mosaic(path: Place) -> RefusedError:
    """What is said of a place where there is no mosaic of this package."""
    return RefusedError(
        f"{locate(path).name}: is no mosaic of this downloader; name the folder or URL of one"
    )


def locate(place: Place) -> Location:
    """The place that a path or URL names; nothing is looked at yet.

    Raises:
        JobError: it is a URL, and none of a folder in a bucket.
    """
    text = os.fspath(place)
    try:
        url = parse_place(text)
    except ValueError as error:
        # Without its text, which may hold what does not belong there.
        raise JobError(f"the mosaic's path: {error}") from None
    return Folder(Path(text)) if url is None else Bucket(url)


@contextmanager
def locked(location: Location, store: Store) -> Iterator[Lock]:
    """A block in which no other run writes the mosaic.

    Raises:
        RefusedError: it cannot be written, or another run writes it (LockedError).
    """
    lock = location.lock(store)
    try:
        location.prepare()
        lock.acquire()
    except OSError as error:
        raise location.problem(error) from error
    try:
        yield lock
    finally:
        lock.release()


@dataclass(frozen=True)
class Folder:
    """On a disk."""

    path: Path

    @property
    def name(self) -> str:
        """See `Location`."""
        return str(self.path)

    @property
    def has_lease(self) -> bool:
        """See `Location`."""
        return False

    def read(self, key: str) -> bytes | None:
        """See `Location`."""
        try:
            return (self.path / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def entries(self, folder: str = "") -> frozenset[str]:
        """See `Location`."""
        path = self.path / folder
        if not path.exists():
            if path.is_symlink():
                raise RefusedError(f"{path}: is a link to nowhere; choose another mosaic.path")
            return frozenset()
        if not path.is_dir():
            raise RefusedError(f"{path}: exists and is no folder; choose another mosaic.path")
        return frozenset(entry.name for entry in path.iterdir())

    def prepare(self) -> None:
        """See `Location`."""
        (self.path / OWN).mkdir(parents=True, exist_ok=True)

    def store(self, *, durable: bool = True) -> DiskStore:
        """See `Location`."""
        return DiskStore(self.path, durable=durable)

    def lock(self, store: Store, abandoned: threading.Event | None = None) -> FileLock:  # noqa: ARG002  # a bucket's
        """See `Location`."""
        return FileLock(self.path.absolute() / OWN / "lock", self.name)

    def seems_held(self) -> bool:
        """See `Location`."""
        return seems_held(self.path / OWN / "lock")

    def problem(self, error: OSError) -> DownloadError:
        """See `Location`."""
        return refused(self.name, error)

    def readable(self) -> Path:
        """See `Location`."""
        return self.path


@dataclass(frozen=True)
class Bucket:
    """In a bucket."""

    url: BucketUrl

    @property
    def name(self) -> str:
        """See `Location`."""
        return str(self.url)

    @property
    def has_lease(self) -> bool:
        """See `Location`."""
        return True

    def read(self, key: str) -> bytes | None:
        """See `Location`."""
        there = self._hasty.tagged(key)
        return None if there is None else bytes(there[0])

    def entries(self, folder: str = "") -> frozenset[str]:
        """See `Location`."""
        return self._hasty.entries(folder)

    def prepare(self) -> None:
        """See `Location`. Buckets have no folders."""

    def store(self, *, durable: bool = True) -> BucketStore:  # noqa: ARG002  # a bucket always is
        """See `Location`."""
        return BucketStore(
            connect(self.url, _SMALL_S, _RETRY_S), self.name, connect(self.url, _LARGE_S, _RETRY_S)
        )

    def lock(self, store: Store, abandoned: threading.Event | None = None) -> Lease:
        """See `Location`."""
        lease = Lease(self._hasty, lambda: last_epoch(store), abandoned)
        if isinstance(store, BucketStore):
            store.contested = lease.confirm
        return lease

    def seems_held(self) -> bool:
        """See `Location`."""
        return is_leased(self._hasty)

    def problem(self, error: OSError) -> DownloadError:
        """See `Location`."""
        if error.errno in NOT_WRITABLE:
            return refused(self.name, error)
        return StoppedError(
            f"{self.name}: the store cannot be reached ({error.strerror or error}); look at the network and at the variables"
            " that name the endpoint, and run the same command again"
        )

    def readable(self) -> Any:  # noqa: ANN401  # see `Location`
        """See `Location`."""
        from zarr.storage import ObjectStore as ZarrObjectStore

        return ZarrObjectStore(connect(self.url, _LARGE_S, _RETRY_S), read_only=True)

    @cached_property
    def _hasty(self) -> BucketStore:
        return BucketStore(connect(self.url, _HASTY_S, _HASTY_RETRY_S), self.name)
