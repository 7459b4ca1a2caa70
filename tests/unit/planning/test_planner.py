"""Job + catalogue → plan: groups, windows, names, refusals, estimates, and a billion tiles."""

from __future__ import annotations

import tracemalloc
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.errors import JobError
from downloader.job import Job
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid, Window
from downloader.model.image import Band, Image
from downloader.planning import Existing, Plan, Tiling, make_plan, readings
from downloader.planning.series import series_of_one

U1, U2, U4, F8 = (np.dtype(code) for code in ("u1", "<u2", "<u4", "<f8"))


def utm(size: float, pixels: int, crs: str = "EPSG:32610") -> PixelGrid:
    return PixelGrid(
        Crs(code=crs), AffineTransform(size, 0.0, 499980.0, 0.0, -size, 4200000.0), pixels, pixels
    )


G10, G20, G60 = utm(10.0, 10980), utm(20.0, 5490), utm(60.0, 1830)
BANDS = {
    **dict.fromkeys(("B2", "B3", "B4", "B8"), (U2, G10, "MEAN")),
    **dict.fromkeys(("B5", "B6"), (U2, G20, "MEAN")),
    "QA20": (U4, G20, "SAMPLE"),
    **dict.fromkeys(("B1", "B9"), (U2, G60, "MEAN")),
}


def image(*bands: Band) -> Image:
    made = bands or tuple(Band(name, dtype, grid, policy) for name, (dtype, grid, policy) in BANDS.items())
    return Image("projects/earthengine-public/assets/COPERNICUS/S2/X", "COPERNICUS/S2/X", made)


def plan_of(scene: Image | None = None, bands: list[str] | None = None, **sections: Any) -> Plan:
    document = {"source": {"asset": "COPERNICUS/S2/X"}, "mosaic": {"path": "out.zarr"}, **sections}
    if bands is not None:
        document["source"]["bands"] = bands
    return plan_for(Job.from_dict(document), scene or image())


def plan_for(job: Job, scene: Image, existing: Existing | None = None) -> Plan:
    return make_plan(job, series_of_one(job, scene), scene, existing)


# Groups ----------------------------------------------------------------------------------------------------


def test_one_grid_lies_at_the_root() -> None:
    plan = plan_of(bands=["B8", "B2"])
    (group,) = plan.groups
    assert group.name == ""
    assert [band.id for band in group.bands] == ["B8", "B2"]
    assert group.grid == G10
    assert group.tiling.shard_side == 1024


@pytest.mark.parametrize("mask", ["none", "per-band"])
def test_masks_count_among_the_values_of_a_computed_request(mask: str) -> None:
    """One request at a time is as large as it may be: of computed pixels 10,485,760 values, docs/contract.md §5.1."""
    bands = dict.fromkeys([f"b{k}" for k in range(4)], U1)
    scene = image(*(Band(name, dtype, utm(10.0, 40_000), "MEAN") for name, dtype in bands.items()))
    plan = plan_of(scene, mosaic={"path": "out.zarr", "mask": mask}, limits={"concurrency": 1})
    (group,) = plan.groups
    asked = [request for key in islice(plan.shards(), 2) for request in group.requests(key)]
    largest = max(r.window.width * r.window.height * len(r.bands) for r in asked)
    assert {len(r.bands) for r in asked} == {4 if mask == "none" else 8}
    assert (largest <= 10_485_760) == (mask == "per-band")


def test_several_grids_are_groups_finest_first() -> None:
    plan = plan_of(bands=["B1", "B5", "QA20", "B2"])
    assert [(g.name, [b.id for b in g.bands]) for g in plan.groups] == [
        ("10m", ["B2"]),
        ("20m", ["B5", "QA20"]),
        ("60m", ["B1"]),
    ]
    assert plan.group("20m") is plan.groups[1]
    with pytest.raises(KeyError):
        plan.group("30m")


def test_groups_of_equal_pixel_size_get_a_number() -> None:
    shifted = PixelGrid(G10.crs, G10.transform.shifted(5, 5), 100, 100)
    degrees = PixelGrid(Crs(code="EPSG:4326"), AffineTransform(0.1, 0.0, -123.0, 0.0, -0.2, 38.0), 10, 10)
    bands = [Band("a", U1, G10), Band("b", U1, shifted), Band("c", U1, degrees)]
    assert [g.name for g in plan_of(image(*bands)).groups] == ["10m", "10m_2", "0.1x0.2deg"]


