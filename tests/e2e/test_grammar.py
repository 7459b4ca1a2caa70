"""Choose, each image, over time, end to end: every pixel against numpy on the oracle's pixels."""

from __future__ import annotations

import json

import numpy as np
import pytest

import downloader
from downloader.errors import DriftError, JobError
from downloader.mosaic.verify.verify import verify
from tests.e2e.test_expressions_run import AROUND, layers
from tests.harness import cli, getpixels, job, same_bits, write_job
from tests.oracle import PASSES, PUBLIC, WITHOUT_SCORE, oracle_window

SOURCE = {
    "collection": "EMULATOR/PASSES",
    "start": "2020-01-01",
    "end": "2020-03-01",
    "mask": {"band": "cloud", "bits": [0, 3]},
    "on_missing_band": "nodata",
}
MONTHS = {"2020-01": slice(0, 5), "2020-02": slice(5, 7)}
"""Of the passes, in order of time."""


def run(values, **options):
    return downloader.download(values, progress=False, **options)


def clear(band):
    return layers(band, (0, 3))


@pytest.mark.filterwarnings("ignore:Degrees of freedom:RuntimeWarning")
def test_an_index_of_each_month(emulator, tmp_path):
    """Masked, computed of each image, then reduced: float32, NaN where no image is clear."""
    source = {
        **SOURCE,
        "bands": [{"ratio": "(nir - red) / (nir + red)"}, {"both": "nir + red"}],
        "every": "month",
        "reduce": "std",
    }
    values = job(emulator, tmp_path / "m.zarr", source=source, region=AROUND)
    found = run(values).open(chunks=None)
    assert found.image_id.values.tolist() == list(MONTHS)
    assert [str(time)[:10] for time in found.time.values] == ["2020-01-01", "2020-02-01"]
    red, nir = clear("red"), clear("nir")
    total = nir + red
    for index, members in enumerate(MONTHS.values()):
        for band, stack in (
            ("ratio", np.where(total == 0, np.nan, (nir - red) / np.where(total == 0, 1, total))),
            ("both", total),
        ):
            assert found[band].dtype == "<f4"
            np.testing.assert_allclose(
                found[band].values[index],
                np.nanstd(stack[members], axis=0),
                rtol=2e-6,
                atol=1e-6,
                err_msg=band,
            )
    assert getpixels(emulator) == []
    assert run(values).requests == 0


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
def test_the_greatest_of_a_band_brings_the_others_along(emulator, tmp_path):
    source = {**SOURCE, "bands": ["red", "nir"], "every": "all", "reduce": {"most": "nir"}}
    values = job(
        emulator, tmp_path / "m.zarr", source=source, region=AROUND, mosaic={"mask": "any", "nodata": {"red": 0, "nir": 0}}
    )  # fmt: skip
    found = run(values).open(chunks=None)
    red, nir = clear("red"), clear("nir")
    there = ~np.isnan(red) & ~np.isnan(nir)
    which = np.where(there, nir, -np.inf).argmax(axis=0)
    valid = there.any(axis=0)
    same_bits(found["mask"].values, valid.astype("u1"), "mask")
    for band, stack, kind in (("red", red, "<u2"), ("nir", nir, "<i2")):
        wanted = np.take_along_axis(np.where(there, stack, 0), which[None], axis=0)[0].astype(kind)
        same_bits(np.where(valid, found[band].values, 0), wanted, band)


