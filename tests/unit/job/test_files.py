"""Files that a job names: only regular ones of bounded size are read."""

import os
from pathlib import Path

import pytest

from downloader.errors import JobError
from downloader.job.files import read_text
from downloader.job.load import load


def refused(path, most=100):
    with pytest.raises(JobError) as caught:
        read_text(path, most, "name another", "region.points.file")
    assert len(str(caught.value)) < 500
    return str(caught.value)


def test_text_is_read_without_its_mark(tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes("\ufefflön,lat".encode())
    assert read_text(file, 100, "") == "lön,lat"


def test_devices_pipes_and_folders_are_refused_without_reading_them(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "/dev/zero is no regular file; name another" in refused(Path("/dev/zero"))
    assert "is no regular file" in refused(tmp_path / "pipe")
    assert "is a folder" in refused(tmp_path)


def test_files_that_are_missing_too_large_or_no_text_say_so(tmp_path):
    file = tmp_path / "a.csv"
    assert refused(file) == f"region.points.file: there is no file {file}; name another"
    file.write_bytes(b"a" * 101)
    assert "is larger than" in refused(file)
    file.write_bytes(b"a\nb\xff")
    assert "line 2: is not UTF-8 text" in refused(file)


def test_a_path_of_any_length_is_repeated_in_part(tmp_path):
    assert "too long" in refused(tmp_path / ("x" * 70_000))


def test_a_job_file_is_a_regular_file():
    with pytest.raises(JobError, match="no regular file; name a job file"):
        load("/dev/zero")
