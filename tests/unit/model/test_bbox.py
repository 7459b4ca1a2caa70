"""Regions to windows, against an independent oracle: dense sampling of the box with pyproj."""

from __future__ import annotations

import math

import numpy as np
import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.errors import JobError
from downloader.model.bbox import BoundingBox, cover_box, cover_window
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid, Window

WGS84 = Crs(code="EPSG:4326")


def north_up(crs: str, size: float, x: float, y: float, width: int, height: int) -> PixelGrid:
    return PixelGrid(Crs(code=crs), AffineTransform(size, 0.0, x, 0.0, -size, y), width, height)


SCENE = north_up("EPSG:32610", 10.0, 499980.0, 4200000.0, 10980, 10980)
GLOBE = north_up("EPSG:4326", 0.25, -180.0, 90.0, 1440, 720)
ARCTIC = north_up("EPSG:3413", 1000.0, -3_000_000.0, 3_000_000.0, 6000, 6000)
ANTARCTIC = north_up("EPSG:3031", 500.0, -3_000_000.0, 3_000_000.0, 12000, 12000)
MODIS = north_up("SR-ORG:6974", 463.3127165279165, -8895604.157333, 3335851.559, 2400, 2400)
UTM_WIDE = north_up("EPSG:32633", 30.0, 0.0, 9_000_000.0, 40_000, 300_000)
SHEARED = PixelGrid(
    Crs(code="EPSG:32610"), AffineTransform(8.0, 3.0, 499980.0, 2.0, -9.0, 4200000.0), 3000, 3000
)
DATELINE = north_up("EPSG:32601", 100.0, 200_000.0, 2_000_000.0, 6000, 9000)


def box(west: float, south: float, east: float, north: float, crs: str = "EPSG:4326") -> BoundingBox:
    return BoundingBox(west, south, east, north, Crs.parse(crs))


def sampled(grid: PixelGrid, region: BoundingBox, n: int = 4001) -> tuple[float, float, float, float]:
    """(column, row, column end, row end) that dense samples of the outline reach, in fractional pixels."""
    to_grid = pyproj.Transformer.from_crs(region.crs.to_pyproj(), grid.crs.to_pyproj(), always_xy=True)
    w, s, e, n_ = region.edges
    xs, ys = np.linspace(w, e, n), np.linspace(s, n_, n)
    x = np.concatenate([xs, xs, np.full(n, w), np.full(n, e)])
    y = np.concatenate([np.full(n, s), np.full(n, n_), ys, ys])
    x, y = to_grid.transform(x, y)
    t = grid.transform
    inverse = np.linalg.inv([[t.scale_x, t.shear_x], [t.shear_y, t.scale_y]])
    columns, rows = inverse @ np.array([np.asarray(x) - t.translate_x, np.asarray(y) - t.translate_y])
    return columns.min(), rows.min(), columns.max(), rows.max()


def check(grid: PixelGrid, region: BoundingBox) -> Window:
    """The window holds all that the samples reach, and no edge of it lies a pixel and a bit too far out."""
    window = cover_box(grid, region)
    column, row, column_end, row_end = sampled(grid, region)
    eps = 2e-6
    assert window.column <= max(column + eps, 0)
    assert window.row <= max(row + eps, 0)
    assert window.column_end >= min(column_end - eps, grid.width)
    assert window.row_end >= min(row_end - eps, grid.height)
    # The samples miss an outline's extreme point by less than a hundredth of a pixel, in all grids used here.
    slack = 1.02
    assert window.column > column - slack or window.column == 0
    assert window.row > row - slack or window.row == 0
    assert window.column_end < column_end + slack or window.column_end == grid.width
    assert window.row_end < row_end + slack or window.row_end == grid.height
    return window


