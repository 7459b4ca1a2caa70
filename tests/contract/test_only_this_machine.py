"""The emulator is for this machine alone: its ports, its names, and what a web page could make a browser send."""

from __future__ import annotations

import stat

import httpx
import pytest

from earthengine_emulator.server.listening import is_own_name
from earthengine_emulator.server.options import UsageError, parse

STRANGERS = ["evil.example", "127.0.0.1.evil.example", "googleapis.com.evil.example", "evil.example:80", "10.0.0.7",
             "0.0.0.0", "user@127.0.0.1", "127.0.0.1@evil.example", "[::2]", "", "xlocalhost", "xgoogleapis.com"]  # fmt: skip


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_it_listens_on_loopback_or_must_be_told_otherwise(host):
    with pytest.raises(UsageError, match="allow-remote"):
        parse([f"--host={host}"])
    assert parse([f"--host={host}", "--allow-remote"]).allow_remote


@pytest.mark.parametrize("host", STRANGERS)
def test_a_strangers_name_is_not_its_own(host):
    assert not is_own_name(host)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8080", "localhost", "a.localhost:1", "[::1]:80", "earthengine.googleapis.com", "127.3.2.1"],
)
def test_these_names_are_its_own(host):
    assert is_own_name(host)


@pytest.mark.parametrize("path", ["/state", "/requests"])
def test_the_control_api_is_closed_to_a_rebound_name(emulator, path):
    with httpx.Client(trust_env=False) as client:
        assert client.get(emulator.control_url + path, headers={"host": "evil.example"}).status_code == 403
        assert client.get(emulator.control_url + path).status_code == 200


def test_the_api_is_closed_to_a_rebound_name(emulator):
    with httpx.Client(trust_env=False) as client:
        answer = client.get(f"{emulator.url}/$discovery/rest?version=v1", headers={"host": "evil.example:80"})
        assert answer.status_code == 403
        assert "--allow-remote" in answer.text
        assert client.get(f"{emulator.url}/$discovery/rest?version=v1").status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_the_control_api_takes_nothing_that_a_page_may_send_unasked(emulator, kind):
    page = {"origin": "https://evil.example", "content-type": kind}
    with httpx.Client(trust_env=False) as client:
        for path in ("configure", "tokens", "expire", "outage", "reset"):
            answer = client.post(f"{emulator.control_url}/{path}", content=b"{}", headers=page)
            assert answer.status_code == 415
        asked = client.options(f"{emulator.control_url}/reset", headers=page)
        assert "access-control-allow-origin" not in {**asked.headers, **answer.headers}


def test_its_key_and_folder_are_its_owners(emulator):
    assert stat.S_IMODE(emulator.key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(emulator.key_file.parent.stat().st_mode) == 0o700
