"""The protocol of a mosaic's storage: whole objects under keys, on a disk or in a bucket.

Every call is synchronous and meant for a worker thread. An object appears whole or not at all: on a disk by a
temporary file and a rename, in a bucket by its PUT. Errors are `OSError`s with an errno, whatever store they come from.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from downloader.mosaic.format.codec import Buffer
from downloader.mosaic.record.paths import WORKERS


class WorkerLock(Protocol):
    """The right of one worker of a distributed run to write shards of the run's mosaic."""

    def check(self) -> None:
        """Raise LockedError when the right was taken away; called before every commit."""
        ...

    def release(self) -> None:
        """Give the right back; a no-op where that was done already."""
        ...


class Store(Protocol):
    """Objects under keys such as `10m/B2/c/0/3`."""

    contested: Callable[[], None] = staticmethod(lambda: None)
    """Called where an object is not as this process last saw it; raises LockedError where the mosaic is another run's.
    Only buckets call it: on a disk the lock keeps others away."""

    name: str
    """Path or URL of the mosaic, for messages."""
    writers: int
    """Number of concurrent commits that are of use."""

    def get(self, key: str) -> Buffer:
        """Return the whole object. Raises FileNotFoundError."""
        ...

    def get_range(self, key: str, start: int, end: int) -> Buffer:
        """Return bytes `start` to before `end` of the object. Raises FileNotFoundError."""
        ...

    def put(self, key: str, buffers: Sequence[Buffer]) -> None:
        """Write the object, the buffers one after the other, whole and at once."""
        ...

    def replace(self, key: str, make: Callable[[Buffer | None], Sequence[Buffer]]) -> None:
        """Write what `make` returns for the present object; it is called again where another writer came first."""
        ...

    def append(self, key: str, data: bytes) -> None:
        """Add to the end of a log and make it durable."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that do not exist are no error."""
        ...

    def delete_folder(self, prefix: str) -> None:
        """Remove all objects below `prefix`."""
        ...

    def delete_empty(self, folder: str) -> None:  # noqa: ARG002  # for stores that have folders
        """Remove a folder if nothing is left in it; a no-op where there are no folders."""
        return

    def at_once(self, actions: Sequence[Callable[[], None]]) -> None:
        """Run all actions, concurrently where most of each is waiting.

        All have ended when this returns or raises; it raises the first error of them.
        """
        for action in actions:
            action()

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield (key, length in bytes) of each object in the folder `prefix`, however deep; nothing if it is missing."""
        ...

    def flush(self, keys: Iterable[str]) -> None:  # noqa: ARG002  # for stores that need it
        """Return when these objects would survive a loss of power; at once where a write is durable by itself."""
        return

    def sweep(self) -> int:
        """Remove temporary files of interrupted writers, under the lock; return how many."""
        return 0

    def free(self) -> tuple[int | None, int | None]:
        """Return how many bytes and how many more files (inodes) fit; None for what has no limit or is not known."""
        return None, None

    def create_worker_lock(self, name: str) -> None:
        """Create the lock of a worker that is about to begin. Raises OSError."""
        self.put(f"{WORKERS}/{name}", [b"{}"])

    def acquire_worker_lock(self, name: str) -> WorkerLock:
        """Acquire a worker's lock, in the worker's own process.

        Raises:
            LockedError: there is none: the run is over, or this process sees another folder than the run.
        """
        ...

    def remove_worker_lock(self, name: str) -> bool:
        """Remove a worker lock; False where its worker still holds it, so that its shards must not be reassigned yet."""
        ...


def read_object(store: Store, key: str) -> bytes | None:
    """Return an object's content; None where it does not exist. Raises OSError."""
    try:
        return bytes(store.get(key))
    except FileNotFoundError:
        return None


def put_changed(store: Store, objects: Iterable[tuple[str, bytes]]) -> None:
    """Write those of the objects (key, content) that are missing or differ, and make them durable. Raises OSError."""
    put_all(store, ((key, data) for key, data in objects if read_object(store, key) != data))


def put_all(store: Store, objects: Iterable[tuple[str, bytes | Sequence[Buffer]]]) -> None:
    """Write objects (key, content whole or in pieces), and make them durable together. Raises OSError."""
    written = []
    for key, data in objects:
        store.put(key, [data] if isinstance(data, bytes) else data)
        written.append(key)
    if written:
        store.flush(written)


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
