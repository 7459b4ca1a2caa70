"""Several sources in one mosaic, end to end: each a group, on its own grid and with its own frozen images."""

from __future__ import annotations

import shutil
import signal

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr

import downloader
from downloader.errors import DriftError, IncompleteError, JobError, RefusedError, StoppedError
from tests.harness import ASSET, cli, getpixels, job, ledger_lines, same_bits, start, wait_until, write_job
from tests.oracle import PASSES, PUBLIC, oracle_window

X, Y, PIXEL = 560000, 4180000, 20
FOLDER = f"{PUBLIC}EMULATOR/PASSES/"
PASS = "EMULATOR/PASSES/20200115T183000"
DATES = {"collection": "EMULATOR/PASSES", "start": "2020-01-01", "end": "2020-01-16", "bands": ["red"]}
DATED = sorted(name for name in PASSES if name < "20200116")


def squares(count=3):
    """Squares of 5 pixels a side in the overlap of all passes."""
    shapes = [
        shapely.box(X + PIXEL * c, Y - PIXEL * (r + 5), X + PIXEL * (c + 5), Y - PIXEL * r)
        for c, r in [(400 + 7 * n, 350 + 9 * n % 150) for n in range(count)]
    ]
    return gpd.GeoDataFrame({"id": [f"s{n}" for n in range(count)]}, geometry=shapes, crs="EPSG:32610")


def sources_job(emulator, folder, sources=None, **sections):
    sections.setdefault("region", {"fields": squares()})
    made = job(emulator, folder / "all.zarr", source={}, **sections)
    del made["source"]
    made["sources"] = sources or {
        "series": DATES,
        "base": {"asset": PASS, "bands": ["nir"], "grid": {"resolution": 40}, "nodata": -1},
    }
    return made


def test_each_source_is_a_group_along_one_axis(emulator, tmp_path):
    values = sources_job(emulator, tmp_path)
    report = downloader.download(values, progress=False)
    assert (report.state, report.groups) == ("complete", ("series", "base"))
    assert report.tiles == 3 * len(DATED) + 3
    tree = report.open_tree(chunks=None)
    assert set(tree.children) == {"series", "base"}
    series, base = tree["series"], tree["base"]
    assert series.red.dims == ("sample", "step", "y", "x")
    assert base.nir.dims == ("sample", "y", "x")
    assert series.sample_id.values.tolist() == base.sample_id.values.tolist() == ["s0", "s1", "s2"]
    assert base["transform"].values[0].tolist()[:2] == [40, 0]
    for n in range(3):
        for k, name in enumerate(DATED):
            left, top = PASSES[name][0]
            wanted = oracle_window(FOLDER + name, "red", 400 + 7 * n - left, 350 + 9 * n - top, 5, 5)
            same_bits(series.red.values[n, k], wanted, f"{n} {name}")
    same_bits(report.open("series", chunks=None).red.values, series.red.values, "by its name")
    whole = xr.open_datatree(tmp_path / "all.zarr", engine="zarr", chunks=None, mask_and_scale=False)
    assert set(whole.children) == {"series", "base"}
    same_bits(whole["base"].nir.values, base.nir.values, "by xarray alone")
    lazy = downloader.open_tree(tmp_path / "all.zarr", chunks=None)
    same_bits(lazy["series"].red.values, series.red.values, "by the library")
    same_bits(
        downloader.open(tmp_path / "all.zarr", group="base", chunks=None).nir.values, base.nir.values, "base"
    )
    assert downloader.download(values, progress=False).requests == 0
    with pytest.raises(JobError, match="has the groups series, base; name one, or use open_tree"):
        report.open()
    with pytest.raises(RefusedError, match=r"holds the sources series, base.*all.zarr/series"):
        report.table(tmp_path / "t.csv")
    table = downloader.table(tmp_path / "all.zarr" / "base", tmp_path / "t.csv").to_pandas()
    np.testing.assert_allclose(table.nir_valid, 1)


