"""Location of a mosaic, a folder or a bucket: its objects, its lock, and the store that Zarr readers open.

Nothing is opened before it is needed, so that naming a location costs nothing.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias

from downloader.arguments import path_text
from downloader.errors import DownloadError, JobError, RefusedError, StoppedError
from downloader.job.location import BucketUrl, parse_place
from downloader.mosaic.record.ledger import last_epoch
from downloader.mosaic.record.paths import LOCK, OWN
from downloader.mosaic.storage.bucket import BucketStore
from downloader.mosaic.storage.cloud import connect_bucket
from downloader.mosaic.storage.disk import DiskStore, read_file
from downloader.mosaic.storage.disk_errors import disk_error, is_permanent
from downloader.mosaic.storage.lease import LASTS_S, Lease, is_leased
from downloader.mosaic.storage.lock import FileLock, Lock, seems_held
from downloader.mosaic.storage.store import Store

MosaicPath = str | os.PathLike[str]
"""A folder's path, or a bucket's URL, also one that went through `pathlib`."""

_SMALL_S: Final = 30
_LARGE_S: Final = 300
"""Seconds for one request, small and large; a slow line needs them for an object of 64 MiB."""

_QUICK_S: Final = 10
"""Seconds for one request of the lease, or for a first look."""

_RETRY_S: Final = 60
_QUICK_RETRY_S: Final = 20
"""Seconds during which a failed request is repeated, with growing pauses."""


SOURCES: Final = "downloader_sources"
"""Attribute of a Zarr group that holds the mosaics of several sources: their names."""


def source_names(location: Location) -> tuple[str, ...]:
    """Return the names of the sources whose mosaics lie in a location; none where it is no such one."""
    try:
        found = json.loads(location.read("zarr.json") or b"")["attributes"][SOURCES]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    is_plain = isinstance(found, list) and all(
        isinstance(name, str) and _PLAIN.fullmatch(name) for name in found
    )
    return tuple(found) if is_plain else ()


_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def no_mosaic(path: MosaicPath) -> RefusedError:
    """Return the error to raise where there is no mosaic of this package."""
    if names := source_names(locate(path)):
        return RefusedError(
            f"{locate(path).name} holds the sources {', '.join(names)}, each a mosaic of its own; name one, such as "
            f"{locate(path).name}/{names[0]}"
        )
    return RefusedError(
        f"{locate(path).name} is not a mosaic made by this program. Give the path or URL of one."
    )


def locate(path: MosaicPath) -> Location:
    """Return the location that a path or URL names; nothing is opened yet.

    Raises:
        JobError: it is no path, or a URL, but not of a folder in a bucket.
    """
    text = path_text(path, "mosaic")
    try:
        url = parse_place(text)
    except ValueError as error:
        # Without the text, which may hold a secret.
        raise JobError(f"the mosaic's path: {error}") from None
    return Folder(Path(text)) if url is None else Bucket(url)


@contextmanager
def locked(location: Location, store: Store) -> Iterator[Lock]:
    """Hold the lock of an existing mosaic for the block.

    Raises:
        RefusedError: it cannot be written, or another run writes it (LockedError).
        StoppedError: the disk is full, or the bucket cannot be reached.
    """
    lock = location.lock(store)
    with errors_of(location):
        location.prepare()
        lock.acquire()
    try:
        yield lock
    finally:
        lock.release()


@contextmanager
def errors_of(location: Location) -> Iterator[None]:
    """Raise `location.problem(error)` for an OSError of the block."""
    try:
        yield
    except OSError as error:
        raise location.problem(error) from error


@dataclass(frozen=True)
class Folder:
    """A folder on a disk."""

    path: Path
    has_lease: ClassVar[bool] = False
    """Whether runs are kept apart by a lease, which a paused run may lose, and not by a lock."""

    @property
    def name(self) -> str:
        """Path or URL, for messages."""
        return str(self.path)

    def read(self, key: str) -> bytes | None:
        """Return a small object; None where it does not exist.

        Raises:
            DownloadError: it cannot be read.
        """
        with errors_of(self):
            try:
                return read_file(self.path / key)
            except (FileNotFoundError, IsADirectoryError):
                return None

    def entries(self, folder: str = "") -> frozenset[str]:
        """Return the names directly in a folder; none where it does not exist.

        Raises:
            DownloadError: it is no folder, or cannot be read.
        """
        path = self.path / folder
        with errors_of(self):
            try:
                return frozenset(os.listdir(path))  # noqa: PTH208 - names alone
            except FileNotFoundError:
                if path.is_symlink():
                    raise RefusedError(f"{path}: is a link to nowhere; choose another mosaic.path") from None
                return frozenset()
            except NotADirectoryError:
                if not os.path.lexists(path):
                    raise  # something above it is no folder
                raise RefusedError(
                    f"{path}: exists and is not a folder; choose another mosaic.path"
                ) from None

    def prepare(self) -> None:
        """Create the mosaic's folder, the folders above it, and the one for what is not pixels. Raises OSError."""
        (self.path / OWN).mkdir(parents=True, exist_ok=True)

    def store(self, *, durable: bool = True) -> DiskStore:
        """Return its objects; nothing is opened yet."""
        return DiskStore(self.path, durable=durable)

    def lock(
        self,
        store: Store,  # noqa: ARG002  # a bucket's
        abandoned: threading.Event | None = None,
        *,
        reads: bool = False,
    ) -> FileLock:
        """Return the lock, not acquired yet.

        Args:
            store: the mosaic's objects.
            abandoned: set by a caller that no longer wants to wait for it.
            reads: whether it is for a lazy reader; others wait until such a one gives it back.
        """
        return FileLock(self.path.absolute() / LOCK, self.name, abandoned, reads=reads)

    def seems_held(self) -> bool:
        """Return whether a run seems to write the mosaic; for messages, not for safety."""
        return seems_held(self.path / LOCK)

    def problem(self, error: OSError) -> DownloadError:
        """Return the error to raise for one of the disk's or the bucket's."""
        return disk_error(self.name, error)

    def readable(self) -> Path:
        """Return the path or store that zarr and xarray open."""
        return self.path


