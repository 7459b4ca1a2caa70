"""`downloader doctor`: what is well, what is not and what to do about it."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

import downloader
from tests.harness import command, job, write_job

SERVICE = ("credentials", "project", "registration", "pixels", "computing", "quota")


@pytest.fixture
def account(emulator, tmp_path):
    """Options that name the emulator, its project and its key."""
    return ("--endpoint", emulator.url, "--project", "p-test-1", "--key-file", emulator.key_file)


def levels(document: dict) -> dict[str, str]:
    return {finding["name"]: finding["level"] for finding in document["findings"]}


def asked(emulator) -> list[dict]:
    return emulator.control("requests")["requests"]


def test_all_is_well(emulator, account, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = command("doctor", *account)
    assert ended.status == 0, ended
    assert "all is well; 5 requests" in ended.out
    found = command("doctor", *account, "--json").document
    assert found["well"]
    assert levels(found) == dict.fromkeys(("versions", "disk", "locks", "endpoint", "clock", *SERVICE), "ok")
    assert list(tmp_path.iterdir()) == [], "no trace is left"


def test_a_job_is_examined_where_its_mosaic_goes(emulator, tmp_path):
    path = write_job(tmp_path, job(emulator, tmp_path / "deep" / "er" / "mosaic.zarr"))
    found = downloader.doctor(path)
    assert found.is_well
    assert str(tmp_path) in next(one.text for one in found.findings if one.name == "disk")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.yaml"]


# ---------------------------------------------------------------- what can be wrong


def failed(ended, name: str, status: int) -> dict:
    """The finding of this name, which failed and has a remedy or words that tell one."""
    assert ended.status == status, ended
    found = {one["name"]: one for one in ended.document["findings"]}
    assert found[name]["level"] == "fail"
    return found[name]


def test_a_key_that_is_none(emulator, tmp_path):
    key = tmp_path / "key.json"
    key.write_text("{}")
    ended = command("doctor", "--endpoint", emulator.url, "--key-file", key, "--json")
    assert "service account" in failed(ended, "credentials", 6)["text"]
    assert levels(ended.document)["endpoint"] == "ok", "the rest is looked at all the same"


def test_a_key_that_is_not_there(emulator, tmp_path):
    ended = command("doctor", "--endpoint", emulator.url, "--key-file", tmp_path / "no.json", "--json")
    assert "does not exist" in failed(ended, "credentials", 6)["text"]


def test_a_key_of_somebody_else(emulator, account):
    emulator.control("configure", {"faults": [{"fault": "token-signature"}]})
    ended = command("doctor", *account, "--json")
    found = failed(ended, "credentials", 6)
    assert found["remedy"]
    assert "project" not in levels(ended.document)


def test_a_token_that_is_refused(emulator, account):
    emulator.control("configure", {"faults": [{"fault": "unauthenticated-401", "on": "asset"}]})
    assert failed(command("doctor", *account, "--json"), "credentials", 6)["remedy"]


@pytest.mark.parametrize(
    ("project", "word"),
    [("p-disabled", "enable"), ("p-denied", "service.project"), ("p-unregistered", "register")],
)
def test_a_wrong_project(emulator, project, word):
    ended = command(
        "doctor", "--endpoint", emulator.url, "--project", project, "--key-file", emulator.key_file, "--json"
    )
    document = ended.document
    if project == "p-unregistered":  # told where something is computed, as the service does
        wrong = [one for one in document["findings"] if one["level"] != "ok"]
        assert wrong, document
        assert any(word in one["remedy"] + one["text"] for one in wrong)
        return
    found = failed(ended, "project", 6)
    assert word in found["remedy"]
    assert levels(document)["credentials"] == "ok"


def test_a_project_that_cannot_be_one(emulator):
    ended = command(
        "doctor",
        "--endpoint",
        emulator.url,
        "--project",
        "No Project!",
        "--key-file",
        emulator.key_file,
        "--json",
    )
    failed(ended, "project", 6)


def test_no_network():
    with socket.socket() as reserved:  # a port that nobody listens at
        reserved.bind(("127.0.0.1", 0))
        ended = command("doctor", "--endpoint", f"http://127.0.0.1:{reserved.getsockname()[1]}", "--json")
    found = failed(ended, "endpoint", 4)
    assert found["remedy"]
    assert ended.document["requests"] == 1
    assert "pixels" not in levels(ended.document)


@pytest.mark.parametrize(
    ("minutes", "level", "status"),
    [(0, "ok", 0), (2, "warn", 0), (-2, "warn", 0), (45, "fail", 6), (-45, "fail", 6)],
)
def test_a_clock_that_is_off(emulator, account, minutes, level, status):
    there = datetime.now(UTC) + timedelta(minutes=minutes)
    emulator.control("configure", {"headers": {"Date": format_datetime(there, usegmt=True)}})
    ended = command("doctor", *account, "--json")
    clock = next(one for one in ended.document["findings"] if one["name"] == "clock")
    assert (clock["level"], ended.status) == (level, status)
    if minutes:
        assert ("behind" if minutes > 0 else "ahead") in clock["text"]
        assert "NTP" in clock["remedy"]


def test_a_project_whose_parallelism_is_restricted(emulator, account):
    emulator.control("configure", {"faults": [{"fault": "restricted"}]})
    ended = command("doctor", *account, "--json")
    assert ended.status == 0
    assert levels(ended.document)["quota"] == "warn"


def test_computing_that_is_not_allowed_is_a_warning(emulator, account):
    emulator.control("configure", {"faults": [{"fault": "unregistered-403", "on": "value"}]})
    ended = command("doctor", *account, "--json")
    assert ended.status == 0
    assert levels(ended.document)["computing"] == "warn"


def test_a_place_that_is_a_file(emulator, tmp_path, account):
    (tmp_path / "file").write_text("")
    path = write_job(tmp_path, job(emulator, tmp_path / "file" / "mosaic.zarr"))
    failed(command("doctor", path, "--json"), "disk", 5)


def test_a_file_system_without_locks(emulator, account, monkeypatch):
    import errno
    import fcntl

    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert failed(command("doctor", *account, "--json"), "locks", 5)["remedy"]


def test_a_wrong_job_is_told_as_everywhere(tmp_path):
    (tmp_path / "job.yaml").write_text("source: {}\n")
    assert command("doctor", tmp_path / "job.yaml").status == 2


def test_lines_fit_the_terminal(emulator, account, tmp_path):
    from tests.terminal import on_terminal

    status, shown = on_terminal("doctor", *account, cwd=tmp_path, columns=80)
    assert status == 0, shown
    assert "computing" in shown
    long = [line for line in shown.splitlines() if len(line) > 80 and "https://" not in line]
    assert not [line for line in long if str(tmp_path) not in line]


# ---------------------------------------------------------------- parts


def test_json_is_plain(emulator, account):
    assert json.dumps(command("doctor", *account, "--json").document)


def test_how_the_project_is_registered_is_told(emulator, account):
    found = command("doctor", *account, "--json").document
    texts = {finding["name"]: finding["text"] for finding in found["findings"]}
    assert "noncommercial use" in texts["registration"]
