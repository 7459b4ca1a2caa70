"""What users ask for on the first day: each job runs, or its message says what to write in its place."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import shapely

import downloader
from downloader.errors import JobError
from tests.e2e.test_samples import write_points
from tests.harness import job

S2, DEM, L8, L9 = (
    "COPERNICUS/S2_SR_HARMONIZED", "COPERNICUS/DEM/GLO30", "LANDSAT/LC08/C02/T1_L2", "LANDSAT/LC09/C02/T1_L2",
)  # fmt: skip
PLACE = [-122.19, 37.40, -122.182, 37.406]
BOX = {"bbox": PLACE}
SHAPE = shapely.Polygon([(-122.19, 37.40), (-122.182, 37.40), (-122.182, 37.406), (-122.19, 37.40)])
POLYGON = {"geometry": json.loads(shapely.to_geojson(SHAPE)), "mask": True}
APRIL = {
    "collection": S2, "start": "2017-04-01", "end": "2017-04-12", "filter": 'MGRS_TILE = "10SEG"', "bands": ["B4"],
}  # fmt: skip
NDVI = {"ndvi": "(nir - red) / (nir + red)"}
MONTHS = {**APRIL, "end": "2017-05-05", "mask": "clouds", "every": "month", "reduce": "median"}


POINTS = "points.csv"


def _chips(**source):
    return {"source": {**APRIL, **source}, "region": {"points": {"file": POINTS, "chip": 16}}}


# Job → (leading axis and its length, types of the bands).
RUNS = {
    "a mask by classes": (
        {"source": {**APRIL, "mask": {"band": "SCL", "values": [3, 8, 9, 10]}, "dtype": "float32"}, "region": BOX},
        (("time", 3), {"B4": "<f4"}),
    ),
    "a mask by Cloud Score+": (
        {"source": {**APRIL, "mask": {"band": "cs_cdf", "of": "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED", "below": 0.5}}, "region": BOX},
        (("time", 3), {"B4": "<u2"}),
    ),
    "the greatest": ({"source": {**MONTHS, "reduce": "max"}, "region": BOX}, (("time", 2), {"B4": "<u2"})),
    "a percentile": ({"source": {**MONTHS, "reduce": "p20"}, "region": BOX}, (("time", 2), {"B4": "<f4"})),
    "monthly": ({"source": {**MONTHS, "bands": ["B4", NDVI]}, "region": BOX}, (("time", 2), {"B4": "<f4", "ndvi": "<f4"})),
    "an index of each image": ({"source": {**APRIL, "bands": [NDVI]}, "region": BOX}, (("time", 3), {"ndvi": "<f4"})),
    "a DEM without dates over a polygon": (
        {"source": {"collection": DEM, "bands": ["DEM"], "every": "all", "reduce": "first"}, "region": POLYGON},
        (None, {"DEM": "<f4"}),
    ),
    "a type": ({"source": {**APRIL, "dtype": "float32"}, "region": BOX}, (("time", 3), {"B4": "<f4"})),
    "utm": ({"source": APRIL, "region": BOX, "grid": {"crs": "utm", "resolution": 20}}, (("time", 3), {"B4": "<u2"})),
    "a scale in metres of degrees": (
        {"source": APRIL, "region": BOX, "grid": {"crs": "EPSG:4326", "scale": 30}}, (("time", 3), {"B4": "<u2"}),
    ),
    "a polygon of floats, NaN outside": (
        {"source": {**APRIL, "bands": [NDVI]}, "region": POLYGON}, (("time", 3), {"ndvi": "<f4"}),
    ),
    "a polygon whose mask is stored": (
        {"source": APRIL, "region": POLYGON, "mosaic": {"mask": "any"}}, (("time", 3), {"B4": "<u2", "mask": "|u1"}),
    ),
    "one of several": (
        {"source": {**APRIL, "filter": "MGRS_TILE IN (10SEG, 10SFG)"}, "region": BOX}, (("time", 3), {"B4": "<u2"}),
    ),
    "Landsat 8 and 9 merged": (
        {"source": {"collection": [L8, L9], "start": "2022-03-01", "end": "2022-06-01", "scale": "catalog", "mask": "clouds",
                    "bands": ["red", NDVI], "every": "season", "reduce": "median"}, "region": BOX},
        (("time", 1), {"red": "<f4", "ndvi": "<f4"}),
    ),
    "five years of NDVI by season over two zones": (
        {"source": {"collection": [L8, L9], "start": "2019-01-01", "end": "2024-01-01", "season": "JJA", "scale": "catalog",
                    "mask": "clouds", "bands": [NDVI], "every": "year", "reduce": "median"},
         "region": {"bbox": [-120.01, 37.40, -119.99, 37.41]}, "grid": {"crs": "EPSG:32610", "resolution": 60}},
        (("time", 5), {"ndvi": "<f4"}),
    ),
    "daily climate, each month's mean": (
        {"source": {"collection": "ECMWF/ERA5/DAILY", "start": "2019-01-01", "end": "2019-03-01",
                    "bands": [{"celsius": "mean_2m_air_temperature - 273.15"}], "every": "month", "reduce": "mean"},
         "region": {"bbox": [-10, 35, 5, 45]}},
        (("time", 2), {"celsius": "<f4"}),
    ),
    "chips masked and computed": (_chips(mask="clouds", bands=[NDVI], pick="nearest"), (("sample", 2), {"ndvi": "<f4"})),
    "classes stay where others are interpolated": (
        {"source": {**APRIL, "bands": ["B4", "SCL"]}, "region": BOX, "grid": {"crs": "utm", "resolution": 15, "resampling": "bilinear"}},
        (("time", 3), {"B4": "<u2", "SCL": "|u1"}),
    ),
}  # fmt: skip


def written(emulator, tmp_path, sections):
    """The job's values, its points in a file."""
    values = job(emulator, tmp_path / "m.zarr", **sections)
    if (values.get("region") or {}).get("points", {}).get("file") is POINTS:
        write_points(
            tmp_path / "points.csv",
            [(-122.186, 37.403, "2017-04-03"), (-122.25, 37.5, "2017-04-08")],
            "lon,lat,date",
        )
        values["region"] = {"points": {**values["region"]["points"], "file": str(tmp_path / "points.csv")}}
    return values


