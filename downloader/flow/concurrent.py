"""Run one coroutine for each of many items, a few at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

import anyio

from downloader.errors import DownloadError

_Item = TypeVar("_Item")

AT_ONCE: Final = 16
"""Metadata requests under way, where nothing else is said."""


async def for_each(
    items: Iterable[_Item], work: Callable[[_Item], Awaitable[None]], at_once: int = AT_ONCE
) -> None:
    """Await `work` for each item, `at_once` of them at a time; there are never more tasks than that.

    Args:
        items: taken one by one, as tasks become free.
        work: called with each item, on the running event loop.
        at_once: tasks.

    Raises:
        DownloadError: the first that `work` raised, not wrapped in a group; the others are cancelled then.
    """
    waiting = iter(items)
    errors: list[DownloadError] = []

    async def take() -> None:
        for item in waiting:
            try:
                await work(item)
            except DownloadError as error:  # kept: a task group would wrap it
                errors.append(error)
                tasks.cancel_scope.cancel()
                return

    async with anyio.create_task_group() as tasks:
        for _ in range(at_once):
            tasks.start_soon(take)
    if errors:
        raise errors[0]
