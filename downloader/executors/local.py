"""The order in which one process works through a plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from downloader.planning import Plan, ShardKey

__all__ = ["Known", "order"]


class Known(Protocol):
    """What a mosaic knows of shards that are neither untouched nor done."""

    def partial(self) -> list[ShardKey]:
        """Shards of which some tiles are stored and some are not."""
        ...

    def failed(self) -> list[ShardKey]:
        """Shards whose every missing tile failed before."""
        ...


def order(plan: Plan, known: Known) -> Iterator[ShardKey]:
    """Every shard once: nearest to done first, those that failed before last."""
    failed = known.failed()
    first = [key for key in known.partial() if key not in set(failed)]
    yield from first
    apart = {*first, *failed}
    yield from (key for key in plan.shards() if key not in apart)
    yield from failed