def test_grids_in_degrees_and_metres_are_sorted_by_their_size_on_the_ground() -> None:
    degrees = PixelGrid(
        Crs(code="EPSG:4326"), AffineTransform(0.001, 0.0, -123.0, 0.0, -0.001, 38.0), 1000, 1000
    )
    plan = plan_of(image(Band("d", U1, degrees), Band("m", U1, G60)))
    assert [g.name for g in plan.groups] == ["60m", "0.001deg"]


def test_an_unknown_band_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        JobError, match=r"source.bands: COPERNICUS/S2/X has no band 'b02' \(did you mean B2\?\)"
    ):
        plan_of(bands=["b02"])


def test_bands_of_a_thousand_are_not_all_named() -> None:
    scene = image(*(Band(f"class_{n}", U1, G60) for n in range(1024)))
    with pytest.raises(JobError, match="1024 in all") as caught:
        plan_of(scene, bands=["clas_7"])
    assert len(str(caught.value)) < 600
    assert "did you mean class_7" in str(caught.value)


def test_repeated_bands_of_an_asset_are_refused() -> None:
    with pytest.raises(JobError, match=r"source.bands: B2 is named more than once"):
        plan_of(image(Band("B2", U1, G10), Band("B2", U1, G10)))


def test_an_image_without_bands_is_refused() -> None:
    with pytest.raises(JobError, match="has no bands"):
        plan_for(
            Job.from_dict({"source": {"asset": "X"}, "mosaic": {"path": "o"}}),
            Image("projects/p/assets/X", "X", ()),
        )


# Regions ---------------------------------------------------------------------------------------------------


def test_a_window_counts_in_pixels_of_the_finest_group_asked_for() -> None:
    window = {"window": {"column": 5, "row": 7, "width": 3, "height": 12}}
    fine = plan_of(bands=["B2", "B5", "B1"], region=window)
    assert [g.window for g in fine.groups] == [Window(5, 7, 3, 12), Window(2, 3, 2, 7), Window(0, 1, 2, 3)]
    coarse = plan_of(bands=["B5", "B1"], region=window)
    assert [g.window for g in coarse.groups] == [Window(5, 7, 3, 12), Window(1, 2, 2, 5)]


@given(st.integers(0, 10979), st.integers(0, 10979), st.integers(1, 12000), st.integers(1, 12000))
def test_coarser_groups_cover_the_fine_window_exactly(column: int, row: int, width: int, height: int) -> None:
    """Every coarse pixel that holds a fine one, and no other: by integer division."""
    window = {"column": column, "row": row, "width": width, "height": height}
    plan = plan_of(bands=["B2", "B5", "B1"], region={"window": window})
    column_end, row_end = min(column + width, 10980), min(row + height, 10980)
    for group, factor in zip(plan.groups, (1, 2, 6), strict=True):
        assert group.window == Window.between(
            column // factor, row // factor, -(-column_end // factor), -(-row_end // factor)
        )


def test_a_window_is_clipped_at_the_edge_and_refused_outside() -> None:
    window = {"column": 10979, "row": -5, "width": 500, "height": 6}
    assert plan_of(bands=["B2"], region={"window": window}).groups[0].window == Window(10979, 0, 1, 1)
    with pytest.raises(
        JobError, match=r"region.window: columns 10980….* outside the image, which has 10980 columns"
    ):
        plan_of(bands=["B2"], region={"window": {"column": 10980, "row": 0, "width": 5, "height": 5}})


def test_a_box_covers_each_group_by_itself() -> None:
    box = {"bbox": [500_005, 4_199_000, 500_105, 4_199_990], "crs": "EPSG:32610"}
    plan = plan_of(bands=["B2", "B5", "B1"], region=box)
    assert [g.window for g in plan.groups] == [Window(2, 1, 11, 99), Window(1, 0, 6, 50), Window(0, 0, 3, 17)]


def test_a_box_outside_is_refused() -> None:
    with pytest.raises(JobError, match=r"region.bbox: .* outside the image"):
        plan_of(bands=["B2"], region={"bbox": [0, 0, 1, 1]})