def test_each_image_masked_and_computed_keeps_its_time(emulator, tmp_path):
    source = {**SOURCE, "bands": ["red", {"twice": "2 * red"}], "dtype": "float64"}
    found = run(job(emulator, tmp_path / "m.zarr", source=source, region=AROUND)).open(chunks=None)
    red = clear("red")
    assert found.sizes["time"] == len(red)
    np.testing.assert_array_equal(found["red"].values, red)
    np.testing.assert_array_equal(found["twice"].values, 2 * red)


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
def test_months_grow_and_one_that_was_cut_is_computed_again(emulator, tmp_path):
    """The second run asks for what is new, and for the month that its end had cut; not for the others."""
    source = {**SOURCE, "bands": ["red"], "every": "month", "reduce": "median"}
    source["mask"] = {"band": "cloud", "bits": [0, 3]}
    path = tmp_path / "m.zarr"

    def values(end):
        return job(emulator, path, source={**source, "end": end}, region=AROUND, mosaic={"nodata": None})

    first = run(values("2020-02-02")).open(chunks=None)
    assert first.image_id.values.tolist() == list(MONTHS)
    stamp = {file: file.stat().st_mtime_ns for file in (path / "red/c/0").rglob("*") if file.is_file()}
    report = run(values("2020-03-01"))
    found = report.open(chunks=None)
    red = clear("red")
    for index, members in enumerate(MONTHS.values()):
        np.testing.assert_allclose(found["red"].values[index], np.nanmedian(red[members], axis=0), rtol=1e-7)
    assert stamp == {file: file.stat().st_mtime_ns for file in stamp}, "January is what it was"
    assert run(values("2020-03-01")).requests == 0
    with pytest.raises(DriftError, match=r"source.reduce: median → mean"):
        run(job(emulator, path, source={**source, "reduce": "mean"}, region=AROUND))
    with pytest.raises(DriftError, match=r"source.mask: .*bits \[0, 3\] → none"):
        run(job(emulator, path, source={**source, "mask": "none"}, region=AROUND))


def test_the_plan_says_what_is_computed_and_why(emulator, tmp_path):
    source = {**SOURCE, "bands": ["red"], "every": "month", "reduce": "median"}
    file = write_job(tmp_path, job(emulator, "m.zarr", source=source, region=AROUND))
    said = cli("plan", file).out
    assert "computed  2 slices: mask, reduce: median" in said
    assert "EMULATOR/PASSES, 7 images in 2 slices, 2020-01-01T00:00:00Z … 2020-02-01T00:00:00Z" in said
    source |= {"every": "all"}
    said = cli("plan", write_job(tmp_path, job(emulator, "m.zarr", source=source, region=AROUND))).out
    assert "EMULATOR/PASSES, 7 images, 2020-01-10T18:30:00Z … 2020-02-02T00:10:00Z" in said
    source |= {"end": "2020-01-10T18:31:00Z"}
    said = cli("plan", write_job(tmp_path, job(emulator, "m.zarr", source=source, region=AROUND))).out
    assert "EMULATOR/PASSES, 1 image, 2020-01-10T18:30:00Z, EPSG:32610" in said
    raw = {key: value for key, value in SOURCE.items() if key != "mask"}
    file = write_job(tmp_path, job(emulator, "m.zarr", source={**raw, "bands": ["red"]}, region=AROUND, mosaic={"nodata": 0}))  # fmt: skip
    assert "computed" not in cli("plan", file).out


def test_the_plan_tells_two_sensors_bands_by_their_collections(emulator, tmp_path):
    source = {
        "collection": ["LANDSAT/LT05/C02/T1_L2", "LANDSAT/LC08/C02/T1_L2"], "start": "2011-10-01", "end": "2019-02-01",
        "bands": ["red", "ST_QA"], "every": "all", "reduce": "first",
    }  # fmt: skip
    region = {"bbox": [577_800, 4_140_000, 579_000, 4_141_200], "crs": "EPSG:32610"}
    said = cli("plan", write_job(tmp_path, job(emulator, "m.zarr", source=source, region=region, grid={"crs": "EPSG:32610", "resolution": 30}))).out  # fmt: skip
    assert (
        "red is SR_B3 in LANDSAT/LT05/C02/T1_L2, red is SR_B4 in LANDSAT/LC08/C02/T1_L2, reduce: first"
        in said
    )


