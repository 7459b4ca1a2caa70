"""Objects in a bucket, through obstore: S3, Google Cloud Storage, Azure.

**A run never writes over an object that it does not know.** Every put states what must be there: nothing, or the very
object that was read. Where something else is, another process wrote; then the run asks its lease whether the mosaic is
still its own (`contested`), looks again, and only then writes. So a process that was paused for hours, and wakes between
its last look at the lease and its next put, replaces nothing of the run that came after it. A put whose acknowledgement
was lost finds its own bytes there, and is done.
"""

from __future__ import annotations

import contextlib
import errno
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from downloader.errors import RefusedError
from downloader.mosaic.format.codec import Buffer
from downloader.mosaic.record.paths import WORKERS
from downloader.mosaic.storage.bucket_errors import ambiguous, is_conflict, store_error
from downloader.mosaic.storage.store import Store
from downloader.mosaic.storage.worker_lock import BucketWorkerLock

if TYPE_CHECKING:
    from obstore.store import ObjectStore


Tag = dict[str, str]
"""A version of an object as the store names it: entity tag, and a version where it has such."""

_WRITERS: Final = 8
"""Concurrent puts: each is one round trip, most of it waiting."""

_PIECE: Final = 128 * 1024
"""Bytes after which a log continues in its next object."""

_SMALL: Final = 4 << 20
"""Bytes of an object up to which the short time limit applies."""

_CONTESTS: Final = 4

_CONFLICTS: Final = 6
"""Tries of a put that the store refuses because another request for the object is under way (S3's 409)."""

_CONFLICT_PAUSE_S: Final = 0.2
"""The first pause between them; each next one is twice as long."""

_ABSENT: Final[Tag] = {}


