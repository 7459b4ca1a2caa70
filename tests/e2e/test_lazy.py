"""Datasets of jobs that nobody has run: what is read is fetched, once, and kept."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray

import downloader
from downloader.errors import IncompleteError, JobError, LockedError, RefusedError, StoppedError
from downloader.events import Phase
from downloader.lazy import filler as fillers
from downloader.lazy.backend import DownloaderBackend
from downloader.lazy.loop import background
from downloader.mosaic.storage.lock import FileLock
from downloader.progress import late as late_module
from tests.harness import (
    PATIENCE_S,
    ROOT,
    asked,
    compare,
    environment,
    getpixels,
    job,
    repeated,
    same_bits,
    wait_until,
    window,
    write_job,
)
from tests.oracle import QUICKSTART, oracle_window

SIZE = (1500, 1200)
"""Six by five tiles."""


@pytest.fixture(autouse=True)
def no_session_outlives_a_test(monkeypatch) -> Iterator[None]:
    """What a reader of one test asks at its end must not be counted in the next one."""
    monkeypatch.setattr(fillers, "_IDLE_S", 0.5)
    yield
    assert wait_until(lambda: all(one._stop is None for one in fillers._FILLERS.values()))


@pytest.fixture
def values(emulator, mosaic) -> dict:
    return job(
        emulator,
        mosaic,
        source={"asset": downloader_asset(), "bands": ["B4", "B8"]},
        region=window(0, 0, *SIZE),
        request={"tiles": 1},
    )


def downloader_asset() -> str:
    return QUICKSTART.partition("/assets/")[2]


def right(array: xarray.DataArray, column: int, row: int) -> None:
    """Read an array that begins at a pixel of the image, and compare it with the oracle."""
    height, width = array.shape
    same_bits(array.values, oracle_window(QUICKSTART, str(array.name), column, row, width, height), "read")


def part(
    dataset: xarray.Dataset, band: str, column: int, row: int, width: int, height: int
) -> xarray.DataArray:
    return dataset[band].isel(x=slice(column, column + width), y=slice(row, row + height))


def is_free(mosaic: Path) -> bool:
    """Whether nobody holds the mosaic's lock."""
    lock = FileLock(mosaic / ".downloader/lock", "m", reads=True)
    try:
        lock.acquire()
    except LockedError:
        return False
    lock.release()
    return True


def test_each_step_asks_for_what_is_new(values, emulator, mosaic) -> None:
    dataset = downloader.open(values, chunks=None)
    assert dict(dataset.sizes) == {"y": 1200, "x": 1500}
    assert dataset["x"].values[0] == dataset["x"].values[1] - 10
    assert getpixels(emulator) == []
    right(part(dataset, "B4", 300, 10, 300, 200), 300, 10)
    assert set(asked(emulator)) == {(QUICKSTART, band, 0, c) for band in ("B4", "B8") for c in (1, 2)}
    assert len(getpixels(emulator)) == 2
    right(part(dataset, "B8", 300, 10, 300, 200), 300, 10)  # a tile comes with all its bands
    assert len(getpixels(emulator)) == 2
    (status,) = downloader.status(mosaic).groups.values()
    assert (status.stored, status.missing) == (2, 28)
    rows = xarray.DataArray([0, 1199, 700], dims="point")
    columns = xarray.DataArray([0, 1499, 700], dims="point")
    points = dataset["B8"].isel(y=rows, x=columns)
    wanted = [
        oracle_window(QUICKSTART, "B8", c, r, 1, 1)[0, 0]
        for r, c in zip(rows.values, columns.values, strict=True)
    ]
    assert points.values.tolist() == wanted
    assert len(getpixels(emulator)) == 5  # the tiles of the points alone
    report = downloader.download(values, progress=False)  # waits for the reader to give the lock back
    assert (report.tiles_before, report.requests) == (5, 25)
    assert repeated(emulator) == 0
    compare(mosaic)
    assert downloader.verify(mosaic).is_clean
    asked_before = emulator.statistics()["requests"]
    again = downloader.open(values, chunks=None)
    right(again["B4"], 0, 0)
    assert emulator.statistics()["requests"] == asked_before, "a finished mosaic needs no network"


