"""The lease that keeps two runs from writing one mosaic in a bucket, where no kernel releases a lock.

The lease is an object that only changes by conditional puts: it is created where none is, or put over the very version
that was read. Its holder renews it every 20 s. A run that finds it held watches it: if it changes, its holder lives, and
the new run is refused; after 120 s without a change, by the watcher's own clock, it is taken over. No clock is ever
compared with another machine's.

Each holder has an epoch, one more than the last. It stands in the names of the ledger's files, and a new holder's file
says how much of the earlier ones it found: what an earlier holder adds later does not count (`ledger`). Together with
puts that state what must be there (`bucket`), a holder that was paused and wakes changes nothing, wherever it was paused.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from downloader.errors import DownloadError, LockedError, RefusedError, StoppedError
from downloader.mosaic.record.paths import LEASE, LEASE_WANTED, WORKERS
from downloader.mosaic.storage.lock import READER_WAIT_S, held
from downloader.mosaic.storage.store import read_object

if TYPE_CHECKING:
    from downloader.mosaic.storage.bucket import BucketStore, Tag


LASTS_S: Final = 120.0
"""Seconds without a renewal after which another run takes a lease over; the same for all runs of a mosaic."""

_FORMAT: Final = 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Document:
    """Content of the object."""

    epoch: int
    token: str
    """A random word that one holder writes and no other."""
    renewals: int
    holder: str
    """Its process, for messages; empty once the lease was given back."""
    reads: bool = False
    """Whether it is a lazy reader, which gives it back soon."""

    def to_bytes(self) -> bytes:
        return json.dumps({"lease": _FORMAT, **asdict(self)}).encode()

    @classmethod
    def read(cls, data: bytes, where: str) -> _Document | None:
        """Return the content; None where it is damaged. Raises RefusedError for a newer version's."""
        try:
            document: dict[str, Any] = json.loads(data)
            version = document.pop("lease")
            if not isinstance(version, int) or version > _FORMAT:
                raise RefusedError(f"{where}: its lease was written by a newer version; use that one")
            return cls(**{**document, "epoch": int(document["epoch"]), "renewals": int(document["renewals"])})
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


