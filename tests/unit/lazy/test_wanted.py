"""The feed of tiles that readers want."""

from __future__ import annotations

import anyio

from downloader.lazy.wanted import Wanted
from downloader.planning import ShardKey

A, B = ShardKey("", 0, 0, 0), ShardKey("", 0, 0, 1)


def make() -> tuple[Wanted, list]:
    tried: list = []
    return Wanted(lambda group: 2, lambda key, tiles: tried.append((key, tiles))), tried


async def test_a_tile_is_handed_out_once() -> None:
    wanted, tried = make()
    wanted.begin(60)
    wanted.add(A, 0b011)
    wanted.add(A, 0b010)
    assert wanted.take() == A
    assert wanted.chosen == {A: {0: 0b011, 1: 0b011}}
    wanted.add(A, 0b110)
    assert wanted.take() is None  # the shard is worked on
    wanted.add(B, 1)
    assert wanted.take() == B
    wanted.done(A)
    assert tried == [(A, 0b011)]
    assert wanted.take() == A
    assert wanted.chosen[A][0] == 0b100


async def test_it_ends_once_nothing_was_wanted_for_a_while() -> None:
    wanted, _ = make()
    wanted.begin(0)
    wanted.add(A, 1)
    await wanted.more()
    assert not wanted.is_ended
    assert wanted.take() == A
    with anyio.move_on_after(0.01):
        await wanted.more()  # as long as something is under way, it waits
    assert not wanted.is_ended
    wanted.done(A)
    await wanted.more()
    assert wanted.is_ended
    wanted.add(B, 1)
    assert wanted.take() is None  # for the next session
    wanted.begin(0)
    assert wanted.take() == B


async def test_what_nobody_waits_for_any_more_is_not_handed_out() -> None:
    wanted, _ = make()
    wanted.begin(60)
    wanted.add(A, 0b111)
    wanted.keep(A, 0b010)
    assert wanted.pending == {A: 0b010}
    wanted.keep(A, 0)
    wanted.keep(B, 1)
    assert not wanted.pending


async def test_it_wakes_those_that_wait() -> None:
    wanted, _ = make()
    wanted.begin(60)
    async with anyio.create_task_group() as group:
        group.start_soon(wanted.more)
        group.start_soon(wanted.until, lambda: bool(wanted.pending), 60)
        await anyio.lowlevel.checkpoint()
        wanted.add(A, 1)
    assert wanted.take() == A
    assert not await wanted.until(lambda: False, 0)
