"""Errors of a disk or a bucket as errors of this package, and the second try of a write."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final, TypeVar

from downloader.errors import DownloadError, RefusedError, StoppedError
from downloader.mosaic.storage.store import Store

_PERMANENT: Final = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP,
}  # fmt: skip
"""Errors that say a path cannot be read or written, whatever is tried."""

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_ATTEMPTS: Final = 2

T = TypeVar("T")


def trying(store: Store, what: str, needed: int, action: Callable[[], T]) -> T:
    """Return what `action` returns; it is called a second time if it fails for another reason than a full disk.

    Args:
        store: the mosaic's objects, for the message.
        what: what is being written, for the message.
        needed: bytes that it takes.
        action: writes and flushes; safe to repeat from its start.

    Raises:
        StoppedError: it failed; what the ledger names is safe.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return action()
        except OSError as error:
            if error.errno in _FULL:
                raise StoppedError(_full(store, what, needed)) from error
            if attempt == _ATTEMPTS:
                raise StoppedError(
                    f"{store.name}: {what} could not be written ({error.strerror or error}), twice;"
                    " everything committed before is saved: check the disk and run again"
                ) from error
    raise AssertionError("unreachable")


def check_room(store: Store, needed: int, *, compressed: bool) -> str | None:
    """Return a warning where the disk may be too small for what is to come; None where there is room.

    Args:
        store: the mosaic's objects.
        needed: bytes of pixels before compression.
        compressed: whether they may take less on the disk, by an unknown share.

    Raises:
        StoppedError: there is certainly too little room.
    """
    free, _ = _free(store)
    if free is None or free >= needed:
        return None
    if compressed and free > 0:
        return (
            f"{store.name}: up to {needed:,} bytes are to come, {free:,} are free on the disk;"
            " should it get full, the run stops with everything saved"
        )
    raise StoppedError(_full(store, "the pixels to come", needed))


def is_permanent(error: OSError) -> bool:
    """Return whether the error says that a path cannot be read or written, whatever is tried."""
    return error.errno in _PERMANENT


def disk_error(where: str, error: OSError) -> DownloadError:
    """Return the error to raise where a folder cannot be read or written: a refusal, or a stop for a passing fault."""
    told = error.strerror or str(error)
    if error.errno in _FULL:
        return StoppedError(f"{where}: no space left on the disk ({told}); make room and run again")
    if error.errno == errno.EIO:
        return StoppedError(f"{where}: cannot be read or written ({told}); check the disk and run again")
    return RefusedError(
        f"{where}: cannot be read or written ({told}); choose another mosaic.path or change its permissions"
    )


def _full(store: Store, what: str, needed: int) -> str:
    free, files = _free(store)
    if files == 0:
        lacks = "its file system has no inodes left, of which each file takes one"
    else:
        lacks = f"{needed:,} bytes are needed" + ("" if free is None else f", {free:,} are free")
        if free is not None and free >= needed:
            lacks += " (a quota, or blocks reserved for the administrator)"
    return (
        f"{store.name}: no space left on the disk for {what}: {lacks}; everything committed before is saved:"
        " make room and run again"
    )


def _free(store: Store) -> tuple[int | None, int | None]:
    try:
        return store.free()
    except OSError:
        return None, None
