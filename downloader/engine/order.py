"""The order in which a run works through its shards."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Protocol

from downloader.planning import Plan, ShardKey


class Known(Protocol):
    """A mosaic's record of shards that are neither untouched nor done."""

    def partial(self) -> list[ShardKey]:
        """Return the shards of which some tiles are stored and some are not."""
        ...

    def failed(self) -> list[ShardKey]:
        """Return the shards in which tiles failed before."""
        ...


def order(plan: Plan, known: Known) -> Iterator[ShardKey]:
    """Return an iterator over every shard once: those nearest to done first, those that failed before last.

    Looks at all that `known` has at once, so call it in a thread.
    """
    last = known.failed()
    failed = set(last)
    first = [key for key in known.partial() if key not in failed]
    apart = {*first, *last}
    return chain(first, (key for key in plan.shards() if key not in apart), last)
