"""A run inside somebody's program: iterated over, left early, cancelled, watched by functions."""

from __future__ import annotations

import asyncio
import contextlib
import gc

import anyio
import pytest

import downloader
from downloader import Ended, Failed, Flow, Outcomes, Split, Started, Stored
from tests.harness import compare, getpixels, job, window

SMALL = {"region": window(0, 0, 1024, 1024), "request": {"tiles": 1}}
TILES = 16


def values(emulator, path, **sections):
    return job(emulator, path, **{**SMALL, **sections})


async def test_every_outcome_comes_by_and_then_the_report(emulator, tmp_path):
    seen = []
    async with downloader.outcomes(values(emulator, tmp_path / "m")) as run:
        with pytest.raises(RuntimeError, match="has not ended"):
            _ = run.report
        async for outcome in run:
            assert isinstance(outcome, Stored)
            seen.append((outcome.request.block.row, outcome.request.block.column))
    assert sorted(seen) == [(row, column) for row in range(4) for column in range(4)]
    assert run.report.state == "complete"
    assert compare(tmp_path / "m") > 0
    with pytest.raises(RuntimeError, match="once"):
        async with run:
            pass
    assert [one async for one in run] == []


async def test_the_keyword_form_and_no_block(emulator, tmp_path):
    made = values(emulator, tmp_path / "m")
    stream = downloader.outcomes(
        made["source"]["asset"],
        tmp_path / "m",
        bands=["B2"],
        region=made["region"],
        service=made["service"],
        auth=made["auth"],
    )
    assert sum([one.request.tiles_worth async for one in stream]) == TILES
    assert stream.report.tiles_stored == TILES
    with pytest.raises(downloader.JobError, match="unknown key"):
        downloader.outcomes({**made, "regions": 1})


async def test_who_iterates_slowly_is_waited_for(emulator, tmp_path):
    limits = {"concurrency": 2}
    async with downloader.outcomes(values(emulator, tmp_path / "m", limits=limits), ahead=3) as run:
        first = await anext(run)
        assert isinstance(first, Stored)
        # Three wait, and each of the four tasks of the pool may have had one: no more is asked for.
        while run._receive.statistics().current_buffer_used < 3:  # noqa: ASYNC110  # nothing else tells of it
            await asyncio.sleep(0)
        for _ in range(300):
            await asyncio.sleep(0.001)
            assert run._receive.statistics().current_buffer_used <= 3
        assert len(getpixels(emulator)) <= 1 + 3 + 4
        rest = [outcome async for outcome in run]
    assert len(rest) == TILES - 1
    assert run.report.state == "complete"


async def test_leaving_early_drains_and_the_rest_comes_with_the_next(emulator, tmp_path):
    async with downloader.outcomes(
        values(emulator, tmp_path / "m", limits={"concurrency": 2}), ahead=1
    ) as run:
        async for _ in run:
            break
    report = run.report
    assert report.state == "stopped"
    assert 0 < report.tiles_stored < TILES
    assert report.tiles_stored == downloader.status(tmp_path / "m").groups[""].stored
    before = len(getpixels(emulator))
    assert before == report.tiles_stored
    again = await downloader.adownload(values(emulator, tmp_path / "m"))
    assert again.tiles_before == report.tiles_stored
    assert len(getpixels(emulator)) == TILES


async def test_a_loop_without_a_block_that_is_left_drains_too(emulator, tmp_path):
    async for _ in downloader.outcomes(values(emulator, tmp_path / "m", limits={"concurrency": 2}), ahead=1):
        break
    gc.collect()
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)
    assert 0 < downloader.status(tmp_path / "m").groups[""].stored < TILES
    assert (await downloader.adownload(values(emulator, tmp_path / "m"))).state == "complete"