def test_a_region_beyond_all_images_is_refused(emulator, tmp_path):
    """Also where one of them is as near as the next pixel."""
    source = {"images": [f"EMULATOR/PASSES/{name}" for name in PASSES][:2], "bands": ["red"]}
    region = {"bbox": [560_000 - 500, 4_179_000, 560_000, 4_180_000], "crs": "EPSG:32610"}
    for every in ({}, {"every": "all", "reduce": "first"}):
        values = job(emulator, tmp_path / "m.zarr", source={**source, **every}, region=region)
        with pytest.raises(
            JobError, match=r"region: lies beyond all images: none of [12] slices has a pixel there"
        ):
            downloader.plan(values)


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
def test_a_season_of_two_landsats_by_colours(emulator, tmp_path):
    """Clouds by the catalogue's bits, reflectances by its scale: as numpy makes it of the bands as they are stored."""
    source = {
        "collection": ["LANDSAT/LC08/C02/T1_L2", "LANDSAT/LC09/C02/T1_L2"],
        "start": "2021-12-01", "end": "2022-06-01", "season": "MAM",
    }  # fmt: skip
    region = {"bbox": [577_800, 4_140_000, 579_000, 4_141_200], "crs": "EPSG:32610"}
    grid = {"crs": "EPSG:32610", "resolution": 30}
    asked = {"bands": ["SR_B5", "SR_B4", "QA_PIXEL", "QA_RADSAT"]}
    stored = job(emulator, tmp_path / "raw.zarr", source={**source, **asked}, region=region, grid=grid)
    raw = run({**stored, "mosaic": {**stored["mosaic"], "mask": "any"}}).open(
        chunks=None, mask_and_scale=False
    )
    made = {
        **source, "mask": "clouds", "scale": "catalog", "every": "season", "reduce": "median",
        "bands": [{"ndvi": "(nir - red) / (nir + red)"}],
    }  # fmt: skip
    found = run(job(emulator, tmp_path / "m.zarr", source=made, region=region, grid=grid)).open(chunks=None)
    assert found.image_id.values.tolist() == ["2022-MAM"]
    nir, red = (raw[band].values * 2.75e-05 - 0.2 for band in ("SR_B5", "SR_B4"))
    kept = (
        (raw["QA_PIXEL"].values & 0b11111 == 0) & (raw["QA_RADSAT"].values == 0) & (raw["mask"].values == 1)
    )
    assert 0.1 < kept.mean() < 0.9
    index = np.where(kept, (nir - red) / (nir + red), np.nan)
    np.testing.assert_allclose(found["ndvi"].values[0], np.nanmedian(index, axis=0), rtol=2e-6, atol=1e-6)


def test_images_are_chosen_by_what_they_cover_and_what_the_mask_leaves(emulator, tmp_path):
    """Shares counted on a coarse grid are near those of all pixels, and none is asked for twice."""
    there, kept = (~np.isnan(layers("red", bits)) for bits in ((), (3,)))
    covered, clear = there.mean(axis=(1, 2)), kept.sum(axis=(1, 2)) / there.sum(axis=(1, 2))
    chosen = (covered >= 0.4) & (clear >= 0.15)
    assert chosen.nonzero()[0].tolist() == [2, 5]
    assert ((covered >= 0.4) & ~chosen).any()
    assert ((clear >= 0.15) & ~chosen).any()
    source = {
        **SOURCE, "bands": ["red"], "mask": {"band": "cloud", "bits": [3]}, "min_cover": 0.4, "min_clear": 0.15,
    }  # fmt: skip

    def values(end="2020-03-01", path="m.zarr", **changes):
        return job(
            emulator, tmp_path / path, source={**source, "end": end, **changes}, region=AROUND, mosaic={"nodata": None}
        )  # fmt: skip

    def counted():
        """Bands of each request that counted shares."""
        records = emulator.control("requests?since=0")["requests"]
        return [len(r["bands"]) for r in records if r["method"].endswith("Pixels") and r["bands"][0] != "red"]

    file = write_job(tmp_path, values())
    document = json.loads(cli("plan", file, "--json").out)
    assert counted() == [14]
    shares = document["shares"]
    assert [one["id"] for one in shares] == [f"EMULATOR/PASSES/{name}" for name in PASSES]
    np.testing.assert_allclose([one["covered"] for one in shares], covered, atol=0.01)
    np.testing.assert_allclose([one["clear"] for one in shares], clear, atol=0.03)
    said = cli("plan", file).out
    assert "5 images of 7 left out, counted in pixels of 142 m" in said
    assert "20200115T183000      65%    19%  kept" in said
    assert "covers 32% of the region, less than min_cover 40%" in said
    assert "10% of what it covers is clear, less than min_clear 15%" in said
    before = len(counted())
    first = run(values("2020-02-01")).open(chunks=None)
    assert first.sizes["time"] == 1
    report = run(values())
    assert counted()[before:] == [10, 4]
    found = report.open(chunks=None)
    assert found.image_id.values.tolist() == [shares[index]["id"] for index in (2, 5)]
    red = layers("red", (3,))[chosen]
    np.testing.assert_array_equal(found["red"].values, np.where(np.isnan(red), 0, red))
    assert run(values()).requests == 0
    assert counted()[before:] == [10, 4]
    assert verify(tmp_path / "m.zarr").is_clean
    with pytest.raises(DriftError, match=r"source.min_clear: 0.15 → 0.2"):
        run(values(min_clear=0.2))
    with pytest.raises(DriftError, match=r"source.min_cover: 0.4 → not in this job"):
        run(values(min_cover=None))
    run(values("2020-01-12", "other.zarr", min_cover=None, min_clear=None))
    with pytest.raises(DriftError, match=r"source.min_cover: none → 0.4"):
        run(values("2020-01-12", "other.zarr", min_clear=None))


