"""Shards kept in memory up to a bound: those that were read last."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Container, Iterator

from downloader.planning import ShardKey


class Kept:
    """The shards of a mosaic in memory, by when they were read last. For any number of threads."""

    def __init__(self, bound: int) -> None:
        """Keep nothing yet; of more than `bound` bytes of pixels the oldest are dropped."""
        self._bound = bound
        self._guard = threading.Lock()
        self._held: Counter[ShardKey] = Counter()
        self._bytes: OrderedDict[ShardKey, int] = OrderedDict()

    @contextlib.contextmanager
    def held(self, keys: Collection[ShardKey]) -> Iterator[None]:
        """Drop none of these shards during the block, which reads them."""
        with self._guard:
            self._held.update(keys)
            for key in keys:
                if key in self._bytes:
                    self._bytes.move_to_end(key)
        try:
            yield
        finally:
            with self._guard:
                self._held -= Counter(keys)  # which forgets those that nobody holds

    def add(
        self, key: ShardKey, nbytes: int, spared: Container[ShardKey], drop: Callable[[ShardKey], None]
    ) -> None:
        """Note the bytes of a shard, and drop what was not read for the longest time, once there are too many.

        Args:
            key: the shard.
            nbytes: its pixels.
            spared: shards that are not dropped.
            drop: deletes one.
        """
        with self._guard:
            self._bytes[key] = nbytes
            self._bytes.move_to_end(key)
            for old in list(self._bytes):
                if sum(self._bytes.values()) <= self._bound:
                    return
                if old not in self._held and old not in spared:
                    del self._bytes[old]
                    drop(old)