async def test_an_error_in_the_loop_goes_on_and_all_is_saved(emulator, tmp_path):
    stream = downloader.outcomes(values(emulator, tmp_path / "m", limits={"concurrency": 2}), ahead=1)

    async def divide() -> None:
        async with stream as run:
            async for _ in run:
                _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        await divide()
    assert stream.report.tiles_stored == downloader.status(tmp_path / "m").groups[""].stored > 0


async def test_cancelled_it_is_saved_as_far_as_it_is(emulator, tmp_path):
    begun = asyncio.Event()

    async def consume() -> None:
        async with downloader.outcomes(
            values(emulator, tmp_path / "m", limits={"concurrency": 2}), ahead=1
        ) as run:
            async for _ in run:
                begun.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(consume())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert downloader.status(tmp_path / "m").groups[""].stored > 0
    assert (await downloader.adownload(values(emulator, tmp_path / "m"))).state == "complete"


@pytest.mark.parametrize("scope", [anyio.move_on_after, anyio.fail_after])
async def test_a_scope_of_anyio_ends_the_run_once_it_has_saved(emulator, tmp_path, monkeypatch, scope):
    """It delivers its cancellation at every wait: passed on each time, it would break off a commit."""
    from downloader.mosaic.writer import ZarrMosaic

    finish, finished = ZarrMosaic.finish, []

    async def slow(self):
        await asyncio.sleep(0.3)
        await finish(self)
        finished.append(True)

    monkeypatch.setattr(ZarrMosaic, "finish", slow)
    with contextlib.suppress(TimeoutError), scope(60) as block:
        async with downloader.outcomes(
            values(emulator, tmp_path / "m", limits={"concurrency": 2}), ahead=1
        ) as run:
            async for _ in run:
                block.deadline = anyio.current_time() + 0.05
                await asyncio.Event().wait()
    assert finished, "the run was waited for, and its saving not interrupted"
    assert (await downloader.adownload(values(emulator, tmp_path / "m"))).state == "complete"


async def test_errors_of_the_run_end_the_loop(emulator, tmp_path):
    async def consume(stream: Outcomes) -> None:
        async with stream:
            async for _ in stream:
                stop.ask("enough")

    stop = downloader.Stop()
    source = {"asset": job(emulator)["source"]["asset"], "bands": ["B77"]}
    with pytest.raises(downloader.JobError, match="has no band"):
        await consume(downloader.outcomes(values(emulator, tmp_path / "m", source=source)))
    stream = downloader.outcomes(
        values(emulator, tmp_path / "m", limits={"concurrency": 2}), stop=stop, ahead=1
    )
    with pytest.raises(downloader.StoppedError, match=r"enough: \d+ of 16 tiles are saved"):
        await consume(stream)
    assert stream.report.state == "stopped"


async def test_a_function_is_told_each_event(emulator, tmp_path):
    events = []
    report = await downloader.adownload(values(emulator, tmp_path / "m"), on_event=events.append)
    assert len([one for one in events if isinstance(one, Stored)]) == TILES == report.requests
    (started,) = [one for one in events if isinstance(one, Started)]
    assert (started.estimate.tiles, started.tiles_done) == (TILES, 0)
    assert [one for one in events if isinstance(one, Flow)]
    assert not [one for one in events if isinstance(one, (Split, Failed))]
    assert events[-1] == Ended("complete")


def test_a_function_that_fails_ends_the_run_with_everything_saved(emulator, tmp_path):
    seen = []

    def fail(event):
        seen.append(event)
        if isinstance(event, Stored) and sum(isinstance(one, Stored) for one in seen) == 3:
            raise LookupError("not in the catalogue")

    with pytest.raises((LookupError, ExceptionGroup)) as caught:
        downloader.download(values(emulator, tmp_path / "m"), progress=False, on_event=fail)
    error = caught.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, LookupError)
    assert downloader.status(tmp_path / "m").groups[""].stored >= 2
    assert downloader.download(values(emulator, tmp_path / "m"), progress=False).state == "complete"
