"""What a live session of the official client lends."""

from __future__ import annotations

from types import SimpleNamespace

import ee
import pytest
from google.auth.credentials import AnonymousCredentials

from downloader.earthengine.auth.live import live_session
from downloader.engine.connect import reach
from downloader.job.service_settings import ServiceSettings


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> AnonymousCredentials:
    """The client as `ee.Initialize(credentials, project="theirs")` leaves it."""
    credentials = AnonymousCredentials()
    state = SimpleNamespace(initialized=True, credentials=credentials, cloud_api_user_project="theirs")
    monkeypatch.setattr(ee.data, "_get_state", lambda: state)
    return credentials


def test_the_real_clients_state_has_what_is_read() -> None:
    state = ee.data._get_state()
    assert hasattr(state, "credentials")
    assert hasattr(state, "cloud_api_user_project")
    assert live_session() == (None, None), "nobody called ee.Initialize"


def test_a_session_lends_credentials_and_project(session: AnonymousCredentials) -> None:
    assert live_session() == (session, "theirs")


async def test_a_job_that_leaves_both_open_takes_them(session: AnonymousCredentials) -> None:
    from downloader.engine.connect import _lent

    assert _lent(ServiceSettings.of()) == (session, "theirs")
    assert _lent(ServiceSettings.of(service={"endpoint": "emulator"})) == (None, None)
    assert _lent(ServiceSettings.of(auth={"none": True})) == (None, None)
    async with reach(ServiceSettings.of(), *_lent(ServiceSettings.of())) as access:
        assert (access.auth.kind, access.project) == ("credentials", "theirs")
    own = ServiceSettings.of(service={"project": "mine"})
    async with reach(own, *_lent(own)) as access:
        assert access.project == "mine"
