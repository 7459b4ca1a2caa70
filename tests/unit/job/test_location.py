"""The places of mosaics: folders, and folders in buckets."""

from __future__ import annotations

from pathlib import Path

import pytest

from downloader.job import Job
from downloader.job.location import BucketUrl, parse_place


@pytest.mark.parametrize("text", ["out/a.zarr", "/data/a", "./s3/a", "a:b", "~/m.zarr", "s3", "C:/x"])
def test_a_path_is_a_folder(text) -> None:
    assert parse_place(text) is None


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket/a/b.zarr", BucketUrl("s3", "bucket", "a/b.zarr")),
        ("S3://bucket/a/", BucketUrl("s3", "bucket", "a")),
        ("gs://my.bucket-1_x/a b/ä=1", BucketUrl("gs", "my.bucket-1_x", "a b/ä=1")),
        ("az://box/m.zarr", BucketUrl("az", "box", "m.zarr")),
        ("memory://m", BucketUrl("memory", "m", "")),
    ],
)
def test_a_url_is_a_bucket_and_a_prefix(text, url) -> None:
    assert parse_place(text) == url
    assert parse_place(str(url)) == url


def test_a_url_that_went_through_pathlib_is_known_again() -> None:
    assert parse_place(str(Path("s3://bucket/a/b"))) == BucketUrl("s3", "bucket", "a/b")


@pytest.mark.parametrize(
    "text",
    [
        "http://host/a", "file:///a", "s3://bucket", "s3://bucket/", "s3:///a", "s3://b/a//b", "s3://b/../a", "s3://b/./a",
        "s3://b/a?x=1", "s3://b/a#f", "s3://k:s@b/a", "gs://b/a*", "az://b/a\\b", "s3://b/a%2f", "s3://-b/a", "s3://b/a\nb",
    ],
)  # fmt: skip
def test_what_names_no_folder_in_a_bucket_is_refused(text) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_place(text)


def test_a_job_knows_both(tmp_path) -> None:
    def path(text: str) -> object:
        return Job.parse(f"source: {{asset: X}}\nmosaic: {{path: '{text}'}}", base=tmp_path).mosaic_path

    assert path("o") == tmp_path / "o"
    assert path("gs://bucket/o/") == "gs://bucket/o"