def test_a_read_over_whole_shards_asks_as_the_plan_does(values, emulator) -> None:
    values["request"] = {"tiles": 16}
    plan = downloader.plan(values).plan
    (group,) = plan.groups
    dataset = downloader.open(values, chunks=None)
    right(dataset["B8"], 0, 0)
    assert len(getpixels(emulator)) == group.count_requests()
    assert repeated(emulator) == 0


def test_a_mosaic_is_opened_by_its_path(values, emulator, mosaic, monkeypatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(emulator.key_file))
    downloader.open(values)
    dataset = downloader.open(mosaic)
    assert dataset["B4"].chunks is not None
    right(part(dataset, "B4", 0, 0, 256, 256), 0, 0)
    with pytest.raises(IncompleteError, match="tiles are not stored"):
        downloader.open(mosaic, fetch=False)
    assert wait_until(lambda: is_free(mosaic))  # `coverage` is written when the lock is given back
    masked = downloader.open(mosaic, fetch=False, missing="mask")
    assert np.isfinite(masked["B4"]).values.sum() == 256 * 256
    assert len(getpixels(emulator)) == 1
    with pytest.raises(RefusedError, match="not a mosaic made by this program"):
        downloader.open(mosaic.parent / "none.zarr")
    with pytest.raises(JobError, match=r"there is no file .*none\.yaml; name a job file"):
        downloader.open(mosaic.parent / "none.yaml")
    with pytest.raises(JobError, match="missing: 'zero' is none of raise, mask, ignore"):
        downloader.open(mosaic, missing="zero")
    with pytest.raises(JobError, match="missing: 'zero' is none of raise, mask, ignore"):
        downloader.open(mosaic, fetch=False, missing="zero")
    with pytest.raises(JobError, match="wait: -1: write a number of at least 0"):
        downloader.open(mosaic, wait=-1)


