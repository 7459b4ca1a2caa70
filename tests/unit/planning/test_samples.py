"""Points, their chips, and the plan of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.errors import JobError
from downloader.job import Job
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid, Window
from downloader.model.image import Band, Image
from downloader.planning import Existing, make_sample_plan
from downloader.planning.inputs import JobFiles
from downloader.planning.samples import Point, Points, Sample, SampleList, pixels_of
from downloader.planning.shard_size import step_shape
from downloader.planning.tiling import Tiling
from downloader.resolve.points_file import parse_points

UTM = Crs(code="EPSG:32610")
LONLAT = Crs(code="EPSG:4326")
FINE = PixelGrid(UTM, AffineTransform(10, 0, 499980, 0, -10, 4200000), 1000, 1000)
COARSE = PixelGrid(UTM, AffineTransform(60, 0, 499980, 0, -60, 4200000), 167, 167)
U2 = np.dtype("<u2")


def csv(text, crs=None):
    return parse_points(text, "p.csv", crs, is_json=False)


# ---------------------------------------------------------------- the file


def test_columns_are_found_whatever_their_case_and_order():
    points = csv("Cover;ID;LATITUDE;Longitude;Date\n1,5;a;37.5;-122.5;2017-04-01\n")
    row = points.rows[0]
    assert (row.lon, row.lat, row.id, row.date) == (-122.5, 37.5, "a", "2017-04-01")
    assert [(c.name, c.kind) for c in points.columns] == [("Cover", "string")]
    assert row.values == ("1,5",)
    assert row.where == "p.csv, line 2"


def test_x_and_y_are_in_the_jobs_crs_and_lon_lat_never():
    points = csv("x,y\n500000,4150000\n", UTM)
    assert points.crs == UTM
    assert points.rows[0].lon == pytest.approx(-123.0)
    assert points.rows[0].lat == pytest.approx(37.5, abs=0.01)
    both = "x,y,lon,lat\n500000,4150000,-122,37\n"
    assert csv(both, UTM).rows[0].x == 500000
    assert [c.name for c in csv(both, UTM).columns] == ["lon", "lat"], "kept, as they are not used"
    assert csv(both).rows[0].lon == -122
    assert csv("lon,lat\n-122,37\n", UTM).crs == LONLAT


def test_two_points_of_one_id_are_refused_with_both_lines():
    with pytest.raises(
        JobError, match=r"p\.csv, line 4: has the id 'a', which is that of line 2 too; give each"
    ):
        csv("lon,lat,id\n1,2,a\n3,4,b\n5,6,a\n")
    with pytest.raises(JobError, match="line 3: has the id '2', which is that of line 2 too"):
        csv("lon,lat,id\n1,2,2\n3,4,\n")


def test_longitudes_from_0_to_360_are_those_from_minus_180():
    assert csv("lon,lat\n238,37\n").rows[0].lon == -122
    assert csv("lon,lat\n-180,37\n180,37\n").rows[1].lon == 180
    for wrong in ("361,37", "-181,37", "0,91", "0,-90.1"):
        with pytest.raises(JobError, match="no place on Earth"):
            csv(f"lon,lat\n{wrong}\n")


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "-2"], "int64", (1, -2)),
        (["1", ""], "float64", (1, math.nan)),
        (["1", "2.5"], "float64", (1, 2.5)),
        (["007", "008"], "string", ("007", "008")),
        (["1_000", "2"], "string", ("1_000", "2")),
        (["9223372036854775808", "1"], "float64", (2.0**63, 1)),
        (["true", "1"], "string", ("true", "1")),
        (["", ""], "string", ("", "")),
        (["nan", "1e3"], "float64", (math.nan, 1000)),
    ],
)
def test_kinds_of_columns(cells, kind, values):
    points = csv("lon,lat,v\n" + "".join(f"1,2,{cell}\n" for cell in cells))
    assert points.columns[0].kind == kind
    np.testing.assert_equal(tuple(row.values[0] for row in points.rows), values)


def test_quotes_blank_lines_and_a_byte_order_mark_are_no_matter(tmp_path):
    from downloader.resolve.points_file import read_points

    path = tmp_path / "p.csv"
    path.write_bytes('\ufefflon,lat,note\r\n\r\n1,2,"a, b"\r\n'.encode())
    points = read_points(path, None)
    assert points.rows[0].values == ("a, b",)
    assert points.rows[0].where == "p.csv, line 3"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("[1", "is no JSON"),
        ("{}", "is no FeatureCollection"),
        (
            '{"features": [{"geometry": {"type": "LineString", "coordinates": []}}]}',
            "feature 1: is LineString",
        ),
        ('{"features": [{"geometry": null}]}', "feature 1: is no geometry"),
        ('{"features": [{"geometry": {"type": "Point", "coordinates": [1]}}]}', "feature 1, column latitude"),
        ('{"features": [{"geometry": {"type": "Point", "coordinates": [true, 1]}}]}', "no number"),
        ('{"features": []}', "holds no point"),
    ],
)
def test_geojson_that_is_wrong(document, said):
    with pytest.raises(JobError, match=said):
        parse_points(document, "p.geojson", None, is_json=True)


# ---------------------------------------------------------------- the arithmetic


@given(
    st.integers(-50, 1050),
    st.integers(-50, 1050),
    st.floats(0.001, 0.999),
    st.floats(0.001, 0.999),
    st.sampled_from([10.0, 0.00027, 463.3127]),
    st.sampled_from([0.0, 0.3]),
    st.booleans(),
)
def test_a_point_lies_in_the_middle_pixel_of_its_chip(column, row, dx, dy, scale, shear, south_up):
    transform = AffineTransform(
        scale, shear * scale, 499980, -shear * scale, scale if south_up else -scale, 4200000
    )
    grid = PixelGrid(UTM, transform, 1000, 1000)
    x = transform.translate_x + transform.scale_x * (column + dx) + transform.shear_x * (row + dy)
    y = transform.translate_y + transform.shear_y * (column + dx) + transform.scale_y * (row + dy)
    columns, rows, inside = pixels_of(grid, np.array([x]), np.array([y]))
    if scale > 0.001:  # float64 has 1e-9 of a metre here, which is a hundredth of the smallest pixel
        assert (columns[0], rows[0]) == (column, row)
        assert inside[0] == (0 <= column < 1000 and 0 <= row < 1000)


def test_a_point_on_an_edge_belongs_to_the_pixel_right_of_it_and_below():
    columns, rows, inside = pixels_of(
        FINE, np.array([499990.0, np.inf, 499980]), np.array([4199990.0, 0, 4200000])
    )
    assert (columns[0], rows[0]) == (1, 1)
    assert (columns[2], rows[2]) == (0, 0)
    assert inside.tolist() == [True, False, True]


# ---------------------------------------------------------------- the plan


def image(name="A/B", grid=FINE, dtype=U2, coarse=COARSE):
    bands = (Band("B2", dtype, grid), *(() if coarse is None else (Band("B1", dtype, coarse),)))
    return Image(
        f"projects/p/assets/{name}", name, bands, update_time="2020", start_time="2020-01-01T00:00:00Z"
    )


def points_at(*places):
    return Points(
        UTM, (), tuple(Point(str(n), x, y, 0, 0, f"p.csv, line {n + 2}") for n, (x, y) in enumerate(places))
    )


def plan_of(points, images, of=None, tilings=None, steps=0, trusted=(), **sections):
    sections = {"source": {"asset": "A/B"}, "mosaic": {"path": "x"}, **sections}
    job = Job.from_dict({"region": {"points": {"file": "p.csv", "chip": 64}, "crs": 32610}, **sections})
    names = [images[k].name if k is not None else "" for k in (of or [0] * len(points.rows))]
    rows = [row for row in points.rows for _ in range(steps or 1)]
    samples = tuple(
        Sample(row, name, "" if name or steps else f"{row.where}: gone")
        for row, name in zip(rows, names, strict=True)
    )
    kept = SampleList(points.crs, points.columns, samples, steps)
    views = {one.name: one for one in images}
    return make_sample_plan(
        job, kept, views, {}, JobFiles(points=points), tilings and Existing(tilings), trusted
    )


def test_a_plan_of_samples():
    plan = plan_of(points_at((503005, 4196995), (503005, 4196995), (0, 0)), [image()])
    fine, coarse = plan.groups
    assert (fine.name, coarse.name) == ("10m", "60m")
    assert (fine.tiling.tile, coarse.tiling.tile) == (64, 11), "64 × 10 / 60, rounded up"
    assert fine.tiling.slices == 3
    (request, *_) = (r for key in fine.shards() for r in fine.requests(key))
    asked = plan.pixel_request(request)
    assert asked.grid == FINE.window(Window(302 - 32, 300 - 32, 64, 64))
    assert asked.asset == "projects/p/assets/A/B"
    assert fine.lattices[2] is None
    assert "line 4: the point (0, 0) lies outside A/B" in plan.slices[2].problem
    assert coarse.lattices[0] == COARSE.window(Window(50 - 5, 50 - 5, 11, 11))
    assert plan.estimate().requests == 6


@pytest.mark.parametrize(
    ("trusted", "request_", "mosaic", "count"),
    [
        ([], {}, {}, 20_000),
        ([""], {}, {}, 200),
        ([""], {"depth": 1}, {}, 20_000),
        ([""], {"depth": 30}, {}, 800),
        ([], {"depth": 30}, {}, 20_000),
        ([""], {}, {"profile": "plain"}, 200),
        ([], {}, {"mask": "any"}, 200),
    ],
)
def test_integers_of_a_point_come_together_where_computing_them_is_trusted(trusted, request_, mosaic, count):
    two = image(coarse=None)
    two = replace(two, bands=(*two.bands, replace(two.bands[0], id="B3")))
    plan = plan_of(
        points_at(*[(503005, 4196995)] * 200),
        [two],
        [0] * 20_000,
        steps=100,
        trusted=trusted,
        region={"points": {"file": "p.csv", "chip": 32}, "crs": 32610},
        request=request_,
        mosaic={"path": "x", **mosaic},
    )
    assert plan.estimate().requests == count
    assert [band.id for band in plan.groups[0].bands][:2] == ["B2", "B3"]


def test_runs_of_a_mosaic_that_is_there_are_kept():
    plan = plan_of(points_at(*[(503000, 4196000)] * 300), [image(coarse=None)])
    assert plan.groups[0].tiling.shard_slices == 4
    again = plan_of(
        points_at(*[(503000, 4196000)] * 300),
        [image(coarse=None)],
        tilings={"": Tiling(32, 32, tile=32, shard_slices=2)},
    )
    assert again.groups[0].tiling.shard_slices == 2


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (image("C", dtype=np.dtype("<i2")), "other types"),
        (
            image("C", grid=PixelGrid(UTM, AffineTransform(30, 0, 499980, 0, -30, 4200000), 400, 400)),
            "pixels of 30 m",
        ),
        (Image("c", "C", (Band("B2", U2, FINE),)), "has no band 'B1'"),
    ],
)
def test_an_image_unlike_the_first_fails_its_samples_only(other, said):
    plan = plan_of(points_at((503000, 4196000), (503000, 4196000)), [image(), other], [0, 1])
    assert plan.slices[0].problem == ""
    assert said in plan.slices[1].problem


def test_one_grid_for_all_takes_images_of_any_pixel_size():
    other = image("C", grid=PixelGrid(UTM, AffineTransform(30, 0, 499980, 0, -30, 4200000), 400, 400))
    points = points_at((503000, 4196000), (503000, 4196000))
    plan = plan_of(points, [image(), other], [0, 1], grid={"crs": "EPSG:32610", "resolution": 20})
    assert [part.problem for part in plan.slices] == ["", ""]
    assert plan.groups[0].lattices[0] == plan.groups[0].lattices[1]


def test_masks_of_samples_and_chips_too_large():
    plan = plan_of(points_at((503000, 4196000)), [image()], mosaic={"path": "x", "mask": "per-band"})
    assert [band.id for band in plan.groups[0].bands] == ["B2", "B2_mask"]
    job, points = {"source": {"asset": "A/B"}, "mosaic": {"path": "x"}}, points_at((503000, 4196000))
    with pytest.raises(JobError, match=r"region\.points\.chip: .* at most 4,096"):
        make_sample_plan(
            Job.from_dict({**job, "region": {"points": {"file": "p", "chip": 4097}}}),
            SampleList(UTM, (), (Sample(points.rows[0], image().name),)),
            {image().name: image()},
            {},
            JobFiles(points=points),
        )


def test_no_sample_at_all_is_a_wrong_job():
    with pytest.raises(
        JobError, match=r"none of the 2 samples can be fetched; the first: p.csv, line 2: gone"
    ):
        plan_of(points_at((0, 0), (1, 1)), [image()], [None, None])
    with pytest.raises(JobError, match="lies outside"):
        plan_of(points_at((0, 0)), [image()])


# ---------------------------------------------------------------- steps


def test_steps_of_a_point_lie_on_one_grid_and_those_without_an_image_are_not_fetched():
    shifted = PixelGrid(UTM, AffineTransform(10, 0, 499983, 0, -10, 4200004), 1000, 1000)
    images = [image(coarse=None), image("C", grid=shifted, coarse=None)]
    points = points_at((503005, 4196995), (503105, 4196895))
    plan = plan_of(points, images, [0, 1, None, 1, None, None], steps=3)
    (group,) = plan.groups
    assert (group.tiling.slices, group.tiling.steps) == (6, 3)
    assert group.tiling.leading == (2, 3)
    own = FINE.window(Window(302 - 32, 300 - 32, 64, 64))
    assert group.lattices[:3] == (own, own, None), "of the first step"
    assert group.lattices[3].transform.translate_x % 10 == 3, "the other point has its own image's pixels"
    assert [not cover for cover in group.extents] == [False, False, True, False, True, True]
    assert plan.estimate().requests == 3
    assert [part.problem for part in plan.slices] == [""] * 6


@pytest.mark.parametrize(
    ("steps", "chip", "bytes_", "depth", "found"),
    [
        (100, 1, 4, None, (128, 128)),  # all dates of a chip in a chunk, with room for more
        (100, 32, 5, None, (128, 128)),
        (7, 8, 4, None, (8, 8)),
        (1, 1, 1, None, (1, 1)),
        (100, 512, 8, None, (2, 16)),
        (97, 1024, 8, None, (1, 4)),
        (6, 4096, 8, None, (1, 1)),
        (100, 32, 5, 24, (24, 192)),
        (100, 1024, 8, 64, (4, 4)),  # no more than a shard may hold
    ],
)
def test_the_dates_of_a_chip_lie_in_one_chunk_as_far_as_it_holds_them(steps, chip, bytes_, depth, found):
    assert step_shape(steps, chip, 2, bytes_, 32 * 2**20, depth) == found


def test_chunks_stay_as_more_dates_come_also_where_more_were_asked_for_than_a_shard_holds():
    points, images = points_at((503005, 4196995)), [image(coarse=None)]
    for chunks in ({"time": 4096}, "auto"):
        more = {"mosaic": {"path": "x", "chunks": chunks}, "limits": {"memory": "128MiB"}}
        first = plan_of(points, images, [0] * 5, steps=5, **more).groups[0].tiling
        assert first.depth == (2048 if chunks != "auto" else 8)
        grown = plan_of(points, images, [0] * 40, {"": first}, steps=40, **more).groups[0].tiling
        assert (grown.depth, grown.shard_steps, grown.shard_slices) == (
            first.depth, first.shard_steps, first.shard_slices
        )  # fmt: skip
        assert grown.steps == 40


def test_samples_of_a_tiling_are_whole():
    with pytest.raises(JobError, match="samples of a tiling must be whole"):
        Tiling(8, 8, 7, 8, steps=3, shard_slices=4, shard_steps=4)
    with pytest.raises(JobError, match="samples of a tiling must be whole"):
        Tiling(8, 8, 6, 8, shard_slices=6, steps=3, shard_steps=4)
    with pytest.raises(JobError, match="must be at least 1"):
        Tiling(8, 8, 6, 8, steps=-3)
