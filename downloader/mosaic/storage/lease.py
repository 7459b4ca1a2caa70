"""One run per mosaic in a bucket, where no kernel releases a lock: a lease, kept by writing it anew.

The lease is an object that only changes by conditional puts: it is made where none is, or put over the very version
that was read. Its holder puts it anew every 20 s. Whoever finds it held watches it: if it changes, its holder lives, and
the watcher is refused; after 120 s without a change, by the watcher's own clock, it is taken over. No clock is ever
compared with another's.

Each holder has an epoch, one more than the last. It stands in the names of the ledger's files, and a new holder's file
says how much of the earlier ones it found: what an earlier holder adds later does not count (`ledger`). Together with
puts that say what must be there (`bucket`), a holder that was paused and wakes changes nothing, wherever it was paused.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from downloader.errors import DownloadError, LockedError, RefusedError, StoppedError
from downloader.mosaic.storage.worker_lock import WORKERS

if TYPE_CHECKING:
    from downloader.mosaic.storage.bucket import BucketStore, Tag

__all__ = ["LEASE", "Lease", "Terms", "is_leased"]

LEASE: Final = ".downloader/lease"
"""The object. It stays when the lease is given back: its epoch must not be used twice."""

_FORMAT: Final = 1
_HIDDEN: Final = "DOWNLOADER_LEASE_S"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a lease lasts; all in seconds."""

    lasts: float = 120.0
    """Without a change, until somebody else takes it over."""

    @property
    def renewed(self) -> float:
        """Between two puts of the holder."""
        return self.lasts / 6

    @property
    def looked_at(self) -> float:
        """Between two looks of who waits."""
        return self.lasts / 24

    @property
    def trusted(self) -> float:
        """After a put was begun, during which the holder need not ask: half of what others wait."""
        return self.lasts / 2

    @classmethod
    def usual(cls) -> Terms:
        """Those of DESIGN; shorter where tests say so, for all runs of a mosaic alike."""
        return cls(float(os.environ[_HIDDEN])) if _HIDDEN in os.environ else cls()


@dataclass(frozen=True, slots=True)
class _Document:
    """What the object says."""

    epoch: int
    token: str
    """Of one holder; nobody else writes it."""
    renewals: int
    holder: str
    """For messages; empty once the lease was given back."""

    def to_bytes(self) -> bytes:
        return json.dumps(
            {
                "lease": _FORMAT,
                "epoch": self.epoch,
                "token": self.token,
                "renewals": self.renewals,
                "holder": self.holder,
            }
        ).encode()

    @classmethod
    def read(cls, data: bytes, where: str) -> _Document | None:
        """None for what is damaged. Raises RefusedError for a newer version's."""
        try:
            document: dict[str, Any] = json.loads(data)
            version = document["lease"]
            if not isinstance(version, int) or version > _FORMAT:
                raise RefusedError(f"{where}: its lease was written by a newer version; use that one")
            return cls(
                int(document["epoch"]),
                str(document["token"]),
                int(document["renewals"]),
                str(document["holder"]),
            )
        except (ValueError, KeyError, TypeError):
            return None


