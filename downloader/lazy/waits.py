"""Readers that wait for tiles of one mosaic. All of it belongs to one event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import anyio

from downloader.errors import DownloadError
from downloader.planning import ShardKey

Tiles = Mapping[ShardKey, int]
"""Shard → bits of its tiles."""

Lacks = Callable[[ShardKey, int], int]
"""(shard, bits of tiles) → bits of those that are wanted and not stored."""


@dataclass(eq=False)
class Wait:
    """A reader that waits."""

    left: dict[ShardKey, int]
    """The tiles that it still waits for."""
    patience_s: float
    """Seconds without one of them after which it waits no longer for another process."""
    failed: dict[ShardKey, int] = field(default_factory=dict)
    """The tiles that could not be had."""
    is_for_mosaic: bool = False
    """Whether it waits for the mosaic itself, and not for tiles."""
    since: float = field(default_factory=anyio.current_time)
    """When it began, or last got a tile."""
    ended: anyio.Event = field(default_factory=anyio.Event)
    error: Exception | None = None

    def end(self, error: Exception | None = None) -> None:
        """Let the reader go on, with an error or without."""
        if not self.ended.is_set():
            self.error = error
            self.ended.set()


class Waits:
    """All readers that wait."""

    def __init__(self, lacks: Lacks) -> None:
        self._lacks = lacks
        self._all: list[Wait] = []

    def __iter__(self) -> Iterator[Wait]:
        return iter(self._all)

    def __bool__(self) -> bool:
        return bool(self._all)

    async def until_ended(self, wait: Wait) -> None:
        """Return once a reader need not wait any longer. Raises the error that it ended with."""
        self._all.append(wait)
        try:
            await wait.ended.wait()
        finally:
            self._all.remove(wait)
        if wait.error is not None:
            raise wait.error

    def awaited(self, key: ShardKey) -> int:
        """Return the bits of a shard's tiles that any reader waits for."""
        tiles = 0
        for wait in self._all:
            tiles |= wait.left.get(key, 0)
        return tiles

    def look(self, key: ShardKey | None = None, failed: int = 0) -> None:
        """Let those go on whose tiles are stored, or failed.

        Args:
            key: a shard; None for all.
            failed: bits of its tiles that could not be had.
        """
        for wait in self._all:
            for one in tuple(wait.left) if key is None else (key,) if key in wait.left else ():
                before = wait.left[one]
                left = self._lacks(one, before) & ~failed
                if lost := before & failed:
                    wait.failed[one] = wait.failed.get(one, 0) | lost
                if left != before:
                    wait.since = anyio.current_time()
                wait.left[one] = left
                if not left:
                    del wait.left[one]
                    if not wait.left:
                        wait.end()

    def lose_patience(self, locked: DownloadError) -> None:
        """End the waits that took too long, with the error of another process that has the lock."""
        now = anyio.current_time()
        for wait in self._all:
            if now - wait.since >= wait.patience_s:
                wait.end(locked)

    def end_all(self, error: Exception) -> None:
        """End all waits with an error."""
        for wait in self._all:
            wait.end(error)
