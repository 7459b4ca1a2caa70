"""Virtual time: an event loop whose clock moves only when every task waits, and then at once.

`run_virtual(main)` runs a coroutine function as `asyncio.run` does. Inside, `asyncio.sleep`, `anyio.sleep`,
`anyio.move_on_after` and `VirtualClock` all agree on the time, which starts at 0; hours pass in milliseconds, in the
same order each time. Nothing else is replaced: sockets that are ready and finished threads are still seen, but a wait
for them counts no time, so tests that need threads should do without timers meanwhile.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

__all__ = ["VirtualClock", "VirtualLoop", "run_virtual"]

T = TypeVar("T")

CENTURY_S = 3e9
"""No test takes so long; one that gets there sleeps for ever."""

DEADLOCK_S = 5.0
"""Real seconds without an event after which tasks that wait for no timer are taken to wait for ever."""


class VirtualClock:
    """`seams.Clock` of the running event loop; `jump` makes it leap, as after a suspended laptop."""

    def __init__(self) -> None:
        self._leapt = 0.0

    def now(self) -> float:
        return asyncio.get_running_loop().time() + self._leapt

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(max(0.0, seconds))

    def jump(self, seconds: float) -> None:
        """The clock shows so much more from now on; sleepers notice nothing."""
        self._leapt += seconds


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop on which waiting costs nothing."""

    def __init__(self) -> None:
        self._virtual_now = 0.0
        super().__init__(_LeapingSelector(self._leap))

    def time(self) -> float:
        return self._virtual_now

    def _leap(self, seconds: float) -> None:
        self._virtual_now += seconds
        if self._virtual_now > CENTURY_S:
            raise RuntimeError("deadlock: every task waits, for ever")


class _LeapingSelector(selectors.DefaultSelector):
    """A selector that, asked to wait for a time, lets the time pass."""

    def __init__(self, leap: Callable[[float], None]) -> None:
        super().__init__()
        self._leap = leap

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            events = super().select(DEADLOCK_S)
            if not events:
                raise RuntimeError("deadlock: every task waits, and for nothing that time could bring")
            return events
        events = super().select(0)
        if not events and timeout > 0:
            self._leap(timeout)
        return events


def run_virtual(main: Callable[..., Awaitable[T]], *args: object) -> T:
    """Run `main(*args)` on a fresh virtual event loop and return its result."""

    async def wrapped() -> T:
        return await main(*args)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(wrapped())
