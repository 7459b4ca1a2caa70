"""Images from the service's documents."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.earthengine.documents import band_dtype, parse_image
from downloader.errors import JobError

NAME = "projects/earthengine-public/assets/A/B"


def band(identifier="B1", **members):
    return {
        "id": identifier,
        "dataType": {"precision": "INT", "range": {"max": 65535}},
        "grid": {
            "crsCode": "EPSG:32610",
            "dimensions": {"width": 1830, "height": 915},
            "affineTransform": {"scaleX": 60, "translateX": 499980, "scaleY": -60, "translateY": 4200000},
        },
        "pyramidingPolicy": "MEAN",
        **members,
    }


def document(*bands, **members):
    return {"type": "IMAGE", "name": NAME, "id": "A/B", "bands": list(bands), **members}


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"max": 255}, "u1"),
        ({"min": -128, "max": 127}, "i1"),
        ({"max": 65535}, "<u2"),
        ({"min": -32768, "max": 32767}, "<i2"),
        ({"max": 4294967295}, "<u4"),
        ({"min": -2147483648, "max": 2147483647}, "<i4"),
        ({"min": -9.2e18, "max": 9.2e18}, "<f8"),
        ({"max": 4294967296}, "<f8"),
        ({"min": -1, "max": 4294967295}, "<f8"),
        (None, "<f8"),
        ({}, "u1"),
        ({"max": 1}, "u1"),
        ({"max": 256}, "<u2"),
        ({"min": -1}, "i1"),
        ({"min": -1, "max": 200}, "<i2"),
        ({"min": "-32768", "max": "32767"}, "<i2"),
        ({"max": "Infinity"}, "<f8"),
    ],
)
@pytest.mark.parametrize("precision", ["INT", "INTEGER"])
def test_integer_ranges_become_the_smallest_type(limits, code, precision):
    data_type = {"precision": precision} | ({} if limits is None else {"range": limits})
    assert band_dtype(data_type) == np.dtype(code)


@given(st.integers(-(2**40), 2**40), st.integers(0, 2**41))
def test_the_type_holds_the_whole_range(low, width):
    dtype = band_dtype({"precision": "INT", "range": {"min": low, "max": low + width}})
    if dtype.kind in "iu":
        assert np.iinfo(dtype).min <= low <= low + width <= np.iinfo(dtype).max
        assert (dtype.kind == "u") == (low >= 0)
    else:
        assert dtype == np.dtype("<f8")


@pytest.mark.parametrize(("precision", "code"), [("FLOAT", "<f4"), ("DOUBLE", "<f8"), ("float", "<f4")])
def test_floats(precision, code):
    assert band_dtype({"precision": precision, "range": {"min": -1, "max": 1}}) == np.dtype(code)


@pytest.mark.parametrize("data_type", [{}, {"precision": "HALF"}, {"precision": "INT", "range": {"max": "many"}}, {"precision": "INT", "range": {"max": "NaN"}}])  # fmt: skip
def test_unknown_types_name_their_band(data_type):
    if data_type.get("range", {}).get("max") != "NaN":
        assert band_dtype(data_type) is None
        with pytest.raises(JobError, match="band B1 has a data type"):
            parse_image(document(band(dataType=data_type)), NAME)
    else:
        assert band_dtype(data_type) == np.dtype("<f8")


def test_an_image_is_read_whole():
    image = parse_image(
        document(
            band("B1"),
            band("B2", missingData={"values": [0, "NaN", "x"]}, pyramidingPolicy="SAMPLE"),
            updateTime="2020-01-01T00:00:00.123456Z",
            startTime="2017-04-30T19:03:51Z",
            properties={"CLOUDY_PIXEL_PERCENTAGE": 0},
            surprise={"new": "field"},
        ),
        NAME,
    )
    assert (image.name, image.id, image.update_time) == (NAME, "A/B", "2020-01-01T00:00:00.123456Z")
    assert image.properties == {"CLOUDY_PIXEL_PERCENTAGE": 0}
    first, second = image.bands
    assert (first.id, first.dtype, first.pyramiding, first.missing) == ("B1", np.dtype("<u2"), "MEAN", ())
    assert first.grid.transform.to_gdal() == (499980, 60, 0, 4200000, 0, -60)
    assert first.grid.shape == (915, 1830)
    assert second.pyramiding == "SAMPLE"
    assert second.missing[0] == 0
    assert np.isnan(second.missing[1])
    assert len(second.missing) == 2


def test_without_an_id_the_name_is_shown():
    odd = document(band())
    del odd["id"], odd["name"]
    assert parse_image(odd, NAME).id == "A/B"
    assert parse_image(odd, NAME).name == NAME


@pytest.mark.parametrize(
    ("kind", "said"),
    [("IMAGE_COLLECTION", "image collection"), ("FOLDER", "folder"), ("TABLE", "table"), ("CLASSIFIER", "classifier"), ("FEATURE_VIEW", "feature view"), ("", "unknown type"), ("NEW_THING", "NEW_THING")],
)  # fmt: skip
def test_what_is_no_image_is_called_by_its_name(kind, said):
    with pytest.raises(JobError, match=f"A/B is not an image but .*{said}"):
        parse_image({"type": kind, "id": "A/B"}, NAME)


def grid(**changes):
    full = band()["grid"] | changes
    return {name: value for name, value in full.items() if value is not None}


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (grid(dimensions=None), "unbounded"),
        (grid(dimensions={}), "unbounded"),
        (grid(dimensions={"width": 5}), "unbounded"),
        (grid(dimensions={"width": 2.5, "height": 5}), "impossible size"),
        (grid(dimensions={"width": -2, "height": 5}), "impossible size"),
        (grid(dimensions={"width": "NaN", "height": 5}), "impossible size"),
        (grid(dimensions={"width": "Infinity", "height": 5}), "impossible size"),
        (grid(crsCode=None), "no CRS"),
        (grid(crsCode=""), "no CRS"),
        (grid(crsCode=5), "no CRS"),
        (grid(affineTransform=None), "affine"),
        (grid(affineTransform={"scaleX": 10}), "affine"),
        (grid(affineTransform={"scaleX": "wide", "scaleY": 1}), "affine"),
        (grid(affineTransform={"scaleX": [1], "scaleY": 1}), "affine"),
        (grid(affineTransform={"scaleX": "Infinity", "scaleY": 1}), "affine"),
        ({}, "unbounded"),
        (None, "unbounded"),
    ],
)
def test_odd_grids_name_their_band(broken, said):
    with pytest.raises(JobError, match=f"A/B: band B7 .*{said}"):
        parse_image(document(band("B1"), band("B7", grid=broken)), NAME)


def test_a_band_nobody_asked_for_may_be_odd():
    image = parse_image(document(band("B1"), band("B7", grid=None), band("B8")), NAME, frozenset({"B8"}))
    assert [b.id for b in image.bands] == ["B1", "B8"]
    with pytest.raises(JobError, match="band B7"):
        parse_image(document(band("B1"), band("B7", grid=None)), NAME, frozenset({"B7"}))


def test_array_bands_and_bands_without_id_are_refused():
    with pytest.raises(JobError, match="arrays"):
        parse_image(document(band(dataType={"precision": "FLOAT", "dimensionsCount": 1})), NAME)
    with pytest.raises(JobError, match="band number 2 has no id"):
        parse_image(document(band(), band(id="")), NAME)


def test_numbers_may_come_as_strings_and_a_crs_as_wkt():
    wkt = 'PROJCS["x"]'
    odd = band(grid=grid(crsCode=None, crsWkt=wkt, dimensions={"width": "7", "height": "9"}))
    parsed = parse_image(document(odd), NAME).bands[0].grid
    assert parsed.crs.to_json() == {"crsWkt": wkt}
    assert parsed.shape == (9, 7)


@pytest.mark.parametrize("kind", ["{x}", "{0}", "{", "IMAGE_{id}", "{0.__class__}"])
def test_a_type_with_braces_is_no_format_string(kind):
    with pytest.raises(JobError, match="of the unknown type"):
        parse_image({"type": kind, "id": "A/{b}"}, "projects/p/assets/a")


def test_an_id_with_braces_stands_as_it_is():
    with pytest.raises(JobError, match=r"downloader images A/\{b\} --start"):
        parse_image({"type": "IMAGE_COLLECTION", "id": "A/{b}"}, "projects/p/assets/a")


@pytest.mark.parametrize("change", [{"affineTransform": {"scaleX": 1e308, "scaleY": -1}}, {"dimensions": {"width": 2**40, "height": 1}}])  # fmt: skip
def test_a_grid_of_impossible_numbers_is_refused_before_anything_is_made(change):
    with pytest.raises(JobError, match="A/B: band B1 has"):
        parse_image(document(band(grid=grid(**change))), NAME)


def test_ids_without_end_are_not_repeated_whole():
    for wrong in (
        document(band("Q" * 5_000)),
        document(type="Q" * 5_000),
        document(band("Q" * 500, dataType=None)),
    ):
        with pytest.raises(JobError) as caught:
            parse_image(wrong, NAME)
        assert "Q" * 201 not in str(caught.value)


def test_a_footprint_of_impossible_numbers_lies_nowhere():
    footprint = {"type": "Point", "coordinates": [10**400, 1e308]}
    assert parse_image(document(band(), geometry=footprint), NAME).longitude is None
