"""Quick looks: colours, limits, sheets of chips, and huge mosaics of which only little is read."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from downloader.errors import JobError
from downloader.previews import PALETTES, Look, draw, preview
from downloader.previews.colormaps import lookup
from downloader.previews.contact_sheet import Sheet
from downloader.previews.stretch import limits_of, per_band, stretch

# Colours -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PALETTES)
def test_a_palette_runs_from_its_first_colour_to_its_last(name: str) -> None:
    colours = lookup(name)
    first, *_, last = PALETTES[name].split()
    assert colours.shape == (256, 3)
    assert bytes(colours[0]).hex() == first
    assert bytes(colours[-1]).hex() == last
    np.testing.assert_array_equal(lookup(f"{name}-r"), colours[::-1])


@pytest.mark.parametrize("name", ["viridis", "magma", "inferno", "cividis", "grey"])
def test_brightness_grows_all_the_way(name: str) -> None:
    """What makes a colour map readable in grey, too."""
    luminance = lookup(name).astype(float) @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(luminance) > -1).all()
    assert luminance[-1] - luminance[0] > 150


def test_colours_of_ones_own() -> None:
    for given in ("white,1a9850", ["#ffffff", "1A9850"], "ffffff, #1a9850"):
        colours = lookup(given)
        assert bytes(colours[0]).hex() == "ffffff"
        assert bytes(colours[-1]).hex() == "1a9850"
    assert bytes(lookup("black,white,black")[127]).hex() in {"fefefe", "ffffff"}


@pytest.mark.parametrize("wrong", ["jet", "viridis,", "white", "12345,white", "nope,white", "-r"])
def test_a_palette_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(JobError, match="palette"):
        lookup(wrong)


def test_a_slip_is_met_with_a_suggestion() -> None:
    with pytest.raises(JobError, match=r"did you mean viridis\?"):
        lookup("virids")


# Limits ------------------------------------------------------------------------------------------------------


def test_limits_are_percentiles_of_what_is_seen() -> None:
    plane = np.arange(101, dtype="i2")
    seen = plane <= 50
    assert limits_of(plane, seen, (0, 100), None, None) == (0, 50)
    assert limits_of(plane, seen, (10, 90), None, None) == (5, 45)
    assert limits_of(plane, seen, (10, 90), 7, None) == (7, 45)
    assert limits_of(plane, ~(plane < 1000), (2, 98), None, None) == (0, 1), "nothing is seen"
    for wrong in ((98, 2), (2, 2), (-1, 50), (0, 101)):
        with pytest.raises(JobError, match="percentiles"):
            limits_of(plane, seen, wrong, None, None)
    with pytest.raises(JobError, match="min 5 is not below max 5"):
        limits_of(plane, seen, (2, 98), 5, 5)


def test_one_value_for_all_bands_or_one_for_each() -> None:
    assert per_band(None, "--min", 3) == [None, None, None]
    assert per_band(5, "--min", 3) == [5, 5, 5]
    assert per_band([5], "--min", 3) == [5, 5, 5]
    assert per_band([1, 2, 3], "--min", 3) == [1, 2, 3]
    with pytest.raises(JobError, match="max: takes one value, or one for each of the 3 bands; got 2"):
        per_band([1, 2], "--max", 3)


def test_stretching() -> None:
    plane = np.array([-5, 0, 5, 10, 99], "f4")
    assert stretch(plane, (0, 10)).tolist() == [0, 0, 128, 255, 255]
    assert stretch(np.array([np.nan, np.inf, -np.inf], "f4"), (0, 1)).tolist() == [0, 255, 0]
    assert stretch(np.array([7, 7], "u1"), (7, 7)).tolist() == [0, 0], "a constant band"


# Sheets ------------------------------------------------------------------------------------------------------


def test_chips_lie_row_by_row() -> None:
    array = np.arange(5)[:, None, None] * np.ones((5, 3, 4), int) + 1
    sheet = Sheet.of(array, 100)
    laid = sheet.lay(array)
    assert (sheet.count, sheet.columns) == (5, 3)
    assert laid.shape == (2 * 5 - 2, 3 * 6 - 2)
    assert (laid[:3, :4] == 1).all()
    assert (laid[:3, 6:10] == 2).all()
    assert (laid[5:, 6:10] == 5).all()
    assert (laid[3:5] == 0).all()


def test_a_sheet_is_no_larger_than_asked_for() -> None:
    for shape, size in (((1000, 32, 32), 300), ((3, 2000, 1000), 256), ((1, 5, 5), 16), ((9, 16, 16), 16)):
        sheet = Sheet.of(np.zeros(shape, "u1"), size)
        laid = sheet.lay(np.ones(shape, "u1"))
        assert sheet.count >= 1
        assert max(laid.shape) <= size


# Mosaics -----------------------------------------------------------------------------------------------------


def mosaic(path, shape, tile, dims=("y", "x"), shard=None, **attributes):
    """A mosaic of one band as far as a quick look needs it."""
    root = zarr.create_group(str(path))
    lead = (1,) * (len(shape) - 2)
    array = root.create_array(
        "B1", shape=shape, chunks=(*lead, tile, tile), shards=None if shard is None else (*lead, shard, shard),
        dtype="u2", dimension_names=dims,
    )  # fmt: skip
    array.attrs.update({"band": "B1", **attributes})
    cells = (*shape[:-2], -(-shape[-2] // tile), -(-shape[-1] // tile))
    coverage = root.create_array("coverage/tiles", shape=cells, chunks=(*lead, 1024, 1024), dtype="u1")
    return array, coverage


def test_of_a_huge_mosaic_little_is_read(tmp_path, monkeypatch) -> None:
    """10¹² pixels in 15 million tiles: a pixel of the picture from one tile each, and no more than the budget."""
    array, coverage = mosaic(tmp_path / "m.zarr", (1_000_000, 1_000_000), 256, shard=2048)
    coverage[:16, :16] = 1
    array[:256, :256] = 7
    read: list[str] = []
    original = zarr.storage.LocalStore.get

    async def get(store, key, *rest, **more):
        read.append(key)
        return await original(store, key, *rest, **more)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", get)
    picture = draw(tmp_path / "m.zarr", Look(size=1024, most_tiles=2500))
    assert max(picture.image.size) <= 50
    assert picture.image.getpixel((0, 0)) == (0, 255)
    assert picture.image.getpixel((1, 1)) == (0, 0), "not stored"
    assert sum("B1/c" in key for key in read) <= 2 * 2500


def test_a_small_mosaic_is_read_whole_whatever_the_budget(tmp_path) -> None:
    array, coverage = mosaic(tmp_path / "m.zarr", (600, 500), 256)
    array[:] = np.arange(300_000).reshape(600, 500) % 60_000
    coverage[:] = 1
    picture = draw(tmp_path / "m.zarr", Look(most_tiles=6))
    assert picture.image.size == (500, 600)
    coarse = draw(tmp_path / "m.zarr", Look(most_tiles=2))
    assert coarse.image.size == (1, 2)


def test_nodata_is_transparent(tmp_path) -> None:
    array, coverage = mosaic(tmp_path / "m.zarr", (16, 16), 16, _FillValue=0)
    array[4:] = 9
    coverage[:] = 1
    image = np.asarray(draw(tmp_path / "m.zarr", Look(palette="viridis")).image)
    assert (image[:4] == 0).all()
    assert (image[4:, :, 3] == 255).all()


@pytest.mark.parametrize(
    ("size", "level", "pixels"), [(600, 1, 600), (300, 2, 300), (150, 4, 150), (100, 4, 75)]
)
def test_overviews_are_read_where_they_are_fine_enough(tmp_path, size, level, pixels) -> None:
    array, coverage = mosaic(tmp_path / "m.zarr", (600, 600), 64)
    array[:], coverage[:] = 1, 1
    root = zarr.open_group(str(tmp_path / "m.zarr"))
    for factor in (2, 4):
        node = root.create_group(f"overviews/{factor}")
        side = 600 // factor
        made = node.create_array("B1", shape=(side, side), chunks=(64, 64), dtype="u2")
        made.attrs["band"] = "B1"
        made[:] = factor
        node.create_array("coverage/tiles", shape=(-(-side // 64),) * 2, dtype="u1")[:] = 1
    picture = draw(tmp_path / "m.zarr", Look(size=size, min=0, max=255))
    assert picture.image.size == (pixels, pixels)
    assert picture.image.getpixel((5, 5)) == (level, 255)
    assert (picture.width, picture.height) == (600, 600)


def test_where_overviews_have_holes_the_pixels_are_read(tmp_path) -> None:
    """Stored since they were made, or beside a tile that failed: a coarse level calls all around it missing."""
    array, coverage = mosaic(tmp_path / "m.zarr", (256, 256), 64)
    array[:], coverage[:] = 9, 1
    coverage[3, 3] = 4
    node = zarr.open_group(str(tmp_path / "m.zarr")).create_group("overviews/2")
    made = node.create_array("B1", shape=(128, 128), chunks=(64, 64), dtype="u2")
    made.attrs["band"] = "B1"
    made[:64], made[64:, :64] = 2, 2
    node.create_array("coverage/tiles", shape=(2, 2), dtype="u1")[:] = [[1, 1], [1, 4]]
    image = np.asarray(draw(tmp_path / "m.zarr", Look(size=128, min=0, max=255)).image)
    wanted = np.full((128, 128), 2)
    wanted[64:, 64:] = 9
    wanted[96:, 96:] = 0
    np.testing.assert_array_equal(image[..., 0], wanted)
    np.testing.assert_array_equal(image[..., 1] == 0, wanted == 0)


def test_red_green_and_blue_are_shown_where_bands_are_named_so(tmp_path) -> None:
    path = tmp_path / "m.zarr"
    mosaic(path, (16, 16), 16)
    root = zarr.open_group(str(path))
    for name in ("B2", "B3", "B4", "B8"):
        root.create_array(name, shape=(16, 16), chunks=(16, 16), dtype="u2").attrs["band"] = name
    root.attrs["bands"] = ["B2", "B3", "B4", "B8"]
    assert draw(path).bands == ("B4", "B3", "B2")
    root.attrs["bands"] = ["B8"]
    assert draw(path, Look(bands=("B8",))).bands == ("B8",)


def test_slices(tmp_path) -> None:
    array, coverage = mosaic(tmp_path / "m.zarr", (5, 8, 8), 8, dims=("sample", "y", "x"))
    array[:], coverage[:] = np.arange(5)[:, None, None], 1
    ends = {"min": 0, "max": 255, "output": tmp_path / "x.png"}
    assert "the first 5 of 5 samples" in preview(tmp_path / "m.zarr", **ends)
    assert "8×8 of 8×8 pixels, sample 3, bands B1, stretched from 0 to 255" in preview(
        tmp_path / "m.zarr", slice=3, **ends
    )
    assert draw(tmp_path / "m.zarr", Look(slice=-1, min=0, max=255)).image.getpixel((0, 0)) == (4, 255)
    for wrong, words in (
        ({"slice": 5}, "slice 5: the mosaic has 5 slices, 0 to 4"),
        ({"time": "2020"}, "time 2020: the mosaic holds samples"),
        ({"time": "0", "slice": 0}, "take one of them"),
        ({"bands": ("B1", "B1", "B1"), "palette": "viridis"}, "palette: colours one band, got 3"),
    ):
        with pytest.raises(JobError, match=words):
            draw(tmp_path / "m.zarr", Look(**wrong))
