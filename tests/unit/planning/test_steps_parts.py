"""Which images a request for a part of a slice names, and how many values a reducer holds."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.model.crs import Crs
from downloader.model.grid import Window
from downloader.planning import make_plan
from downloader.planning.recipes import steps_of
from downloader.planning.request_size import ServiceModel, pack
from downloader.planning.series import arrange, group_images, slices_of
from downloader.planning.tiling import Tiling
from tests.unit.planning.test_series import Y, grid, image, job, nodes

LATTICE = grid("B2", 0, 0, 1, 1)
X = LATTICE.transform.translate_x


def composites(images, reduce="median", **sections):
    source = {"collection": "C", "start": "2017-01-01", "end": "2018-01-01", "bands": ["B2"]}
    many = job(source={**source, "every": "all", "reduce": reduce}, **sections)
    return steps_of(many, images)


def named(expression):
    """Ids of the images that a graph loads."""
    found = [node["constantValue"] for node in nodes(json.loads(expression)) if "constantValue" in node]
    return {text for text in found if isinstance(text, str) and text.startswith("C/")}


def test_a_request_names_the_images_that_meet_it_alone():
    images = [image(number, 300 * number, 0, 300, 300) for number in range(4)]
    of = composites(images)

    def asked(column, width=256):
        window = Window(column, 0, width, 256)
        return of.part_expression(images, LATTICE, LATTICE.window(window))

    assert named(asked(0)) == {"C/0"}
    assert named(asked(44)) == {"C/0"}
    assert named(asked(45)) == {"C/0", "C/1"}
    assert named(asked(256, 512)) == {"C/0", "C/1", "C/2"}
    assert named(asked(0, 2000)) == {"C/0", "C/1", "C/2", "C/3"}
    assert len(asked(0)) < 0.7 * len(asked(0, 2000))


def test_where_no_image_is_one_tells_so():
    images = [image(0, 0, 0, 300, 300), image(1, 1000, 0, 300, 300)]
    of = composites(images)
    assert named(of.part_expression(images, LATTICE, LATTICE.window(Window(500, 0, 256, 256)))) == {"C/0"}


def test_the_order_in_which_the_first_wins_stays():
    images = [image(number, 10 * number, 0, 300, 300) for number in range(3)]
    expression = composites(images, "first").part_expression(
        images, LATTICE, LATTICE.window(Window(0, 0, 256, 256))
    )
    places = [expression.index(f'"C/{number}"') for number in (2, 1, 0)]
    assert places == sorted(places), "mosaic draws the last on top"


def test_one_image_of_several_is_reduced_all_the_same():
    """A count of one is no image as it is."""
    images = [image(0, 0, 0, 300, 300), image(1, 1000, 0, 300, 300)]
    expression = composites(images, "max").part_expression(
        images, LATTICE, LATTICE.window(Window(0, 0, 256, 256))
    )
    assert "reduce.max" in expression
    assert named(expression) == {"C/0"}


def test_on_another_grid_images_are_taken_some_pixels_larger():
    """As far as what is read of them, coarser or interpolated, may reach."""
    images = [image(number, 300 * number, 0, 300, 300) for number in range(2)]
    of = composites(images, grid={"crs": "EPSG:32610", "resolution": 40})
    lattice = replace(LATTICE, transform=replace(LATTICE.transform, scale_x=40.0, scale_y=-40.0))

    def asked(column):
        return named(of.part_expression(images, lattice, lattice.window(Window(column, 0, 64, 64))))

    assert asked(0) == {"C/0"}
    assert asked(9) == {"C/0", "C/1"}, "3 pixels of 40 m before the edge at 75"
    assert asked(77) == {"C/0", "C/1"}
    assert asked(80) == {"C/1"}
    elsewhere = replace(lattice, crs=Crs("EPSG:32611"))
    assert named(of.part_expression(images, elsewhere, lattice.window(Window(0, 0, 64, 64)))) == {
        "C/0",
        "C/1",
    }


@given(st.lists(st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(1, 20)] * 2), min_size=1, max_size=8))
def test_the_depth_is_how_many_images_lie_over_each_other(rectangles):
    images = [image(number, *rectangle) for number, rectangle in enumerate(rectangles)]
    counts = np.zeros((60, 60), int)
    for column, row, width, height in rectangles:
        counts[row : row + height, column : column + width] += 1
    region = Window(5, 5, 30, 30)
    depth = composites(images).depth([images], LATTICE, region)
    assert depth == max(1, counts[5:35, 5:35].max())
    assert composites(images, "first").depth([images], LATTICE, region) == 1
    assert composites(images).depth([], LATTICE, region) == 1


@pytest.mark.parametrize(("reduce", "tiles"), [("first", 4), ("median", 1), ("medoid", 1), ("mean", 1)])
def test_values_that_go_in_count(reduce, tiles):
    """At 160 values a pixel one tile fills a request: 100 images of two bands are more."""
    images = [image(number, 0, 0, 4096, 4096) for number in range(100)]
    many = job(
        source={"collection": "C", "start": "2017-01-01", "end": "2018-01-01", "bands": ["B2"], "every": "all", "reduce": reduce},
        region={"bbox": [X, Y - 40_960, X + 40_960, Y], "crs": "EPSG:32610"},
        request={"tiles": 16},
    )  # fmt: skip
    steps = steps_of(many, images)
    members = group_images(images, "all")
    series = arrange([(label, tuple(map(steps.view, one))) for label, one in members], ("B2",))
    series = replace(series, slices=slices_of(members, (), "all", steps), composites=steps)
    [group] = make_plan(many, series, images[0]).groups
    assert group.shape[0] * group.shape[1] == tiles


def test_as_many_tiles_are_asked_for_as_values_fit():
    u2, model = np.dtype("<u2"), ServiceModel()
    tiling = Tiling(65_536, 65_536, 1, shard=16)
    tiles = {
        depth: int(np.prod(pack(tiling, (u2, u2), 64, model, 10**9, depth))) for depth in (1, 10, 40, 81)
    }
    assert tiles == {1: 64, 10: 8, 40: 2, 81: 1}


def test_it_travels_without_what_it_remembers():
    images = [image(number, 0, 0, 300, 300) for number in range(2)]
    of = composites(images)
    expression = of.part_expression(images, LATTICE, LATTICE)
    there = pickle.loads(pickle.dumps(of))  # its own
    assert there == of
    assert not there._parts
    assert there.part_expression(images, LATTICE, LATTICE) == expression
