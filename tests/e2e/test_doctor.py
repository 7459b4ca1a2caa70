"""`downloader doctor`: what is well, what is not and what to do about it; and the open points of the contract."""

from __future__ import annotations

import json
import re
import socket
import struct
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

import downloader
from downloader.diagnosis.live.live import redacted
from downloader.diagnosis.live.tags import read_tags
from earthengine_emulator.api.settings import STRICT, Settings
from tests.harness import command, job, secrets, write_job

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
    assert found["settled"] is None
    assert levels(found) == dict.fromkeys(("versions", "disk", "locks", "endpoint", "clock", *SERVICE), "ok")
    assert list(tmp_path.iterdir()) == [], "no trace is left"


def test_a_job_is_examined_where_its_mosaic_goes(emulator, tmp_path):
    path = write_job(tmp_path, job(emulator, tmp_path / "deep" / "er" / "mosaic.zarr"))
    found = downloader.doctor(path)
    assert found.is_well
    assert str(tmp_path) in next(one.text for one in found.findings if one.name == "disk")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.yaml"]


def test_live_settles_in_fifteen_requests_and_tells_no_secret(emulator, account):
    # What this block says is the mild emulator's answer, also where everything else runs against the strict one.
    mild = Settings()
    emulator.control("configure", {name: getattr(mild, name) for name in STRICT})
    before = len(asked(emulator))
    ended = command("doctor", *account, "--live")
    assert ended.status == 0, ended
    calls = asked(emulator)[before:]
    assert 10 < len(calls) <= 15, [call["method"] for call in calls]
    assert all(call["size"] is None or max(call["size"]) <= 2 for call in calls), "small ones"
    block = ended.out
    assert block.startswith("```text\n")
    assert block.endswith("```\n")
    for point in (
        "1 masked, computed",
        "2 NPY",
        "2 PNG",
        "4 unknown band",
        "4 no fileFormat",
        "6, 7",
        "8 pageSize",
    ):
        assert point in block
    assert "|u1 0, |i1 0, <i2 0" in block
    assert "a multiple of 64" in block
    assert "bits 32/32/32" in block
    assert "accepted, 2 entries" in block
    for word in (*secrets(emulator.key_file), b"p-test-1", b"gserviceaccount"):
        assert word not in block.encode()
    for word in secrets(emulator.key_file):
        assert word not in ended.err.encode()
    assert "14 requests to the service" in ended.err


def test_live_tells_the_strict_emulator_from_the_mild_one(emulator, account):
    emulator.control("configure", {"fill": "min", "header_padding": 16})
    block = command("doctor", *account, "--live").out
    assert "<i2 -32768" in block
    assert "|u1 0, |i1 -128" in block


def test_live_shows_what_is_unusual(emulator, account):
    emulator.control("configure", {"headers": {"Retry-After": "7", "x-earth-engine-init-message": "hello"}})
    block = command("doctor", *account, "--live").out
    assert "Retry-After: seen" in block
    assert "x-earth-engine-init-message: hello" in block


def test_nothing_is_asked_live_where_pixels_cannot_be_read(emulator, account):
    emulator.control("configure", {"faults": [{"fault": "permission-403", "on": "pixels"}]})
    ended = command("doctor", *account, "--live", "--json")
    assert ended.status == 6
    assert ended.document["settled"] is None
    assert ended.document["requests"] == 5


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


def test_what_is_pasted_is_redacted():
    text = (
        "403: project my-proj (project_number:123456789) of a.b@c.iam.gserviceaccount.com ya29.abc-def token"
    )
    shown = redacted(text, "my-proj", "service account a.b@c.iam.gserviceaccount.com (key.json)")
    assert not re.search(r"my-proj|123456|a\.b|ya29", shown)
    assert shown.startswith("403: project …")


def test_tags_of_a_tiff_in_either_order():
    for order, magic in (("<", b"II*\0"), (">", b"MM\0*")):
        entries = [
            struct.pack(f"{order}HHIHH", 277, 3, 1, 2, 0),
            struct.pack(f"{order}HHII", 258, 3, 3, 200),
            struct.pack(f"{order}HHII", 42113, 2, 6, 210),
        ]
        data = magic + struct.pack(f"{order}I", 8) + struct.pack(f"{order}H", 3) + b"".join(entries)
        data = data.ljust(200, b"\0") + struct.pack(f"{order}3H", 16, 16, 32)
        data = data.ljust(210, b"\0") + b"-9999\0"
        assert read_tags(data) == {277: (2,), 258: (16, 16, 32), 42113: "-9999"}


@pytest.mark.parametrize(
    "data", [b"", b"PNG", b"II*\0", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"]
)
def test_what_is_no_tiff_is_told(data):
    with pytest.raises(ValueError, match="TIFF"):
        read_tags(data)


def test_json_is_plain(emulator, account):
    assert json.dumps(command("doctor", *account, "--json").document)


def test_how_the_project_is_registered_is_told(emulator, account):
    found = command("doctor", *account, "--json").document
    texts = {finding["name"]: finding["text"] for finding in found["findings"]}
    assert "noncommercial use" in texts["registration"]
