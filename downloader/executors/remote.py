"""What a run calls in a worker's process, by Dask: an engine for each run, shards for it, and looks at it.

Shards come by tasks (`fetch`), which end with their shards; quota and stops come with each look of the run (`beat`), whose
answer brings back everything that happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from downloader._version import __version__
from downloader.errors import JobError
from downloader.executors.engine import Engine, SeatLostError
from downloader.executors.messages import Assignment, Mail, Order, Portion

__all__ = ["beat", "fetch", "start"]

_ENGINES: dict[str, Engine] = {}
"""Those of this process, by their seats."""


async def start(assignment: Assignment) -> None:
    """Make an engine in this process; returns once it may be given shards.

    Raises:
        DownloadError: it cannot work here.
    """
    if assignment.version != __version__:
        raise JobError(
            f"a worker has version {__version__} of this package, the run {assignment.version}: install the same on both"
        )
    engine = Engine(assignment, lambda: _ENGINES.pop(assignment.seat, None))
    _ENGINES[assignment.seat] = engine
    try:
        await asyncio.wrap_future(engine.ready)
    except BaseException:
        _ENGINES.pop(assignment.seat, None)
        raise


def beat(seat: str, order: Order) -> Mail | None:
    """Tell an engine what counts from now on, and hear what happened; None where it is not here."""
    engine = _ENGINES.get(seat)
    if engine is None:
        return None
    has_left = engine.has_left  # before its mail, which then holds all that it had to say
    mail = engine.beat(order)
    if order.leave and has_left:
        _ENGINES.pop(seat, None)
    return mail


def fetch(seat: str, portions: Sequence[Portion]) -> int:
    """A task: fetch and store these shards; how many they were. Returns when each is committed.

    Raises:
        SeatLostError: their engine is not here, or left before it was done.
    """
    from distributed import secede

    engine = _ENGINES.get(seat)
    if engine is None:
        raise SeatLostError(seat)
    ended = engine.feed(portions)
    # The engine fetches; waiting for it takes no slot of the worker's.
    secede()  # type: ignore[no-untyped-call]
    ended.result()
    return len(portions)
