"""What a disk's or a bucket's errors mean for a run."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final, TypeVar

from downloader.errors import RefusedError, StoppedError
from downloader.mosaic.storage.store import Store

__all__ = ["NOT_WRITABLE", "check_room", "refused", "trying"]

NOT_WRITABLE: Final = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
}
"""Errors that say a path cannot be written, whatever is tried."""

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_ATTEMPTS: Final = 2

T = TypeVar("T")


def trying(store: Store, what: str, needed: int, action: Callable[[], T]) -> T:
    """What `action` returns; once more if it fails for another reason than a full disk.

    Args:
        store: the mosaic's objects, for the message.
        what: what is being written, for the message.
        needed: bytes that it takes.
        action: writes and flushes; safe to repeat from its start.

    Raises:
        StoppedError: it did not work; what the ledger names is safe.
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
                    " everything committed before is saved: see to the disk and run again"
                ) from error
    raise AssertionError("unreachable")


def check_room(store: Store, needed: int, *, compressed: bool) -> str | None:
    """A line for the user where the disk may turn out too small for what is to come; None where it has room.

    Args:
        store: the mosaic's objects.
        needed: bytes of pixels before compression.
        compressed: whether they may take less on the disk, nobody knows by how much.

    Raises:
        StoppedError: there is too little room for certain.
    """
    try:
        free = store.free_bytes()
    except OSError:
        return None
    if free is None or free >= needed:
        return None
    if compressed and free > 0:
        return (
            f"{store.name}: up to {needed:,} bytes are to come, {free:,} are free on the disk;"
            " should it get full, the run stops with everything saved"
        )
    raise StoppedError(_full(store, "the pixels to come", needed))


def refused(where: str, error: OSError) -> RefusedError:
    """The refusal of a path that cannot be written."""
    return RefusedError(
        f"{where}: cannot be written ({error.strerror or error}); choose another mosaic.path or change its permissions"
    )


def _full(store: Store, what: str, needed: int) -> str:
    try:
        free = store.free_bytes()
    except OSError:
        free = None
    room = "" if free is None else f", {free:,} are free"
    return (
        f"{store.name}: no space left on the disk for {what}: {needed:,} bytes are needed{room};"
        " everything committed before is saved: make room and run again"
    )
