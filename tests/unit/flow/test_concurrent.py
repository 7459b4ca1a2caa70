"""Many items, a few tasks."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from downloader.errors import JobError
from downloader.flow.concurrent import for_each


async def test_every_item_is_worked_on_once_and_few_at_a_time() -> None:
    under_way, most, done = 0, 0, []

    async def work(item: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await anyio.lowlevel.checkpoint()
        under_way -= 1
        done.append(item)

    await for_each(range(1000), work, at_once=7)
    assert sorted(done) == list(range(1000))
    assert most == 7


async def test_items_are_taken_as_tasks_become_free() -> None:
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield taken

    async def work(item: int) -> None:
        await anyio.lowlevel.checkpoint()
        if item == 50:
            raise JobError("the fiftieth")

    with pytest.raises(JobError, match="the fiftieth"):
        await for_each(endless(), work, at_once=4)
    assert taken < 60


async def test_nothing_to_do_is_done_at_once() -> None:
    await for_each([], pytest.fail)
