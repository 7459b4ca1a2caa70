"""Rows 87 to 91 and 99 of tests/contract/acceptance.md: quotas, their signals, and slots that come free."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp
import pytest

from tests.contract.conftest import PROJECT, Api, detail, error_of, grid
from tests.oracle import QUICKSTART

PATH = f"/v1/{QUICKSTART}:getPixels"
TILE = {"fileFormat": "NPY", "bandIds": ["B2"], "grid": grid(width=16, height=16)}
LIMITED = {"Authorization": "Bearer tok", "X-Goog-User-Project": "p-limited"}


async def send(session, base):
    """One request of p-limited: status and body."""
    async with session.post(base + PATH, data=json.dumps(TILE), headers=LIMITED) as answer:
        return answer.status, await answer.read()


async def started(api, count):
    """Wait until so many requests have reached the emulator."""
    await in_flight(api, lambda n: n >= count)


async def in_flight(api, wanted):
    """Ask the emulator, which is another process, until its number of requests is as wanted."""
    async with asyncio.timeout(10):
        while not wanted((await asyncio.to_thread(api.emulator.control, "state"))["in_flight"]):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)


async def test_row_087_third_request_at_once_is_refused(api, emulator):
    emulator.control("configure", {"latency_ms": 60_000})
    async with aiohttp.ClientSession() as session:
        slow = [asyncio.create_task(send(session, emulator.url)) for _ in range(2)]
        await started(api, 2)
        status, body = await send(session, emulator.url)
        assert not any(task.done() for task in slow)
        emulator.control("configure", {"latency_ms": 0})
        assert status == 429
        assert json.loads(body)["error"] == {
            "code": 429,
            "message": "Too Many Requests: Request was rejected because the request rate or concurrency limit was "
            "exceeded.",
            "status": "RESOURCE_EXHAUSTED",
        }
        assert [status for status, _ in await asyncio.gather(*slow)] == [200, 200]


async def test_row_088_the_other_host_counts_for_itself(api, emulator):
    emulator.control("configure", {"latency_ms": 60_000})
    async with aiohttp.ClientSession() as session:
        slow = [asyncio.create_task(send(session, emulator.url)) for _ in range(2)]
        await started(api, 2)
        other = asyncio.create_task(send(session, emulator.high_volume_url))
        await started(api, 3)
        emulator.control("configure", {"latency_ms": 0})
        assert [status for status, _ in await asyncio.gather(other, *slow)] == [200, 200, 200]
    assert emulator.control("state")["max_in_flight"]["standard p-limited"] == 2
    assert emulator.control("state")["max_in_flight"]["high-volume p-limited"] == 1


def test_row_089_sixty_first_request_in_a_minute(api, emulator):
    for _ in range(60):
        assert api.get(f"/v1/{QUICKSTART}", X_Goog_User_Project="p-limited").status_code == 200
    error = error_of(api.get(f"/v1/{QUICKSTART}", X_Goog_User_Project="p-limited"), 429, "RESOURCE_EXHAUSTED")
    metadata = detail(error)["metadata"]
    assert detail(error)["reason"] == "RATE_LIMIT_EXCEEDED"
    assert set(metadata) == {
        *("quota_metric", "quota_limit", "quota_limit_value", "quota_location", "consumer", "service")
    }
    assert metadata["quota_limit_value"] == "60"
    assert detail(error, "Help")
    number = metadata["consumer"].removeprefix("projects/")
    assert error["message"] == (
        "Quota exceeded for quota metric 'Number of read requests' and limit 'Number of read requests per minute per "
        f"user' of service 'earthengine.googleapis.com' for consumer 'project_number:{number}'."
    )
    emulator.control("configure", {"quota_window_s": 0.1})
    time.sleep(0.1)
    assert api.get(f"/v1/{QUICKSTART}", X_Goog_User_Project="p-limited").status_code == 200


def test_row_090_daily_compute_cap(api, emulator):
    emulator.control("configure", {"compute_s_per_day": 2, "compute_s_per_request": 1})
    assert [api.post(PATH, TILE).status_code for _ in range(2)] == [200, 200]
    error = error_of(api.post(PATH, TILE), 429, "RESOURCE_EXHAUSTED")
    assert error["message"] == (
        "Your usage exceeded the custom quota for 'earthengine.googleapis.com/daily_eecu_usage_time', which is adjustable "
        "by your administrator in the Google Cloud console: https://console.cloud.google.com/quotas/?project=_."
    )
    emulator.control("configure", {"compute_quota_status": 403})
    error_of(api.post(PATH, TILE), 403, "PERMISSION_DENIED")


def test_row_091_restricted_project(api):
    answer = api.post(PATH, TILE, X_Goog_User_Project="p-restricted")
    assert answer.status_code == 200
    assert answer.headers["x-earth-engine-quota-status"] == "parallelism_restricted=true"
    assert "x-earth-engine-quota-status" not in api.post(PATH, TILE).headers


async def test_row_099_a_client_that_leaves_frees_its_slot(api, emulator):
    emulator.control("configure", {"latency_ms": 60_000})
    async with aiohttp.ClientSession() as session:
        slow = [asyncio.create_task(send(session, emulator.url)) for _ in range(2)]
        await started(api, 2)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
    emulator.control("configure", {"latency_ms": 0})
    await in_flight(api, lambda n: n == 0)
    assert api.post(PATH, TILE, X_Goog_User_Project="p-limited").status_code == 200


def test_latency_grows_with_the_answer(api, emulator):
    emulator.control("configure", {"latency_ms": 50, "latency_ms_per_mb": 200})
    for side, least in ((16, 0.05), (707, 0.25)):
        begun = time.monotonic()
        assert api.pixels(bandIds=["B2"], grid=grid(width=side, height=side)).status_code == 200
        assert least <= time.monotonic() - begun


@pytest.mark.parametrize(
    ("host", "role"),
    [
        ("127.0.0.1:1234", "standard"),
        ("earthengine.googleapis.com", "standard"),
        ("[::1]:80", "standard"),
        ("localhost:1234", "high-volume"),
        ("earthengine-highvolume.googleapis.com", "high-volume"),
    ],
)
def test_host_names_and_roles(api, emulator, host, role):
    assert api.get(f"/v1/{QUICKSTART}", Host=host).status_code == 200
    assert emulator.control("requests")["requests"][-1]["host"] == role


def test_statistics_count_what_is_served_twice(api, emulator):
    other = Api(emulator, project=PROJECT)
    for column in (0, 256, 256):
        assert other.pixels(bandIds=["B2", "B3"], grid=grid(column)).status_code == 200
    other.client.close()
    assert emulator.control("state")["pixels"] == {
        "served": 3,
        "distinct": 2,
        "repeated": 1,
        "bytes": 3 * (256 * 256 * 4 + 128),
    }
    record = emulator.control("requests")["requests"][-1]
    assert record["bands"] == ["B2", "B3"]
    assert record["window"] == [256, 0, 256, 256]
    assert record["complete"]
    assert "authorization" not in record["headers"]
    assert record["headers"]["x-goog-user-project"] == PROJECT
    assert json.loads(record["body"])["bandIds"] == ["B2", "B3"]
