"""The library's door: the same job from Python, in every form and place it may be called from."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import downloader
from tests.harness import (
    ASSET,
    ROOT,
    band_arrays,
    command,
    compare,
    environment,
    getpixels,
    job,
    ledger_lines,
    wait_until,
    window,
    write_job,
)
from tests.oracle import QUICKSTART, oracle_window

SMALL = window(0, 0, 700, 600)


@pytest.mark.parametrize("form", ["dict", "path", "string", "Job"])
def test_a_job_in_any_form(values, tmp_path, mosaic, form):
    given = {
        "dict": lambda: values,
        "path": lambda: write_job(tmp_path, values),
        "string": lambda: str(write_job(tmp_path, values)),
        "Job": lambda: downloader.Job.from_dict(values),
    }[form]()
    report = downloader.download(given, progress=False)
    assert (report.state, report.tiles_stored, report.requests) == ("complete", 9, 9)
    compare(mosaic)


def test_keywords(emulator, mosaic):
    report = downloader.download(
        ASSET,
        mosaic,
        bands=["B8", "B4"],
        region={"window": {"column": 10, "row": 20, "width": 300, "height": 200}},
        service={"endpoint": emulator.url},
        auth={"key_file": str(emulator.key_file)},
        progress=False,
    )
    dataset = report.open()
    assert (dataset.sizes["y"], dataset.sizes["x"]) == (200, 300)
    assert set(dataset.data_vars) == {"B8", "B4"}
    assert (dataset["B8"].values == oracle_window(QUICKSTART, "B8", 10, 20, 300, 200)).all()
    with pytest.raises(downloader.JobError, match="only together with the path of a mosaic"):
        downloader.download({"source": {}}, region={"mask": True})


def test_open_and_open_tree(emulator, mosaic):
    values = job(emulator, mosaic, source={"asset": ASSET, "bands": ["B2", "B5"]}, region=SMALL)
    report = downloader.download(values, progress=False)
    tree = report.open_tree()
    assert set(tree.children) == {"10m", "20m"}
    assert (tree["10m/B2"].values == oracle_window(QUICKSTART, "B2", 0, 0, 700, 600)).all()
    assert report.open("20m")["B5"].shape == (300, 350)
    with pytest.raises(downloader.JobError, match="20m"):
        report.open()
    shard = report.open("10m")["B2"].chunks
    assert shard is not None
    assert report.open("10m", chunks=None)["B2"].chunks is None


def test_open_refuses_holes_unless_told(values):
    values["limits"] = {"max_requests": 4, "concurrency": 1}
    with pytest.raises(downloader.StoppedError, match=r"limits\.max_requests") as caught:
        downloader.download(values, progress=False)
    report = caught.value.report
    assert (report.state, report.tiles_stored, report.tiles_missing) == ("stopped", 4, 5)
    with pytest.raises(downloader.IncompleteError, match="5 missing"):
        report.open()
    masked = report.open(missing="mask")["B2"].values
    tiles = zarr.open_group(values["mosaic"]["path"], mode="r")["coverage/tiles"][:]
    stored = np.kron(tiles == 1, np.ones((256, 256), bool))[:600, :700]
    assert (tiles == 1).sum() == 4
    assert np.isnan(masked[~stored]).all()
    assert (masked[stored] == oracle_window(QUICKSTART, "B2", 0, 0, 700, 600)[stored]).all()
    assert report.open(missing="ignore")["B2"].dtype == np.uint16


async def test_adownload(values, mosaic):
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.005)

    task = asyncio.create_task(tick())
    report = await downloader.adownload(values)
    task.cancel()
    assert report.state == "complete"
    assert ticks > 3, "the loop was free meanwhile"
    compare(mosaic)


async def test_download_inside_a_running_loop(values, mosaic):
    """As a notebook's cell does."""
    report = downloader.download(values, progress=False)
    assert report.state == "complete"
    assert downloader.plan(values).plan.estimate().tiles == 9
    compare(mosaic)


async def test_adownload_drains_when_asked(emulator, values):
    emulator.control("configure", {"latency_ms": 200})
    values["limits"] = {"concurrency": 2}
    stop = downloader.Stop()
    task = asyncio.create_task(downloader.adownload(values, stop=stop))
    await asyncio.to_thread(wait_until, lambda: getpixels(emulator))
    stop.ask("enough for today")
    with pytest.raises(downloader.StoppedError, match="enough for today") as caught:
        await task
    assert caught.value.report.tiles_stored == len(getpixels(emulator))


