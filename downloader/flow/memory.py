"""A bound on the bytes that answers, open shards or queues may hold together."""

from __future__ import annotations

import anyio


class MemoryBudget:
    """Bytes to be reserved before they are allocated, and released after; first come, first served.

    A large reservation is not overtaken by small ones behind it, so it cannot starve. Not for use from threads.
    """

    def __init__(self, limit_bytes: int) -> None:
        if limit_bytes < 1:
            raise ValueError(f"a memory budget needs at least one byte, got {limit_bytes}")
        self._limit = limit_bytes
        self._used = 0
        self._turn = anyio.Lock()
        self._freed = anyio.Event()

    @property
    def limit(self) -> int:
        """Bytes that may be reserved at once."""
        return self._limit

    @property
    def used(self) -> int:
        """Bytes reserved now."""
        return self._used

    async def reserve(self, nbytes: int) -> None:
        """Wait until `nbytes` are free and take them. A cancelled wait takes nothing.

        Raises:
            ValueError: more than the whole limit, or less than nothing: it could never be served.
        """
        if not 0 <= nbytes <= self._limit:
            raise ValueError(f"cannot reserve {nbytes:,} bytes of a memory budget of {self._limit:,}")
        async with self._turn:
            while self._used + nbytes > self._limit:
                self._freed = anyio.Event()
                await self._freed.wait()
            self._used += nbytes

    def release(self, nbytes: int) -> None:
        """Give `nbytes` back, all of a reservation or a part of it.

        Raises:
            ValueError: more than is reserved.
        """
        if not 0 <= nbytes <= self._used:
            raise ValueError(f"cannot release {nbytes:,} bytes, {self._used:,} are reserved")
        self._used -= nbytes
        self._freed.set()