def test_conditions_that_a_mosaic_was_made_without_are_refused(emulator, tmp_path):
    """They would choose other images; a mosaic that has them already keeps them."""
    plain = {**SOURCE, "end": "2020-01-12", "bands": ["red"], "mask": {"band": "cloud", "bits": [3]}}

    def values(**changes):
        return job(emulator, tmp_path / "m.zarr", source={**plain, **changes}, region=AROUND, mosaic={"nodata": None})  # fmt: skip

    run(values())
    for name, written, told in (
        ("filter", "ORBIT > 1", "filter: none → ORBIT > 1"),
        ("months", [1, 2], "months: none → 1, 2"),
        ("season", "DJF", "months: none → 1, 2, 12"),
        ("min_cover", 0.01, "min_cover: none → 0.01"),
        ("min_clear", 0.01, "min_clear: none → 0.01"),
        ("pick", {"clearest": 9, "per": "day"}, "pick: none → clearest 9 per day"),
    ):
        with pytest.raises(DriftError) as caught:
            run(values(**{name: written}))
        assert f"  source.{told}\n" in str(caught.value), name
    assert run(values()).requests == 0


SEASONS = {
    "collection": "COPERNICUS/S2_SR_HARMONIZED", "start": "2017-04-01", "end": "2017-09-01", "mask": "clouds",
    "bands": ["B4"], "pick": {"clearest": 1, "per": "season"}, "on_missing_band": "nodata",
}  # fmt: skip
PART = (1000, 2000, 300, 280)
"""Of tile 10SEG: column, row, width, height in pixels of 10 m."""


def clear_pixels():
    """Index → pixels with a score of 0.6 or more, of the images of tile 10SEG that have a score; without those clear all over."""
    found = {}
    for day in np.arange(np.datetime64("2017-04-01"), np.datetime64("2017-12-01"), 5):
        index = "{0}T184921_{0}T184921_T10SEG".format(str(day).replace("-", ""))
        if index != WITHOUT_SCORE:
            score = oracle_window(
                f"{PUBLIC}GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED/{index}", "cs_cdf", *PART
            )
            found[index] = score >= 0.6
    return found