@pytest.mark.parametrize(
    ("grid", "region"),
    [
        (SCENE, box(-122.9, 37.1, -122.2, 37.8)),
        (SCENE, box(-122.45, 37.75, -122.44, 37.76)),
        (SCENE, box(-130, 30, -110, 45)),
        (SCENE, box(510_003, 4_150_001, 533_333, 4_199_999, "EPSG:32610")),
        (SCENE, box(-13_680_000, 4_500_000, -13_650_000, 4_550_000, "EPSG:3857")),
        (SCENE, box(1_790_000, 590_000, 1_830_000, 640_000, "EPSG:26943")),
        (SCENE, box(0, 4_100_000, 80_000, 4_200_000, "EPSG:32611")),
        (GLOBE, box(-10.1, -10.1, 10.1, 10.1)),
        (GLOBE, box(-180, -90, 180, 90)),
        (GLOBE, box(499_980, 4_090_200, 609_780, 4_200_000, "EPSG:32610")),
        (ARCTIC, box(-180, 70, 180, 90)),
        (ARCTIC, box(-60.3, 65.7, 10.9, 80.2)),
        (ARCTIC, box(0, 60, 90, 90)),
        (ARCTIC, box(-1_000_000, -1_000_000, 500_000, 500_000, "EPSG:3413")),
        (ARCTIC, box(170, 70, 190, 75)),
        (ANTARCTIC, box(-180, -90, 180, -70)),
        (ANTARCTIC, box(100, -80, 250, -66)),
        (MODIS, box(-90, 22, -80, 28)),
        (MODIS, box(-95.123, 20.5, -85.321, 29.999)),
        (UTM_WIDE, box(12, 5, 18, 75)),
        (UTM_WIDE, box(9.3, 40.2, 20.9, 48.7)),
        (SHEARED, box(-122.9, 37.8, -122.8, 37.9)),
        (DATELINE, box(-180, 10, -175, 15)),
        (DATELINE, box(178, 10, 182, 15)),
        (DATELINE, box(-182, 10, -178, 15)),
    ],
    ids=lambda value: str(value).replace(" ", ""),
)
def test_boxes_against_dense_samples(grid: PixelGrid, region: BoundingBox) -> None:
    check(grid, region)


@given(st.floats(-136, -110), st.floats(0, 80), st.floats(0.001, 8), st.floats(0.001, 8))
def test_random_boxes_around_a_utm_zone(west: float, south: float, width: float, height: float) -> None:
    grid = north_up("EPSG:32610", 100.0, -1_500_000.0, 10_000_000.0, 50_000, 110_000)
    check(grid, box(west, south, west + width, min(south + height, 90.0)))


@given(st.floats(-180, 179), st.floats(40, 88), st.floats(0.01, 300), st.floats(0.01, 50))
def test_random_boxes_around_the_pole(west: float, south: float, width: float, height: float) -> None:
    grid = north_up("EPSG:3413", 5000.0, -9_000_000.0, 9_000_000.0, 3600, 3600)
    check(grid, box(west, south, west + width, min(south + height, 90.0)))


def test_bent_edges_are_followed_to_their_extreme_point() -> None:
    """The southern edge of this box bulges 5 km in UTM; its lowest row lies between coarse samples."""
    region = box(11.13, 44.0, 19.07, 44.5)
    window = cover_box(UTM_WIDE, region)
    to_utm = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True)
    lowest = to_utm.transform(15.0, 44.0)[1]  # on the central meridian a parallel is southernmost
    corner = to_utm.transform(11.13, 44.0)[1]
    assert (corner - lowest) / 30 > 100
    assert window.row_end == math.ceil((9_000_000.0 - lowest) / 30)


def test_the_whole_scene_in_its_own_crs_is_the_whole_scene() -> None:
    region = box(499_980, 4_090_200, 609_780, 4_200_000, "EPSG:32610")
    assert cover_box(SCENE, region) == SCENE.bounds


def test_a_box_on_pixel_edges_takes_no_neighbour() -> None:
    region = box(500_000, 4_199_960, 500_040, 4_199_980, "EPSG:32610")
    assert cover_box(SCENE, region) == Window(2, 2, 4, 2)