# Resolution ------------------------------------------------------------------------------------------------


def test_one_resolution_for_all_bands_keeps_the_images_corner() -> None:
    plan = plan_of(bands=["B1", "B2"], grid={"resolution": 25})
    (group,) = plan.groups
    assert group.name == ""
    assert [band.id for band in group.bands] == ["B1", "B2"]
    assert group.grid.transform == AffineTransform(25.0, 0.0, 499980.0, 0.0, -25.0, 4200000.0)
    assert group.grid.shape == (4392, 4392)


@pytest.mark.parametrize(
    ("resolution", "shape"),
    [([30, 60], (1830, 3660)), (7, (15686, 15686)), (109800, (1, 1)), (10, (10980, 10980))],
)
def test_all_of_the_image_is_held(resolution: object, shape: tuple[int, int]) -> None:
    assert plan_of(bands=["B2"], grid={"resolution": resolution}).groups[0].grid.shape == shape


def test_scale_is_in_metres_whatever_the_crs_counts_in() -> None:
    assert plan_of(bands=["B2"], grid={"scale": 20}).groups[0].grid.shape == (5490, 5490)
    degrees = PixelGrid(
        Crs(code="EPSG:4326"), AffineTransform(0.001, 0.0, -123.0, 0.0, -0.001, 38.0), 1000, 1000
    )
    (group,) = plan_of(image(Band("b", U1, degrees)), grid={"scale": [30, 60]}).groups
    # 30 m at the equator, in degrees, as ee.Projection.atScale has it
    assert group.grid.transform.pixel_size == pytest.approx(
        (0.00026949458523585647, 0.0005389891704717), 1e-12
    )
    assert (group.grid.transform.translate_x, group.grid.transform.translate_y) == (-123, 38)
    box = {"bbox": [-122.5, 37.2, -122.4, 37.3]}
    (feet,) = plan_of(bands=["B2"], grid={"scale": 30, "crs": "EPSG:2227"}, region=box).groups
    assert feet.grid.transform.pixel_size == pytest.approx((30 / (1200 / 3937),) * 2, 1e-12)


@pytest.mark.parametrize(
    ("box", "zone"),
    [
        ([-122.5, 37.2, -122.4, 37.3], "EPSG:32610"),
        ([-120.2, 37.2, -119.9, 37.3], "EPSG:32610"),
        ([-120.1, 37.2, -119.8, 37.3], "EPSG:32611"),
    ],
)
def test_utm_is_the_zone_of_the_regions_middle(box: list[float], zone: str) -> None:
    wide = PixelGrid(Crs(code="EPSG:4326"), AffineTransform(0.01, 0, -125, 0, -0.01, 40), 1000, 1000)
    scene = image(Band("b", U1, wide))
    (group,) = plan_of(scene, grid={"crs": "UTM", "scale": 10}, region={"bbox": box}).groups
    assert group.lattice == PixelGrid(Crs(code=zone), AffineTransform(10, 0, 0, 0, -10, 0), 1, 1)


def test_utm_of_a_whole_image_is_that_of_its_middle() -> None:
    square = {"type": "Polygon", "coordinates": [[[-123, 37], [-122.9, 37], [-122.9, 37.1], [-123, 37]]]}
    for region in ({}, {"geometry": square}):
        (group,) = plan_of(bands=["B2"], grid={"crs": "utm", "resolution": 100}, region=region).groups
        assert group.lattice.crs == Crs(code="EPSG:32610")


def test_utm_says_where_it_means_nothing() -> None:
    window = {"window": {"column": 0, "row": 0, "width": 9, "height": 9}}
    with pytest.raises(
        JobError, match=r"grid.crs: utm is the zone of the region's middle, and region.window"
    ):
        plan_of(bands=["B2"], grid={"crs": "utm", "scale": 10}, region=window)
    with pytest.raises(JobError, match=r"grid.crs: UTM ends at 84° north.*EPSG:3413"):
        plan_of(bands=["B2"], grid={"crs": "utm", "scale": 10}, region={"bbox": [0, 85, 1, 86]})
    with pytest.raises(JobError, match=r"grid.crs: .*goes with resolution, scale or transform"):
        plan_of(bands=["B2"], grid={"crs": "utm"})