def test_the_clearest_image_of_each_season(emulator, tmp_path):
    """Whole images, bit for bit; a later end adds a season's pick and asks for no old pixel."""
    region = {"bbox": [509_980, 4_177_200, 512_980, 4_180_000], "crs": "EPSG:32610"}

    pixels = clear_pixels()
    whole = [index for index, kept in pixels.items() if kept.all()]
    months = ({"04", "05"}, {"06", "07", "08"}, {"09", "10", "11"})
    seasons = [
        {i: kept for i, kept in pixels.items() if i[4:6] in season and i not in whole} for season in months
    ]
    wanted = [max(season.items(), key=lambda one: one[1].sum()) for season in seasons]
    assert [float(kept.mean().round(1)) for _, kept in wanted] == [0.5, 1.0, 0.8]
    assert not any(kept.all() for _, kept in wanted)
    without = f"NOT system:index IN ({', '.join(whole)})"

    def values(end="2017-09-01", path="m.zarr", **changes):
        return job(
            emulator, tmp_path / path, source={**SEASONS, "filter": without, "end": end, **changes}, region=region, mosaic={"mask": "any", "nodata": 0}
        )  # fmt: skip

    def check(found, count):
        assert [id_.rpartition("/")[2] for id_ in found.image_id.values.tolist()] == [index for index, _ in wanted[:count]]  # fmt: skip
        for number, (index, kept) in enumerate(wanted[:count]):
            red = oracle_window(f"{PUBLIC}COPERNICUS/S2_SR_HARMONIZED/{index}", "B4", *PART)
            same_bits(found["B4"].values[number], np.where(kept, red, 0).astype("<u2"), index)
            same_bits(found["mask"].values[number], kept.astype("u1"), index)

    said = cli("plan", write_job(tmp_path, values())).out
    assert "images    2" in said
    first, lacking = f"COPERNICUS/S2_SR_HARMONIZED/{wanted[0][0]}", f"COPERNICUS/S2_SR_HARMONIZED/{WITHOUT_SCORE}"  # fmt: skip
    rows = {line.split()[0]: line.split(maxsplit=3)[1:] for line in said.splitlines() if "SR_HARMONIZED/2017" in line}  # fmt: skip
    assert len(rows) == 1 + len(seasons[0]) + len(seasons[1])
    assert rows[first][0] == "100%"
    assert rows[first][2] == f"kept: {rows[first][1]} of the region is clear"
    assert rows[lacking][:2] == ["-", "-"]
    assert rows[lacking][2].startswith("left out by pick: it has no partner of the same index in GOOGLE/CLOUD_SCORE_PLUS")  # fmt: skip
    assert sum(row[2].startswith("left out by pick: ") for row in rows.values()) == len(rows) - 2
    assert f"{len(rows) - 2} images of {len(rows)} left out, counted in pixels of 24 m" in said
    check(run(values()).open(chunks=None), 2)
    stamp = {file: file.stat().st_mtime_ns for file in (tmp_path / "m.zarr/B4/c").rglob("*") if file.is_file()}  # fmt: skip
    check(run(values("2017-12-01")).open(chunks=None), 3)
    assert stamp == {file: file.stat().st_mtime_ns for file in stamp}
    assert run(values("2017-12-01")).requests == 0
    assert verify(tmp_path / "m.zarr").is_clean
    with pytest.raises(DriftError, match=r"source.pick: clearest 1 per season → clearest 2 per season"):
        run(values("2017-12-01", pick={"clearest": 2, "per": "season"}))
    with pytest.raises(JobError, match="20170506T184921_T10SEG has no partner of the same index"):
        run(values("2017-12-01", "new.zarr", on_missing_band="fail"))
    with pytest.raises(DriftError, match=r"source.start and end: .* which is not all of it"):
        run(values())


