"""What is done to the images that a user's expression computes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from downloader.errors import JobError
from downloader.expressions.composite import computed_expression
from downloader.job import Job
from downloader.model.crs import Crs
from downloader.model.expression import call, canonical, constant, document_of, parsed
from downloader.model.grid import AffineTransform, PixelGrid
from downloader.model.image import Band, Image
from downloader.planning.recipes import steps_of

GRID = PixelGrid(Crs("EPSG:32610"), AffineTransform(10.0, 0, 5e5, 0, -10.0, 4e6), 100, 100)
COLLECTION = document_of(call("ImageCollection.load", id=constant("A/i1")), "k")


def job(**source):
    return Job.from_dict(
        {
            "source": {"expression": COLLECTION, **source},
            "region": {"bbox": [0, 0, 1, 1]},
            "mosaic": {"path": "m"},
        }
    )


def image(index, **bands):
    made = tuple(Band(name, np.dtype(kind), GRID) for name, kind in bands.items())
    return Image(index, index, made, start_time="2020-01-01T00:00:00Z")


@pytest.mark.parametrize("index", ["i0", "i1", "1_a/b", 'quo"te', "back\\slash", "Ä", "\0 any index"])
def test_each_element_is_computed_by_its_index(index) -> None:
    images = [image("i0", nd="f4", n="u1"), image("i9", nd="f4"), image(index, nd="f4", n="u1")]
    steps = steps_of(job(on_missing_band="nodata"), images, COLLECTION)
    for one in images:
        text = steps.expression([one])
        inputs = [steps.input_of(one)]
        plain = computed_expression(inputs, steps.recipes, None, "k")
        # The same graph: only where its index stands elsewhere too has it one node more.
        assert canonical(parsed(text)) == plain
        assert json.dumps(one.id) in text
    assert steps.why(1) == "expression, each image by its system:index"


def test_a_band_has_the_type_that_holds_all_elements() -> None:
    images = [image("a", n="u1", f="f4"), image("b", n="i2", f="f8")]
    steps = steps_of(job(), images, COLLECTION)
    for one in images:
        assert [band.dtype for band in steps.view(one).bands] == ["i2", "f8"]
        assert [band.is_filled for band in steps.view(one).bands] == [False, True]
    assert '"bandTypes"' in steps.expression([images[0]])
    assert '{"f":"double","n":"int16"}' in steps.expression([images[0]]).replace(" ", "")


def test_an_element_without_bands_is_refused_or_left_empty() -> None:
    """The mean of no image has none, as of a month that a user's own loop made."""
    images = [image("a", n="u1"), image("b")]
    with pytest.raises(JobError, match=r"b has no band 'n'.*on_missing_band: nodata"):
        steps_of(job(), images, COLLECTION).view(images[1])
    steps = steps_of(job(on_missing_band="nodata"), images, COLLECTION)
    assert steps.view(images[1]).bands == ()