def test_a_slip_of_the_pen_in_the_resolution_is_refused() -> None:
    for tiny in (1e-9, 1e-320):
        with pytest.raises(JobError, match=r"grid.resolution: pixels of .* more than 2,147,483,648 pixels"):
            plan_of(bands=["B2"], grid={"resolution": tiny})


def test_a_sheared_image_has_no_one_resolution() -> None:
    sheared = PixelGrid(G10.crs, AffineTransform(10.0, 1.0, 0.0, 0.0, -10.0, 0.0), 100, 100)
    with pytest.raises(JobError, match="sheared"):
        plan_of(image(Band("b", U1, sheared)), grid={"resolution": 20})
    assert plan_of(image(Band("b", U1, sheared))).groups[0].grid == sheared


def test_the_plan_says_what_coarser_pixels_are_read_from() -> None:
    """Fault 60: the coarsest level not coarser than asked for, by each band's own resolution and policy."""
    (group,) = plan_of(bands=["B2", "B3", "B5", "QA20", "B1"], grid={"resolution": 50}).groups
    found = {
        reading.bands: (reading.level, reading.pixel_size, reading.policy) for reading in readings(group)
    }
    assert found == {
        ("B2", "B3"): (2, (40.0, 40.0), "MEAN"),
        ("B5",): (1, (40.0, 40.0), "MEAN"),
        ("QA20",): (1, (40.0, 40.0), "SAMPLE"),
        ("B1",): (0, (60.0, 60.0), "MEAN"),
    }
    texts = [str(reading) for reading in readings(group)]
    assert "B2, B3: read from pyramid level 2 of 40 m (MEAN), nearest neighbour" in texts
    assert "B1: read from the native pixels of 60 m, nearest neighbour" in texts


def test_the_plan_says_how_pixels_are_made() -> None:
    scene = image(Band("a", U2, G10, resampling="bilinear"), Band("b", U2, G10, resampling="bicubic"))
    (group,) = plan_of(scene, grid={"resolution": 50}).groups
    assert [str(reading) for reading in readings(group)] == [
        "a: read from pyramid level 2 of 40 m (MEAN), bilinear",
        "b: read from pyramid level 2 of 40 m (MEAN), bicubic",
    ]


@pytest.mark.parametrize(
    ("resolution", "level"), [(0.0001, 0), (0.0002, 0), (0.00023, 1), (0.00045, 1), (0.00046, 2), (0.001, 3)]
)
def test_in_another_crs_the_level_is_that_of_the_middle(resolution: float, level: int) -> None:
    """At 37.5 degrees north a degree is 88.4 km east and 111 km north: the finer axis decides."""
    (group,) = plan_of(bands=["B2"], grid={"crs": "EPSG:4326", "resolution": resolution}).groups
    assert [reading.level for reading in readings(group)] == [level]


def test_native_groups_read_nothing_else() -> None:
    assert all(readings(group) == () for group in plan_of().groups)


@pytest.mark.parametrize(
    ("resolution", "level"), [(10, None), (19.9, 0), (20, 1), (39, 1), (40, 2), (1e6, 6)]
)
def test_pyramid_levels_at_their_bounds(resolution: float, level: int | None) -> None:
    """10980 pixels: level 6 has 172 a side, the first that fits 256."""
    (group,) = plan_of(bands=["B2"], grid={"resolution": resolution}).groups
    assert [reading.level for reading in readings(group)] == ([] if level is None else [level])


# Requests and estimates ------------------------------------------------------------------------------------


def test_the_quickstarts_first_request_is_the_quickstarts_own() -> None:
    plan = plan_of(
        bands=["B2", "B3", "B4", "B8"],
        region={"window": {"column": 0, "row": 0, "width": 2048, "height": 2048}},
        request={"tiles": 1},
    )
    request = next(plan.groups[0].requests(next(plan.shards())))
    wire = plan.pixel_request(request)
    assert wire.asset == "projects/earthengine-public/assets/COPERNICUS/S2/X"
    assert [band.id for band in wire.bands] == ["B2", "B3", "B4", "B8"]
    assert wire.grid.to_json() == {
        "crsCode": "EPSG:32610",
        "affineTransform": {
            "scaleX": 10.0, "shearX": 0.0, "translateX": 499980.0,
            "shearY": 0.0, "scaleY": -10.0, "translateY": 4200000.0,
        },
        "dimensions": {"width": 256, "height": 256},
    }  # fmt: skip


