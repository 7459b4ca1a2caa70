"""SIGKILL of a run whose requests and chunks hold many slices: whole in the end, little fetched twice, grown by a year.

`YEARS=40 KILLS=10 pytest tests/chaos/test_kill_stacks.py -s --timeout 0` takes so many years and kills, and prints its
figures.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
import zarr

import downloader
from downloader.mosaic.verify.verify import verify
from tests.harness import cli, job, ledger_lines, running, same_bits, wait_until, write_job
from tests.oracle import PUBLIC, oracle_window

YEARS = int(os.environ.get("YEARS", "4"))
KILLS = int(os.environ.get("KILLS", "4"))
BANDS = ("mean_2m_air_temperature", "total_precipitation")
AT_ONCE, STACK = 4, 16 * YEARS // 4
COLUMN, ROW, SIDE = 720, 150, 51


def days_of(emulator, path, years):
    west, north = -180 + 0.25 * COLUMN, 90 - 0.25 * ROW
    return job(
        emulator,
        path,
        source={
            "collection": "ECMWF/ERA5/DAILY", "start": "1980-01-01", "end": f"{1980 + years}-01-01",
            "bands": list(BANDS),
        },
        region={"bbox": [west + 0.1, north - 12.65, west + 12.65, north - 0.1]},
        mosaic={"checkpoint": 0.2},
        request={"depth": STACK},
        limits={"concurrency": AT_ONCE},
    )  # fmt: skip


def asked(emulator):
    """Slices of each request that was answered, the looks at one pixel left out."""
    records = emulator.control("requests?since=0")["requests"]
    stacks = [r for r in records if r["method"] == "image.computePixels" and r["size"] == [SIDE, SIDE]]
    return [len(record["bands"]) // 3 for record in stacks if record["bands"]]


def right(path, every):
    root = zarr.open_group(path, mode="r")
    for band in BANDS:
        for index in range(0, root[band].shape[0], every):
            day = np.datetime64("1980-01-01") + index
            name = f"{PUBLIC}ECMWF/ERA5/DAILY/{str(day).replace('-', '')}"
            same_bits(root[band][index], oracle_window(name, band, COLUMN, ROW, SIDE, SIDE), f"{band} {day}")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_again_and_again_it_is_whole_and_grows_by_a_year(emulator, tmp_path):
    path, kills, kept = tmp_path / "m.zarr", 0, 0
    emulator.control("configure", {"latency_ms": 100})
    job_file = write_job(tmp_path, days_of(emulator, path, YEARS))
    for _ in range(KILLS):
        before = ledger_lines(path)
        with running("run", job_file) as process:
            wait_until(lambda before=before: ledger_lines(path) > before, process)
            kills += process.poll() is None
            process.kill()
            process.wait()
        stored = downloader.status(path).groups[""].stored
        assert stored >= kept, "what a ledger calls stored is never lost"
        kept = stored
    assert kills > KILLS // 2
    last = cli("run", job_file)
    assert last.status == 0, last
    slices, days = asked(emulator), downloader.status(path).groups[""].stored
    again, allowed = sum(slices) - days, kills * 4 * AT_ONCE * STACK
    assert 0 <= again <= allowed, f"{again} slices came twice; {kills} kills may cost {allowed}"
    objects = sum(file.is_file() for band in BANDS for file in (path / band / "c").rglob("*"))
    print(  # noqa: T201  # the figures that an acceptance run asks for
        f"{days} days, {kills} kills: {len(slices)} requests, {again} slices served twice, {allowed} allowed, {objects} shards"
    )
    assert objects <= 2 * -(-days // 1024)
    assert verify(path).is_clean
    right(path, 97)
    emulator.control("reset", {})
    longer = downloader.download(days_of(emulator, path, YEARS + 1), progress=False)
    grown = longer.tiles_stored - longer.tiles_before
    assert sum(asked(emulator)) == grown
    assert 0 < grown <= 366, "a year, or what there is of it"
    assert verify(path).is_clean
    right(path, 89)
