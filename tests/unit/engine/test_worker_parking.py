"""Shards that are committed in part so that the pool need not idle, and that end in that very moment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from downloader.engine.worker import ListedShards, Worker
from tests.fakes import MemoryMosaic, make_plan_of
from tests.unit.engine.test_worker import Bench
from tests.virtual_clock import run_virtual


@pytest.mark.parametrize("straggler_s", [1.5, 2.0, 2.5, 3.0, 4.0])
def test_memory_is_given_back_once(straggler_s):
    """The last request of a shard ends while the shard is committed in order to be parked."""

    async def main():
        plan = make_plan_of((8, 8), shard=2)
        bench = Bench(plan, concurrency=4)

        class SlowDisk(MemoryMosaic):
            async def commit(self, key):
                await bench.clock.sleep(2)
                await super().commit(key)

        quick = bench.source.fetch

        async def fetch(request):
            t = request.grid.transform
            if t.translate_x % 80 == t.translate_y % 80 == 0:  # the first tile of each shard
                await bench.clock.sleep(straggler_s)
            return await quick(request)

        bench.source.fetch = fetch
        bench.mosaic = SlowDisk(plan)
        worker = Worker(bench.share, replace(bench.parts, mosaic=bench.mosaic), ListedShards(plan.shards()))
        await worker.run()
        bench.assert_pixels()
        assert max(bench.mosaic.commits.values()) > 1, "some were committed in part"
        assert worker.shards.memory.used == worker.fetcher.answers.used == 0

    run_virtual(main)
