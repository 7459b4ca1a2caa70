"""Row 100 of tests/contract/acceptance.md: forty workers, five thousand tiles, the default limits."""

from __future__ import annotations

import asyncio
import json
import random

import aiohttp
import numpy as np

from earthengine_emulator import EmulatorProcess, arguments
from tests.contract.conftest import grid, load
from tests.oracle import QUICKSTART, oracle_window

TILES, WORKERS, SIDE = 5_000, 40, 64
BANDS = ["B2", "B8"]


async def test_row_100_soak():
    places = [(column * SIDE, row * SIDE) for row in range(100) for column in range(TILES // 100)]
    random.Random(1).shuffle(places)
    wide = (TILES // 100 * SIDE, 100 * SIDE)
    truth = {band: oracle_window(QUICKSTART, band, 0, 0, *wide) for band in BANDS}
    remaining = iter(places)
    statuses, wrong = [], []

    async def work(session, url):
        for column, row in remaining:
            body = {"fileFormat": "NPY", "bandIds": BANDS, "grid": grid(column, row, SIDE, SIDE)}
            async with session.post(f"{url}/v1/{QUICKSTART}:getPixels", data=json.dumps(body)) as answer:
                content = await answer.read()
            statuses.append(answer.status)
            pixels = load(content)
            here = np.s_[row : row + SIDE, column : column + SIDE]
            if not all((pixels[band] == truth[band][here]).all() for band in BANDS):
                wrong.append((column, row))

    with EmulatorProcess(arguments(tokens={"tok": "p-test-1"})) as emulator:
        connector = aiohttp.TCPConnector(limit=0)
        headers = {"Authorization": "Bearer tok"}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
            await asyncio.gather(*(work(session, emulator.url) for _ in range(WORKERS)))
        state = emulator.control("state")
    assert statuses == [200] * TILES
    assert wrong == []
    assert state["refused_429"] == {}
    assert state["max_in_flight"]["standard p-test-1"] <= WORKERS
    assert state["pixels"]["repeated"] == 0
