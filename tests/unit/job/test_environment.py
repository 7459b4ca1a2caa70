"""Variables of the environment fill in what a job leaves open, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from downloader.errors import JobError
from downloader.job.environment import with_environment
from downloader.job.load import as_job
from downloader.job.service_settings import ServiceSettings

JOB = {"source": {"asset": "A"}, "mosaic": {"path": "x.zarr"}}


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A service, a project and a key in the environment; returns the key file."""
    monkeypatch.setenv("DOWNLOADER_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("DOWNLOADER_PROJECT", "mine")
    monkeypatch.setenv("DOWNLOADER_KEY_FILE", str(tmp_path / "key.json"))
    return tmp_path / "key.json"


def test_what_a_job_leaves_open_is_filled_in(variables: Path) -> None:
    job = as_job({**JOB, "limits": {"concurrency": 3}})
    assert (job.service.endpoint, job.service.project) == ("http://127.0.0.1:9", "mine")
    assert (job.auth.kind, job.auth.key_file) == ("key_file", str(variables))
    assert job.limits.concurrency == 3
    settings = with_environment(ServiceSettings.of())
    assert (settings.service.project, settings.auth.key_file) == ("mine", str(variables))


def test_what_a_job_says_counts(variables: Path) -> None:
    stated = {"service": {"endpoint": "standard", "project": "other"}, "auth": {"none": True}}
    job = as_job({**JOB, **stated})
    assert (job.service.endpoint, job.service.project, job.auth.kind) == ("standard", "other", "none")


def test_an_emulator_that_is_started_has_a_key_of_its_own(variables: Path) -> None:
    job = as_job({**JOB, "service": {"endpoint": "emulator"}})
    assert (job.service.project, job.auth.kind) == ("mine", "chain")


def test_a_value_that_means_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOWNLOADER_ENDPOINT", "nowhere")
    with pytest.raises(JobError, match="DOWNLOADER_ENDPOINT=nowhere"):
        as_job(JOB)


def test_without_variables_a_job_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "PROJECT", "KEY_FILE"):
        monkeypatch.setenv(f"DOWNLOADER_{name}", "")
    settings = ServiceSettings.of()
    assert with_environment(settings) is settings