@dataclass(frozen=True)
class Bucket:
    """A folder in a bucket."""

    url: BucketUrl
    has_lease: ClassVar[bool] = True
    """See `Folder`."""

    @property
    def name(self) -> str:
        """See `Folder`."""
        return str(self.url)

    def read(self, key: str) -> bytes | None:
        """See `Folder`."""
        with errors_of(self):
            there = self._quick.tagged(key)
        return None if there is None else bytes(there[0])

    def entries(self, folder: str = "") -> frozenset[str]:
        """See `Folder`."""
        with errors_of(self):
            return self._quick.entries(folder)

    def prepare(self) -> None:
        """See `Folder`. Buckets have no folders."""

    def store(self, *, durable: bool = True) -> BucketStore:  # noqa: ARG002  # a bucket always is
        """See `Folder`."""
        return BucketStore(
            connect_bucket(self.url, _SMALL_S, _RETRY_S),
            self.name,
            connect_bucket(self.url, _LARGE_S, _RETRY_S),
        )

    def lock(self, store: Store, abandoned: threading.Event | None = None, *, reads: bool = False) -> Lease:
        """See `Folder`."""
        lease = Lease(self._quick, lambda: last_epoch(store), abandoned, LASTS_S, reads=reads)
        store.contested = lease.confirm
        return lease

    def seems_held(self) -> bool:
        """See `Folder`."""
        return is_leased(self._quick)

    def problem(self, error: OSError) -> DownloadError:
        """See `Folder`."""
        if is_permanent(error):
            return disk_error(self.name, error)
        return StoppedError(
            f"{self.name}: the store cannot be reached ({error.strerror or error}); check the network and the variables that"
            " name the endpoint, and run the job again"
        )

    def readable(self) -> Any:  # noqa: ANN401  # as `Folder`
        """See `Folder`."""
        from zarr.storage import ObjectStore as ZarrObjectStore

        return ZarrObjectStore(connect_bucket(self.url, _LARGE_S, _RETRY_S), read_only=True)

    @cached_property
    def _quick(self) -> BucketStore:
        return BucketStore(connect_bucket(self.url, _QUICK_S, _QUICK_RETRY_S), self.name)


Location: TypeAlias = Folder | Bucket
"""A place that holds a mosaic, or may come to hold one."""