@pytest.mark.parametrize("tiles", [1, 4, "auto"])
def test_estimates_are_what_iterating_finds(tiles: int | str) -> None:
    plan = plan_of(
        region={"window": {"column": 100, "row": 100, "width": 5000, "height": 3000}},
        request={"tiles": tiles},
    )
    requests = [r for g in plan.groups for key in g.shards() for r in g.requests(key)]
    nbytes = sum(plan.pixel_request(request).nbytes for request in requests)
    estimate = plan.estimate()
    assert estimate.groups == 3
    assert estimate.shards == sum(1 for _ in plan.shards())
    assert estimate.tiles == sum(group.tiling.tiles for group in plan.groups)
    assert estimate.requests == len(requests)
    assert estimate.disk_bytes == nbytes
    assert nbytes < estimate.wire_bytes < nbytes * 1.01
    assert estimate.seconds > 0


def test_requests_stay_under_the_memory_that_is_theirs() -> None:
    """All answers in flight, and a quarter as many being encoded, take at most 0.4 of the limit, unless one tile each is more."""
    for memory in ("128MiB", "256MiB", "1GiB", "8GiB"):
        plan = plan_of(limits={"memory": memory, "concurrency": 10})
        budget = 0.4 * plan_of_bytes(memory) / (10 * 1.25)
        for group in plan.groups:
            rows, columns = group.shape
            assert (rows, columns) == (1, 1) or rows * columns * 65536 * group.itemsize <= budget


def plan_of_bytes(memory: str) -> int:
    return int(memory[:-3]) * (2**20 if memory.endswith("MiB") else 2**30)


def test_the_heaviest_run_of_bands_decides_the_shape() -> None:
    """85 float64 bands fill a request; 200 bytes beside them are more bands, but would fit four times."""
    bands = [Band(f"f{n}", F8, G10) for n in range(85)] + [Band(f"u{n}", U1, G10) for n in range(200)]
    (group,) = plan_of(image(*bands), limits={"memory": "64GiB"}).groups
    assert group.shape == (1, 1)


def test_shards_of_an_existing_mosaic_are_kept() -> None:
    job = Job.from_dict({"source": {"asset": "X", "bands": ["B2", "B5"]}, "mosaic": {"path": "o"}})
    plan = plan_for(job, image(), Existing({"10m": Tiling(1, 1, shard=2), "20m": Tiling(1, 1, shard=1)}))
    assert [g.tiling.shard for g in plan.groups] == [2, 1]


def test_equal_arguments_give_equal_plans() -> None:
    assert plan_of() == plan_of()


def test_a_billion_tiles_cost_nothing() -> None:
    """Fault 56: built, estimated and begun in little memory, so in little time; `scripts/bench plan` times it."""
    side = 256 * 31_623
    scene = image(*(Band(name, U2, utm(10.0, side)) for name in ("B2", "B3", "B4")))
    plan_of()  # imports and PROJ's database are no part of it
    tracemalloc.start()
    plan = plan_of(scene)
    estimate = plan.estimate()
    first = next(r for key in plan.shards() for r in plan.groups[0].requests(key))
    wire = plan.pixel_request(first)
    some = list(islice(plan.shards(), 1000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert estimate.tiles == 31_623**2 > 10**9
    assert (wire.grid.transform, len(some)) == (scene.bands[0].grid.transform, 1000)
    assert peak < 4 * 2**20


def test_the_last_tile_of_a_billion_is_placed_exactly() -> None:
    side = 256 * 31_623 - 255
    (group,) = plan_of(image(Band("B2", U2, utm(10.0, side)))).groups
    t = group.tiling
    grid = group.request_grid(t.window(t.tile_rows - 1, t.tile_columns - 1))
    assert (grid.width, grid.height) == (1, 1)
    assert grid.transform.translate_x == 499980.0 + 10.0 * 256 * 31_622