class Lease:
    """A `Lock` by conditional puts."""

    def __init__(
        self,
        store: BucketStore,
        last_epoch: Callable[[], int],
        abandoned: threading.Event | None = None,
        terms: Terms | None = None,
    ) -> None:
        """Not taken yet.

        Args:
            store: the mosaic's objects, with little patience for one request.
            last_epoch: the highest that the ledger knows; asked where the lease's own record is gone.
            abandoned: set by who no longer wants to wait.
            terms: how long it lasts; the usual ones for None.
        """
        self._store = store
        self._last_epoch = last_epoch
        self._abandoned = abandoned or threading.Event()
        self._terms = terms or Terms.usual()
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._mine: _Document | None = None
        self._tag: Tag | None = None
        self._confirmed = 0.0
        self._lost = ""
        self._renewing: threading.Thread | None = None
        self.took_over = False
        """Whether its last holder may still be about."""

    @property
    def epoch(self) -> int | None:
        """This holder's number."""
        return None if self._mine is None else self._mine.epoch

    def acquire(self) -> None:
        """See `Lock`. Waits where somebody holds it, until that one is known to live, or not to."""
        seen: Tag | None = None
        since = _clock()
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
                    "%s: held by another run (%s); looking for up to %.0f s whether it lives",
                    self._store.name,
                    holder,
                    self._terms.lasts,
                )
            elif tag != seen:
                raise LockedError(
                    f"{self._store.name}: another run is writing it ({holder}); wait for its end, or stop it and run again"
                )
            elif _clock() - since >= self._terms.lasts:
                epoch = 1 + (document.epoch if document is not None else self._last_epoch())
                if self._take(epoch, tag):
                    self.took_over = True
                    return
                continue
            if self._abandoned.wait(self._terms.looked_at):
                raise LockedError(
                    f"{self._store.name}: another run holds it ({holder}); this one was stopped while it waited"
                )

    def check(self) -> None:
        """See `Lock`. Costs nothing as long as the last renewal is fresh.

        Raises:
            LockedError: it was taken over.
            StoppedError: the bucket cannot be reached, so nobody knows.
        """
        if self._mine is None or self._lost:
            raise LockedError(self._lost or f"{self._store.name}: the lease is not held")
        if _clock() - self._confirmed > self._terms.trusted:
            self.confirm()

    def confirm(self) -> None:
        """`check`, asking the bucket whatever the clock says: clocks stand still in a paused machine."""
        try:
            self._renew()
        except OSError as error:
            raise StoppedError(
                f"{self._store.name}: the lease cannot be renewed ({error.strerror or error}), so another run may begin;"
                " everything committed before is saved: run the same command again to continue"
            ) from error

    def release(self) -> None:
        """See `Lock`. The next run then need not wait."""
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

    def _take(self, epoch: int, tag: Tag | None) -> bool:
        """Take it over the version `tag`; False where another one was faster."""
        holder = (
            f"process {os.getpid()} on {socket.gethostname()},"
            f" since {datetime.now(UTC).isoformat(timespec='seconds')}"
        )
        mine = _Document(epoch, secrets.token_hex(8), 0, holder)
        began = _clock()
        taken = self._store.swap(LEASE, mine.to_bytes(), tag)
        if taken is None:
            return False
        self._mine, self._tag, self._confirmed = mine, taken, began
        self._prove()
        self._renewing = threading.Thread(target=self._renew_on, name="lease", daemon=True)
        self._renewing.start()
        self._store.delete_folder(WORKERS)
        return True

    def _prove(self) -> None:
        """Raise RefusedError where the store takes conditions and does not mind them, as some do."""
        ignored = b'{"lease": 1, "note": "this store ignores the conditions of a put"}'
        if self._store.swap(LEASE, ignored, None) or self._store.swap(LEASE, ignored, _STRANGE):
            raise RefusedError(
                f"{self._store.name}: the store ignores conditions on a put (If-None-Match, If-Match), so two runs could"
                " not be kept apart; choose another one, or a newer version of it"
            )

    def _renew_on(self) -> None:
        while not self._ended.wait(self._terms.renewed):
            try:
                self._renew()
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
                    f" ({self._terms.lasts:g} s), and another one took the mosaic over; nothing more was written."
                    " Run the same command again once that one has ended"
                )
                raise LockedError(self._lost)
            self._mine, self._tag, self._confirmed = renewed, tag, began


_STRANGE: Final[Tag] = {"e_tag": '"0000"', "version": "1"}
"""A version that no object of ours has."""


def is_leased(store: BucketStore) -> bool:
    """Whether somebody holds the lease, or died with it; for messages, not for safety."""
    there = store.tagged(LEASE)
    document = None if there is None else _Document.read(bytes(there[0]), store.name)
    return document is not None and bool(document.holder)


def _clock() -> float:
    """Seconds, those of a suspended machine included where the system counts them."""
    # Python's own clock stands still while a laptop sleeps, on Linux and on macOS.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
