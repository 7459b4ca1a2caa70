"""Differences between operating systems: locks of files, flags, descriptors of folders.

POSIX systems have `fcntl`, Windows has `msvcrt`; neither is imported before it is used. Windows and macOS were never tried.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import Any, Final

NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
NONBLOCK: Final = getattr(os, "O_NONBLOCK", 0)
"""Opening a pipe in a file's place does not wait for its other end."""

DIRECTORY: Final = getattr(os, "O_DIRECTORY", 0)
BINARY: Final = getattr(os, "O_BINARY", 0)
"""Windows turns line feeds into two characters without it."""

FOLDERS: Final = os.open in os.supports_dir_fd and os.stat in os.supports_dir_fd
"""Whether files can be opened relative to a folder's descriptor."""

_LOCK_BYTE: Final = 2**30
"""Byte that is locked where no whole file can be: beyond the holder's note, which others read meanwhile."""


def try_lock(descriptor: int) -> bool:
    """Return whether this process now has the lock of a file, which the system takes back when the process ends.

    Raises:
        OSError: there are no such locks here.
    """
    try:
        import fcntl
    except ImportError:
        return _try_windows(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            return False
        raise
    return True


def unlock(descriptor: int) -> None:
    """Give the lock back, also where a child that was forked has a copy of the descriptor. Raises OSError."""
    try:
        import fcntl
    except ImportError:
        _windows_lock(descriptor, "LK_UNLCK")
    else:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _try_windows(descriptor: int) -> bool:
    try:
        _windows_lock(descriptor, "LK_NBLCK")
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EDEADLK}:
            return False
        raise
    return True


def _windows_lock(descriptor: int, mode: str) -> None:
    try:
        import msvcrt
    except ImportError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    windows: Any = msvcrt
    os.lseek(descriptor, _LOCK_BYTE, os.SEEK_SET)
    windows.locking(descriptor, getattr(windows, mode), 1)


def sync(descriptor: int) -> None:
    """Wait until a file is on the disk. Raises OSError."""
    try:
        import fcntl
    except ImportError:
        os.fsync(descriptor)
        return
    # macOS's fsync leaves the drive's own cache alone; this one does not (fcntl(2) there).
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        fcntl.fcntl(descriptor, full)
    else:
        os.fsync(descriptor)


_UNCACHED_FROM: Final = 2**18
"""Bytes of a file from which on its pages are given back: small ones are soon read again, and cost little."""


def uncache(descriptor: int) -> None:
    """Give back the pages that the kernel keeps of a large file that is on the disk, so that the next file gets the same.

    A virtual machine asks its host for each page that it has not used before: writing 609 MB of shards took 1.0 ms/MB of
    pixels with fresh pages, 0.1 with these. A no-op where the system has no such call.
    """
    if hasattr(os, "posix_fadvise") and os.fstat(descriptor).st_size >= _UNCACHED_FROM:
        with contextlib.suppress(OSError):  # an advice, which some file systems do not take
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def is_file_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file is still the one at its path, and not moved, deleted or replaced."""
    try:
        there = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def read_at(descriptor: int, count: int, offset: int) -> bytes:
    """Return bytes of a file from an offset on. The descriptor belongs to one thread."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, count, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, count)


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write bytes into a file at an offset. The descriptor belongs to one thread."""
    if hasattr(os, "pwrite"):
        os.pwrite(descriptor, data, offset)
    else:
        os.lseek(descriptor, offset, os.SEEK_SET)
        os.write(descriptor, data)


def touch(descriptor: int, path: Path, times: tuple[float, float] | None = None) -> None:
    """Set the times of an open file; None for now."""
    os.utime(descriptor if os.utime in os.supports_fd else path, times)


def free_space(path: Path, descriptor: int | None) -> tuple[int, int | None]:
    """Return (bytes, files) that fit on the disk of a folder; None where files are not counted."""
    if not hasattr(os, "statvfs"):
        return shutil.disk_usage(path).free, None
    found = os.statvfs(path if descriptor is None else descriptor)
    return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None
