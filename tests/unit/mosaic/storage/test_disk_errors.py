"""What a disk's errors become: the kind says what the user can do."""

from __future__ import annotations

import errno
import os

import pytest

from downloader.errors import RefusedError, StoppedError
from downloader.mosaic.storage.disk import DiskStore
from downloader.mosaic.storage.disk_errors import disk_error, trying


@pytest.mark.parametrize(
    ("number", "kind", "told"),
    [
        (errno.ENOSPC, StoppedError, "no space left"),
        (errno.EDQUOT, StoppedError, "no space left"),
        (errno.EIO, StoppedError, "check the disk"),
        (errno.EACCES, RefusedError, "Permission denied"),
        (errno.ELOOP, RefusedError, "Too many levels of symbolic links"),
        (errno.ENAMETOOLONG, RefusedError, "File name too long"),
    ],
)
def test_each_errno_has_its_kind(number, kind, told) -> None:
    error = disk_error("m", OSError(number, os.strerror(number)))
    assert type(error) is kind
    assert told in str(error)


@pytest.mark.parametrize(
    ("nbytes", "files", "told"),
    [
        (10, 5, "no space left on the disk for x: 1,000 bytes are needed, 10 are free"),
        (5000, 0, "no inodes left"),
        (5000, 5, r"1,000 bytes are needed, 5,000 are free \(a quota"),
    ],
)
def test_a_full_disk_says_what_it_lacks(tmp_path, monkeypatch, nbytes, files, told) -> None:
    monkeypatch.setattr(DiskStore, "free", lambda _: (nbytes, files))

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StoppedError, match=told):
        trying(DiskStore(tmp_path), "x", 1000, full)
