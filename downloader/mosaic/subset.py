"""A view of a mosaic in which only chosen tiles count as missing, for repairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from downloader.planning import Plan, Request, ShardKey

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from downloader.errors import FetchProblem
    from downloader.protocols import Mosaic


Chosen = Mapping[ShardKey, Mapping[int, int]]
"""Shard → band index → bits of the tiles chosen."""


class Selection:
    """A `Mosaic` in which nothing is missing but the tiles chosen."""

    def __init__(self, mosaic: Mosaic, chosen: Chosen) -> None:
        self._mosaic = mosaic
        self._chosen = chosen

    def shards(self, plan: Plan) -> Iterator[ShardKey]:
        """Yield the shards of which something is chosen, in the order of the plan."""
        for group in plan.groups:
            yield from sorted(key for key in self._chosen if key.group == group.name)

    def missing(self, key: ShardKey) -> Mapping[int, int]:
        """See `Mosaic`."""
        chosen = self._chosen.get(key, {})
        lacks = {band: mask & chosen.get(band, 0) for band, mask in self._mosaic.missing(key).items()}
        return {band: mask for band, mask in lacks.items() if mask}

    def is_done(self) -> bool:
        """Return whether all that was chosen is stored."""
        return not any(self.missing(key) for key in self._chosen)

    async def place(self, request: Request, pixels: NDArray[np.void]) -> None:
        """See `Mosaic`."""
        await self._mosaic.place(request, pixels)

    def fail(self, request: Request, problem: FetchProblem) -> None:
        """See `Mosaic`."""
        self._mosaic.fail(request, problem)

    async def commit(self, key: ShardKey) -> None:
        """See `Mosaic`."""
        await self._mosaic.commit(key)
