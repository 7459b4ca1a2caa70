"""Asking how far a mosaic is, of paths that are none."""

from __future__ import annotations

import os

import pytest

import downloader
from downloader.errors import RefusedError
from downloader.mosaic.status import status


def unreadable(folder):
    (folder / "loop").symlink_to("loop")
    (folder / "file").write_text("")
    return [folder / ("x" * 300), folder / "loop", folder / "loop" / "m", folder / "file", folder / "nothing"]


def test_a_path_that_cannot_be_read_is_refused(tmp_path) -> None:
    for path in unreadable(tmp_path):
        with pytest.raises(RefusedError):
            status(path)
        if path.name != "file":  # which is read as a job file
            with pytest.raises(RefusedError):
                downloader.status(path)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_refused(tmp_path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(RefusedError, match="Permission denied"):
        status(tmp_path / "closed" / "m")


def test_a_pipe_in_place_of_a_file_ends_the_question(tmp_path) -> None:
    (tmp_path / ".downloader").mkdir()
    os.mkfifo(tmp_path / ".downloader" / "mosaic.json")
    with pytest.raises(RefusedError, match="a pipe, a socket or a device"):
        status(tmp_path)
