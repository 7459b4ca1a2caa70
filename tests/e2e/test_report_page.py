"""The page of a report, of runs of every kind and end; what it says is held against the run."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

import downloader
from tests.harness import ASSET, cli, command, job, window, write_job

SMALL = window(0, 0, 700, 600)
MAPS = re.compile(r'<h3 id="g\d-title">([^<]+)<')


def pictures(page: str) -> list[Image.Image]:
    found = re.findall(r'<img src="data:image/\w+;base64,([^"]+)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


def legend(page: str) -> dict[str, int]:
    """State → tiles, of the first map."""
    (key,) = re.findall(r'<ul class="key">(.*?)</ul>', page, re.DOTALL)[:1]
    return {
        state: int(count.replace(",", "")) for state, count in re.findall(r"([a-z ]+): ([\d,]+)</li>", key)
    }


def test_a_run_writes_its_page_and_other_reports(emulator, tmp_path):
    values = job(emulator, tmp_path / "m.zarr", region=SMALL, request={"tiles": 1})
    names = [tmp_path / f"r.{ending}" for ending in ("html", "json", "txt")]
    flags = [part for name in names for part in ("--report", name)]
    ended = cli("run", write_job(tmp_path, values), *flags)
    assert ended.status == 0, ended
    assert names[2].read_text() == ended.out
    page = names[0].read_text()
    assert "All 9 tiles are stored." in page
    assert legend(page) == {"stored": 9}
    assert MAPS.findall(page) == ["By state"]
    (picture,) = pictures(page)
    assert picture.size == (350, 300)
    assert np.asarray(picture.convert("RGB")).std() > 20
    assert "bands B4, B3, B2" in page, "red, green and blue, whatever the order of the job"
    assert "column: 0" in page, "the job"
    assert "<title>Complete: m.zarr</title>" in page
    again = cli("run", tmp_path / "job.yaml", "--report", names[0])
    assert again.status == 0, again
    assert "9 of them by earlier runs" in names[0].read_text()


def test_failed_tiles_and_what_a_service_may_say(emulator, tmp_path):
    message = "<script>alert('pixels')</script>"
    fault = {"fault": "bad-request-400", "covers": [300, 300], "above_pixels": 1, "message": message}
    emulator.control("configure", {"faults": [fault]})
    values = job(emulator, tmp_path / "m.zarr", region=SMALL, request={"tiles": 1})
    ended = command("run", write_job(tmp_path, values), "--report", tmp_path / "r.html")
    assert ended.status == 3, ended
    page = (tmp_path / "r.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(&#39;pixels&#39;)&lt;/script&gt;" in page
    assert legend(page) == {"stored": 8, "failed": 1}
    assert "/ 0/1/1" in page
    assert 'missing="mask"' in page.replace("&#34;", '"')
    (picture,) = pictures(page)
    assert picture.convert("RGBA").getpixel((150, 150))[3] == 0, "a hole is transparent"


def test_a_run_that_was_stopped(emulator, tmp_path):
    values = job(
        emulator, tmp_path / "m.zarr", region=SMALL, request={"tiles": 1}, limits={"max_requests": 4}
    )
    with pytest.raises(downloader.StoppedError) as stopped:
        downloader.download(values, progress=False)
    page = stopped.value.report.to_html()
    assert "Stopped, and can be continued" in page
    assert legend(page) == {"stored": 4, "missing": 5}


def test_a_run_that_stored_nothing(emulator, tmp_path):
    emulator.control("configure", {"faults": [{"fault": "bad-request-400", "above_pixels": 1}]})
    values = job(emulator, tmp_path / "m.zarr", region=SMALL, request={"tiles": 1})
    with pytest.raises(downloader.DownloadError) as failed:
        downloader.download(values, progress=False)
    page = failed.value.report.to_html()
    assert pictures(page) == []
    assert "How to open it" in page


def test_groups_have_their_own_pictures_and_maps(emulator, tmp_path):
    source = {"asset": ASSET, "bands": ["B2", "B3", "B4", "B5", "B1"]}
    report = downloader.download(
        job(emulator, tmp_path / "m.zarr", source=source, region=window(0, 0, 1400, 900)), progress=False
    )
    page = report.to_html()
    assert [picture.size for picture in pictures(page)] == [(467, 300), (350, 225), (234, 150)]
    assert MAPS.findall(page) == ["10m by state", "20m by state", "60m by state"]
    for name in ("10m", "20m", "60m"):
        assert f'<th scope="row">{name}</th>' in page
    assert "open_datatree" in page


def test_a_region_of_another_shape(emulator, tmp_path):
    triangle = {"type": "Polygon", "coordinates": [[[500000, 4200000], [515000, 4200000], [500000, 4190000], [500000, 4200000]]]}  # fmt: skip
    region = {"geometry": triangle, "crs": "EPSG:32610"}
    report = downloader.download(job(emulator, tmp_path / "m.zarr", region=region), progress=False)
    counts = legend(report.to_html())
    assert set(counts) == {"stored", "outside the region"}
    assert counts["stored"] == report.tiles


def test_a_time_series_shows_the_last_slice_of_which_most_is_there(emulator, tmp_path):
    source = {"collection": "EMULATOR/PASSES", "start": "2020-01-01", "end": "2020-03-01", "bands": ["red", "nir"], "on_missing_band": "nodata"}  # fmt: skip
    region = {"bbox": [558000, 4168000, 574000, 4180000], "crs": "EPSG:32610"}
    values = job(
        emulator, tmp_path / "m.zarr", source=source, region=region, mosaic={"nodata": {"nir": -9999}}
    )
    page = downloader.download(values, progress=False).to_html()
    assert MAPS.findall(page) == ["By state", "Slices by state"]
    assert len(pictures(page)) == 1
    assert "EMULATOR/PASSES/2020" in page


def test_samples_are_a_sheet_of_chips(emulator, tmp_path):
    (tmp_path / "points.csv").write_text("lon,lat\n-122.5,37.5\n-122.4,37.4\n-122.3,37.3\n0,0\n")
    source = {"asset": ASSET, "bands": ["B4", "B3", "B2"]}
    region = {"points": {"file": str(tmp_path / "points.csv"), "chip": 32}}
    with pytest.raises(downloader.IncompleteError) as incomplete:
        downloader.download(job(emulator, tmp_path / "m.zarr", source=source, region=region), progress=False)
    page = incomplete.value.report.to_html()
    assert MAPS.findall(page) == ["Chips by state"]
    assert legend(page) == {"stored": 3, "failed": 1}
    (picture,) = pictures(page)
    assert picture.size == (66, 66)
    assert "the first 4 of 4 samples" in page