@pytest.mark.parametrize(
    ("by", "columns"), [(1e-7, (2, 6)), (-1e-7, (2, 6)), (1e-4, (2, 7)), (-1e-4, (2, 6))]
)
def test_a_millionth_of_a_pixel_is_rounding(by: float, columns: tuple[int, int]) -> None:
    window = cover_box(SCENE, box(500_000, 4_199_960, 500_040 + by, 4_199_980, "EPSG:32610"))
    assert (window.column, window.column_end) == columns


def test_a_box_smaller_than_a_pixel_takes_that_pixel() -> None:
    window = cover_box(SCENE, box(500_001, 4_199_961, 500_001.5, 4_199_961.5, "EPSG:32610"))
    assert window == Window(2, 3, 1, 1)


def test_the_same_crs_written_as_wkt_gives_the_same_window() -> None:
    wkt = pyproj.CRS("EPSG:32610").to_wkt()
    edges = (510_003.0, 4_150_001.0, 533_333.0, 4_199_999.0)
    assert cover_box(SCENE, box(*edges, crs=wkt)) == cover_box(SCENE, box(*edges, crs="EPSG:32610"))


# Around the globe ------------------------------------------------------------------------------------------


def test_longitudes_beyond_180_find_the_image() -> None:
    assert cover_box(GLOBE, box(190, 0, 200, 10)) == cover_box(GLOBE, box(-170, 0, -160, 10))
    assert cover_box(GLOBE, box(-200, 0, -190, 10)) == cover_box(GLOBE, box(160, 0, 170, 10))


def test_an_image_from_0_to_360_is_found_from_western_longitudes() -> None:
    grid = north_up("EPSG:4326", 0.5, 0.0, 90.0, 720, 360)
    assert cover_box(grid, box(-20, 0, -10, 10)) == Window(680, 160, 20, 20)
    assert cover_box(grid, box(-180, -90, 180, 90)) == grid.bounds


def test_an_edge_that_only_touches_the_other_side_is_no_crossing() -> None:
    assert cover_box(GLOBE, box(170, 0, 180, 10)) == Window(1400, 320, 40, 40)
    assert cover_box(GLOBE, box(-180, 0, -170, 10)) == Window(0, 320, 40, 40)


def test_a_box_across_the_antimeridian_of_a_global_image_is_refused() -> None:
    """Clipping would silently lose the part on the other side."""
    with pytest.raises(JobError, match="make one job for the part on either side"):
        cover_box(GLOBE, box(170, -20, 190, -10))


def test_a_box_across_the_antimeridian_is_whole_where_the_image_crosses_it_too() -> None:
    grid = north_up("EPSG:4326", 0.5, 150.0, 30.0, 120, 120)  # 150…210
    assert cover_box(grid, box(170, -20, 190, -10)) == Window(40, 80, 40, 20)
    assert cover_box(grid, box(-178, 0, -170, 10)) == Window(64, 40, 16, 20)


@pytest.mark.parametrize(
    ("grid", "region"),
    [
        (north_up("SR-ORG:6974", 10_000.0, -20_015_109.0, 10_007_554.0, 4003, 2001), box(170, 0, 190, 10)),
        (north_up("EPSG:3857", 10_000.0, -20_037_508.0, 20_037_508.0, 4008, 4008), box(170, 0, 190, 10)),
        (GLOBE, box(-500_000, -500_000, 500_000, 500_000, "EPSG:3413")),  # holds the pole
        (GLOBE, box(500_000, 9_800_000, 700_000, 10_200_000, "EPSG:32601")),  # beyond the pole
        (GLOBE, box(0, 1_000_000, 400_000, 1_500_000, "EPSG:32601")),  # across the antimeridian
    ],
    ids=lambda value: str(value).replace(" ", ""),
)
def test_boxes_that_come_apart_are_refused_not_widened_to_the_globe(
    grid: PixelGrid, region: BoundingBox
) -> None:
    with pytest.raises(JobError, match=r"comes apart in .*make a job for each part"):
        cover_box(grid, region)


def test_points_that_the_crs_cannot_show_are_refused() -> None:
    with pytest.raises(JobError, match=r"cannot show.*own CRS, EPSG:32610"):
        cover_box(SCENE, box(-43, 0, -33, 10))  # ninety degrees away, at the equator


