"""The order in which a run works through its shards."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from downloader.planning import Plan, ShardKey

if TYPE_CHECKING:
    from downloader.mosaic.writer import ZarrMosaic


def order(plan: Plan, known: ZarrMosaic) -> Iterator[ShardKey]:
    """Return an iterator over every shard once: those nearest to done first, those that failed before last.

    Looks at all that `known` has at once, so call it in a thread.
    """
    last = known.failed()
    failed = set(last)
    first = [key for key in known.partial() if key not in failed]
    apart = {*first, *last}
    return chain(first, (key for key in plan.shards() if key not in apart), last)
