"""How a service is reached, with and without a job."""

from __future__ import annotations

from pathlib import Path

import pytest

from downloader.errors import JobError
from downloader.job import Job
from downloader.job.service_settings import ServiceSettings


def test_sections_and_overrides_are_checked_as_those_of_a_job() -> None:
    settings = ServiceSettings.of({"endpoint": "emulator"}, "none", ["service.project=p"])
    assert (settings.service.endpoint, settings.service.project, settings.auth.kind) == (
        "emulator",
        "p",
        "none",
    )
    assert ServiceSettings.of().service.endpoint == "auto"
    assert ServiceSettings.of().mosaic_path is None
    with pytest.raises(JobError, match=r"service\.endpoint"):
        ServiceSettings.of({"endpoint": "nowhere at all"})
    with pytest.raises(JobError, match="mosaic"):
        ServiceSettings.of(overrides=["mosaic.path=x"])


def test_a_job_has_its_own(tmp_path: Path) -> None:
    text = "{source: {asset: a}, mosaic: {path: m}, auth: {key_file: key.json}, limits: {concurrency: 7}}"
    job = Job.parse(text, base=tmp_path)
    assert job.resolve("key.json") == tmp_path / "key.json"
    assert job.mosaic_path == tmp_path / "m"
    assert job.limits.concurrency == 7
    assert job.is_local
