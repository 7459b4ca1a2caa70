"""From a URL and the environment to a store: each cloud's own variables, and what of them may be shown."""

from __future__ import annotations

import os
import pickle

import pytest

import downloader
from downloader.errors import AuthenticationError, JobError, MissingExtraError
from downloader.job.location import parse_place
from downloader.mosaic.storage.cloud import connect_bucket
from downloader.mosaic.storage.location import Bucket, Folder, locate
from tests import harness
from tests.buckets.google import google
from tests.buckets.server import SECRET


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """An environment that names no cloud."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "AZURE_", "STORAGE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch


def store(url: str):
    return connect_bucket(parse_place(url), 7, 5)


def test_a_place_is_a_folder_or_a_bucket(tmp_path) -> None:
    assert isinstance(locate(tmp_path), Folder)
    assert isinstance(locate("s3://b/a"), Bucket)
    assert locate(tmp_path / "a").name == str(tmp_path / "a")
    assert locate("gs://b/a/").name == "gs://b/a"
    with pytest.raises(JobError, match="names a whole bucket"):
        locate("s3://b")


def test_s3_takes_the_usual_variables_and_shows_no_secret(bare) -> None:
    bare.setenv("AWS_ACCESS_KEY_ID", "key")
    bare.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    bare.setenv("AWS_ENDPOINT_URL", "http://localhost:9")
    bare.setenv("AWS_CONNECT_TIMEOUT", "2s")
    made = store("s3://b/a")
    assert made.client_options == {"allow_http": "true", "timeout": "7s", "connect_timeout": "2s"}
    assert SECRET not in repr(made)
    assert SECRET.encode() not in pickle.dumps(made)
    assert pickle.loads(pickle.dumps(made)) == made
    bare.setenv("AWS_TIMEOUT", "90s")
    bare.setenv("AWS_ENDPOINT_URL", "https://localhost:9")
    assert store("s3://b/a").client_options == {"timeout": "90s", "connect_timeout": "2s"}


def test_s3_reads_profiles_through_boto3(bare, tmp_path) -> None:
    folder = tmp_path / ".aws"
    folder.mkdir()
    (folder / "credentials").write_text(
        f"[mine]\naws_access_key_id = key\naws_secret_access_key = {SECRET}\n"
    )
    (folder / "config").write_text("[profile mine]\nregion = eu-north-1\n")
    bare.setenv("AWS_PROFILE", "mine")
    made = store("s3://b/a")
    assert made.credential_provider is not None
    assert made.config["region"] == "eu-north-1"
    bare.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(AuthenticationError, match="nobody"):
        store("s3://b/a")
    bare.setitem(__import__("sys").modules, "boto3", None)
    with pytest.raises(MissingExtraError, match=r"earthengine-downloader\[s3\]"):
        store("s3://b/a")


def test_azure_takes_account_or_connection_string(bare) -> None:
    with pytest.raises(AuthenticationError, match="set AZURE_STORAGE_ACCOUNT_NAME"):
        store("az://box/a")
    bare.setenv("AZURE_STORAGE_ACCOUNT_NAME", "me")
    bare.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    made = store("az://box/a")
    assert made.config["account_name"] == "me"
    assert b"c2VjcmV0" not in pickle.dumps(made)
    bare.delenv("AZURE_STORAGE_ACCOUNT_NAME")
    bare.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    bare.setenv(
        "AZURE_STORAGE_CONNECTION_STRING",
        "DefaultEndpointsProtocol=http;AccountName=dev;AccountKey=c2VjcmV0;BlobEndpoint=http://localhost:9/dev;",
    )
    made = store("az://box/a")
    assert made.config["endpoint"] == "http://localhost:9/dev"
    assert made.client_options["allow_http"] == "true"
    assert "c2VjcmV0" not in repr(made)


def test_memory_is_one_for_each_name() -> None:
    assert store("memory://one") is store("memory://one")
    assert store("memory://one") is not store("memory://two")


def test_a_run_into_google_cloud_storage(bare, emulator, small, tmp_path) -> None:
    """Its generations stand for versions: puts on conditions, pages of lists, ranges, deletions one by one."""
    with google() as base:
        bare.setenv("STORAGE_EMULATOR_HOST", base)
        job_file = str(small("gs://box/a/m.zarr"))
        report = downloader.download(job_file, progress=False)
        again = downloader.download(job_file, progress=False)
        assert (report.requests > 0, again.requests) == (True, 0)
        scene = report.open()
        for band in ("B2", "B3"):
            wanted = harness.oracle_window(harness.QUICKSTART, band, 300, 300, 700, 700)
            harness.same_bits(scene[band].to_numpy(), wanted, band)
        scene.close()
        assert downloader.status("gs://box/a/m.zarr").is_complete
        over = downloader.download(job_file, progress=False, overwrite=True)
        assert over.requests == report.requests
