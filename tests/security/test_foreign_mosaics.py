"""A mosaic from somebody else: its links lead nowhere, its job runs nothing, its marker breaks nothing."""

from __future__ import annotations

import json

import pytest

from downloader.errors import JobError, RefusedError
from downloader.job import Job
from downloader.mosaic.open import open_for_writing
from downloader.mosaic.record.ownership import read_identity
from downloader.mosaic.storage.disk import DiskStore
from downloader.mosaic.storage.lock import FileLock
from downloader.mosaic.stored_job import thaw
from downloader.planning import Plan
from tests.harness import cli, job, write_job
from tests.mosaics import one_group


async def made(path, plan: Plan | None = None, **options) -> None:
    async with open_for_writing(path, plan or one_group(["B2"]), service="test", **options):
        pass


async def test_overwrite_deletes_nothing_behind_a_link(tmp_path):
    mosaic, outside = tmp_path / "m", tmp_path / "outside"
    await made(mosaic)
    (mosaic / "B2").rename(outside)
    (outside / "mine.txt").write_text("mine")
    (mosaic / "B2").symlink_to(outside)
    await made(mosaic, one_group(["B4"]), purpose="overwrite")
    assert (outside / "mine.txt").read_text() == "mine"
    assert not (mosaic / "B2").exists()


@pytest.mark.parametrize("linked", ["10m", "10m/B2"])
def test_a_folder_is_not_deleted_through_a_link_to_it_or_above_it(tmp_path, linked):
    outside = tmp_path / "outside"
    (outside / "B2").mkdir(parents=True)
    (outside / "B2/mine.txt").write_text("mine")
    mosaic = tmp_path / "m"
    (mosaic / linked).parent.mkdir(parents=True)
    (mosaic / linked).symlink_to(outside if linked == "10m" else outside / "B2")
    DiskStore(mosaic).delete_folder("10m/B2")
    assert (outside / "B2/mine.txt").read_text() == "mine"


def test_nothing_is_written_through_a_link_in_the_place_of_a_file(tmp_path):
    outside = tmp_path / "profile"
    outside.write_text("mine")
    mosaic = tmp_path / "m"
    mosaic.mkdir()
    for name in ("ledger", "lock", "array"):
        (mosaic / name).symlink_to(outside)
    store = DiskStore(mosaic)
    with pytest.raises(OSError, match="symbolic link"):
        store.append("ledger", b"a line\n")
    with pytest.raises(OSError, match="symbolic link"):
        FileLock(mosaic / "lock", "m").acquire()
    store.put("array", [b"pixels"])  # replaces the link
    assert (mosaic / "array").read_bytes() == b"pixels"
    assert outside.read_text() == "mine"


def test_a_marker_nested_without_end_is_refused(tmp_path):
    own = tmp_path / "m/.downloader"
    own.mkdir(parents=True)
    (own / "mosaic.json").write_text("[" * 200_000)
    with pytest.raises(RefusedError):
        read_identity(tmp_path / "m")
    (tmp_path / "m/zarr.json").write_text("[" * 200_000)
    with pytest.raises(RefusedError):
        read_identity(tmp_path / "m")


def kept(folder, **sections):
    own = folder / ".downloader"
    own.mkdir()
    (own / "job.yaml").write_text(json.dumps(job(None, folder, **sections)))
    return folder


@pytest.mark.parametrize(
    "auth",
    [
        {"access_token_command": ["touch", "pwned"]},
        {"key_file": "key.json"},
        {"access_token_env": "SECRET"},
        {"application_default": True},
        "earthengine",
    ],
)
def test_no_credentials_are_chosen_because_a_mosaic_says_so(tmp_path, auth):
    mosaic = kept(tmp_path, auth=auth, service={"project": "theirs", "workload_tag": "theirs"})
    job_of_it = thaw(mosaic, "", "earthengine")
    assert job_of_it.auth == Job.from_dict({"source": {"asset": "A"}, "mosaic": {"path": "m"}}).auth
    assert (job_of_it.service.project, job_of_it.service.workload_tag) == (None, None)
    mine = thaw(mosaic, "", "earthengine", ['auth={"key_file": "/k.json"}', "service.project=mine"])
    assert (mine.auth.key_file, mine.service.project) == ("/k.json", "mine")


def test_no_credentials_go_to_a_server_because_a_mosaic_says_so(tmp_path):
    url = "https://earthengine.googleapis.com.evil.example"
    mosaic = kept(tmp_path, service={"endpoint": url})
    with pytest.raises(JobError, match="--endpoint"):
        thaw(mosaic, "", "earthengine")
    assert thaw(mosaic, "", "earthengine", [f'service.endpoint="{url}"']).service.endpoint == url


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "https://eu.googleapis.com", "auto", "emulator"])
def test_a_mosaic_may_name_this_machine_and_googles(tmp_path, url):
    assert thaw(kept(tmp_path, service={"endpoint": url}), "", "earthengine").service.endpoint == url


def test_no_report_and_no_picture_replaces_a_part_of_a_mosaic(tmp_path):
    file = write_job(tmp_path, job(None, "m.zarr"))
    (tmp_path / "m.zarr").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "m.zarr")
    done = cli("run", file, "--report", tmp_path / "link/zarr.json")
    assert (done.status, "lies inside the mosaic" in done.err) == (2, True), done
    done = cli("preview", tmp_path / "m.zarr", "-o", tmp_path / "m.zarr/zarr.json")
    assert (done.status, "lies inside the mosaic" in done.err) == (2, True), done
    assert list((tmp_path / "m.zarr").iterdir()) == []
