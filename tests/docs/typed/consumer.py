"""A program as a user types it; mypy reads it in strict mode, nothing runs it."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import xarray

import downloader
from downloader import Ended, Event, Failed, Notice, Report, Split, Stored


def season(job: str, path: Path) -> Report:
    report = downloader.download(
        "COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG",
        path,
        bands=["B4", "B8"],
        region={"window": {"column": 0, "row": 0, "width": 512, "height": 512}},
        service={"endpoint": "emulator"},
        progress=False,
        on_event=told,
    )
    assert_type(report, Report)
    assert_type(report.tiles_stored, int)
    assert_type(downloader.plan(job).plan.estimate().requests, int)
    made = downloader.overviews(path, policies={"QA60": "mode"}, watch=lambda done, total: None)
    assert_type(made.made, int)
    (file,) = downloader.export(path, "out.tif", window=(0, 0, 64, 64), compress="zstd", missing="mask")
    assert_type(file.file, str)
    return report


def told(event: Event) -> None:
    match event:
        case Stored():
            assert_type(event.wire_bytes, int)
        case Split():
            assert_type(len(event.parts), int)
        case Failed():
            cause: str = event.problem.cause
            assert cause
        case Notice():
            assert_type(event.text, str)
        case Ended():
            assert_type(event.message, str)


async def watched(job: str, stop: downloader.Stop) -> int:
    failed = 0
    async with downloader.outcomes(job, stop=stop) as run:
        async for outcome in run:
            if isinstance(outcome, Failed):
                failed += 1
                stop.ask("one is enough")
    assert_type(run.report, Report)
    try:
        assert_type(await downloader.adownload({"source": {"asset": "A"}, "mosaic": {"path": "m"}}), Report)
    except downloader.IncompleteError as error:
        raise SystemExit(downloader.exit_status(error)) from error
    return failed


downloader.export("m", "out.tif", compress="jpeg")  # type: ignore[arg-type]
downloader.overviews("m", policies=["QA60"])  # type: ignore[arg-type]
downloader.download(1)  # type: ignore[arg-type]
downloader.download("A", "m", bandz=["B4"])  # type: ignore[call-arg]
downloader.download("A", "m", concurrency="many")  # type: ignore[arg-type]
downloader.plan("A", "m", mask="cloudy")  # type: ignore[arg-type]
downloader.open("m", chunks="huh")  # type: ignore[arg-type]
downloader.open("m", missing="nan")  # type: ignore[arg-type]
assert_type(downloader.open("A", None, start="2020", bands=["B4"], region=[1, 2, 3, 4]), xarray.Dataset)
assert_type(downloader.open_tree("m"), xarray.DataTree)
assert_type(downloader.verify("m").is_clean, bool)
assert_type([image.id for image in downloader.images("C")], list[str])
assert_type(downloader.table("m", "t.csv", by="fields.gpkg").rows, int)
