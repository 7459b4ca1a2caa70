"""One run per mosaic."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from downloader.errors import LockedError, RefusedError
from downloader.mosaic.storage.worker_lock import WORKERS, dismiss

__all__ = ["FileLock", "Lock", "seems_held"]

_UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class Lock(Protocol):
    """The right to write one mosaic."""

    @property
    def epoch(self) -> int | None:
        """Number of this holder; None where a holder cannot lose it without its process ending."""
        ...

    @property
    def took_over(self) -> bool:
        """Whether the last holder did not give it back, and may still be about."""
        ...

    def acquire(self) -> None:
        """Take it. Raises LockedError naming who has it, RefusedError where it cannot be had at all."""
        ...

    def check(self) -> None:
        """Called before every commit. Raises LockedError when the lock was lost."""
        ...

    def confirm(self) -> None:
        """`check`, however sure it is by itself: somebody else seems to write."""
        ...

    def release(self) -> None:
        """Give it back; a no-op for one that is not held."""
        ...


class FileLock:
    """A lock that the kernel releases with its process, however that ends."""

    epoch = None
    took_over = False

    def __init__(self, path: Path, mosaic: str) -> None:
        self._path = path
        self._mosaic = mosaic
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """See `Lock`."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _read(descriptor)
            os.close(descriptor)
            if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
                raise LockedError(
                    f"{self._mosaic}: another run is writing it ({holder}); wait for its end, or stop it and run again"
                ) from None
            if error.errno in _UNSUPPORTED:
                raise RefusedError(
                    f"{self._mosaic}: this file system has no locks that die with their process"
                    f" ({os.strerror(error.errno or 0)}); choose a mosaic.path on a local disk"
                ) from error
            raise
        self._descriptor = descriptor
        note = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(note).encode(), 0)
        self.check()
        try:
            dismiss(self._path.parent / Path(WORKERS).name, self._mosaic)
        except BaseException:
            self.release()
            raise

    def check(self) -> None:
        """See `Lock`. Somebody may have deleted or moved the mosaic under a running process."""
        if self._descriptor is None:
            raise LockedError(f"{self._mosaic}: the lock is not held")
        try:
            there = self._path.stat()
        except FileNotFoundError:
            there = None
        mine = os.fstat(self._descriptor)
        if there is None or (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
            raise LockedError(
                f"{self._mosaic}: its lock file was moved or deleted while this run was writing; run again"
            )

    def confirm(self) -> None:
        """See `Lock`."""
        self.check()

    def release(self) -> None:
        """See `Lock`. The file stays: deleting it would let two processes lock two files of one name."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def seems_held(path: Path) -> bool:
    """Whether a process holds the lock, as far as that can be known without trying it; for messages, not for safety.

    Trying it, even for a moment, could refuse a run that starts in that moment. Linux lists its locks by inode; other
    systems do not, nor does Linux list those of other containers.
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


def _read(descriptor: int) -> str:
    try:
        note = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {note['pid']} on {note['host']}, since {note['started']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "its name is not known"