def test_a_box_around_everything_is_the_whole_image() -> None:
    assert cover_box(SCENE, box(-180, -80, 180, 80)) == SCENE.bounds


# Mistakes --------------------------------------------------------------------------------------------------


def test_a_box_outside_says_where_the_image_is() -> None:
    with pytest.raises(JobError) as caught:
        cover_box(SCENE, box(10, 45, 11, 46))
    message = str(caught.value)
    assert message.startswith(
        "region.bbox: [10, 45, 11, 46] in EPSG:4326 lies outside the image, which covers about ["
    )
    west, south, east, north = (
        float(n) for n in message.split("about [")[1].split("]", maxsplit=1)[0].split(",")
    )
    assert (west, east) == (pytest.approx(-123.0, abs=0.01), pytest.approx(-121.74, abs=0.02))
    assert (south, north) == (pytest.approx(36.95, abs=0.01), pytest.approx(37.95, abs=0.01))


def test_swapped_longitude_and_latitude_are_noticed() -> None:
    """Beyond 90 at once, else by looking whether the swapped box would meet the image."""
    with pytest.raises(JobError, match=r"leave -90…90; the order is .* longitude first"):
        box(37.1, -122.9, 37.8, -122.2)
    near_equator = north_up("EPSG:32736", 10.0, 200_000.0, 9_900_000.0, 10980, 10980)
    lon, lat = 31.0, -1.2
    assert cover_box(near_equator, box(lon, lat, lon + 0.1, lat + 0.1))
    with pytest.raises(JobError, match="longitude and latitude seem to be swapped"):
        cover_box(near_equator, box(lat, lon, lat + 0.1, lon + 0.1))


@pytest.mark.parametrize(
    ("edges", "says"),
    [
        ((1, 2, 1, 3), "west 1 must lie left of east 1; a box across the antimeridian .* east beyond 180"),
        ((170, -20, -170, -10), "antimeridian .* such as \\[170, -20, 190, -10\\]"),
        ((1, 3, 2, 3), "south 3 must lie below north 3"),
        ((1, 4, 2, 3), "south 4 must lie below north 3"),
        ((-200, 0, 200, 10), "more than once around"),
        (
            (499980, 4090200, 609780, 4200000),
            "leave -90…90.*coordinates in metres say which CRS they are in",
        ),
        ((math.nan, 0, 1, 1), "four finite numbers"),
        ((0, 0, math.inf, 1), "four finite numbers"),
    ],
)
def test_impossible_boxes_say_why(edges: tuple[float, ...], says: str) -> None:
    with pytest.raises(JobError, match=f"region.bbox: .*{says}"):
        box(*edges)


def test_metres_in_the_wrong_order_name_the_order() -> None:
    with pytest.raises(JobError, match=r"west 609780 must lie left of east 499980; the order is \[west"):
        box(609780, 4090200, 499980, 4200000, "EPSG:32610")


# Windows of another grid -----------------------------------------------------------------------------------


def test_windows_between_crs_against_the_box_of_the_same_outline() -> None:
    window = Window(100, 200, 400, 300)
    region = box(499980 + 1000, 4200000 - 5000, 499980 + 5000, 4200000 - 2000, "EPSG:32610")
    other = north_up("EPSG:32611", 20.0, -30_000.0, 4_230_000.0, 6000, 6000)
    assert cover_window(other, window, SCENE).clip(other.bounds) == check(other, region)


def test_windows_in_one_crs_are_exact_and_clipped() -> None:
    coarse = north_up("EPSG:32610", 60.0, 499980.0, 4200000.0, 1830, 1830)
    assert cover_window(coarse, Window(10_978, 10_979, 2, 1), SCENE).clip(coarse.bounds) == Window(
        1829, 1829, 1, 1
    )
    far = north_up("EPSG:32610", 60.0, 0.0, 4200000.0, 10, 10)
    assert cover_window(far, Window(0, 0, 10, 10), SCENE).clip(far.bounds) is None
