"""How numbers become colours, as a request says it, and what is a PNG."""

import io

import pytest
from PIL import Image

from downloader.earthengine.thumbnail import Stretch, png_size
from downloader.errors import JobError


@pytest.mark.parametrize(
    ("stretch", "bands", "options"),
    [
        (Stretch((0,), (3000,)), 3, {"ranges": [{"min": 0, "max": 3000}]}),
        (Stretch((0, 0, 0), (3000, 3000, 3000)), 3, {"ranges": [{"min": 0, "max": 3000}]}),
        (Stretch((-0.5,), (1,)), 1, {"ranges": [{"min": -0.5, "max": 1}]}),
        (
            Stretch((0, 1, 2), (9,)),
            3,
            {"ranges": [{"min": 0, "max": 9}, {"min": 1, "max": 9}, {"min": 2, "max": 9}]},
        ),
        (
            Stretch(gamma=1.4, palette=("#ff0000", "navy")),
            1,
            {
                "ranges": [{"min": 0, "max": 3000}],
                "gamma": {"value": 1.4},
                "paletteColors": ["ff0000", "navy"],
            },
        ),
    ],
)
def test_visualization_options(stretch, bands, options):
    assert stretch.options(bands) == options


def test_the_quickstarts_numbers_are_written_as_it_writes_them():
    ranges = Stretch((0.0,), (3000.0,)).options(3)["ranges"]
    assert str(ranges) == "[{'min': 0, 'max': 3000}]"


@pytest.mark.parametrize(
    ("stretch", "bands", "said"),
    [
        (Stretch(), 2, "bands: a thumbnail shows one band, or three .* not 2"),
        (Stretch((0, 1)), 3, "min: give one value, or one for each of the 3 bands, not 2"),
        (Stretch((), (1,)), 1, "min: give one value"),
        (Stretch((0,), (float("inf"),)), 1, "max: needs a finite number"),
        (Stretch((5,), (5,)), 1, "min and max: are equal"),
        (Stretch((0, 0, 5), (5,)), 3, "min and max: are equal"),
        (Stretch(gamma=0), 1, "gamma: 0 is not above 0"),
        (Stretch(gamma=float("nan")), 1, "gamma"),
        (Stretch(palette=("red", "blue")), 3, "palette: colours one band, and there are 3"),
        (Stretch(palette=("12345",)), 1, "palette: '12345' is no colour"),
        (Stretch(palette=("red;",)), 1, "palette"),
    ],
)
def test_stretches_that_cannot_be(stretch, bands, said):
    with pytest.raises(JobError, match=said):
        stretch.options(bands)


def test_only_a_whole_png_has_a_size():
    file = io.BytesIO()
    Image.new("RGB", (7, 9)).save(file, "PNG")
    png = file.getvalue()
    assert png_size(png) == (7, 9)
    for other in (b"", png[:-1], png[1:], png[:20], b"<html>", b"\xff\xd8\xff" + png[3:]):
        assert png_size(other) is None