class Lease:
    """A `Lock` by conditional puts."""

    def __init__(
        self,
        store: BucketStore,
        last_epoch: Callable[[], int],
        abandoned: threading.Event | None = None,
        lasts_s: float = LASTS_S,
        *,
        reads: bool = False,
    ) -> None:
        """Nothing is acquired yet.

        Args:
            store: the mosaic's objects, with a short time limit for one request.
            last_epoch: returns the highest epoch in the ledger; called where the lease's own object is gone.
            abandoned: set by a caller that no longer wants to wait.
            lasts_s: seconds without a renewal after which others take it over.
            reads: whether it is for a lazy reader.
        """
        self._store = store
        self._last_epoch = last_epoch
        self._abandoned = abandoned or threading.Event()
        self._lasts_s = lasts_s
        self._reads = reads
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._mine: _Document | None = None
        self._tag: Tag | None = None
        self._confirmed = 0.0
        self._lost = ""
        self._is_wanted = False
        self._asked = 0
        """Epoch of the lazy reader that was asked to give it back."""
        self._renewing: threading.Thread | None = None
        self.took_over = False
        """Whether the last holder did not give it back, and may still be running."""

    @property
    def epoch(self) -> int | None:
        """See `Lock`."""
        return None if self._mine is None else self._mine.epoch

    @property
    def others_s(self) -> float:
        """See `Lock`."""
        return self._lasts_s / 40

    def acquire(self) -> None:
        """See `Lock`. Where another run holds it, waits until that run is known to live, or not to.

        A lazy reader is asked to give it back, and one that lives is waited for, up to 60 s; a lazy reader itself waits
        for none that lives.
        """
        seen: Tag | None = None
        since = began = _clock()
        while True:
            there = self._store.tagged(LEASE)
            if there is None:
                if self._take(self._last_epoch() + 1, None):
                    return
                continue
            tag = there[1]
            document = _Document.read(bytes(there[0]), self._store.name)
            if document is not None and not document.holder:
                if self._take(document.epoch + 1, tag):
                    return
                continue
            holder = document.holder if document is not None else "its name is not known"
            if seen is None:
                seen, since = tag, _clock()
                _log.warning(
                    "%s: held by another run (%s); waiting up to %.0f s to see whether it lives",
                    self._store.name,
                    holder,
                    self._lasts_s,
                )
            elif tag != seen:
                reads = document is not None and document.reads
                if not reads or self._reads or _clock() - began > READER_WAIT_S:
                    raise held(self._store.name, holder, reads=reads)
                seen, since = tag, _clock()
            elif _clock() - since >= self._lasts_s:
                epoch = 1 + (document.epoch if document is not None else self._last_epoch())
                if self._take(epoch, tag):
                    self.took_over = True
                    return
                continue
            if self._abandoned.wait(self._ask(document)):
                raise LockedError(
                    f"{self._store.name}: another run holds it ({holder}); this one was stopped while it waited"
                )

    def check(self) -> None:
        """See `Lock`. Costs nothing as long as the last renewal is fresh.

        Raises:
            LockedError: it was taken over.
            StoppedError: the bucket cannot be reached, so it is not known.
        """
        if self._mine is None or self._lost:
            raise LockedError(self._lost or f"{self._store.name}: the lease is not held")
        # Others wait for twice as long before they take it over.
        if _clock() - self._confirmed > self._lasts_s / 2:
            self.confirm()

    def confirm(self) -> None:
        """See `Lock`. Asks the bucket whatever the clock says, which stands still in a paused machine."""
        try:
            self._renew()
        except OSError as error:
            raise StoppedError(
                f"{self._store.name}: the lease cannot be renewed ({error.strerror or error}), so another run may take over;"
                " everything committed before is saved: run the job again to continue"
            ) from error

    def is_wanted(self) -> bool:
        """See `Lock`. A lazy reader learns it within 5 s, from an object that those who wait put; a run never does."""
        return self._is_wanted

    def release(self) -> None:
        """See `Lock`. The next run then does not wait."""
        self._ended.set()
        if self._renewing is not None:
            self._renewing.join()
            self._renewing = None
        with self._guard:
            if self._mine is None or self._lost:
                self._mine = None
                return
            given_back = replace(self._mine, renewals=self._mine.renewals + 1, holder="")
            try:
                self._store.swap(LEASE, given_back.to_bytes(), self._tag)
            except (OSError, DownloadError) as error:
                _log.warning("%s: the lease could not be given back: %s", self._store.name, error)
            self._mine = None

    def _ask(self, document: _Document | None) -> float:
        """Ask a lazy reader that holds it to give it back; return the seconds to wait before the next look."""
        if document is None or not document.reads:
            return self._lasts_s / 24
        if document.epoch != self._asked:
            self._asked = document.epoch
            self._store.put(LEASE_WANTED, [b"%d" % document.epoch])
        return self._lasts_s / 120

    def _take(self, epoch: int, tag: Tag | None) -> bool:
        """Put this process's lease over the version `tag`; False where another process was faster."""
        holder = (
            f"process {os.getpid()} on {socket.gethostname()},"
            f" since {datetime.now(UTC).isoformat(timespec='seconds')}"
        )
        mine = _Document(epoch, secrets.token_hex(8), 0, holder, self._reads)
        began = _clock()
        taken = self._store.swap(LEASE, mine.to_bytes(), tag)
        if taken is None:
            return False
        self._mine, self._tag, self._confirmed = mine, taken, began
        self._prove_conditions()
        self._renewing = threading.Thread(target=self._renew_on, name="lease", daemon=True)
        self._renewing.start()
        self._store.delete_folder(WORKERS)
        return True

    def _prove_conditions(self) -> None:
        """Raise RefusedError where the store accepts conditions of a put and ignores them, as some do."""
        ignored = b'{"lease": 1, "note": "this store ignores the conditions of a put"}'
        if self._store.swap(LEASE, ignored, None) or self._store.swap(LEASE, ignored, _NO_TAG):
            raise RefusedError(
                f"{self._store.name}: the store ignores conditions on a put (If-None-Match, If-Match), so two runs could"
                " not be kept apart; choose another store, or a newer version of it"
            )

    def _renew_on(self) -> None:
        for turn in itertools.count(1):
            if self._ended.wait(self._lasts_s / 24):
                return
            try:
                if turn % 4 == 0:
                    self._renew()
                if self._reads and not self._is_wanted:
                    self._is_wanted = read_object(self._store, LEASE_WANTED) == b"%d" % (self.epoch or 0)
            except LockedError:
                return
            except (OSError, DownloadError) as error:
                # The next turn tries again; before a commit, `check` does.
                _log.info("%s: the lease was not renewed: %s", self._store.name, error)

    def _renew(self) -> None:
        with self._guard:
            if self._mine is None or self._lost:
                raise LockedError(self._lost or f"{self._store.name}: the lease is not held")
            began = _clock()
            renewed = replace(self._mine, renewals=self._mine.renewals + 1)
            tag = self._store.swap(LEASE, renewed.to_bytes(), self._tag)
            if tag is None:
                self._lost = (
                    f"{self._store.name}: this run was paused or cut off for longer than its lease lasts"
                    f" ({self._lasts_s:g} s), and another run took the mosaic over; nothing more was written."
                    " Run the job again once that run has ended"
                )
                raise LockedError(self._lost)
            self._mine, self._tag, self._confirmed = renewed, tag, began


_NO_TAG: Final[Tag] = {"e_tag": '"0000"', "version": "1"}
"""A version that no object has."""


def is_leased(store: BucketStore) -> bool:
    """Return whether a run holds the lease, or died holding it; for messages, not for safety."""
    there = store.tagged(LEASE)
    document = None if there is None else _Document.read(bytes(there[0]), store.name)
    return document is not None and bool(document.holder)


def _clock() -> float:
    """Return seconds on a clock that also runs while the machine is suspended, where the system has one."""
    # Python's own clock stands still while a laptop sleeps, on Linux and on macOS.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