def test_sources_are_added_and_each_is_frozen(emulator, tmp_path):
    first = sources_job(emulator, tmp_path, {"series": DATES})
    downloader.download(first, progress=False)
    emulator.control("requests?since=0")
    both = sources_job(emulator, tmp_path)
    since = len(emulator.control("requests?since=0")["requests"])
    report = downloader.download(both, progress=False)
    assert report.requests == 3, "the first source is there"
    assert {record["resource"] for record in getpixels(emulator, since)} == {f"{PUBLIC}{PASS}"}
    other = sources_job(
        emulator, tmp_path, {"series": DATES | {"start": "2020-01-12"}, "base": both["sources"]["base"]}
    )
    with pytest.raises(DriftError, match="series"):
        downloader.download(other, progress=False)
    assert downloader.status(tmp_path / "all.zarr").is_complete
    alone = sources_job(emulator, tmp_path, {"base": both["sources"]["base"]})
    assert downloader.download(alone, progress=False).requests == 0
    assert set(downloader.open_tree(tmp_path / "all.zarr").children) == {"series", "base"}


def test_points_have_chips_of_their_own_size(emulator, tmp_path):
    (tmp_path / "points.csv").write_text(f"x,y\n{X + 20 * 400.5},{Y - 20 * 350.5}\n")
    region = {"points": {"file": str(tmp_path / "points.csv"), "chip": 8}, "crs": "EPSG:32610"}
    sources = {
        "series": DATES,
        "base": {"asset": PASS, "bands": ["nir", "red"], "grid": {"resolution": 40}, "chip": 4},
    }
    values = sources_job(emulator, tmp_path, sources, region=region)
    values["mosaic"]["path"] = f"memory://sources-{tmp_path.name}"
    report = downloader.download(values, progress=False)
    tree = report.open_tree(chunks=None)
    assert tree["series"].red.shape == (1, len(DATED), 8, 8)
    assert tree["base"].nir.shape == (1, 4, 4)
    left, top = PASSES[DATED[0]][0]
    same_bits(
        tree["series"].red.values[0, 0],
        oracle_window(FOLDER + DATED[0], "red", 396 - left, 346 - top, 8, 8),
        "red",
    )
    assert downloader.download(values, progress=False).requests == 0


def test_what_a_run_that_was_killed_left_is_no_obstacle(emulator, tmp_path):
    (tmp_path / "all.zarr").mkdir()
    (tmp_path / "all.zarr" / "zarr.json#3").write_text("{")
    assert downloader.download(sources_job(emulator, tmp_path), progress=False).state == "complete"
    foreign = sources_job(emulator, tmp_path)
    foreign["mosaic"]["path"] = str(tmp_path)
    with pytest.raises(RefusedError, match="holds something else than a mosaic of several sources"):
        downloader.download(foreign, progress=False)


def test_a_source_that_never_began_is_forgotten(emulator, tmp_path):
    values = sources_job(emulator, tmp_path)
    downloader.download(values, progress=False)
    wrong = {**values, "sources": values["sources"] | {"typo": {"asset": "EMULATOR/NOPE"}}}
    with pytest.raises(JobError, match="EMULATOR/NOPE"):
        downloader.download(wrong, progress=False)
    assert downloader.status(tmp_path / "all.zarr").not_begun == ("typo",)
    downloader.download(values, progress=False)
    assert downloader.status(tmp_path / "all.zarr").is_complete
    assert cli("verify", tmp_path / "all.zarr").status == 0
    values["sources"]["base"] |= {"bands": ["red"], "nodata": -1}
    with pytest.raises(JobError, match=r"^sources\.base\.nodata: .* no value of red"):
        downloader.download(values, progress=False)


def test_metadata_of_all_that_is_lost_is_written_anew(emulator, tmp_path):
    values, root = sources_job(emulator, tmp_path), tmp_path / "all.zarr" / "zarr.json"
    downloader.download(values, progress=False)
    whole = root.read_bytes()
    root.unlink()
    assert downloader.download(values, progress=False).requests == 0
    assert root.read_bytes() == whole
    root.unlink()
    other = {**values, "sources": {"others": values["sources"]["base"]}}
    with pytest.raises(RefusedError, match="holds something else than a mosaic of several sources"):
        downloader.download(other, progress=False)


