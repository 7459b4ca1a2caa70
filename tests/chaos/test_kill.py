"""SIGKILL of a real process, again and again: the rerun completes, bit-exact, and fetches little twice.

`KILLS=50 pytest tests/chaos/test_kill.py` kills so often; without it a few kills with a fixed seed are enough. Each
test prints its figures (`-s` shows them).
"""

from __future__ import annotations

import os
import random
import subprocess

import pytest

from tests.harness import (
    BANDS,
    Chain,
    Duplicates,
    band_arrays,
    cli,
    compare,
    getpixels,
    job,
    kill_after,
    ledger_lines,
    leftovers,
    no_secret,
    repeated,
    running,
    same_bits,
    secrets,
    wait_until,
    window,
    write_job,
)
from tests.oracle import QUICKSTART, oracle_window

KILLS = int(os.environ.get("KILLS", "4"))
SEED = int(os.environ.get("SEED", "1"))


def survive(emulator, folder, values, chain_of, bound, kills, origin=(0, 0)):
    """Kill a job `kills` times, starting it anew whenever it completes before; (kills, rounds, repeated tiles, requests)."""
    done, rounds, twice, asked = 0, 0, 0, 0
    while done < kills:
        rounds += 1
        mosaic = folder / f"{rounds}.zarr"
        values["mosaic"]["path"] = str(mosaic)
        job_file = write_job(folder, values, f"{rounds}.yaml")
        emulator.control("reset", {})
        emulator.control("configure", {"latency_ms": 40, "quota_per_minute": 0})
        chain = chain_of(job_file, mosaic)
        completed = chain.run(kills - done)
        done += chain.kills
        last = cli("run", job_file)
        assert last.status == 0, last
        assert all(grown >= chain.least for grown in chain.growth), "every cycle made progress"
        again, allowed = repeated(emulator, origin), bound.allowed(chain.kills)
        assert again <= allowed, f"{again} tiles were served twice; {chain.kills} kills may cost {allowed}"
        twice, asked = twice + again, asked + len(getpixels(emulator))
        compare(mosaic, column=origin[0], row=origin[1])
        assert leftovers(mosaic) == []
        no_secret(secrets(emulator.key_file), mosaic, last)
        assert not completed or chain.kills, "a job that completes before its first kill shows nothing"
    print(  # noqa: T201  # the figures that an acceptance run asks for
        f"{done} kills in {rounds} jobs: {asked} requests, {twice} tiles of a band served twice, "
        f"{bound.allowed(done)} allowed"
    )


def test_one_tile_a_shard(emulator, tmp_path):
    """The quickstart's job: 64 shards of one tile, killed wherever the ledger has just grown."""
    rng = random.Random(SEED)
    values = job(emulator, request={"tiles": 1}, limits={"concurrency": 4})
    bound = Duplicates(concurrency=4, requests_per_shard=1, tiles_per_shard=1, bands=len(BANDS))
    survive(
        emulator,
        tmp_path,
        values,
        lambda file, mosaic: Chain(file, mosaic, rng, most=8),
        bound,
        KILLS,
    )


