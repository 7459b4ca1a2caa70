"""The lock that keeps two runs from writing one mosaic on a disk."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading
import time
import weakref
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from downloader.errors import LockedError, RefusedError
from downloader.mosaic.record.paths import WORKERS
from downloader.mosaic.storage.system import (
    BINARY,
    NOFOLLOW,
    is_file_at,
    read_at,
    touch,
    try_lock,
    unlock,
    write_at,
)
from downloader.mosaic.storage.worker_lock import await_workers

_UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}

READER_WAIT_S: Final = 60.0
"""Seconds that a run waits for a lazy reader that holds the lock."""

_NOTE_S: Final = 1.0
"""Seconds to wait for the note of a holder that has just taken the lock."""


class Lock(Protocol):
    """The right of one run to write a mosaic."""

    @property
    def epoch(self) -> int | None:
        """Number of this holder; None where a holder cannot lose the right while its process lives."""
        ...

    @property
    def others_s(self) -> float:
        """Seconds after which one that waits for the lock has seen that it was given back."""
        ...

    @property
    def took_over(self) -> bool:
        """Whether the last holder did not give the right back, and may still be running."""
        ...

    def acquire(self) -> None:
        """Acquire it.

        Raises:
            LockedError: another run holds it; the message names that run.
            RefusedError: this place has no locks that can be relied on.
        """
        ...

    def check(self) -> None:
        """Raise LockedError when the lock was lost; called before every commit."""
        ...

    def confirm(self) -> None:
        """Check again without relying on earlier answers: another process seems to write."""
        ...

    def is_wanted(self) -> bool:
        """Return whether another process is known to wait for it."""
        ...

    def release(self) -> None:
        """Give it back; a no-op for one that is not held."""
        ...


class FileLock:
    """A `Lock` by the kernel, which releases it when the process ends, however that ends."""

    epoch = None
    others_s = 1.0
    took_over = False

    def __init__(
        self, path: Path, mosaic: str, abandoned: threading.Event | None = None, *, reads: bool = False
    ) -> None:
        """Nothing is acquired yet.

        Args:
            path: the file.
            mosaic: path of the mosaic, for messages.
            abandoned: set by a caller that no longer wants to wait.
            reads: whether it is for a lazy reader.
        """
        self._path = path
        self._mosaic = mosaic
        self._abandoned = abandoned or threading.Event()
        self._reads = reads
        self._guard = threading.Lock()
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """See `Lock`. Waits for a lazy reader that holds it, up to 60 s; a lazy reader itself never waits here."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | NOFOLLOW | BINARY, 0o644)
        began = time.monotonic()
        try:
            while not try_lock(descriptor):
                note = _read(descriptor)
                # Without a note its holder has this moment taken it.
                patience_s = (
                    _NOTE_S if not note else READER_WAIT_S if note.get("reads") and not self._reads else 0
                )
                touch(descriptor, self._path)  # for `is_wanted` of the holder
                if time.monotonic() - began >= patience_s or self._abandoned.wait(0.1):
                    raise held(self._mosaic, _named(note), reads=bool(note.get("reads")))
        except OSError as error:
            os.close(descriptor)
            if error.errno in _UNSUPPORTED:
                raise RefusedError(
                    f"{self._mosaic}: this file system has no locks that die with their process"
                    f" ({os.strerror(error.errno or 0)}); choose a mosaic.path on a local disk"
                ) from error
            raise
        except LockedError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        _HELD.add(self)
        try:
            note = {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "reads": self._reads,
            }
            os.ftruncate(descriptor, 0)
            write_at(descriptor, json.dumps(note).encode(), 0)
            touch(descriptor, self._path, (0, 0))
            self.check()
            await_workers(self._path.parent / Path(WORKERS).name, self._mosaic)
        except BaseException:
            self.release()
            raise

    def check(self) -> None:
        """See `Lock`. Lost once the mosaic was moved, deleted or unmounted under this process."""
        if self._descriptor is None:
            raise LockedError(f"{self._mosaic}: the lock is not held")
        if not is_file_at(self._descriptor, self._path):
            raise LockedError(
                f"{self._mosaic}: the mosaic was moved, deleted or unmounted while this run was writing it; what was"
                " committed is in the mosaic, wherever it is now: put it back, or name its new place, and run again"
            )

    def confirm(self) -> None:
        """See `Lock`."""
        self.check()

    def is_wanted(self) -> bool:
        """See `Lock`. Those that wait touch the file."""
        return self._descriptor is not None and os.fstat(self._descriptor).st_mtime > 0

    def release(self) -> None:
        """See `Lock`. The file stays: deleting it would let two processes lock two files of one name."""
        with self._guard:
            descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
            # A child that was forked meanwhile has a copy, which would keep the lock.
            with contextlib.suppress(OSError):
                unlock(descriptor)
            os.close(descriptor)

    def forget(self) -> None:
        """Close a forked child's copy of the descriptor; the lock stays the parent's."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


_HELD: weakref.WeakSet[FileLock] = weakref.WeakSet()
"""Locks that this process held once."""


def _in_child() -> None:
    for lock in list(_HELD):
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def held(mosaic: str, holder: str, *, reads: bool) -> LockedError:
    """Return the error to raise where the lock is held; `reads` where a lazy reader holds it."""
    if reads:
        return LockedError(
            f"{mosaic}: a lazy reader is fetching into it ({holder}), and has not given it back; wait until it has"
            " read, or end it, and run again"
        )
    return LockedError(
        f"{mosaic}: another run is writing it ({holder}); wait for its end, or stop it and run again"
    )


def seems_held(path: Path) -> bool:
    """Return whether a process seems to hold the lock; for messages, not for safety.

    Trying the lock, even for a moment, could refuse a run that starts in that moment. Linux lists its locks by inode;
    other systems do not, nor does Linux list those of other containers: there the answer is False.
    """
    try:
        inode = str(path.stat().st_ino)
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return any(
        "FLOCK" in words and words[-3].rpartition(":")[2] == inode
        for words in map(str.split, lines)
        if len(words) > 3
    )


def _read(descriptor: int) -> dict[str, Any]:
    """Return the holder's note; empty where it cannot be read, as in the moment in which it is written."""
    try:
        note = json.loads(read_at(descriptor, 4096, 0))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _named(note: Mapping[str, Any]) -> str:
    try:
        return f"process {note['pid']} on {note['host']}, since {note['started']}"
    except KeyError:
        return "its name is not known"