def test_a_path_given_apart_and_calls_that_take_one_source(emulator, tmp_path):
    values = sources_job(emulator, tmp_path)
    for job_like, place in (
        (values, "one.zarr"),
        (
            write_job(tmp_path, values | {"region": {"bbox": [X, Y - 90, X + 90, Y], "crs": "EPSG:32610"}}),
            "two.zarr",
        ),
    ):
        report = downloader.download(job_like, tmp_path / place, progress=False)
        assert set(report.open_tree(chunks=None).children) == {"series", "base"}
        assert downloader.status(tmp_path / place).is_complete
    assert not (tmp_path / "all.zarr").exists()
    assert downloader.doctor(values).is_well
    single = job(emulator, tmp_path / "one.zarr", source=DATES, region=values["region"])
    with pytest.raises(RefusedError, match="holds the sources series, base; write sources in the job"):
        downloader.download(single, progress=False, overwrite=True)
    assert downloader.status(tmp_path / "one.zarr").is_complete
    for call in (downloader.open, downloader.plan, downloader.open_tree):
        with pytest.raises(
            JobError, match=r"sources: series, base: this takes one source; name the mosaic of one"
        ):
            call(values)


def test_groups_of_a_source_are_shown(emulator, tmp_path):
    sources = {
        "optical": {"asset": ASSET, "bands": ["B2", "B5"]},
        "base": {"asset": PASS, "bands": ["red"]},
    }
    region = {"bbox": [X, Y - 900, X + 900, Y], "crs": "EPSG:32610"}
    report = downloader.download(sources_job(emulator, tmp_path, sources, region=region), progress=False)
    report.save(tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "could not be" not in page
    assert all(f"of group {name}" in page for name in ("optical/10m", "optical/20m", "base"))
    told = downloader.preview(tmp_path / "all.zarr", tmp_path / "p.png", group="optical/20m")
    assert "group optical/20m, bands B5" in told.replace("the only slice, ", "")
    wrong = sources_job(emulator, tmp_path, sources | {"typo": {"asset": "EMULATOR/NOPE"}}, region=region)
    with pytest.raises(JobError) as caught:
        downloader.download(wrong, progress=False)
    caught.value.report.save(tmp_path / "r.html")
    assert "could not be" not in (tmp_path / "r.html").read_text()


def test_a_killed_run_continues_in_each_source(emulator, tmp_path):
    squares(40).to_file(tmp_path / "fields.gpkg")
    region, slowly = {"fields": "fields.gpkg"}, {"concurrency": 2}
    values = sources_job(emulator, tmp_path, region=region, request={"depth": 1}, limits=slowly)
    path, mosaic = write_job(tmp_path, values), tmp_path / "all.zarr"
    emulator.control("configure", {"latency_ms": 20})
    for source in ("series", "base"):
        process = start("run", path)
        wait_until(lambda source=source: ledger_lines(mosaic / source) >= 2, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    emulator.control("configure", {"latency_ms": 0})
    shutil.rmtree(mosaic / "series" / ".downloader")
    assert cli("verify", path, "--repair").status in (0, 3), "what the kill left out is missing still"
    ended = cli("run", path)
    assert ended.status == 0, ended
    assert cli("verify", path).status == 0
    whole = values | {"mosaic": values["mosaic"] | {"path": str(tmp_path / "whole.zarr")}}
    whole["region"] = {"fields": str(tmp_path / "fields.gpkg")}
    wanted = downloader.download(whole, progress=False).open_tree(chunks=None)
    found = xr.open_datatree(mosaic, engine="zarr", chunks=None, mask_and_scale=False)
    for source, band in (("series", "red"), ("base", "nir")):
        same_bits(found[source][band].values, wanted[source][band].values, source)
        np.testing.assert_array_equal(found[source].inside, wanted[source].inside)


def test_a_limit_is_that_of_all_sources_and_the_next_run_continues(emulator, tmp_path):
    values = sources_job(
        emulator, tmp_path, request={"depth": 1}, limits={"max_requests": 3 * len(DATED) + 1}
    )
    with pytest.raises(StoppedError) as caught:
        downloader.download(values, progress=False)
    assert caught.value.report.requests == 3 * len(DATED) + 1
    assert not downloader.status(tmp_path / "all.zarr").is_complete
    report = downloader.download(values, progress=False)
    assert report.state == "complete"
    assert report.requests == 2


def test_a_plain_region_and_a_source_that_fails(emulator, tmp_path):
    bbox = [X + 8000, Y - 9000, X + 9000, Y - 8000]
    region = {"bbox": bbox, "crs": "EPSG:32610"}
    sources = {"a": DATES, "b": {"asset": PASS, "bands": ["nir", "red"]}}
    values = sources_job(emulator, tmp_path, sources, region=region)
    tree = downloader.download(values, progress=False).open_tree(chunks=None)
    assert tree["a"].red.dims == ("time", "y", "x")
    assert set(tree["b"].data_vars) == {"nir", "red"}
    same_bits(tree["b"].red.values, oracle_window(f"{PUBLIC}{PASS}", "red", 400, 400, 50, 50), "red")
    wrong = sources_job(
        emulator, tmp_path, {"a": DATES, "c": {"asset": PASS, "bands": ["blue"]}, "d": DATES}, region=region
    )
    with pytest.raises(JobError, match=r"^sources\.c\.bands") as told:
        downloader.download(wrong, progress=False)
    assert (told.value.report.state, told.value.report.groups) == ("stopped", ("a",))
    assert "sources.c.bands" in told.value.report.message
    assert told.value.report.message.endswith("nothing of c, d yet")
    assert downloader.status(tmp_path / "all.zarr").not_begun == ("c", "d")
    far = squares()
    far.loc[3] = ["far", shapely.box(0, 0, 100, 100)]
    failing = sources_job(emulator, tmp_path, region={"fields": far})
    failing["mosaic"]["path"] = str(tmp_path / "far.zarr")
    with pytest.raises(IncompleteError) as caught:
        downloader.download(failing, progress=False)
    report = caught.value.report
    assert report.groups == ("series", "base")
    assert {tile.group for tile in report.failed} == {"base"}


def test_the_commands(emulator, tmp_path):
    squares().to_file(tmp_path / "fields.gpkg")
    values = sources_job(emulator, tmp_path, region={"fields": "fields.gpkg"})
    path, mosaic = write_job(tmp_path, values), tmp_path / "all.zarr"
    planned = cli("plan", path)
    assert planned.out.startswith("series: 3 samples of "), planned
    assert "\nbase: 3 samples of 1 image" in planned.out
    assert set(cli("plan", path, "--json").document["sources"]) == {"series", "base"}
    assert "nothing fetched yet" in cli("status", path).out
    ended = cli("run", path, "--report", tmp_path / "r.json", "--report", tmp_path / "r.html")
    assert ended.status == 0, ended
    page = (tmp_path / "r.html").read_text()
    assert "could not be read" not in page
    assert "could not be drawn" not in page
    assert all(f"of group {name}" in page for name in ("series", "base"))
    told = cli("status", mosaic)
    assert "complete" in told.out
    assert "series" in told.out
    assert "base" in told.out
    for target in (path, mosaic):
        assert cli("verify", target).status == 0
    assert set(cli("verify", mosaic, "--json").document["sources"]) == {"series", "base"}
    next(file for file in (mosaic / "base" / "nir" / "c").rglob("*") if file.is_file()).unlink()
    assert cli("verify", mosaic).status == 3
    assert cli("verify", path, "--repair").status == 0
    refused = cli("export", mosaic, "-o", tmp_path / "x.tif")
    assert refused.status == 5
    assert "holds the sources series, base" in refused.err
