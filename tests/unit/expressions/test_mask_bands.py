"""Masks as bands: what they are called, and the expression that brings them with the pixels."""

from __future__ import annotations

import json

import numpy as np
import pytest

from downloader.errors import JobError
from downloader.expressions.mask_bands import with_masks
from downloader.expressions.stack import pinned_expression, stacked_expression
from downloader.job import Job
from downloader.model.crs import Crs
from downloader.model.expression import call, canonical, constant
from downloader.model.grid import AffineTransform, PixelGrid
from downloader.model.image import Band, Image
from downloader.model.nodata import masked_pixels, nodata_values
from downloader.planning import Request, make_plan, readings
from downloader.planning.series import series_of_one

PUBLIC = "projects/earthengine-public/assets/"
FINE = PixelGrid(Crs(code="EPSG:32610"), AffineTransform(10, 0, 0, 0, -10, 0), 600, 600)
COARSE = PixelGrid(Crs(code="EPSG:32610"), AffineTransform(20, 0, 0, 0, -20, 0), 300, 300)
U2 = np.dtype("<u2")
BANDS = (Band("B2", U2, FINE), Band("B3", U2, FINE), Band("B5", np.dtype("<i2"), COARSE, missing=(-1.0,)))


def plan_of(bands=BANDS, mask="per-band", **mosaic):
    job = Job.from_dict({"source": {"asset": "A/B"}, "mosaic": {"path": "x", "mask": mask, **mosaic}})
    image = Image(f"{PUBLIC}A/B", "A/B", tuple(bands))
    return make_plan(job, series_of_one(job, image), image)


def functions(expression: str) -> list[str]:
    nodes = json.loads(expression)["values"].values()
    return [n["functionInvocationValue"]["functionName"] for n in nodes if "functionInvocationValue" in n]


def test_each_band_gets_a_mask_on_its_own_grid():
    plan = plan_of()
    assert [[band.id for band in group.bands] for group in plan.groups] == [
        ["B2", "B3", "B2_mask", "B3_mask"],
        ["B5", "B5_mask"],
    ]
    mask = plan.groups[1].bands[1]
    assert (mask.dtype, mask.mask_of, mask.grid) == (np.dtype("u1"), ("B5",), COARSE)


def test_any_is_one_mask_for_each_grid():
    plan = plan_of(mask="any")
    assert [[band.id for band in group.bands] for group in plan.groups] == [
        ["B2", "B3", "mask"],
        ["B5", "mask"],
    ]
    assert plan.groups[0].bands[-1].mask_of == ("B2", "B3")


@pytest.mark.parametrize(
    ("how", "names", "mask"),
    [("per-band", ("B2", "B2_mask"), "B2_mask_"), ("any", ("mask", "mask_"), "mask__")],
)
def test_a_name_that_a_band_has_gives_way(how, names, mask):
    found = [band.id for band in with_masks(tuple(Band(name, U2, FINE) for name in names), how)]
    assert mask in found
    assert len(set(found)) == len(found)


def test_pixels_without_masks_are_read_and_with_them_computed():
    plan = plan_of()
    group = plan.groups[0]
    (whole, *_) = (r for key in group.shards() for r in group.requests(key))
    assert whole.bands == (0, 1, 2, 3)
    asked = plan.pixel_request(whole)
    assert asked.asset == ""
    assert [band.id for band in asked.bands] == ["B2", "B3", "B2_mask", "B3_mask"]
    assert '"id":{"valueReference"' in asked.expression
    assert '"A/B"' in asked.expression, "an expression loads an asset by its id"
    assert functions(asked.expression).count("Image.load") == 1
    pixels = plan.pixel_request(Request(whole.shard, whole.block, whole.window, (0, 1), 4))
    assert (pixels.asset, pixels.expression) == (f"{PUBLIC}A/B", "")
    extension = plan.pixel_request(Request(whole.shard, whole.block, whole.window, (3,), 4))
    assert [band.id for band in extension.bands] == ["B3_mask"]
    assert "B2" not in extension.expression


def test_an_expression_is_extended_not_loaded():
    source = canonical({"result": "a", "values": {"a": call("Image.constant", value=constant(7))}})
    own = ("constant",)
    text = stacked_expression(((source, own, own),), own, (("constant_mask", own),))
    assert "Image.load" not in functions(text)
    assert json.loads(text) == json.loads(canonical(json.loads(text))), "canonical already"
    assert functions(text).count("Image.addBands") == 1


@pytest.mark.parametrize("count", [2, 3, 5, 64, 700])
def test_a_mask_of_many_bands_is_a_flat_tree(count):
    names = tuple(f"b{n}" for n in range(count))
    loaded = pinned_expression("projects/p/assets/x", "")
    text = stacked_expression(((loaded, names, names),), (), (("mask", names),))
    assert functions(text).count("Image.and") == count - 1
    assert functions(text).count("Image.mask") == count
    assert '"projects/p/assets/x"' in text


def test_masks_have_no_nodata_value_and_no_pyramid():
    plan = plan_of(nodata=0)
    assert set(nodata_values(0, plan.groups[0].bands)) == {"B2", "B3"}
    with pytest.raises(JobError, match="no band 'B2_mask'"):
        nodata_values({"B2_mask": 0}, plan.groups[0].bands)
    assert readings(plan.groups[0]) == ()


def test_outside_of_a_shape_is_masked():
    job = Job.from_dict(
        {
            "source": {"asset": "A/B", "bands": ["B2"]},
            "region": {"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [3000, 0], [3000, -3000], [0, 0]]]}, "crs": 32610, "mask": True},
            "mosaic": {"path": "x", "mask": "any", "nodata": 9},
        }
    )  # fmt: skip
    image = Image(f"{PUBLIC}A/B", "A/B", BANDS)
    plan = make_plan(job, series_of_one(job, image), image)
    assert plan.groups[0].outside == (9.0, 0.0)


def test_what_is_said_of_masked_pixels():
    assert "stored mask marks" in masked_pixels(U2, None, has_mask=True)
    assert "the nodata value" in masked_pixels(U2, 0, has_mask=False)
    assert "look like valid zeros" in masked_pixels(U2, 65535, has_mask=False)
    assert "smallest value" in masked_pixels(np.dtype("<f4"), None, has_mask=False)
    assert "does not promise" in masked_pixels(np.dtype("<i2"), -32768, has_mask=False)
