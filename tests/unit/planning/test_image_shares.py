"""Shares of a region: the coarse grid, its weights, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from downloader.planning.image_shares import SIDE, ImageShare, coarse_grid, share_table

BOX = shapely.box(-122.2, 37.3, -122.0, 37.4)


def test_pixels_are_square_on_the_ground_and_cover_the_region():
    coarse = coarse_grid(BOX, 10)
    grid, t = coarse.grid, coarse.grid.transform
    assert max(grid.shape) <= SIDE
    assert coarse.scale_m == pytest.approx(0.2 * np.cos(np.radians(37.35)) * 111_320 / SIDE, abs=1)
    assert -t.scale_y * 111_320 == pytest.approx(t.scale_x * np.cos(np.radians(37.35)) * 111_320)
    assert t.translate_x + grid.width * t.scale_x >= -122.0
    assert t.translate_y + grid.height * t.scale_y <= 37.3


def test_pixels_are_no_finer_than_the_images_and_a_scale_is_kept():
    assert coarse_grid(BOX, 1000).scale_m == 1000
    kept = coarse_grid(BOX, 10, scale_m=777)
    assert kept.scale_m == 777
    assert kept.grid.height == pytest.approx(0.1 * 111_320 / 777, abs=1)


def test_weights_are_areas_of_the_region():
    triangle = shapely.Polygon([(-10, 0), (10, 0), (-10, 60)])
    weights = coarse_grid(triangle, 10).weights
    ys = np.linspace(0, 60, 20_001)
    widths = 20 * (1 - ys / 60) * np.cos(np.radians(ys))
    degrees = np.trapezoid(widths, ys)
    grid = coarse_grid(triangle, 10).grid
    one = 16 / (grid.transform.scale_x * -grid.transform.scale_y)
    assert weights.sum() == pytest.approx(degrees * one, rel=2e-3)


def test_a_thin_region_still_counts():
    assert coarse_grid(shapely.box(10, 10, 10, 10.5), 10).weights.sum() > 0


def test_a_region_across_the_antimeridian_is_in_one_piece():
    both = shapely.MultiPolygon([shapely.box(179, -1, 180, 1), shapely.box(-180, -1, -179, 1)])
    coarse = coarse_grid(both, 10)
    assert coarse.grid.width == pytest.approx(SIDE, abs=1)
    assert coarse.weights.all()


def test_a_region_that_goes_the_long_way_is_taken_whole():
    coarse = coarse_grid(shapely.box(-170, -1, 170, 1), 10)
    t = coarse.grid.transform
    assert (t.translate_x, t.translate_x + coarse.grid.width * t.scale_x) == pytest.approx((-170, 170), abs=3)
    assert coarse.weights.sum() > 0


def test_shares_are_weighed():
    coarse = coarse_grid(BOX, 3000)
    covered = np.zeros(coarse.grid.shape, "u1")
    covered[:, 0] = 1
    clear = covered.copy()
    clear[0, 0] = 0
    share = coarse.share(("A/1", "T"), covered, clear)
    assert share.covered == pytest.approx(coarse.weights[:, 0].sum() / coarse.weights.sum())
    assert share.clear == pytest.approx(coarse.weights[1:, 0].sum() / coarse.weights[:, 0].sum())
    assert coarse.share(("A/1", "T"), covered * 0, clear).clear == 0


def test_a_table_says_why():
    shares = [ImageShare("a", "", 0.5, 1.0), ImageShare("b", "", 0.95, 0.2), ImageShare("c", "", 0.9, 0.7)]
    assert share_table(shares, 0.9, 0.7) == [
        ("a", "50%", "100%", "covers 50% of the region, less than min_cover 90%"),
        ("b", "95%", "20%", "20% of what it covers is clear, less than min_clear 70%"),
        ("c", "90%", "70%", "kept"),
    ]
    assert {row[3] for row in share_table(shares, None, None)} == {"kept"}


def test_a_table_says_what_left_out_an_image_that_meets_the_conditions():
    shares = [
        ImageShare("a", "", 0.5, 0.8),
        ImageShare("b", "", 0.5, 0.4, left_by="pick"),
        ImageShare("c", "", 0.5, 0.9, left_by="limit"),
        ImageShare("d", "", 0.5, 0.9, left_by="late"),
        ImageShare("e", "", 0.0, 0.0, "it has no band 'nir'"),
        ImageShare("f", "", 0.0, 0.0, "it has no band 'nir'", "pick"),
        ImageShare("g", "", 0.1, 0.9, left_by="pick"),
    ]
    assert share_table(shares, 0.4, None, picks=True) == [
        ("a", "50%", "80%", "kept: 40% of the region is clear"),
        ("b", "50%", "40%", "left out by pick: 20% of the region is clear"),
        ("c", "50%", "90%", "left out by limit"),
        ("d", "50%", "90%", "arrived late, waits for --accept new-images"),
        ("e", "-", "-", "kept: it has no band 'nir'"),
        ("f", "-", "-", "left out by pick: it has no band 'nir'"),
        ("g", "10%", "90%", "covers 10% of the region, less than min_cover 40%"),
    ]