def test_scenes_of_one_polarisation_among_others(emulator, tmp_path):
    """The list among an image's properties says which; the pixels in dB are the scene's own under the grid's."""
    source = {
        "collection": "COPERNICUS/S1_GRD", "start": "2023-01-01", "end": "2023-02-07", "bands": ["VV", "VH"],
        "filter": 'instrumentMode = "IW" AND VH IN transmitterReceiverPolarisation',
        "properties": ["relativeOrbitNumber_start"],
    }  # fmt: skip
    region = {"bbox": [546_000, 4_165_000, 547_000, 4_166_000], "crs": "EPSG:32610"}
    grid = {"crs": "EPSG:32610", "resolution": 10}
    found = run(job(emulator, tmp_path / "m.zarr", source=source, region=region, grid=grid)).open(chunks=None)
    wanted = [("S1A_IW_GRDH_1SDV_20230103T141500_00", 0), ("S1A_IW_GRDH_1SDV_20230121T141500_03", 3)]
    assert found.image_id.values.tolist() == [f"COPERNICUS/S1_GRD/{index}" for index, _ in wanted]
    for place, (index, number) in enumerate(wanted):
        column = int((546_005 - (545_003 + 7 * number)) // 10)
        row = int(((4_170_002 - 3 * number) - 4_165_995) // 10)
        for band in ("VV", "VH"):
            scene = oracle_window(f"{PUBLIC}COPERNICUS/S1_GRD/{index}", band, column, row, 100, 100)
            same_bits(found[band].values[place], scene, index)


@pytest.mark.parametrize("reduce", ["first", "median", "count"])
def test_where_three_granules_meet_each_request_names_those_it_meets(emulator, tmp_path, reduce):
    """Tiles beyond all of them are not asked for, though they lie between them; the pixels are those of all together."""
    west, north, side = 604_660, 4_205_240, 1024
    source = {
        "collection": "COPERNICUS/S2_SR_HARMONIZED", "start": "2017-04-01", "end": "2017-04-02", "bands": ["B4"],
        "every": "all", "reduce": reduce,
    }  # fmt: skip
    region = {"bbox": [west, north - 10 * side, west + 10 * side, north], "crs": "EPSG:32610"}
    values = job(emulator, tmp_path / "m.zarr", source=source, region=region, request={"tiles": 1}, mosaic={} if reduce == "median" else {"nodata": 0})  # fmt: skip
    corners = {"10SEG": (499_980, 4_200_000), "10SEH": (499_980, 4_300_020), "10SFG": (600_000, 4_200_000)}
    index = "20170401T184921_20170401T184921_T"
    shown, valid = [], []
    for tile, (left, top) in corners.items():
        column, row = (west - left) // 10, (top - north) // 10
        first, above = max(0, -column), max(0, -row)
        width, height = min(side, 10_980 - column) - first, min(side, 10_980 - row) - above
        name = f"{PUBLIC}COPERNICUS/S2_SR_HARMONIZED/{index}{tile}"
        stack = np.zeros((side, side), "<u2")
        stack[above : above + height, first : first + width] = oracle_window(name, "B4", column + first, row + above, width, height)  # fmt: skip
        shown.append(stack)
        valid.append(np.zeros((side, side), bool))
        valid[-1][above : above + height, first : first + width] = True
    there = np.array(valid)
    stack = np.ma.array(shown, mask=~there)
    which = there.argmax(axis=0)[None]
    wanted = {
        "first": np.where(there.any(axis=0), np.take_along_axis(np.array(shown), which, axis=0)[0], 0),
        "median": np.ma.median(stack.astype("f8"), axis=0).filled(np.nan).astype("f4"),
        "count": there.sum(axis=0).astype("u2"),
    }[reduce]
    touched = there.any(axis=0).reshape(4, 256, 4, 256).any(axis=(1, 3))
    plan = downloader.plan(values).plan
    assert plan.count_tiles() == touched.sum() == 12
    (group,) = plan.groups
    graphs = [
        plan.pixel_request(request).expression for key in group.shards() for request in group.requests(key)
    ]
    named = [{tile for tile in corners if index + tile in graph} for graph in graphs]
    assert len(named) == 12
    assert {"10SEG"} not in named, "all of the region's tiles reach beyond it"
    assert {"10SEH"} in named
    assert {"10SFG"} in named
    assert {*corners} in named
    report = run(values)
    found = report.open(chunks=None)
    same_bits(found["B4"].values, np.asarray(wanted, found["B4"].dtype), reduce)
    assert verify(tmp_path / "m.zarr").is_clean
