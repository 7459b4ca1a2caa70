"""Checks of arguments."""

from __future__ import annotations

import errno

import pytest

from downloader.arguments import writing
from downloader.errors import JobError, StoppedError


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            StoppedError,
            "a.png: the disk is full; make room and",
        ),
        (
            OSError(errno.EACCES, "Permission denied"),
            JobError,
            r"a.png: cannot be written \(Permission denied\); name",
        ),
    ],
)
def test_files_that_cannot_be_written(error, kind, words) -> None:
    with pytest.raises(kind, match=words), writing("a.png"):
        raise error
