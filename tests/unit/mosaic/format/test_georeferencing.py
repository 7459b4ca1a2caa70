"""Where pixels lie, and what says so."""

from __future__ import annotations

import json
import warnings
from fractions import Fraction

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from downloader.errors import JobError
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid
from downloader.mosaic.format.georeferencing import (
    axis_attributes,
    band_attributes,
    centres,
    convention_attributes,
    encode_fill_value,
    fill_scalar,
    grid_mapping_attributes,
)
from tests.mosaics import UTM

scales = st.floats(1e-7, 1e5) | st.floats(-1e5, -1e-7)


# A summand of 1e-110 breaks ties that no pair of float64 can tell; no origin is anywhere near.
origins = st.just(0.0) | st.floats(1e-6, 1e8) | st.floats(-1e8, -1e-6)


@given(scales, origins, st.integers(-(10**7), 10**7))
def test_centres_agree_with_rational_arithmetic(scale, translate, first) -> None:
    exact = [float(Fraction(translate) + Fraction(scale) * (2 * k + 1) / 2) for k in range(first, first + 5)]
    assert centres(scale, translate, first, 5).tolist() == exact


def test_centres_of_a_fractional_grid_do_not_drift() -> None:
    scale = 0.000269494585235856472
    values = centres(scale, -180.0, 0, 1_336_000)
    k = 1_335_999
    assert values[k] == float(Fraction(-180) + Fraction(scale) * (2 * k + 1) / 2)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("<f4", float("nan")), ("<f8", float("nan")), ("<f4", float("-inf")), ("<f8", float("inf")),
        ("<f4", -9999.0), ("<i2", -32768), ("<u2", 0), ("|u1", 255), ("|i1", -128), ("<i4", -(2**31)), ("<u4", 2**32 - 1),
    ],
)  # fmt: skip
def test_fill_values_are_encoded_as_xarray_writes_them(tmp_path, dtype, value) -> None:
    scalar = fill_scalar("B", np.dtype(dtype), value)
    array = xr.DataArray(np.zeros((2, 2), dtype), dims=("y", "x"))
    array.encoding["_FillValue"] = scalar
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array.to_dataset(name="b").to_zarr(tmp_path / "a", zarr_format=3)
    written = json.loads((tmp_path / "a/b/zarr.json").read_text())["attributes"]["_FillValue"]
    assert encode_fill_value(scalar) == written
    assert type(encode_fill_value(scalar)) is type(written)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("<u2", -1), ("<u2", 65536), ("<i2", 0.5), ("<u2", float("nan")), ("|u1", float("inf")), ("<f4", 1e39)],
)
def test_a_nodata_value_the_type_does_not_have_is_refused(dtype, value) -> None:
    with pytest.raises(JobError, match=r"mosaic\.nodata: .* is not a value of band B"):
        fill_scalar("B", np.dtype(dtype), value)


def test_without_nodata_the_fill_is_zero_and_no_attribute_says_so() -> None:
    assert fill_scalar("B", np.dtype("<i2"), None) == 0
    assert "_FillValue" not in band_attributes(UTM, "B", np.dtype("<i2"), None)
    assert band_attributes(UTM, "B", np.dtype("<i2"), -32768)["_FillValue"] == -32768


def test_the_grid_mapping_says_crs_and_transform_in_every_dialect() -> None:
    attributes = grid_mapping_attributes(UTM)
    assert attributes["GeoTransform"] == "499980.0 10.0 0.0 4200000.0 0.0 -10.0"
    assert attributes["crs_wkt"] == attributes["spatial_ref"]
    assert attributes["grid_mapping_name"] == "transverse_mercator"
    json.dumps(attributes, allow_nan=False)


def test_a_band_says_nothing_that_other_formats_do_not_hold() -> None:
    attributes = band_attributes(UTM, "B", np.dtype("<u2"), 0.0)
    assert attributes == {
        "band": "B", "grid_mapping": "spatial_ref", "coordinates": "spatial_ref", "_FillValue": 0,
    }  # fmt: skip


def test_a_code_that_no_registry_has_is_told_by_wkt_alone() -> None:
    assert convention_attributes(Crs("EPSG:32633"))["proj:code"] == "EPSG:32633"
    attributes = convention_attributes(Crs("SR-ORG:6974"))
    assert "proj:code" not in attributes
    assert "Sinusoidal" in attributes["proj:wkt2"]


def test_axes_are_named_as_cf_has_them() -> None:
    assert axis_attributes(UTM, "x")["standard_name"] == "projection_x_coordinate"
    assert axis_attributes(UTM, "y")["units"] == "m"
    degrees = PixelGrid(Crs("EPSG:4326"), AffineTransform(0.1, 0, 0, 0, -0.1, 0), 10, 10)
    assert axis_attributes(degrees, "x") == {
        "standard_name": "longitude", "long_name": "longitude", "units": "degrees_east", "axis": "X",
    }  # fmt: skip
    assert axis_attributes(degrees, "y")["units"] == "degrees_north"
