"""Secrets stay where they are: no log, error, repr, pickle, report or store shows one."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import pytest

import downloader
from downloader.earthengine.auth.find import AuthSettings, FoundCredentials
from downloader.earthengine.auth.issuers import VariableIssuer
from downloader.earthengine.auth.tokens import TokenSource
from downloader.earthengine.client import Access, EarthEngine
from downloader.earthengine.http import check_proxies
from downloader.errors import JobError
from downloader.flow.clock import MonotonicClock
from downloader.job import Job
from downloader.mosaic.stored_job import freeze
from tests.harness import STATIC_TOKEN as TOKEN
from tests.harness import cli, job, window, write_job

PASSWORD = "Tr0ub4dor"
ONE_TILE = {"region": window(0, 0, 256, 256)}


def secrets_of(emulator) -> list[str]:
    """Lines of the private key, and how any signed assertion or granted token begins."""
    key = json.loads(emulator.key_file.read_text())["private_key"]
    return [line for line in key.splitlines() if len(line) > 40] + ["eyJ", "Bearer ", TOKEN]


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_no_logger_of_any_library_shows_a_secret(emulator, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "aiohttp", "google", "google.auth", "urllib3", "downloader"):
        caplog.set_level(logging.DEBUG, logger=name)
    downloader.download(job(emulator, tmp_path / "m.zarr", **ONE_TILE), progress=False)
    assert "httpx" in {record.name for record in caplog.records}
    assert [s for s in secrets_of(emulator) if s in caplog.text] == []


@pytest.mark.parametrize("level", ["-v", "-vv"])
def test_no_verbose_run_shows_or_stores_a_secret(emulator, tmp_path, level):
    values = job(emulator, "m.zarr", **ONE_TILE) | {"auth": {"access_token_env": "MY_TOKEN"}}
    file = write_job(tmp_path, values)
    done = cli("run", file, level, "--report", tmp_path / "report.json", env={"MY_TOKEN": TOKEN})
    assert done.status == 0, done
    assert TOKEN not in done.out + done.err
    assert TOKEN.encode() not in everything_in(tmp_path)


def test_a_mosaic_keeps_no_command_that_prints_tokens(tmp_path):
    values = job(None, tmp_path / "m.zarr") | {"auth": {"access_token_command": ["printf", TOKEN]}}
    frozen = freeze(Job.from_dict(values))
    assert TOKEN not in frozen
    assert "access_token_command" not in frozen
    assert "asset:" in frozen


def test_a_source_of_tokens_is_not_pickled(monkeypatch):
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    source = TokenSource(FoundCredentials(VariableIssuer("MY_TOKEN"), "a variable"), clock=MonotonicClock())
    with pytest.raises(TypeError, match="tokens are not pickled"):
        pickle.dumps(source)
    settings = AuthSettings("access_token_env", "MY_TOKEN")
    assert TOKEN.encode() not in pickle.dumps(settings)
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_a_pickled_or_shown_job_holds_the_way_to_a_secret_and_not_the_secret(monkeypatch, tmp_path):
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    one = Job.from_dict(job(None, tmp_path / "m.zarr") | {"auth": {"access_token_env": "MY_TOKEN"}})
    assert TOKEN.encode() not in pickle.dumps(one)
    assert TOKEN not in repr(one) + str(one) + one.dump()


@pytest.mark.parametrize("kind", ["application_default", "chain"])
def test_a_key_inside_the_mosaic_is_refused_whatever_road_leads_to_it(emulator, tmp_path, kind):
    inside = tmp_path / "m.zarr"
    inside.mkdir()
    key = inside / "key.json"
    key.write_bytes(emulator.key_file.read_bytes())
    key.chmod(0o600)
    values = job(emulator, "m.zarr", **ONE_TILE) | {"auth": {kind: True} if kind != "chain" else {}}
    done = cli("run", write_job(tmp_path, values), env={"GOOGLE_APPLICATION_CREDENTIALS": str(key)})
    assert done.status == 2, done
    assert "lies inside the mosaic" in done.err
    assert [s for s in secrets_of(emulator) if s in done.out + done.err] == []


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{PASSWORD}/x@127.0.0.1:1",  # the slash ends the host: the password becomes a port
        f"http://user:{PASSWORD}@127.0.0.1:port",
        f"foo://user:{PASSWORD}@127.0.0.1:1",
    ],
)
def test_a_proxy_variable_that_is_no_address_is_named_and_its_password_is_not(monkeypatch, url):
    monkeypatch.setenv("HTTPS_PROXY", url)
    with pytest.raises(JobError, match="HTTPS_PROXY") as error:
        check_proxies()
    assert PASSWORD not in str(error.value)


def test_a_run_with_such_a_proxy_says_so_in_one_line(tmp_path):
    file = write_job(tmp_path, job(None, "m.zarr", service={"endpoint": "auto"}, auth={"none": True}))
    done = cli("run", file, env={"HTTPS_PROXY": f"http://user:{PASSWORD}/x@127.0.0.1:1"})
    assert done.status == 2, done
    assert "HTTPS_PROXY is no proxy's address" in done.err
    assert "Traceback" not in done.err
    assert PASSWORD not in done.out + done.err


@pytest.mark.parametrize(
    ("url", "kind", "warned"),
    [
        ("http://emulator.example:8080", "access_token_env", True),
        ("http://emulator.example:8080", "none", False),
        ("http://127.0.0.1:8080", "access_token_env", False),
        ("https://emulator.example", "access_token_env", False),
    ],
)
async def test_tokens_that_would_go_unencrypted_are_warned_about(url, kind, warned):
    settings = AuthSettings(kind, "MY_TOKEN" if kind != "none" else None)
    async with EarthEngine(Access(settings, url, url, project="p-test-1")) as service:
        assert any("unencrypted" in line for line in service.warnings) == warned


def test_a_token_command_meets_no_shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["printf", "%s", "a;touch${IFS}pwned;$(touch${IFS}pwned)"]
    one = Job.from_dict(job(None, "m.zarr") | {"auth": {"access_token_command": ["printf", "%s", "a;b$(c)"]}})
    found = AuthSettings("access_token_command", one.auth.access_token_command).find()
    assert found.issuer is not None
    assert found.issuer.issue(None).text == "a;b$(c)"
    issuer = AuthSettings("access_token_command", tuple(words)).find().issuer
    assert issuer is not None
    assert issuer.issue(None).text == words[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_job_whose_token_a_command_prints_runs_and_keeps_no_word_of_it(emulator, tmp_path):
    values = job(emulator, "m.zarr", **ONE_TILE) | {"auth": {"access_token_command": ["printf", "%s", TOKEN]}}
    done = cli("run", write_job(tmp_path, values), "-vv")
    assert done.status == 0, done
    assert TOKEN not in done.out + done.err
    assert TOKEN.encode() not in everything_in(tmp_path / "m.zarr")