class BucketStore(Store):
    """A Store over any store of obstore: S3, Google Cloud Storage, Azure, memory."""

    def __init__(self, objects: ObjectStore, name: str, patient: ObjectStore | None = None) -> None:
        """Nothing is asked of the store yet.

        Args:
            objects: a store of obstore: a folder in a bucket.
            name: URL of the mosaic, for messages.
            patient: the same with a longer time limit for one request; for large objects.
        """
        self._objects = objects
        self._patient = patient or objects
        self.name = name
        self.writers = _WRITERS
        self._tails: dict[str, tuple[int, bytes]] = {}

    @property
    def objects(self) -> ObjectStore:
        """The store of obstore."""
        return self._patient

    # Reading.

    def get(self, key: str) -> Buffer:
        """See `Store`."""
        import obstore

        with self._errors(key):
            return memoryview(obstore.get(self._patient, key).bytes())

    def get_range(self, key: str, start: int, end: int) -> Buffer:
        """See `Store`."""
        import obstore

        with self._errors(key):
            return memoryview(obstore.get_range(self._objects, key, start=start, end=end))

    def tagged(self, key: str) -> tuple[Buffer, Tag] | None:
        """Return the object and its tag; None where there is none."""
        import obstore

        try:
            with self._errors(key):
                found = obstore.get(self._patient, key)
                return memoryview(found.bytes()), self._tag(found.meta)
        except FileNotFoundError:
            return None

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """See `Store`."""
        import obstore

        with self._errors(prefix):
            for batch in obstore.list(self._objects, prefix or None):
                for meta in batch:
                    yield meta["path"], meta["size"]

    def entries(self, folder: str = "") -> frozenset[str]:
        """Return the names of the objects and folders directly in `folder`."""
        import obstore

        with self._errors(folder):
            found = obstore.list_with_delimiter(self._objects, folder or None)
        paths = [*found["common_prefixes"], *(meta["path"] for meta in found["objects"])]
        return frozenset(path.rstrip("/").rpartition("/")[2] for path in paths)

    # Writing.

    def put(self, key: str, buffers: Sequence[Buffer]) -> None:
        """See `Store`."""
        self._exchange(key, lambda _: buffers, None)

    def replace(self, key: str, make: Callable[[Buffer | None], Sequence[Buffer]]) -> None:
        """See `Store`."""
        self._exchange(key, make, self.tagged(key), again=True)

    def swap(self, key: str, data: bytes, tag: Tag | None) -> Tag | None:
        """Put the object over the version `tag`; None stands for no object.

        Returns:
            The new tag; None where another version is there. `data` must be bytes that no other writer would write, so
            that they are recognised after a lost acknowledgement.
        """
        for is_last in (False, True):
            problem: OSError | None = None
            try:
                return self._send(key, [data], tag or _ABSENT)
            except _ContestedError:
                pass
            except OSError as error:
                problem = error
            there = self.tagged(key)
            if there is not None and bytes(there[0]) == data:
                return there[1]
            if problem is None or (None if there is None else there[1]) != tag:
                return None
            if is_last:
                raise problem
        raise AssertionError("unreachable")

    def append(self, key: str, data: bytes) -> None:
        """See `Store`. Buckets cannot append: a log is a folder of numbered objects, and the last one is put anew.

        A log has one writer, so its objects need no conditions and may be put twice.
        """
        number, tail = self._tails.get(key) or (sum(1 for _ in self.list(key)), b"")
        if tail and len(tail) + len(data) > _PIECE:
            number, tail = number + 1, b""
        self._send(f"{key}/{number:09d}", [tail + data], None)
        self._tails[key] = (number, tail + data)

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store`."""
        import obstore

        keys = list(keys)
        try:
            with self._errors(keys[0] if keys else ""):
                obstore.delete(self._objects, keys)
        except FileNotFoundError:
            # Some stores report one that is missing, and leave the others.
            for key in keys:
                with contextlib.suppress(FileNotFoundError), self._errors(key):
                    obstore.delete(self._objects, key)

    def delete_folder(self, prefix: str) -> None:
        """See `Store`."""
        self.delete([key for key, _ in self.list(prefix)])

    def at_once(self, actions: Sequence[Callable[[], None]]) -> None:
        """See `Store`."""
        if len(actions) < 2:
            super().at_once(actions)
            return
        futures = [self._pool.submit(action) for action in actions]
        wait(futures)
        for future in futures:
            future.result()

    def acquire_worker_lock(self, name: str) -> BucketWorkerLock:
        """See `Store`."""
        lock = BucketWorkerLock(self, f"{WORKERS}/{name}")
        lock.confirm()
        self.contested = lock.confirm
        return lock

    def remove_worker_lock(self, name: str) -> bool:
        """See `Store`. Deleting is all that can be done: puts of its worker are contested from then on."""
        self.delete([f"{WORKERS}/{name}"])
        return True

    # Beneath.

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_WRITERS, thread_name_prefix="bucket")

    def _exchange(
        self,
        key: str,
        make: Callable[[Buffer | None], Sequence[Buffer]],
        there: tuple[Buffer, Tag] | None,
        *,
        again: bool = False,
    ) -> None:
        """Replace the version `there` by what `make` returns; if another one appeared, `again` calls it with that one."""
        old, tag = there or (None, _ABSENT)
        for attempt in range(1, _CONTESTS + 1):
            pieces = make(old)
            try:
                self._send(key, pieces, tag)
                return
            except _ContestedError:
                self.contested()
            except OSError as error:
                # Perhaps only the acknowledgement was lost: the next put will tell.
                if not ambiguous(error) or attempt == _CONTESTS:
                    raise
                continue
            now = self.tagged(key)
            if now is not None and _same(now[0], pieces):
                return
            tag = _ABSENT if now is None else now[1]
            old = now[0] if now is not None and again else None
        raise OSError(errno.EBUSY, "another process keeps writing this object", key)

    def _send(self, key: str, pieces: Sequence[Buffer], tag: Tag | None) -> Tag:
        """Put an object over the version `tag`; None for any.

        Raises _ContestedError where something else is there. A 409 says nothing of what is there: the put is repeated.
        """
        for attempt in range(_CONFLICTS):
            try:
                return self._send_once(key, pieces, tag)
            except _ConflictError as error:
                if attempt == _CONFLICTS - 1:
                    raise OSError(errno.EAGAIN, str(error), key) from None
            time.sleep(_CONFLICT_PAUSE_S * 2**attempt * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        raise AssertionError("unreachable")

    def _send_once(self, key: str, pieces: Sequence[Buffer], tag: Tag | None) -> Tag:
        import obstore
        from obstore.exceptions import AlreadyExistsError, NotModifiedError, PreconditionError

        objects = self._objects if sum(len(piece) for piece in pieces) <= _SMALL else self._patient
        # A list of buffers goes through without being joined first: a quarter of the time.
        data: Any = list(pieces)
        mode: Any = "overwrite" if tag is None else tag or "create"
        with self._errors(key):
            try:
                made = obstore.put(objects, key, data, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError, NotModifiedError) as error:
                if tag is None or is_conflict(error):
                    raise _ConflictError(
                        "the store keeps answering 409: another request for this object is under way"
                    ) from None
                raise _ContestedError from None
        return self._tag(made)

    def _tag(self, told: Any) -> Tag:  # noqa: ANN401  # obstore's own
        tag = {name: told[name] for name in ("e_tag", "version") if told[name]}
        if not tag:
            raise RefusedError(
                f"{self.name}: the store has no entity tags, so two runs could not be kept apart; choose another store"
            )
        return tag

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            # Not `from error`: its text may hold signed addresses.
            raise store_error(error, self.name, key) from None


class _ContestedError(Exception):
    """The object differs from the version that the put names."""


class _ConflictError(Exception):
    """The store refused a put because another request for the object is under way."""


def _same(there: Buffer, pieces: Sequence[Buffer]) -> bool:
    begin = 0
    for piece in pieces:
        if bytes(there[begin : begin + len(piece)]) != bytes(piece):
            return False
        begin += len(piece)
    return begin == len(there)
