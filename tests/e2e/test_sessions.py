"""Several jobs in one process: one quota for all, and each job's pixels as if it were alone."""

from __future__ import annotations

import asyncio

import pytest

import downloader
from downloader.errors import JobError, StoppedError
from tests.harness import compare, job, window


class Flight:
    """Pixel requests of this process under way, canaries among them."""

    def __init__(self):
        self.now = self.most = 0


@pytest.fixture
def flight(monkeypatch):
    """Counted around each call; the emulator counts calls of the catalogue too, which have no quota of pixels."""
    from downloader.earthengine.pixels import RestPixelSource

    counts, fetch = Flight(), RestPixelSource._fetch

    async def counted(self, *arguments):
        counts.now += 1
        counts.most = max(counts.most, counts.now)
        try:
            return await fetch(self, *arguments)
        finally:
            counts.now -= 1

    monkeypatch.setattr(RestPixelSource, "_fetch", counted)
    return counts


def two(emulator, tmp_path, **sections):
    places = (0, 0), (4096, 3072)
    return [
        job(
            emulator,
            tmp_path / f"{number}.zarr",
            region=window(*place, 1024, 1024),
            request={"tiles": 1},
            **sections,
        )
        for number, place in enumerate(places)
    ], places


async def test_two_jobs_share_one_quota_and_take_turns(emulator, flight, tmp_path):
    emulator.configure(latency_ms=60)
    jobs, places = two(emulator, tmp_path, limits={"concurrency": 5})
    async with downloader.Session(jobs=2) as session:
        reports = await asyncio.gather(*map(session.download, jobs))
    assert [report.state for report in reports] == ["complete", "complete"]
    for number, (column, row) in enumerate(places):
        compare(tmp_path / f"{number}.zarr", column=column, row=row)
    pixels = [r for r in emulator.requests("assets.getPixels") if r["size"] != [1, 1]]
    assert len(pixels) == 32
    assert flight.most == 5, "all of the quota, and no more"
    assert emulator.statistics()["max_in_flight"]["total"] <= 5 + 2, "and what the catalogue was asked"
    # Served in turns: half-way through both have got some.
    first_half = [r["window"][0] >= 4096 for r in pixels[:16]]
    assert 3 < sum(first_half) < 13


async def test_the_sessions_own_numbers_count_for_all(emulator, flight, tmp_path):
    emulator.configure(latency_ms=40)
    jobs, _ = two(emulator, tmp_path, limits={"concurrency": 8})
    async with downloader.Session(jobs=2, concurrency=3, memory="2GiB") as session:
        await asyncio.gather(*map(session.download, jobs))
    assert flight.most == 3


async def test_a_job_keeps_to_its_own_limit_too(emulator, flight, tmp_path):
    emulator.configure(latency_ms=40)
    (one, _), _ = two(emulator, tmp_path, limits={"concurrency": 2})
    async with downloader.Session(concurrency=40) as session:
        await session.download(one)
    assert flight.most == 2


async def test_further_jobs_wait_for_their_turn(emulator, tmp_path):
    jobs, _ = two(emulator, tmp_path)
    async with downloader.Session(jobs=1) as session:
        await asyncio.gather(*map(session.download, jobs))
    order = [r["window"][0] >= 4096 for r in emulator.requests("assets.getPixels") if r["size"] != [1, 1]]
    assert order == sorted(order), "one after the other"


async def test_one_failing_job_leaves_the_other_alone(emulator, tmp_path):
    jobs, _ = two(emulator, tmp_path)
    jobs[0]["limits"] = {"max_requests": 3}
    async with downloader.Session() as session:
        ended = await asyncio.gather(*map(session.download, jobs), return_exceptions=True)
    assert isinstance(ended[0], StoppedError)
    assert ended[0].report.tiles_stored == 3
    compare(tmp_path / "1.zarr", column=4096, row=3072)


async def test_what_makes_no_sense_is_refused(emulator, tmp_path):
    (one, _), _ = two(emulator, tmp_path)
    session = downloader.Session()
    with pytest.raises(JobError, match="inside its block"):
        await session.download(one)
    async with session:
        with pytest.raises(JobError, match="share one process"):
            await session.download(one | {"executor": {"dask": {"workers": 2}}})
    async with downloader.Session(jobs=1000, memory="500MiB") as crowded:
        with pytest.raises(JobError, match="too little for 1000 jobs at once"):
            await crowded.download(one)
    for wrong in (
        {"jobs": 0},
        {"concurrency": 0},
        {"requests_per_second": 0},
        {"memory": "1MB"},
        {"memory": "much"},
    ):
        with pytest.raises(JobError, match="Session"):
            downloader.Session(**wrong)