def test_the_engine_of_xarray(values, emulator, tmp_path) -> None:
    engine = DownloaderBackend
    dataset = xarray.open_dataset(write_job(tmp_path, values), engine=engine, chunks={}, mask_and_scale=False)
    side = dataset["B4"].encoding["preferred_chunks"]["x"]
    assert dataset["B4"].chunks == ((min(side, 1200),) * (1200 // side) + ((1200 % side,) if 1200 % side else ()),
                                    (min(side, 1500),) * (1500 // side) + ((1500 % side,) if 1500 % side else ()))  # fmt: skip
    right(part(dataset, "B4", 0, 0, 10, 10), 0, 0)
    decoded = xarray.open_dataset(values, engine=engine, drop_variables="B8")
    assert set(decoded.data_vars) == {"B4"}
    (tree,) = [xarray.open_datatree(values, engine=engine)]
    assert set(tree.data_vars) == {"B4", "B8"}
    assert not engine().guess_can_open(str(tmp_path / "job.yaml"))


def test_the_engine_is_found_by_its_name(values, tmp_path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    ((name, target),) = project["entry-points"]["xarray.backends"].items()
    # As pip writes it; the package itself may be installed from elsewhere here.
    made = tmp_path / "installed" / "engine-0.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: engine\nVersion: 0\n")
    (made / "entry_points.txt").write_text(f"[xarray.backends]\n{name} = {target}\n")
    code = (
        "import sys, xarray\n"
        f"dataset = xarray.open_dataset(sys.argv[1], engine={name!r}, chunks={{}})\n"
        "print(dataset.B4.chunks is not None, sorted(dataset.data_vars))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(write_job(tmp_path, values))],
        cwd=ROOT, env=environment(PYTHONPATH=f"{made.parent}{os.pathsep}{ROOT}"), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.stdout == "True ['B4', 'B8']\n", ended


def test_threads_of_dask_share_requests(values, emulator, mosaic) -> None:
    emulator.configure(latency_ms=30)
    values["limits"] = {"concurrency": 6}
    dataset = downloader.open(values, chunks={"y": 300, "x": 300})
    windows = [(c, r) for c in range(0, 1200, 150) for r in range(0, 900, 150)]
    with ThreadPoolExecutor(10) as pool:
        read = list(pool.map(lambda at: part(dataset, "B4", *at, 300, 300).values, windows))
    for at, pixels in zip(windows, read, strict=True):
        same_bits(pixels, oracle_window(QUICKSTART, "B4", *at, 300, 300), f"{at}")
    assert repeated(emulator) == 0
    assert emulator.statistics()["max_in_flight"]["total"] <= 6


READER = """
import sys, pickle, warnings
import numpy as np
array, windows, out = pickle.load(open(sys.argv[1], "rb"))
np.savez(out, *[array.isel(x=slice(c, c + 300), y=slice(r, r + 300)).values for c, r in windows])
"""


def read_elsewhere(array: xarray.DataArray, windows: list, folder: Path, name: str) -> subprocess.Popen:
    """A process that unpickles an array and reads windows of it into `folder/name.npz`."""
    given = folder / f"{name}.pickle"
    given.write_bytes(pickle.dumps((array, windows, str(folder / f"{name}.npz"))))
    return subprocess.Popen([sys.executable, "-c", READER, str(given)], cwd=ROOT, env=environment())


def test_processes_share_requests(values, emulator, mosaic, tmp_path) -> None:
    emulator.configure(latency_ms=30)
    dataset = downloader.open(values, chunks=None)
    ways = {
        "a": [(c, r) for c in (0, 500, 1000) for r in (0, 450, 900)],
        "b": [(c, r) for c in (1100, 600, 100) for r in (850, 400, 50)],
    }
    processes = [read_elsewhere(dataset["B8"], windows, tmp_path, name) for name, windows in ways.items()]
    assert [process.wait(PATIENCE_S) for process in processes] == [0, 0]
    for name, windows in ways.items():
        with np.load(tmp_path / f"{name}.npz") as read:
            for at, pixels in zip(windows, read.values(), strict=True):
                same_bits(pixels, oracle_window(QUICKSTART, "B8", *at, 300, 300), f"{name} {at}")
    assert repeated(emulator) == 0
    assert wait_until(lambda: is_free(mosaic))
    assert downloader.verify(mosaic).found.is_intact


KILLED = """
import sys, pickle, os, signal, threading
array = pickle.load(open(sys.argv[1], "rb"))[0]
for column in range(0, 1500, 256):
    array.isel(x=slice(column, column + 256)).values
    print(column, flush=True)
"""


def test_killed_in_the_middle_and_opened_again(values, emulator, mosaic, tmp_path) -> None:
    emulator.configure(latency_ms=20)
    dataset = downloader.open(values, chunks=None)
    given = tmp_path / "given.pickle"
    given.write_bytes(pickle.dumps((dataset["B4"],)))
    for steps in (1, 3):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(given)],
            cwd=ROOT, env=environment(), stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        for _ in range(steps):
            assert process.stdout.readline()
        process.kill()
        process.communicate()
    right(downloader.open(values, chunks=None)["B8"], 0, 0)
    # Of a shard that was open when it was killed, tiles are asked for again: at most those of the requests in flight.
    assert repeated(emulator) <= 2 * 2 * 40
    report = downloader.download(values, progress=False)
    assert report.requests == 0
    compare(mosaic)


def test_right_inside_a_running_event_loop(values, emulator) -> None:
    async def notebook() -> None:
        dataset = downloader.open(values, chunks=None)
        right(part(dataset, "B4", 0, 0, 300, 300), 0, 0)

    asyncio.run(notebook())
    assert repeated(emulator) == 0


FAULTY = {"fault": "internal-500", "on": "pixels", "covers": [300, 300], "above_pixels": 1, "band": "B4"}
"""The tile in row 1, column 1, for ever."""


def test_a_failed_tile_raises_where_it_is_read(values, emulator) -> None:
    values["limits"] = {"retries": 1}
    values["mosaic"]["nodata"] = {"B4": 7}
    emulator.configure(faults=[FAULTY])
    dataset = downloader.open(values, chunks=None)
    right(part(dataset, "B4", 0, 0, 700, 200), 0, 0)
    with pytest.raises(IncompleteError, match=r"tile / 0/1/1 could not be fetched \(.*\): .*read it again"):
        _ = dataset["B4"].values
    right(part(dataset, "B8", 512, 0, 988, 1200), 512, 0)  # what came is kept
    masked = downloader.open(values, chunks=None, missing="mask", mask_and_scale=True)["B4"]
    asked_before = len(getpixels(emulator))
    pixels = masked.values
    assert np.isnan(pixels[256:512, 256:512]).all()
    assert not np.isnan(pixels[:256]).any()
    assert (downloader.open(values, chunks=None, missing="mask")["B4"].values[256:512, 256:512] == 7).all()
    assert len(getpixels(emulator)) == asked_before, (
        "what failed in this process is not asked for again to be masked"
    )
    emulator.configure(faults=[])
    right(dataset["B4"], 0, 0)


def test_decoded_as_a_finished_mosaic_is(values, emulator, tmp_path) -> None:
    values["mosaic"]["nodata"] = {"B4": 1725}
    lazy = downloader.open(values, chunks=None, mask_and_scale=True)
    read = {name: lazy[name].values for name in lazy.data_vars}
    downloader.download(values, progress=False)
    stored = downloader.open(values, chunks=None, mask_and_scale=True)
    assert set(read) == set(stored.data_vars) == {"B4", "B8"}
    for name, pixels in read.items():
        same_bits(pixels, stored[name].values, name)
        assert lazy[name].attrs == stored[name].attrs
    assert np.isnan(read["B4"]).any()


@pytest.mark.parametrize("profile", ["sharded", "plain"])
def test_in_memory_it_is_bounded_and_stays_in_the_process(values, emulator, profile) -> None:
    values["mosaic"]["profile"] = profile
    dataset = downloader.open(values, store=None, chunks=None)
    filler = dataset["B4"].variable._data.array._filler
    filler._kept._bound = 6 * 2 * 256 * 256 * 2  # a column of five tiles in two bands, and one more
    for band in ("B4", "B8"):
        right(part(dataset, band, 0, 0, 256, 1200), 0, 0)
    assert repeated(emulator) == 0
    right(part(dataset, "B4", 512, 0, 256, 1200), 512, 0)
    right(part(dataset, "B8", 512, 0, 256, 1200), 512, 0)
    assert len(getpixels(emulator)) == 10
    right(part(dataset, "B4", 0, 0, 256, 1200), 0, 0)
    assert len(getpixels(emulator)) >= 14, "what was read longest ago went"
    right(dataset["B4"], 0, 0)  # more than is kept
    assert not Path(values["mosaic"]["path"]).exists()
    with pytest.raises(RefusedError, match="store=PATH"):
        pickle.dumps(dataset)
    assert dataset.copy(deep=True)["B4"].shape == (1200, 1500)


def test_another_writer_is_waited_for(values, emulator, mosaic, monkeypatch) -> None:
    dataset = downloader.open(values, chunks=None, wait=0.3)
    assert wait_until(lambda: is_free(mosaic))
    lock = FileLock(mosaic / ".downloader/lock", "m")
    lock.acquire()
    with pytest.raises(LockedError, match="another run is writing it"):
        _ = part(dataset, "B4", 0, 0, 10, 10).values
    tries: list[FileLock] = []
    acquire = FileLock.acquire
    monkeypatch.setattr(FileLock, "acquire", lambda self: (tries.append(self), acquire(self))[1])
    time.sleep(1.0)
    assert len(tries) <= 1, "nobody wants it any more"
    assert getpixels(emulator) == []
    patient = downloader.open(values, chunks=None)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(lambda: part(patient, "B4", 0, 0, 10, 10).values)
        time.sleep(0.3)
        assert not read.done()
        lock.release()
        same_bits(read.result(PATIENCE_S), oracle_window(QUICKSTART, "B4", 0, 0, 10, 10), "B4")


def test_what_another_run_brings_is_not_asked_for(values, emulator, mosaic, tmp_path) -> None:
    dataset = downloader.open(values, chunks=None)
    emulator.configure(latency_ms=50)
    values["limits"] = {"concurrency": 2}
    process = subprocess.Popen(
        [sys.executable, "-m", "downloader", "run", str(write_job(tmp_path, values))],
        cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert wait_until(lambda: len(getpixels(emulator)) > 0, process)
    right(dataset["B8"], 0, 0)
    assert process.wait(PATIENCE_S) == 0
    assert repeated(emulator) == 0


def test_the_lock_goes_in_turns(values, emulator, mosaic, monkeypatch) -> None:
    monkeypatch.setattr(fillers, "_TURN_S", 0)
    emulator.configure(latency_ms=50)
    values["limits"] = {"concurrency": 1}
    dataset = downloader.open(values, chunks=None)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(lambda: dataset["B4"].values)
        assert wait_until(lambda: len(getpixels(emulator)) > 0)
        other = FileLock(mosaic / ".downloader/lock", "m")
        other.acquire()
        before = len(getpixels(emulator))
        other.release()
        same_bits(read.result(PATIENCE_S), oracle_window(QUICKSTART, "B4", 0, 0, *SIZE), "B4")
    assert before < 30
    assert repeated(emulator) == 0


def test_several_groups(emulator, mosaic) -> None:
    values = job(
        emulator,
        mosaic,
        source={"asset": downloader_asset(), "bands": ["B2", "B5"]},
        region=window(0, 0, 700, 600),
    )
    with pytest.raises(JobError, match="open_tree"):
        downloader.open(values)
    tree = downloader.open_tree(values, chunks=None)
    assert set(tree.children) == {"10m", "20m"}
    right(tree["20m/B5"], 0, 0)
    right(downloader.open(mosaic, group="10m", credentials=None)["B2"][:100], 0, 0)
    opened = xarray.open_datatree(values, engine=DownloaderBackend, mask_and_scale=False)
    right(opened["10m/B2"], 0, 0)
    assert {band for _, band, _, _ in asked(emulator)} == {"B2", "B5"}
    assert repeated(emulator) == 0


INTERRUPTED = """
import sys, json, signal, downloader
values = json.load(open(sys.argv[1]))
dataset = downloader.open(values, chunks=None)
print("ready", flush=True)
try:
    dataset["B4"].values
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(int(dataset["B4"].isel(x=slice(0, 300), y=slice(0, 300)).values.sum()), flush=True)
"""


def test_an_interrupt_leaves_all_in_order(values, emulator, mosaic, tmp_path) -> None:
    values["limits"] = {"concurrency": 2}
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(write_job(tmp_path, values))],
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    total = int(oracle_window(QUICKSTART, "B4", 0, 0, 300, 300).astype(int).sum())
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        emulator.configure(latency_ms=300)
        assert wait_until(lambda: len(getpixels(emulator)) > 1, process)
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == f"interrupted\n{total}\n"
        assert process.wait(PATIENCE_S) == 0
    assert len(getpixels(emulator)) < 30, "what nobody waits for any more is not asked for"
    assert repeated(emulator) == 0
    (status,) = downloader.status(mosaic).groups.values()
    assert status.stored == len(getpixels(emulator))
    with pytest.raises(IncompleteError, match=f"{30 - status.stored} of 30 tiles are not stored"):
        downloader.open(mosaic, fetch=False)


FORKED = """
import sys, json, os, warnings, downloader
warnings.simplefilter("ignore")
values = json.load(open(sys.argv[1]))
dataset = downloader.open(values, chunks=None)
dataset["B4"].isel(x=slice(0, 300), y=slice(0, 300)).values
child = os.fork()
window = dict(x=slice(600, 900), y=slice(0, 300)) if child else dict(x=slice(0, 900), y=slice(600, 900))
print(int(dataset["B4"].isel(window).values.astype(int).sum()), flush=True)
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_reads_by_a_loop_of_its_own(values, emulator, tmp_path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FORKED, str(write_job(tmp_path, values))],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended
    sums = {
        int(oracle_window(QUICKSTART, "B4", *at).astype(int).sum())
        for at in ((600, 0, 300, 300), (0, 600, 900, 300))
    }
    assert set(map(int, ended.stdout.split())) == sums
    assert repeated(emulator) == 0


def test_steps_in_one_direction_are_fetched_ahead(values, emulator) -> None:
    dataset = downloader.open(values, chunks=None)
    for step in range(2):
        right(part(dataset, "B4", 256 * step, 0, 256, 256), 256 * step, 0)
    assert wait_until(lambda: len(getpixels(emulator)) == 4)
    right(part(dataset, "B4", 512, 0, 256, 256), 512, 0)
    assert wait_until(lambda: len(getpixels(emulator)) == 5)
    assert repeated(emulator) == 0


def test_any_index_and_any_loop(values, emulator) -> None:
    dataset = downloader.open(values, chunks=None)
    wanted = oracle_window(QUICKSTART, "B4", 0, 0, *SIZE)
    band = dataset["B4"]
    assert band.isel(x=-1, y=-1).item() == wanted[-1, -1]
    assert len(getpixels(emulator)) == 1
    assert band[0:0].values.shape == (0, 1500)
    assert (band[::-400, [-3, 5]].values == wanted[::-400, [-3, 5]]).all()
    assert (band.isel(x=[3, 1, 3], y=slice(-2, None)).values == wanted[-2:, [3, 1, 3]]).all()
    inside = wanted[300:310] > wanted[300:310].mean()
    assert (band[300:310].values[inside] == wanted[300:310][inside]).all()

    async def notebook() -> np.ndarray:
        return (await band[:20].load_async()).values

    assert (asyncio.run(notebook()) == wanted[:20]).all()
    assert repeated(emulator) == 0


def test_names_of_dask_and_limits_are_shared(values, emulator, tmp_path) -> None:
    emulator.configure(latency_ms=30)
    values["limits"] = {"concurrency": 3}
    background().budget._limiters.clear()  # of other tests of this process
    first, again = downloader.open(values), downloader.open(values)
    assert first["B4"].data.name == again["B4"].data.name
    assert first["B4"].data.name != downloader.open(values, missing="mask")["B4"].data.name
    other = downloader.open(values, store=tmp_path / "other.zarr")
    with ThreadPoolExecutor(2) as pool:
        for read in pool.map(lambda dataset: dataset["B4"].values, (first, other)):
            same_bits(read, oracle_window(QUICKSTART, "B4", 0, 0, *SIZE), "B4")
    # Beside pixels, one metadata call for each mosaic.
    assert emulator.statistics()["max_in_flight"]["total"] <= 3 + 2


def test_a_terminal_shows_how_far_a_read_is(values, emulator, monkeypatch) -> None:
    shown: list[Phase] = []
    monkeypatch.setattr(late_module, "_QUIET_S", 0.01)
    monkeypatch.setattr(fillers, "_SHOWN_S", 0.01)
    monkeypatch.setattr(late_module, "is_piped", lambda: False)
    monkeypatch.setattr(late_module, "terminal_progress", lambda: shown.append)
    emulator.configure(latency_ms=100)
    values["limits"] = {"concurrency": 2}
    dataset = downloader.open(values, chunks=None)
    assert {phase.text for phase in shown} == {"asking for the images", ""}
    shown.clear()
    right(dataset["B4"], 0, 0)
    assert shown[-1] == Phase("")
    assert {phase.text for phase in shown[:-1]} == {"fetching tiles"}
    done = [phase.done for phase in shown[:-1]]
    assert done == sorted(done)
    assert {phase.total for phase in shown[1:-1]} == {30}
    shown.clear()
    monkeypatch.setattr(late_module, "_QUIET_S", 60)
    right(dataset["B8"], 0, 0)
    monkeypatch.setattr(late_module, "_QUIET_S", 0.01)
    quiet = downloader.open(values, chunks=None, store=values["mosaic"]["path"] + "-2", progress=False)
    right(part(quiet, "B8", 0, 0, 10, 10), 0, 0)
    assert shown == []


def test_what_is_wrong_is_said_at_once(values) -> None:
    with pytest.raises(JobError, match="nonsense"):
        downloader.open({**values, "nonsense": 1})
    with pytest.raises(JobError, match="no group '10m'"):
        downloader.open(values, group="10m")


def test_limits_count_all_reads_of_a_process(values, emulator, monkeypatch) -> None:
    """Each read is a session of its own, and the third would pass the limit."""
    monkeypatch.setattr(fillers, "_IDLE_S", 0.0)
    values["limits"] = {"max_requests": 2}
    dataset = downloader.open(values, chunks=None)
    for column in (0, 256):
        right(part(dataset, "B4", column, 0, 256, 256), column, 0)
    for _ in range(2):
        with pytest.raises(StoppedError, match=r"limits\.max_requests: 2 requests are made"):
            _ = part(dataset, "B4", 512, 0, 256, 256).values
    right(part(dataset, "B8", 0, 0, 512, 256), 0, 0)
    assert len(getpixels(emulator)) == 2
    values["limits"] = {"max_requests": 3}
    right(part(downloader.open(values, chunks=None), "B4", 512, 0, 256, 256), 512, 0)