async def test_cancelling_adownload_saves_what_is_there(emulator, values, mosaic):
    emulator.control("configure", {"latency_ms": 100})
    values["limits"] = {"concurrency": 2}
    task = asyncio.create_task(downloader.adownload(values))
    await asyncio.to_thread(wait_until, lambda: ledger_lines(mosaic) >= 4)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stored = downloader.status(mosaic).groups[""].stored
    assert stored >= 3
    emulator.control("configure", {"latency_ms": 0})
    report = await downloader.adownload(values)
    assert report.tiles_before == stored
    compare(mosaic)


INTERRUPTED = """
import json, sys, downloader
try:
    downloader.download(sys.argv[1], progress=False)
except downloader.InterruptedRunError as error:
    print(json.dumps([error.exit_status, error.report.state, error.report.tiles_stored]))
"""


def test_interrupting_a_script_drains(emulator, tmp_path, values, mosaic):
    """Ctrl-C in a script or a notebook's cell: everything in flight is saved, and the error carries the report."""
    emulator.control("configure", {"latency_ms": 300})
    values["limits"] = {"concurrency": 2}
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(write_job(tmp_path, values))],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=ROOT,
    )
    wait_until(lambda: ledger_lines(mosaic) > 2, process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    status, state, stored = json.loads(out)
    assert (status, state) == (130, "interrupted")
    assert stored == len(getpixels(emulator)) < 9


def test_two_downloads_in_two_threads(emulator, tmp_path):
    """Each has its own loop; none disturbs the other."""
    jobs = [job(emulator, tmp_path / f"{n}.zarr", region=window(n * 300, 0, 300, 300)) for n in range(2)]
    states = []
    threads = [
        threading.Thread(
            target=lambda values=values: states.append(downloader.download(values, progress=False).state)
        )
        for values in jobs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states == ["complete", "complete"]
    for n in range(2):
        compare(tmp_path / f"{n}.zarr", column=n * 300)


def test_errors_say_what_the_command_line_says(emulator, values, mosaic):
    cases = [
        ({"source": {"asset": "NONE"}}, downloader.JobError, 2),
        ({"service": {"endpoint": emulator.url, "project": "p-denied"}}, downloader.AuthenticationError, 6),
        ({"auth": {"key_file": "/nonexistent/key.json"}}, downloader.AuthenticationError, 6),
        ({"limits": {"memory": "128MiB"}}, downloader.JobError, 2),
    ]
    for sections, kind, status in cases:
        with pytest.raises(kind) as caught:
            downloader.download(values | sections, progress=False)
        assert downloader.exit_status(caught.value) == status
    assert downloader.download(values, progress=False).state == "complete"
    with pytest.raises(downloader.DriftError, match="window") as caught:
        downloader.download(values | {"region": window(0, 0, 5, 5)}, progress=False)
    assert downloader.exit_status(caught.value) == 5
    assert (
        downloader.download(values | {"region": window(0, 0, 5, 5)}, progress=False, overwrite=True).tiles
        == 1
    )


def test_failed_tiles_are_on_the_error(emulator, values, mosaic):
    emulator.control(
        "configure", {"faults": [{"fault": "bad-request-400", "covers": [300, 300], "above_pixels": 1}]}
    )
    with pytest.raises(downloader.IncompleteError) as caught:
        downloader.download(values, progress=False)
    (failed,) = caught.value.report.failed
    assert (failed.row, failed.column, failed.bands) == (1, 1, ("B2", "B3", "B4", "B8"))
    dataset = caught.value.report.open(missing="mask")
    assert np.isnan(dataset["B2"].values[256:512, 256:512]).all()
    assert not np.isnan(dataset["B2"].values[:256]).any()


def test_plan_inspect_status_preview(emulator, values, mosaic, tmp_path):
    plan = downloader.plan(values).plan
    assert [band.id for band in plan.groups[0].bands] == ["B2", "B3", "B4", "B8"]
    overrides = [f"service.endpoint={emulator.url}", f"auth.key_file={emulator.key_file}"]
    assert downloader.inspect(ASSET, overrides)["type"] == "IMAGE"
    report = downloader.download(values, progress=False)
    assert downloader.status(mosaic).is_complete
    said = downloader.preview(report.mosaic, tmp_path / "x.png", bands=("B4", "B3", "B2"))
    assert "700×600" in said
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_credentials_of_google_auth(emulator, values, mosaic):
    """Any google-auth object in place of the job's `auth`."""
    from google.oauth2.credentials import Credentials

    del values["auth"]
    token = emulator.control("tokens", {"project": "p-test-1"})["access_token"]
    report = downloader.download(values, credentials=Credentials(token), progress=False)
    assert report.state == "complete"
    assert token not in json.dumps(report.to_json()) + str(report) + repr(report)
    compare(mosaic)


def test_the_report_adds_up(emulator, values, mosaic):
    report = downloader.download(values, progress=False)
    assert report.mosaic == str(mosaic)
    assert report.groups == ("",)
    assert report.requests == len(getpixels(emulator)) == 9
    assert report.wire_bytes == 700 * 600 * 8
    on_disk = sum(path.stat().st_size for path in Path(mosaic).rglob("*") if path.is_file())
    assert abs(report.disk_bytes - on_disk) < 1000
    again = downloader.download(values, progress=False)
    assert (again.tiles_before, again.requests, again.wire_bytes) == (9, 0, 0)
    assert set(band_arrays(mosaic)) == {"B2", "B3", "B4", "B8"}


@pytest.mark.parametrize("method", ["disk_bytes", "partial", "failed"])
async def test_what_looks_at_the_whole_mosaic_does_not_block_the_event_loop(
    emulator, tmp_path, monkeypatch, method
):
    """With a million objects in a bucket, other jobs of the process and heartbeats stood still for minutes."""
    from downloader.mosaic.writer import ZarrMosaic

    seen = []
    original = getattr(ZarrMosaic, method)
    monkeypatch.setattr(
        ZarrMosaic, method, lambda self: (seen.append(threading.current_thread()), original(self))[1]
    )
    await downloader.adownload(job(emulator, tmp_path / "m.zarr", region=window(0, 0, 256, 256)))
    assert seen
    assert threading.current_thread() not in seen


def test_what_a_notebook_shows(values, mosaic):
    """A line in text; as HTML the plan with its map, the report with its picture and the map of its tiles."""
    before = downloader.plan(values)
    report = downloader.download(values, progress=False)
    shown = (before, before.plan, report, downloader.status(mosaic), downloader.verify(mosaic))
    for value in shown:
        assert len(repr(value)) < 200
        assert len(repr(value).splitlines()) <= 10
    pages = [value._repr_html_() for value in (before, report, *shown[3:])]
    assert all("<script" not in page and page.startswith('<div class="eed">') for page in pages)
    assert "to be fetched: 9" in pages[0]
    assert "stored: 9" in pages[1]
    assert pages[1].count('src="data:image/') == 1
    again = before._repr_html_()
    ids = [set(re.findall(r'id="([^"]+)"', page)) for page in (pages[0], again)]
    assert ids[0]
    assert not ids[0] & ids[1], "two outputs of one notebook share no id"


def test_what_open_returns_goes_into_netcdf(values, tmp_path):
    """Before anything is there: writing the file fetches the tiles; what xarray reads back is the oracle's."""
    opened = downloader.open(values)
    opened.to_netcdf(tmp_path / "lazy.nc", engine="h5netcdf")
    with xr.open_dataset(
        tmp_path / "lazy.nc", engine="h5netcdf", decode_coords="all", mask_and_scale=False
    ) as back:
        for band in ("B2", "B8"):
            assert (back[band].values == oracle_window(QUICKSTART, band, 0, 0, 700, 600)).all()
        assert "32610" in back["spatial_ref"].attrs["crs_wkt"]
    assert downloader.status(values["mosaic"]["path"]).is_complete


@pytest.mark.parametrize(
    "arguments",
    [("plan", "JOB"), ("status", "JOB"), ("verify", "JOB"), ("doctor", "JOB"), ("run", "JOB", "-q")],
)
def test_json_is_of_one_mould(emulator, tmp_path, values, arguments):
    file = write_job(tmp_path, values)
    downloader.download(values, progress=False)
    done = command(*(file if word == "JOB" else word for word in arguments), "--json")
    keys: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            keys.extend(value)
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(done.document)
    assert keys
    assert not [key for key in keys if re.search(r"[a-z][A-Z]", key)]