@pytest.mark.parametrize("name", RUNS)
def test_it_runs(emulator, tmp_path, name):
    sections, (axis, kinds) = RUNS[name]
    report = downloader.download(written(emulator, tmp_path, sections), progress=False)
    found = report.open(chunks=None, mask_and_scale=False)
    leading = () if axis is None else (axis[0],)
    assert {band: found[band].dtype.str for band in kinds} == kinds
    for band in kinds:
        assert found[band].dims == (*leading, "y", "x")
        values = found[band].values
        assert np.isfinite(values).any()
        assert len(np.unique(values[np.isfinite(values)])) > 1
    if axis is not None:
        assert found.sizes[axis[0]] == axis[1]
    if "time" in found.variables:
        assert not np.isnat(found["time"].values).any()
    if "polygon" in name:
        inside = (
            found["mask"].values.astype(bool)
            if "mask" in kinds
            else np.isfinite(found[next(iter(kinds))].values)
        )
        assert 0.2 < inside.mean() < 0.8


# Job → what its message says.
SAYS = {
    "composite": (
        {"source": {**APRIL, "composite": {"reduce": "mosaic", "mask": {"band": "QA60", "bits": [10]}}}, "region": BOX},
        "source.composite: is written in source itself: every: all and a reducer",
    ),
    "group_by": ({"source": {**APRIL, "group_by": "day"}, "region": BOX}, "source.group_by.*such as every: day and reduce: first"),
    "index": ({"source": {**APRIL, "index": ["B8", "B4"]}, "region": BOX}, r"source.index.*write bands: \[\{ndvi: \(B8 - B4\) / \(B8 \+ B4\)\}\]"),
    "a reducer alone": ({"source": {**APRIL, "reduce": "p20"}, "region": BOX}, "source.reduce: 'p20': goes with every.*such as month or all"),
    "no such reducer": ({"source": {**MONTHS, "reduce": "mosaic"}, "region": BOX}, "source.reduce: 'mosaic'.*write first, last, median"),
    "no such period": ({"source": {**MONTHS, "every": "monthly"}, "region": BOX}, r"source.every: .*'monthly' \(did you mean month\?\)"),
    "a period of several images": ({"source": {**APRIL, "every": "month"}, "region": BOX}, "source.every.*needs reduce, such as reduce: median"),
    "the least cloudy image of a point": (_chips(limit=1), "source.limit: 1: means nothing with region.points.*leave it out"),
    "a series of each point": (_chips(every="month", reduce="median"), "source.every.*region.points.*every: all and reduce"),
    "a DEM as a series": ({"source": {"collection": DEM, "bands": ["DEM"]}, "region": BOX}, "source.every: .*has no time.*write every: all with reduce: first"),
    "images without their period": ({"source": {"collection": S2, "bands": ["B4"]}, "region": BOX}, "source.start: is needed with source.end.*write a date such as 2017-04-01"),
    "mosaic.dtype": ({"source": APRIL, "region": BOX, "mosaic": {"dtype": "float32"}}, r"mosaic.dtype: unknown key; did you mean source.dtype\?"),
    "a polygon of integers": ({"source": APRIL, "region": POLYGON}, r"region.mask: B4 has no nodata.*such as \{B4: 0\}, or write mosaic.mask: any"),
    "a region that is a table": ({"source": APRIL, "region": {"asset": "users/me/fields"}}, "region.asset.*export it as GeoJSON, and name the file in region.file"),
    "a region that is a point": ({"source": APRIL, "region": {"point": [-122.1, 37.4]}}, r"region.point: .*region.bbox: \[west, south, east, north\]"),
    "no region": ({"source": APRIL, "region": None}, "region: is needed with source.collection; give region.bbox or region.geometry"),
    "the name of a mask": ({"source": {**APRIL, "mask": "QA60"}, "region": BOX}, r"source.mask: 'QA60': write clouds, a rule such as \{band: QA_PIXEL, bits: \[3, 4\]\}"),
    "clouds of what has none": (
        {"source": {"collection": DEM, "bands": ["DEM"], "every": "all", "reduce": "first", "mask": "clouds"}, "region": BOX},
        r"source.mask: no cloud mask is known for COPERNICUS/DEM/GLO30; .*EDM, FLM, WBM; write a rule such as \{band: EDM, values: \[0\]\}",
    ),
    "a slip": ({"source": {**APRIL, "bands": ["B04"]}, "region": BOX}, r"source.bands: .*'B04' \(did you mean B4\?\)"),
    "a colour in other words": ({"source": {**APRIL, "bands": ["Near-Infrared"]}, "region": BOX}, r"'Near-Infrared' \(did you mean nir, which is B8\?\)"),
    "a colour of several bands": ({"source": {**APRIL, "bands": ["rededge"]}, "region": BOX}, "rededge is any of B5, B6, B7, B8A.*name the one that is meant"),
    "a slip in a mask": ({"source": {**APRIL, "mask": {"band": "SLC", "values": [3]}}, "region": BOX}, r"source.mask: .*'SLC' \(did you mean SCL\?\)"),
    "two meanings of a band": (
        {"source": {"collection": ["LANDSAT/LT05/C02/T1_L2", L8], "start": "2011-01-01", "end": "2019-02-01", "bands": ["SR_B5"]}, "region": BOX},
        "source.bands: SR_B5 is swir1 in LANDSAT/LT05/C02/T1_L2, nir in LANDSAT/LC08/C02/T1_L2; name colours",
    ),
    "an image without its score": (
        {"source": {**MONTHS, "end": "2017-06-01"}, "region": BOX},
        r"source.mask: COPERNICUS/S2_SR_HARMONIZED/20170506\S+ has no partner of the same index in GOOGLE/.*write source.on_missing_band: nodata",
    ),
    "a table of points": ({"source": APRIL, "region": {"points": {"file": pd.DataFrame({"lon": [1.0]}), "chip": 8}}}, "region.points.file: a DataFrame cannot .* write it to a file with to_csv"),
    "a min_clear without a mask": ({"source": {**APRIL, "min_clear": 0.5}, "region": BOX}, "source.min_clear.*such as mask: clouds"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAYS)
def test_its_message_says_what_to_write(emulator, tmp_path, name):
    sections, said = SAYS[name]
    with pytest.raises(JobError, match=said):
        downloader.plan(written(emulator, tmp_path, sections))


def call(emulator, tmp_path, region, **keys):
    where = job(emulator)
    return downloader.plan(
        S2, tmp_path / "m.zarr", start="2017-04-01", end="2017-04-12", bands=["red"], region=region,
        service=where["service"], auth=where["auth"], filter='MGRS_TILE = "10SEG"', **keys,
    )  # fmt: skip


@pytest.mark.parametrize(
    "region", [PLACE, SHAPE, {"geometry": SHAPE}, {"bbox": PLACE}], ids=["list", "shape", "geometry", "bbox"]
)
def test_a_call_takes_the_keys_of_source_and_regions_of_other_libraries(emulator, tmp_path, region):
    document = call(emulator, tmp_path, region, mask="clouds", every="month", reduce="median").to_json()
    assert [part["id"] for part in document["slices"]] == ["2017-04"]
    assert [band["id"] for band in document["groups"][0]["bands"]] == ["red"]


def test_reprs_of_results_are_short(emulator, tmp_path):
    plan = call(emulator, tmp_path, PLACE)
    assert len(repr(plan).splitlines()) <= 10
    report = downloader.download(
        written(emulator, tmp_path, {"source": APRIL, "region": BOX}), progress=False
    )
    assert len(repr(report).splitlines()) <= 10