def test_many_requests_a_shard_with_partial_commits(emulator, tmp_path):
    """Shards of sixteen requests, committed as they grow; the last row and column are one pixel wide."""
    rng = random.Random(SEED)
    values = job(
        emulator,
        source={"asset": job(None)["source"]["asset"], "bands": ["B8"]},
        region=window(700, 5000, 10 * 1024 + 1, 5 * 1024 + 1),
        mosaic={"checkpoint": "100ms"},
        request={"tiles": 1},
        limits={"concurrency": 12},
    )
    plan = cli("plan", write_job(tmp_path, values, "plan.yaml"), "--json").document["groups"][0]
    assert (plan["shard_side"], plan["shards"], plan["tiles_per_request"]) == (1024, 66, 1)
    bound = Duplicates(concurrency=12, requests_per_shard=16, tiles_per_shard=16, bands=1)
    survive(
        emulator,
        tmp_path,
        values,
        lambda file, mosaic: Chain(file, mosaic, rng, most=20, delay_s=0.1),
        bound,
        max(KILLS // 3, 2),
        origin=(700, 5000),
    )


def test_several_groups_and_the_plain_profile(emulator, tmp_path):
    """Bands of three resolutions, one object for each chunk."""
    emulator.control("configure", {"latency_ms": 40})
    values = job(
        emulator,
        tmp_path / "mosaic.zarr",
        source={"asset": job(None)["source"]["asset"], "bands": ["B2", "B5", "B1"]},
        region=window(1000, 3001, 3000, 2000),
        mosaic={"profile": "plain"},
        request={"tiles": 1},
        limits={"concurrency": 4},
    )
    job_file, mosaic, rng = write_job(tmp_path, values), tmp_path / "mosaic.zarr", random.Random(SEED)
    chain = Chain(job_file, mosaic, rng, most=20)
    chain.run(3)
    last = cli("run", job_file)
    assert last.status == 0, last
    assert chain.kills == 3
    origins = {"B2": (1000, 3001), "B5": (500, 1500), "B1": (166, 500)}
    assert repeated(emulator, origins) <= Duplicates(4, 1, 1, 1).allowed(3)
    for path, step in (("10m/B2", 1), ("20m/B5", 2), ("60m/B1", 6)):
        array = band_arrays(mosaic)[path]
        column, row = 1000 // step, 3001 // step
        assert array.shape == (-(-5001 // step) - row, -(-4000 // step) - column)
        height, width = array.shape
        same_bits(array[:], oracle_window(QUICKSTART, path[-2:], column, row, width, height), path)
    assert leftovers(mosaic) == []


@pytest.mark.parametrize(
    "sign", [".downloader", ".downloader/mosaic.json", "x/c/0", "zarr.json", ".downloader/ledger"]
)
def test_killed_before_the_first_tile(emulator, tmp_path, sign):
    """Killed as soon as the first sign of a mosaic appears: the same command works afterwards."""
    mosaic = tmp_path / "mosaic.zarr"
    job_file = write_job(tmp_path, job(emulator, mosaic, region=window(0, 0, 512, 512)))
    with running("run", job_file) as process:
        wait_until((mosaic / sign).exists, process)
        process.kill()
    last = cli("run", job_file)
    assert last.status == 0, last
    compare(mosaic)
    assert leftovers(mosaic) == []


def test_an_embedded_emulator_dies_with_its_killed_job(tmp_path):
    """SIGKILL leaves no emulator behind, and the next run starts another that gives the same pixels."""
    mosaic = tmp_path / "mosaic.zarr"
    values = job(None, mosaic, service={"endpoint": "emulator", "emulator": {"latency": "50ms"}})
    job_file = write_job(tmp_path, values | {"limits": {"concurrency": 2}})

    def emulators(parent):
        found = subprocess.run(
            ["pgrep", "-P", str(parent)], check=False, capture_output=True, text=True
        ).stdout.split()
        return [int(pid) for pid in found]

    with running("run", job_file) as process:
        wait_until(lambda: ledger_lines(mosaic) > 3, process)
        (child,) = emulators(process.pid)
        process.kill()
        process.wait()
        wait_until(lambda: not is_running(child))
    last = cli("run", job_file)
    assert last.status == 0, last
    compare(mosaic)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_killed_while_growing_by_a_band(emulator, tmp_path):
    """An extension that was killed goes on as one."""
    emulator.control("configure", {"latency_ms": 40})
    mosaic = tmp_path / "mosaic.zarr"
    values = job(
        emulator, mosaic, region=window(0, 0, 1024, 1024), limits={"concurrency": 2}, request={"tiles": 1}
    )
    values["source"] = {"asset": values["source"]["asset"], "bands": ["B3"]}
    job_file = write_job(tmp_path, values)
    assert cli("run", job_file).status == 0
    values["source"]["bands"] = ["B8", "B3"]
    job_file = write_job(tmp_path, values)
    status, _ = kill_after(job_file, mosaic, 3, 0)
    assert status == -9
    assert cli("run", job_file).status == 0
    compare(mosaic)
    assert repeated(emulator) <= Duplicates(2, 1, 1, 1).allowed(1)
