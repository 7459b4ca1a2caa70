"""Tiles that readers want, handed to a run shard by shard."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio

from downloader.planning import ShardKey

if TYPE_CHECKING:
    from downloader.protocols import Feed


class Wanted:
    """A `Feed` that readers add to, and that ends once nothing was wanted for a while. Belongs to one event loop."""

    def __init__(self, bands: Callable[[str], int], tried: Callable[[ShardKey, int], None]) -> None:
        """Start with nothing.

        Args:
            bands: returns the number of bands of a group.
            tried: called with each shard whose requests ended, and the bits of the tiles that they were for.
        """
        self._bands = bands
        self._tried = tried
        self._idle_s = 0.0
        self._changed = anyio.Event()
        self.pending: dict[ShardKey, int] = {}
        """Shard → bits of the tiles that wait to be handed out."""
        self.chosen: dict[ShardKey, dict[int, int]] = {}
        """Shard → band → bits of the tiles handed out, all bands alike: for `RunOptions.only`."""
        self.is_ended = False
        """See `Feed`."""

    def begin(self, idle_s: float) -> None:
        """Begin to hand out; it ends after `idle_s` seconds in which nothing was wanted."""
        self._idle_s, self.is_ended = idle_s, False

    def close(self) -> None:
        """Hand out no more; what is pending waits for the next beginning."""
        self.is_ended = True
        self.notify()

    def end(self) -> None:
        """Forget what was handed out and has not ended."""
        self.chosen.clear()

    def add(self, key: ShardKey, tiles: int) -> None:
        """Want tiles of a shard; those that were handed out already are not asked for again."""
        tiles &= ~self.chosen.get(key, {}).get(0, 0)
        if tiles:
            self.pending[key] = self.pending.get(key, 0) | tiles
            self.notify()

    def keep(self, key: ShardKey, tiles: int) -> None:
        """Forget all pending tiles of a shard but these."""
        if left := self.pending.pop(key, 0) & tiles:
            self.pending[key] = left

    def notify(self) -> None:
        """Wake those that wait."""
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def until(self, true: Callable[[], bool], at_most_s: float) -> bool:
        """Wait until a condition holds, for at most so many seconds; return whether it does."""
        with anyio.move_on_after(at_most_s):
            while not true():
                await self._changed.wait()
        return true()

    def take(self) -> ShardKey | None:
        """See `Feed`. A shard that is worked on is handed out again when that has ended."""
        key = None if self.is_ended else next((key for key in self.pending if key not in self.chosen), None)
        if key is not None:
            self.chosen[key] = dict.fromkeys(range(self._bands(key.group)), self.pending.pop(key))
        return key

    async def more(self) -> None:
        """See `Feed`."""
        while not self.is_ended and all(key in self.chosen for key in self.pending):
            with anyio.move_on_after(math.inf if self.chosen else self._idle_s):
                await self._changed.wait()
                continue
            self.is_ended = True
            return

    def done(self, key: ShardKey) -> None:
        """See `Feed`."""
        tiles = self.chosen.pop(key, {}).get(0, 0)
        self._tried(key, tiles)
        self.notify()


if TYPE_CHECKING:

    def _conforms(wanted: Wanted) -> Feed:
        return wanted
